"""Process splits a message that comes again only if its worker died."""

import itertools
from typing import Any

import pytest

from chalicelib.errors import FatalError, RetryableError
from chalicelib.steps.run import Processed
from chalicelib.store.items import Outcome, number
from tally.testing.faults import Fault, Killed
from tally.testing.memory_dynamodb import client_error
from tests.support.builders import at_call, delivery, killed
from tests.support.processing import World


def _die(world: World, **message: Any) -> None:
    """Let a worker die after it has begun a message, before its first row."""
    assert killed(lambda: world.work(worker=world.worker(faults=at_call(1, Fault.KILLED_AFTER)), **message))
    assert world.ran == []


def test_a_message_that_comes_again_after_its_worker_died_is_taken_apart_and_not_run() -> None:
    """It may have killed it; its rows keep their attempt and what they raised."""
    world = World(*["fine"] * 10)
    message: dict[str, Any] = {"attempt": 2, "raised": {4: "ValueError: no good"}}
    _die(world, **message)
    done = world.work(receive_count=2, **message)
    assert done.sizes == {"finished": 0, "retried": 0, "returned": 10}
    assert [message.rows for message in world.sent] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [message.raised for message in world.sent] == [{}, {4: "ValueError: no good"}, {}]
    assert {(message.attempt, message.splits) for message in world.sent} == {(2, 1)}
    assert world.ran == []


def test_a_piece_that_comes_again_after_its_worker_died_is_taken_apart_into_single_rows() -> None:
    """Two levels, so that one poison row makes two times the square root of messages."""
    world = World(*["fine"] * 10)
    _die(world, rows=[4, 5, 6, 7], splits=1)
    world.work(receive_count=2, rows=[4, 5, 6, 7], splits=1)
    assert [message.rows for message in world.sent] == [[4], [5], [6], [7]]


@pytest.mark.parametrize("receive_count", [2, 3, 5, 30])
def test_a_message_that_lambda_throttled_is_run_like_a_new_one(receive_count: int) -> None:
    """Its receive count went up, and no worker ever saw it."""
    world = World(*["fine"] * 10)
    world.work(receive_count=receive_count)
    assert len(world.outcomes) == len(world.ran) == 10
    assert world.sent == []


def test_a_message_that_was_throttled_after_its_worker_died_is_taken_apart() -> None:
    """The throttled deliveries prove nothing, and disprove nothing."""
    world = World(*["fine"] * 10)
    _die(world)
    world.work(receive_count=4)
    assert (len(world.sent), world.ran) == (3, [])


def test_a_second_delivery_beside_a_worker_that_lives_is_run() -> None:
    """SQS may deliver a message twice at once: each is the first, and the other's mark is of a worker that lives."""
    world = World(*["fine"] * 10)
    _die(world)
    world.work(receive_count=1)
    assert (len(world.outcomes), world.sent) == (10, [])


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_worker_that_asks_for_another_delivery_did_not_die(fault: Fault) -> None:
    """SQS was out: the worker says so and takes its mark back, or the next delivery would split a healthy chunk."""
    world = World(*["fine"] * 10)
    with pytest.raises(RetryableError):
        world.work(worker=world.worker(faults=lambda call: fault if call == "send_message_batch" else Fault.NONE))
    world.sqs.bodies.clear()
    world.work(receive_count=2)
    assert (len(world.outcomes), world.sent) == (10, [])


def test_a_run_that_no_other_delivery_can_help_stays_proof() -> None:
    """The refusal of SQS may be about one row's outcome: split, that row fails alone."""
    world = World(*["fine"] * 10)

    def refuse(operation: str) -> Fault:
        if operation == "send_message_batch":
            raise client_error("InvalidMessageContents")
        return Fault.NONE

    with pytest.raises(FatalError):
        world.work(worker=world.worker(faults=refuse))
    world.work(receive_count=2)
    assert len(world.sent) == 3


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
def test_a_mark_that_was_written_and_not_heard_of_is_one_run(fault: Fault) -> None:
    """The retry writes the same run once more: counted as two, it would prove a death that nobody died."""
    world = World(*["fine"] * 10)
    world.work(worker=world.worker(faults=at_call(1, fault)), receive_count=2)
    assert (len(world.outcomes), world.sent) == (10, [])


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_while_it_takes_its_mark_back_loses_no_row(fault: Fault, cut: int) -> None:
    """SQS refuses for now, and the worker dies at any call: its message comes again and is run or split."""
    world = World(*["fine"] * 4)
    position = itertools.count()

    def meet(operation: str) -> Fault:
        if next(position) == cut:
            return fault
        return Fault.ERROR_BEFORE if operation == "send_message_batch" else Fault.NONE

    with pytest.raises((RetryableError, Killed)):
        world.work(worker=world.worker(faults=meet))
    world.work(receive_count=2)
    named = {row for message in world.sent for row in message.rows or []}
    assert named | {outcome.row for outcome in world.outcomes} == set(range(4))


def test_a_message_that_was_moved_back_by_hand_is_run_like_a_new_one() -> None:
    """SQS gives it a new id: the mark of the old one says nothing about it."""
    world = World(*["fine"] * 10)
    _die(world)
    world.worker().work(world.message(), delivery(2, message_id="moved"))
    assert (len(world.outcomes), world.sent) == (10, [])


def test_an_old_message_with_its_mark_runs_nothing_after_a_redrive() -> None:
    """Its rows were sent again, with the new generation, in messages of their own."""
    world = World(*["fine"] * 10)
    _die(world)
    world.change_chunk(generation=number(2))
    assert world.work(receive_count=2) == Processed()
    world.worker().work(world.message(generation=2), delivery(message_id="of the redrive"))
    assert (len(world.outcomes), world.sent) == (10, [])


def test_a_row_alone_is_run_however_often_it_comes() -> None:
    """There is nothing to take apart; the queue's receive count ends it."""
    world = World("fine")
    world.work(receive_count=7)
    assert [outcome.outcome for outcome in world.outcomes] == [Outcome.SUCCEEDED]
