"""Leases: one worker at a time for a heavy row, and none for ever."""

from collections.abc import Callable

import pytest

from chalicelib.store.items import ChunkKey
from chalicelib.store.leases import Leases
from tally.testing.faults import Fault
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Time, at_call, faulty, killed, table

KEY = ChunkKey("offices-1", 0)
SECONDS = 60.0


class World:
    """A table, a clock, and as many workers as one likes."""

    def __init__(self) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.time = Time()

    def worker(self, owner: str, faults: Callable[[str], Fault] = lambda _: Fault.NONE) -> Leases:
        """Return the leases of one worker."""
        return Leases(table=table(faulty(self.dynamodb, faults)), owner=owner, seconds=SECONDS, clock=self.time)


@pytest.fixture
def world() -> World:
    """Give a table without leases."""
    return World()


def test_a_free_row_is_taken(world: World) -> None:
    """For a lease's time."""
    assert world.worker("first").take(KEY, 0) is True
    assert world.worker("second").seconds_left(KEY, 0) == SECONDS


def test_a_row_that_another_holds_is_not_taken_and_its_lease_stays(world: World) -> None:
    """Not even when the lease is about to end."""
    world.worker("first").take(KEY, 0)
    world.time.pass_by(SECONDS - 0.001)
    before = dict(world.dynamodb.items)
    assert world.worker("second").take(KEY, 0) is False
    assert world.dynamodb.items == before


def test_an_expired_lease_is_taken_over(world: World) -> None:
    """Its worker was not heard of; from now on the row is its successor's alone."""
    first, second = world.worker("first"), world.worker("second")
    first.take(KEY, 0)
    world.time.pass_by(SECONDS + 0.001)
    assert second.take(KEY, 0) is True
    assert first.take(KEY, 0) is False
    assert second.seconds_left(KEY, 0) == SECONDS


def test_a_lease_is_extended_by_its_owner_as_often_as_it_likes(world: World) -> None:
    """Each heartbeat counts from its own time."""
    first = world.worker("first")
    for _ in range(10):
        assert first.take(KEY, 0) is True
        world.time.pass_by(SECONDS / 3)
    assert first.seconds_left(KEY, 0) == pytest.approx(SECONDS * 2 / 3, abs=0.01)
    assert world.worker("second").take(KEY, 0) is False


def test_a_lease_may_be_taken_for_another_time(world: World) -> None:
    """A finished row stays leased until it is counted."""
    first = world.worker("first")
    first.take(KEY, 0)
    assert first.take(KEY, 0, seconds=900) is True
    world.time.pass_by(899)
    assert world.worker("second").take(KEY, 0) is False


def test_a_released_row_is_free_at_once(world: World) -> None:
    """Its next try need not wait."""
    world.worker("first").take(KEY, 0)
    world.worker("first").release(KEY, 0)
    assert world.worker("second").seconds_left(KEY, 0) == 0
    assert world.worker("second").take(KEY, 0) is True


def test_a_stranger_releases_nothing(world: World) -> None:
    """A worker that lost its lease comes back to life and ends: the row is its successor's."""
    first, second = world.worker("first"), world.worker("second")
    first.take(KEY, 0)
    world.time.pass_by(SECONDS + 1)
    second.take(KEY, 0)
    first.release(KEY, 0)
    assert second.seconds_left(KEY, 0) == SECONDS
    assert world.worker("third").take(KEY, 0) is False


def test_releasing_what_nobody_holds_is_no_error(world: World) -> None:
    """A second release, or one after TTL."""
    world.worker("first").release(KEY, 0)
    assert not world.dynamodb.items


def test_each_row_has_a_lease_of_its_own(world: World) -> None:
    """Also the same number in another chunk."""
    world.worker("first").take(KEY, 0)
    second = world.worker("second")
    assert second.take(KEY, 1) is True
    assert second.take(ChunkKey("offices-1", 1), 0) is True
    assert second.take(KEY, 0) is False


def test_nothing_is_left_of_a_lease_that_has_ended(world: World) -> None:
    """Less than nothing would be a visibility that SQS refuses."""
    world.worker("first").take(KEY, 0)
    world.time.pass_by(SECONDS * 5)
    assert world.worker("second").seconds_left(KEY, 0) == 0


def test_an_abandoned_lease_is_deleted_by_time_a_day_after_it_ended(world: World) -> None:
    """TTL reads seconds; the lease itself is in milliseconds."""
    world.worker("first").take(KEY, 0)
    (item,) = world.dynamodb.items.values()
    end = world.time.now.timestamp() + SECONDS
    assert int(item["expires_at"]["N"]) == end + 86_400
    assert int(item["until"]["N"]) == end * 1_000


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE, Fault.THROTTLED])
def test_a_lease_of_ours_that_was_not_heard_of_is_ours(world: World, fault: Fault) -> None:
    """The second try meets its own lease: it must not put our own message back."""
    assert world.worker("first", at_call(0, fault)).take(KEY, 0) is True


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE])
def test_a_release_that_was_not_heard_of_is_one(world: World, fault: Fault) -> None:
    """The second try finds nothing to release."""
    world.worker("first").take(KEY, 0)
    world.worker("first", at_call(0, fault)).release(KEY, 0)
    assert world.worker("second").take(KEY, 0) is True


def test_of_two_workers_at_the_same_time_one_takes_the_row(world: World) -> None:
    """The condition decides, not what somebody read before."""

    def overtake(_: str) -> Fault:
        assert world.worker("second").take(KEY, 0) is True
        return Fault.NONE

    assert world.worker("first", overtake).take(KEY, 0) is False


def test_a_worker_that_dies_as_it_takes_a_row_holds_it_for_a_lease(world: World) -> None:
    """And no longer."""
    assert killed(lambda: world.worker("first", at_call(0, Fault.KILLED_AFTER)).take(KEY, 0))
    assert world.worker("second").take(KEY, 0) is False
    world.time.pass_by(SECONDS + 0.001)
    assert world.worker("second").take(KEY, 0) is True
