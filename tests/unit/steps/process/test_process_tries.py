"""Process tries a row that raises again, as often as its job says."""

import pytest

from chalicelib import jobs
from chalicelib.store.items import Outcome
from chalicelib.transport.messages import MAX_MESSAGE_BYTES
from tests.support.builders import delivery
from tests.support.processing import WORK, World


def test_a_row_that_raises_is_tried_again_as_often_as_its_job_says() -> None:
    """The row goes back with its attempt counted, the others are done; the last attempt is its outcome."""
    world = World("before", "raise", "after")
    world.work()
    for attempt in (2, 3):
        again = world.sent[-1]
        assert (again.rows, again.attempt, again.raised) == ([1], attempt, {1: "ValueError: no good"})
        assert len(world.outcomes) == 2
        world.worker().work(again, delivery())
    assert len(world.sent) == 2, "no fourth attempt"
    assert [(outcome.row, outcome.tries) for outcome in world.outcomes] == [(0, 1), (2, 1), (1, 3)]
    assert world.outcomes[-1].reason == "ValueError: no good"
    assert world.ran == ["before", "raise", "after", "raise", "raise"]


def test_a_row_that_succeeds_at_a_later_try_says_at_which() -> None:
    """Beside its result."""
    world = World("fine")
    world.work(rows=[0], attempt=2, raised={0: "ValueError: not yet"})
    (outcome,) = world.outcomes
    assert (outcome.outcome, outcome.tries, outcome.reason) == (Outcome.SUCCEEDED, 2, "")


@pytest.mark.parametrize("what", ["exit", "deep", "unencodable", "mute"])
def test_whatever_a_job_raises_is_tried_again(what: str) -> None:
    """Nobody knows which of them a second try would meet."""
    world = World(what)
    assert world.work().sizes == {"finished": 0, "retried": 1, "returned": 0}
    assert [(message.rows, message.attempt) for message in world.sent] == [([0], 2)]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 4), (2, 8)])
def test_rows_that_raise_wait_together_and_longer_each_time(attempt: int, seconds: int) -> None:
    """Full jitter below 2 s * 2 ** attempt; apart, each of them would be a message of its own."""
    world = World("raise", "fine", "raise", "raise")
    world.work(attempt=attempt)
    assert [message.rows for message in world.sent] == [[0, 2, 3]]
    assert world.delays() == [seconds]


def test_a_row_that_waits_for_its_next_try_has_killed_no_worker() -> None:
    """Its message is as good as new: if it comes twice it is taken apart from the beginning."""
    world = World("raise", "raise", "raise")
    world.work(rows=[0, 1, 2], splits=1)
    assert [(message.rows, message.splits) for message in world.sent] == [([0, 1, 2], 0)]


def test_a_delay_is_one_that_sqs_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen minutes, however many attempts a job has."""
    world = World("raise")
    monkeypatch.setattr(world.module, "ATTEMPTS", 50)
    jobs.find.cache_clear()
    world.work(attempt=40)
    assert world.delays() == [900]


def test_long_reasons_of_many_rows_take_several_messages() -> None:
    """None is larger than a queue takes, none is lost."""
    world = World(*["long"] * 2_000)
    world.work()
    assert len(world.sent) > 1
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in world.sqs.bodies[WORK])
    assert [row for message in world.sent for row in message.rows or []] == list(range(2_000))
    assert all(set(message.rows or []) == set(message.raised) for message in world.sent)
