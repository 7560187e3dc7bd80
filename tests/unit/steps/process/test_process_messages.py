"""Process runs the rows that a message is about: not those that are done, heavy, redriven since, or held."""

import random

import pytest

from chalicelib.steps.run import Processed
from chalicelib.store.batch import Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import Outcome, number, text
from chalicelib.store.marker import ReasonCode
from tests.support.builders import calls_of, count_rows, delivery, failed, plant_batch, plant_rows, succeeded
from tests.support.processing import KEY, LAST, World


def test_a_message_costs_one_read_one_mark_and_one_send() -> None:
    """Batch, chunk and rows come in one request; the mark proves that the run began, should it not end."""
    world = World(*["fine"] * 500)
    calls = calls_of(lambda faults: world.work(worker=world.worker(faults=faults)))
    assert calls == ["batch_get_item", "update_item", "send_message_batch"]


def test_rows_that_took_several_items_come_in_one_request_more() -> None:
    """However many items they took."""
    world, dice = World("fine"), random.Random(1)
    plant_rows(world.dynamodb, KEY, ["what"], [[dice.randbytes(40_000).hex()] for _ in range(16)])
    assert world.dynamodb.items[KEY.pk, "chunk"]["pages"] != number(1)
    calls = calls_of(lambda faults: world.work(rows=[0, 15], worker=world.worker(faults=faults)))
    assert calls[:3] == ["batch_get_item", "update_item", "batch_get_item"]
    assert [outcome.row for outcome in world.outcomes] == [0, 15]


def test_rows_that_are_done_are_not_run_again() -> None:
    """Named or not: the message may be older than what was counted."""
    world = World("a", "b", "c", "d")
    count_rows(world.dynamodb, KEY, succeeded(0), failed(2))
    world.work()
    assert world.ran == ["b", "d"]
    world.work(rows=[0, 1, 2])
    assert world.ran == ["b", "d", "b"]


def test_heavy_rows_run_only_if_they_are_named() -> None:
    """They have a message, and a queue, of their own."""
    world = World("a", "b", "c", heavy=RowBits.of([1]))
    world.work()
    assert world.ran == ["a", "c"]
    world.work(rows=[1])
    assert world.ran == ["a", "c", "b"]


def test_a_message_of_rows_that_are_all_done_sends_nothing() -> None:
    """A second delivery, after they were counted."""
    world = World("a")
    count_rows(world.dynamodb, KEY, succeeded(0))
    assert world.work() == Processed()
    assert not world.sqs.bodies


@pytest.mark.parametrize("rows", [None, [0, 1]])
def test_a_message_of_an_older_generation_is_dropped_whole(rows: list[int] | None) -> None:
    """The redrive that has overtaken it has sent every row that was not done."""
    world = World("fine", "raise")
    world.change_chunk(generation=number(2))
    assert world.work(rows=rows, generation=1) == Processed()
    assert (world.ran, dict(world.sqs.bodies)) == ([], {})
    world.work(rows=rows, generation=2)
    assert world.ran == ["fine", "raise"]


def test_a_message_of_a_closed_chunk_is_dropped() -> None:
    """Every row of it was counted."""
    world = World("fine")
    world.change_chunk(state=text(ChunkState.CLOSED))
    assert world.work() == Processed()


def test_outcomes_say_what_the_worker_read_of_the_chunk() -> None:
    """So that mostly nobody has to read it again to count them."""
    world = World("a", "b", "c")
    count_rows(world.dynamodb, KEY, succeeded(1))
    world.work(generation=1)
    (message,) = world.finished
    assert (message.generation, message.version, RowBits.from_bytes(message.done)) == (1, 2, RowBits.of([1]))


def test_an_outcome_carries_the_generation_of_its_message_and_not_of_the_chunk() -> None:
    """A worker that slept since before a redrive sends what came of the row as it was then."""
    world = World("raise")
    worker = world.worker()
    message = world.message(attempt=LAST)
    work = worker.load(message)
    world.change_chunk(generation=number(2), version=number(9))
    worker.run(message, work, delivery())
    (sent,) = world.finished
    assert (sent.generation, sent.version) == (1, 1)


def test_rows_of_a_paused_batch_go_back_as_they_are_and_wait() -> None:
    """None runs, none has used an attempt."""
    world = World("fine", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(Hold.PAUSED))
    message = world.message(rows=[0, 1], attempt=2, raised={1: "ValueError: no good"})
    assert world.worker().work(message, delivery()).returned == 2
    assert (world.sent, world.delays(), world.ran) == ([message], [60], [])


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_rows_of_a_batch_that_was_stopped_fail_with_that_reason(hold: Hold) -> None:
    """None runs."""
    world = World("fine", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(hold))
    world.work()
    assert {(found.outcome, found.code, found.tries, found.reason) for found in world.outcomes} == {
        (Outcome.FAILED, ReasonCode(hold), 0, f"the batch was stopped ({hold}) before this row was processed")
    }
    assert (len(world.outcomes), world.sent, world.ran) == (2, [], [])


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_row_of_a_stopped_batch_that_had_raised_keeps_its_real_reason(hold: Hold) -> None:
    """The stop of the batch explains nothing about the row."""
    world = World("raise", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(hold))
    world.work(rows=[0, 1], attempt=3, raised={1: "ValueError: no good"})
    stopped, raised = world.outcomes
    assert (stopped.code, stopped.tries) == (ReasonCode(hold), 2)
    assert (raised.code, raised.tries) == (ReasonCode.RAISED, 2)
    assert raised.reason.startswith("ValueError: no good")
