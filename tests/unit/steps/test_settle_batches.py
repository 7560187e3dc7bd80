"""Settle ends a batch once, when its last chunk is closed."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.steps.settle import Settled
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts, number, text
from tally.testing.faults import Fault
from tests.support.builders import at_call, calls_of, changed_since
from tests.support.settling import Faults, World


def test_a_batch_is_not_ended_before_its_chunks_are_all_known() -> None:
    """Every chunk that there is may be closed, and more may come."""
    world = World(planned=False)
    world.drain()
    assert world.closed() == [0, 1, 2]
    assert (world.batch().remaining, world.batch().status) == (-3, BatchStatus.PLANNING)
    assert world.events.details == []


def test_a_batch_without_chunks_ends_when_it_is_planned() -> None:
    """A file that is all header: every one of its no rows succeeded."""
    world = World(0)
    world.drain()
    assert world.batch().status is BatchStatus.COMPLETED
    assert world.events.details[0]["rows"] == 0


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"succeeded": number(2), "failed": number(0)}, BatchStatus.COMPLETED),
        ({"succeeded": number(1), "failed": number(1)}, BatchStatus.COMPLETED_WITH_FAILURES),
        ({"succeeded": number(1), "failed": number(0), "rejected": number(1)}, BatchStatus.COMPLETED_WITH_FAILURES),
    ],
)
def test_a_batch_says_whether_all_of_its_rows_succeeded(counts: dict[str, Any], status: BatchStatus) -> None:
    """A rejected row is as much a flaw as a failed one."""
    world = World(1)
    image = world.chunk_images()[0]
    world.change_chunk(0, **counts)
    world.settle([replace(image, new={**image.new, **counts})])
    assert world.settle([world.batch_image()]) == Settled(batches=1)
    assert world.batch().status is status
    assert world.batch().completed_at == "2026-03-01T12:00:00.000000+00:00"


def test_a_batch_ends_once_of_two_checks() -> None:
    """Both have an image in which nothing remains."""
    world = World()
    world.settle(world.chunk_images())
    image = world.batch_image()
    assert world.settle([image]) == Settled(batches=1)
    length = len(world.dynamodb.stream)
    assert world.settle([image]) == Settled()
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize(
    "now",
    [
        {"version": number(2), "remaining": number(1)},
        {"version": number(2), "failed": number(0), "succeeded": number(6)},
        {"version": number(3)},
        {"version": number(3), "attempt": number(2)},
        {"version": number(2), "status": text("completed")},
    ],
    ids=["reopened", "repaired", "reopened and closed again", "another attempt", "ended already"],
)
def test_an_old_image_does_not_end_a_batch(now: dict[str, Any]) -> None:
    """The image is out of date, or was out of date in between."""
    world = World()
    world.settle(world.chunk_images())
    image = world.batch_image()
    world.change_batch(**now)
    before = world.batch()
    assert world.settle([image]) == Settled()
    assert world.batch() == before


def test_the_newest_of_several_images_of_a_batch_counts() -> None:
    """In the older ones there is a remainder still, or again."""
    world = World()
    world.settle(world.chunk_images())
    image = world.batch_image()
    older = replace(image, new={**image.new, "remaining": number(1)})
    assert world.settle([older, image]) == Settled(batches=1)
    world = World()
    world.settle(world.chunk_images())
    image = world.batch_image()
    newer = replace(image, new={**image.new, "remaining": number(1)})
    assert world.settle([image, newer]) == Settled()


def test_batches_do_not_mix() -> None:
    """One call of the stream may have chunks of several."""
    world = World(2, batch="a-1")
    world.add("b-1", 1)
    assert world.settle(world.chunk_images()) == Settled(chunks=3)
    rows = [world.dynamodb.items[f"batch#{name}", "batch"]["rows"] for name in ("a-1", "b-1")]
    assert rows == [number(4), number(2)]


def _drained(faults: Faults) -> World:
    world = World()
    world.drain(faults)
    return world


@pytest.mark.parametrize("position", range(len(calls_of(_drained))))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.ERROR_BEFORE])
def test_a_worker_that_dies_anywhere_ends_the_batch_once(fault: Fault, position: int) -> None:
    """Dying between any two calls, or an answer lost at any: the same totals, one end, one event id."""
    world = _drained(at_call(position, fault))
    batch = world.batch()
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert (batch.remaining, batch.rows, batch.counts) == (0, 6, Counts(succeeded=3, failed=3))
    ends = [change for change in changed_since(world.dynamodb) if change.new.get("status") != change.old.get("status")]
    assert [change.new["status"]["S"] for change in ends if change.old] == ["completed_with_failures"]
    assert {detail["event_id"] for detail in world.events.details} == {"offices-1#1"}
    assert batch.published_attempt == 1


def test_a_job_that_no_longer_loads_keeps_no_batch_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure limit is the job's, the completion check is not."""

    def broken(_name: str) -> None:
        raise ImportError("the module is broken")

    monkeypatch.setattr("chalicelib.jobs.find", broken)
    world = World()
    world.drain()
    assert world.batch().status is BatchStatus.COMPLETED_WITH_FAILURES
