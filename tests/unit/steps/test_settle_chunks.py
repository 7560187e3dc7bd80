"""Settle closes each counted chunk once, and adds its counts to the batch once."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.steps.settle import Settled, Settler
from chalicelib.store.batch import BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Counts, bits, number, text
from chalicelib.transport.streams import Change
from tally.testing.faults import Fault
from tests.support.builders import Requests, bus_of, chunk_of, faulty, in_turn, plant_ready, table
from tests.support.settling import BATCH, World, no_fault


def _must_not_call(operation: str) -> Fault:
    raise AssertionError(f"calls {operation}")


def test_counted_chunks_are_closed_and_their_counts_added_to_the_batch() -> None:
    """In one transaction: a closed chunk that was not added up, or one added up twice, cannot be."""
    world = World()
    requests = Requests(world.dynamodb)
    settler = Settler(table=table(requests), bus=bus_of(faulty(world.events, no_fault)))
    assert settler.settle(world.chunk_images()) == Settled(chunks=3)
    assert [operation for operation, _ in requests.made] == ["transact_write_items"]
    assert world.closed() == [0, 1, 2]
    batch = world.batch()
    assert (batch.remaining, batch.rows, batch.counts) == (0, 6, Counts(succeeded=3, failed=3))
    assert batch.status is BatchStatus.RUNNING


def test_the_same_images_again_close_nothing_twice() -> None:
    """The stream delivers at least once."""
    world = World()
    images = world.chunk_images()
    world.settle(images)
    length = len(world.dynamodb.stream)
    assert world.settle(images) == Settled()
    assert world.settle(images + images) == Settled()
    assert len(world.dynamodb.stream) == length


def test_the_same_chunk_twice_in_a_call_is_closed_once() -> None:
    """A transaction takes no item twice."""
    world = World(1)
    assert world.settle(world.chunk_images() * 2) == Settled(chunks=1)
    assert world.batch().rows == 2


@pytest.mark.parametrize(
    "now",
    [
        {"version": number(3), "succeeded": number(2), "failed": number(0)},
        {"version": number(3), "generation": number(2), "remaining": number(1), "failed": number(0)},
        {"version": number(4), "generation": number(2)},
    ],
    ids=["repaired", "redriven", "redriven and failed again"],
)
def test_a_stale_image_does_not_close_its_chunk(now: dict[str, Any]) -> None:
    """The image's counts are not the chunk's, or may not be: a newer image will come.

    The last has each counter as it was: only the version tells that it was away.
    """
    world = World(1)
    images = world.chunk_images()
    world.change_chunk(0, **now)
    assert world.settle(images) == Settled()
    assert world.closed() == []
    assert (world.batch().remaining, world.batch().rows) == (1, 0)


def test_a_stale_image_does_not_hold_up_the_others() -> None:
    """Its transaction is sent again without it, and without its counts."""
    world = World(4)
    images = world.chunk_images()
    world.change_chunk(1, version=number(3), succeeded=number(2), failed=number(0))
    assert world.settle(images) == Settled(chunks=3)
    assert world.closed() == [0, 2, 3]
    assert (world.batch().remaining, world.batch().rows, world.batch().counts) == (1, 6, Counts(succeeded=3, failed=3))


def test_a_chunk_of_which_something_remains_is_left_open() -> None:
    """One row is enough."""
    world = World(1)
    image = world.chunk_images()[0]
    assert world.settle([replace(image, new={**image.new, "remaining": number(1)})], _must_not_call) == Settled()


def test_a_chunk_whose_total_is_unknown_is_left_open() -> None:
    """Nothing remains of it, for nothing was read of it yet."""
    world = World(1)
    planned = Chunk(key=ChunkKey(BATCH, 0), start=0, end=1, first_line=2, expected_rows=2)
    assert world.settle([Change(old={}, new=planned.to_item())], _must_not_call) == Settled()
    assert world.closed() == []


def test_a_chunk_whose_rows_were_all_rejected_closes_without_a_worker() -> None:
    """Its image says ready, and nothing remains."""
    world = World(0)
    plant_ready(
        world.dynamodb, ChunkKey(BATCH, 0), 2, done=bits(RowBits.first(2)), remaining=number(0), rejected=number(2)
    )
    world.change_batch(chunks=number(1), remaining=number(1))
    assert world.settle(world.chunk_images()) == Settled(chunks=1)
    assert world.batch().counts == Counts(rejected=2)


def test_closing_raises_the_version_of_the_chunk_and_of_the_batch() -> None:
    """So a repair or a redrive that read them before finds that they moved, although the chunk's counts did not."""
    world = World(3)
    world.settle(world.chunk_images())
    assert [chunk_of(world.dynamodb, ChunkKey(BATCH, position)).version for position in range(3)] == [3, 3, 3]
    assert world.batch().version == 1
    world.settle([world.batch_image()])
    assert world.batch().version == 2


def test_a_chunk_that_has_just_been_closed_is_no_work() -> None:
    """Its closing comes by in the stream as well, as every change does."""
    world = World()
    world.settle(world.chunk_images())
    closing = [change for change in world.chunk_images() if change.new["state"] == text("closed")]
    assert len(closing) == 3
    assert world.settle(closing, _must_not_call) == Settled()


def test_a_chunk_that_is_made_or_deleted_is_no_work() -> None:
    """Most changes of the stream call for nothing, and cost nothing."""
    planned = Chunk(key=ChunkKey(BATCH, 0), start=0, end=1, first_line=2, expected_rows=2).to_item()
    changes = [Change(old={}, new=planned), Change(old=planned, new={})]
    assert World().settle(changes, _must_not_call) == Settled()


def _of_version_1(world: World) -> list[Change]:
    """Return images as version 1 wrote them: a chunk of which nothing remains, a batch, and one that has ended."""
    chunk, batch = world.chunk_images()[0].new, world.batch_image().new
    old_chunk = {name: chunk[name] for name in chunk if name not in {"state", "version", "generation", "done"}}
    old_batch = {name: batch[name] for name in batch if name not in {"format", "version"}}
    ended = {**old_batch, "remaining": number(0), "status": text("completed"), "completed_at": text("2026")}
    return [Change(old={}, new=old_chunk), Change(old={}, new=old_batch), Change(old=old_batch, new=ended)]


def test_an_image_of_version_1_is_passed_over_and_does_not_block_the_shard() -> None:
    """A stage that is changed over has a day of them in its stream: an error would stop all that comes after."""
    world = World()
    old = _of_version_1(world)
    assert world.settle(old, _must_not_call) == Settled()
    assert world.settle([*old, *world.chunk_images()]) == Settled(chunks=3)
    assert world.batch().remaining == 0


def test_99_chunks_and_their_batch_fill_a_transaction() -> None:
    """A hundred actions are all that DynamoDB takes."""
    world = World(200)
    requests = Requests(world.dynamodb)
    settler = Settler(table=table(requests), bus=bus_of(faulty(world.events, no_fault)))
    assert settler.settle(world.chunk_images()) == Settled(chunks=200)
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 100, 3]
    assert (world.batch().remaining, world.batch().rows) == (0, 400)


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE, Fault.CONFLICT])
def test_a_fault_while_closing_adds_up_once(fault: Fault) -> None:
    """A retry after an unheard success finds its chunks closed."""
    world = World()
    world.settle(world.chunk_images(), in_turn(fault))
    assert world.closed() == [0, 1, 2]
    assert (world.batch().remaining, world.batch().rows) == (0, 6)


def test_two_settlers_at_the_same_time_add_up_once() -> None:
    """A shard's records may be delivered a second time while the first still runs."""
    world = World()
    images = world.chunk_images()
    calls: list[str] = []

    def overtake(operation: str) -> Fault:
        calls.append(operation)
        if len(calls) == 1:
            assert world.settle(images[1:]).chunks == 2
        return Fault.NONE

    assert world.settle(images, overtake).chunks == 1
    assert (world.batch().remaining, world.batch().rows) == (0, 6)
