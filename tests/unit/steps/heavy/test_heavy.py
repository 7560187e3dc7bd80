"""A heavy row runs under a lease, by one worker at a time."""

import pytest

from chalicelib.errors import BusyError, MessageError
from chalicelib.steps.run import Processed
from chalicelib.store.batch import Hold
from chalicelib.store.items import Outcome, number, text
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode
from tally.testing.faults import Fault, Killed
from tests.support.builders import Requests, at_call, calls_of, count_rows, killed, plant_batch, succeeded
from tests.support.weighing import (
    BATCH,
    DELIVERY,
    FINISHED,
    HEAVY,
    KEY,
    LEASE,
    World,
    heavy_message,
    job_module,
    rows_that_ran,
)


def _die() -> None:
    raise Killed


def test_a_row_is_leased_run_and_stays_leased_until_it_is_counted(world: World) -> None:
    """A second delivery, while its outcome waits in the queue, has to wait too."""
    done = world.worker("first").work(heavy_message(), DELIVERY)
    assert done.sizes == {"finished": 1, "retried": 0, "returned": 0}
    assert world.outcomes() == [Outcome.SUCCEEDED]
    assert world.leases().seconds_left(KEY, 0) == 900


def test_a_row_is_leased_while_it_runs(world: World) -> None:
    """By the worker that runs it."""
    taken: list[bool] = []
    job_module().meanwhile = lambda: taken.append(world.leases().take(KEY, 0))
    world.worker("first").work(heavy_message(), DELIVERY)
    assert taken == [False]


def test_a_second_delivery_while_the_first_worker_lives_is_put_back_for_as_long_as_the_lease(world: World) -> None:
    """It is not run, and comes again when there may be something to do."""
    requests = Requests(world.sqs)
    world.leases("first").take(KEY, 0)
    world.time.pass_by(18)
    with pytest.raises(BusyError, match="row 0 is being worked on"):
        world.worker("second", sqs=requests).work(heavy_message(), DELIVERY)
    assert requests.made == [
        (
            "change_message_visibility",
            {"QueueUrl": HEAVY, "ReceiptHandle": "this delivery", "VisibilityTimeout": int(LEASE - 18) + 1},
        )
    ]
    assert rows_that_ran() == []
    assert world.leases("first").take(KEY, 0), "the lease is the first worker's as before"


def test_a_row_that_was_counted_is_not_run_again(world: World) -> None:
    """A late duplicate is done at once, whether or not its lease is still there."""
    count_rows(world.dynamodb, KEY, succeeded(0))
    assert world.worker("second").work(heavy_message(), DELIVERY) == Processed()
    world.leases("first").take(KEY, 0)
    assert world.worker("second").work(heavy_message(), DELIVERY) == Processed()
    assert rows_that_ran() == []
    assert not world.sqs.bodies


def test_a_row_that_a_redrive_has_overtaken_is_not_run(world: World) -> None:
    """The redrive has sent it with its own generation; the old message takes no lease from it."""
    world.dynamodb.items[KEY.pk, "chunk"]["generation"] = number(2)
    assert world.worker("second").work(heavy_message(), DELIVERY) == Processed()
    assert (rows_that_ran(), dict(world.sqs.bodies)) == ([], {})
    assert world.leases().seconds_left(KEY, 0) == 0


def test_the_row_of_a_worker_that_died_is_taken_over_after_its_lease(world: World) -> None:
    """Not before: it cannot be told from one that is busy."""
    job_module().meanwhile = _die
    assert killed(lambda: world.worker("first").work(heavy_message(), DELIVERY))
    job_module().meanwhile = lambda: None
    with pytest.raises(BusyError):
        world.worker("second").work(heavy_message(), DELIVERY)
    world.time.pass_by(LEASE + 0.001)
    world.worker("second").work(heavy_message(), DELIVERY)
    assert rows_that_ran() == ["fine", "fine"]
    assert world.outcomes() == [Outcome.SUCCEEDED]


def test_the_message_of_a_worker_that_dies_comes_again_within_a_lease(world: World) -> None:
    """The queue's own visibility is for the longest row; the lease's is set before the row is begun."""
    requests = Requests(world.sqs)
    assert killed(lambda: world.worker("first", sqs=requests).work(heavy_message("killed"), DELIVERY))
    (request,) = requests.of("change_message_visibility")
    assert request == {"QueueUrl": HEAVY, "ReceiptHandle": "this delivery", "VisibilityTimeout": int(LEASE)}


def test_a_row_that_is_tried_again_gives_its_lease_back(world: World) -> None:
    """Its next try, which may come at once, must not meet its own first."""
    assert world.worker("first").work(heavy_message("raise"), DELIVERY).retried == 1
    assert world.leases().seconds_left(KEY, 1) == 0
    (body,) = world.sqs.bodies[HEAVY]
    again = decode(body, WorkMessage)
    assert (again.rows, again.attempt) == ([1], 2)
    world.worker("second").work(again, DELIVERY)
    assert world.outcomes() == [Outcome.FAILED]
    assert rows_that_ran() == ["raise", "raise"]


def test_a_row_that_failed_gives_its_lease_back(world: World) -> None:
    """Its redrive must not wait for it; a second delivery before it is counted fails like the first."""
    world.worker("first").work(heavy_message("raise", attempt=2), DELIVERY)
    assert world.outcomes() == [Outcome.FAILED]
    assert world.leases().seconds_left(KEY, 1) == 0


def test_a_row_of_a_paused_batch_gives_its_lease_back(world: World) -> None:
    """It waits in the queue, not with a worker."""
    plant_batch(world.dynamodb, BATCH, hold=text(Hold.PAUSED))
    assert world.worker("first").work(heavy_message(), DELIVERY).returned == 1
    assert [decode(body, WorkMessage) for body in world.sqs.bodies[HEAVY]] == [heavy_message()]
    assert world.leases().seconds_left(KEY, 0) == 0


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_row_of_a_batch_that_was_stopped_fails_without_being_run(world: World, hold: Hold) -> None:
    """With the reason, as light rows do."""
    plant_batch(world.dynamodb, BATCH, hold=text(hold))
    world.worker("first").work(heavy_message(), DELIVERY)
    assert (world.outcomes(), rows_that_ran()) == ([Outcome.FAILED], [])


@pytest.mark.parametrize("rows", [None, [], [0, 1]])
def test_a_message_that_does_not_name_one_row_is_none_of_ours(world: World, rows: list[int] | None) -> None:
    """One lease, one visibility, one outcome: dispatch sends one row."""
    message = WorkMessage(batch=BATCH, chunk=KEY.number, generation=1, rows=rows)
    with pytest.raises(MessageError, match="a heavy message names one row"):
        world.worker("first").work(message, DELIVERY)
    assert rows_that_ran() == []


def test_a_row_that_is_not_in_the_table_any_more_fails_with_that_reason(world: World) -> None:
    """As a light one does."""
    del world.dynamodb.items[KEY.pk, "rows#000"]
    world.worker("first").work(heavy_message(), DELIVERY)
    (body,) = world.sqs.bodies[FINISHED]
    assert [outcome.code for outcome in decode(body, FinishedMessage).outcomes] == [ReasonCode.ROW_GONE]


def test_a_row_costs_a_read_two_leases_a_visibility_and_a_send(world: World) -> None:
    """Whether it was counted is read with the row itself, before it is leased."""
    calls = calls_of(lambda faults: world.worker("first", faults=faults).work(heavy_message(), DELIVERY))
    assert calls == CALLS


CALLS = ["batch_get_item", "put_item", "change_message_visibility", "send_message_batch", "put_item"]
"""Read, lease, set the visibility, send the outcome, lease again."""


@pytest.mark.parametrize("position", range(len(CALLS)))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_at_any_call_leaves_a_row_that_is_done_in_the_end(
    world: World, fault: Fault, position: int
) -> None:
    """The message was not acknowledged: after at most the longest lease the next worker does it."""
    assert killed(lambda: world.worker("first", faults=at_call(position, fault)).work(heavy_message(), DELIVERY))
    world.time.pass_by(901)
    world.worker("second").work(heavy_message(), DELIVERY)
    assert set(world.outcomes()) == {Outcome.SUCCEEDED}


@pytest.mark.parametrize("position", range(len(CALLS)))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_fault_at_any_call_is_tried_again(world: World, fault: Fault, position: int) -> None:
    """The row is run once."""
    world.worker("first", faults=at_call(position, fault)).work(heavy_message(), DELIVERY)
    assert set(world.outcomes()) == {Outcome.SUCCEEDED}
    assert rows_that_ran() == ["fine"]
