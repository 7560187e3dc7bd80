"""Process loses no row to a crash, a fault of a service, or the deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.steps.run import FLUSH_SECONDS
from tally.testing.faults import Fault, Killed
from tests.support.builders import at_call, count_rows, killed
from tests.support.processing import KEY, World


def test_outcomes_are_sent_on_every_few_seconds() -> None:
    """A crash repeats the rows that were not sent: seconds of work, not a chunk."""
    world = World(*["fine"] * 25, seconds=lambda _: 0.4)
    world.work()
    sizes = [len(message.outcomes) for message in world.finished]
    assert len(sizes) > 1
    assert max(sizes) * 0.4 <= FLUSH_SECONDS + 0.4
    assert [outcome.row for outcome in world.outcomes] == list(range(25))
    assert {outcome.duration_ms for outcome in world.outcomes} <= {399, 400}


def test_a_crash_repeats_only_what_was_not_sent_on() -> None:
    """Counted meanwhile, the rows before it are not run again."""
    world = World(*["fine"] * 19, "killed", seconds=lambda _: 0.4)
    with pytest.raises(Killed):
        world.work()
    kept = [outcome.row for outcome in world.outcomes]
    assert kept == list(range(13))
    count_rows(world.dynamodb, KEY, *world.outcomes)
    world.work(receive_count=2)
    assert sorted(row for message in world.sent for row in message.rows or []) == list(range(13, 20))


def test_rows_that_raised_before_a_crash_wait_for_their_next_try() -> None:
    """They are sent with the outcomes of their time."""
    world = World("raise", *["fine"] * 15, "killed", seconds=lambda _: 0.4)
    with pytest.raises(Killed):
        world.work()
    assert [(message.rows, message.attempt) for message in world.sent] == [([0], 2)]


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_at_any_call_loses_no_row(fault: Fault, position: int) -> None:
    """The message was not acknowledged and comes again: each row is in a queue, whichever call was cut."""
    world = World("fine", "raise")
    assert killed(lambda: world.work(worker=world.worker(faults=at_call(position, fault))))
    world.work(receive_count=2)
    named = {row for message in world.sent for row in message.rows or []}
    assert named | {outcome.row for outcome in world.outcomes} == {0, 1}


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_fault_at_any_call_is_tried_again(fault: Fault, position: int) -> None:
    """Each row runs once; a message may be sent twice."""
    world = World("fine", "raise")
    world.work(worker=world.worker(faults=at_call(position, fault)))
    assert world.ran == ["fine", "raise"]
    assert {outcome.row for outcome in world.outcomes} == {0}
    assert {tuple(message.rows or []) for message in world.sent} == {(1,)}


def test_near_the_deadline_the_rows_that_are_left_go_back_unharmed() -> None:
    """A row is begun if the longest so far would still fit; one always runs, or they would go back for ever."""
    world = World(*["fine"] * 5, seconds=lambda _: 4.0)
    done = world.work(attempt=2, worker=world.worker(remaining_seconds=lambda: 11.0 - world.now), rows=[0, 1, 2, 3, 4])
    assert [outcome.row for outcome in world.outcomes] == [0, 1]
    assert [(message.rows, message.attempt) for message in world.sent] == [([2, 3, 4], 2)]
    assert done.sizes == {"finished": 2, "retried": 0, "returned": 3}


def test_a_row_runs_although_there_is_no_time_left() -> None:
    """Otherwise a row that is longer than what its message leaves would never run."""
    world = World("fine", "fine")
    done = world.work(worker=world.worker(remaining_seconds=lambda: -1.0))
    assert (done.finished, done.returned) == (1, 1)


@given(
    rows=st.lists(st.sampled_from(["fine", "raise", "permanent", "none"]), min_size=1, max_size=12),
    attempt=st.integers(1, 4),
    left=st.integers(0, 60),
    seconds=st.integers(0, 12),
)
def test_every_row_of_a_message_has_an_outcome_or_is_in_one_message(
    rows: list[str], attempt: int, left: int, seconds: int
) -> None:
    """At any attempt, at any pace, with the deadline at any time."""
    world = World(*rows, seconds=lambda _: seconds)
    done = world.work(attempt=attempt, worker=world.worker(remaining_seconds=lambda: left - world.now))
    back = [row for message in world.sent for row in message.rows or []]
    assert sorted([outcome.row for outcome in world.outcomes] + back) == list(range(len(rows)))
    assert done.finished + done.retried + done.returned == len(rows)
