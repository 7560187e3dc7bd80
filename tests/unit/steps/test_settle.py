"""Settle: chunks close once, batches end once, and the world hears of it at least once under one name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from chalicelib.errors import FatalError, ThrottledError
from chalicelib.steps.settle import Settled, Settler
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, batch_pk, bits, number, text
from chalicelib.transport.streams import Change
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryEvents
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tests.support.builders import (
    NOW,
    Requests,
    at_call,
    bus_of,
    calls_of,
    changed_since,
    chunk_of,
    faulty,
    in_turn,
    killed,
    plant_ready,
    table,
)

BATCH = "offices-1"
COUNTED: dict[str, Any] = {
    "state": text(ChunkState.COUNTING),
    "version": number(2),
    "done": bits(RowBits.first(2)),
    "remaining": number(0),
    "succeeded": number(1),
    "failed": number(1),
}
Faults = Callable[[str], Fault]


def _no_fault(_: str) -> Fault:
    return Fault.NONE


def _must_not_call(operation: str) -> Fault:
    raise AssertionError(f"calls {operation}")


class World:
    """A planned batch whose chunks are all counted: two rows each, one of them succeeded and one failed."""

    def __init__(self, chunks: int = 3, *, batch: str = BATCH, planned: bool = True) -> None:
        self.batch_id = batch
        self.dynamodb = MemoryDynamoDB()
        self.events = MemoryEvents()
        self.add(batch, chunks, planned=planned)

    def add(self, batch: str, chunks: int, *, planned: bool = True) -> None:
        """Put a batch and its counted chunks."""
        made = Batch(
            id=batch,
            job="offices",
            source=Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag="e"),
            size=9,
            status=BatchStatus.PLANNING,
            created_at="2026-03-01T00:00:00.000000+00:00",
            expires_at=1,
            chunk_rows=2,
            chunk_bytes=99,
        )
        item = made.to_item()
        if planned:
            item |= {"status": text("running"), "chunks": number(chunks), "remaining": number(chunks)}
        table(self.dynamodb).write_all([item])
        for position in range(chunks):
            plant_ready(self.dynamodb, ChunkKey(batch, position), 2, **COUNTED)

    def settle(self, changes: list[Change], faults: Faults = _no_fault) -> Settled:
        """Settle changes, with faults at any call to either service."""
        events: Any = faulty(self.events, faults)
        settler = Settler(table=table(faulty(self.dynamodb, faults)), bus=bus_of(events), clock=lambda: NOW)
        return settler.settle(changes)

    def chunk_images(self) -> list[Change]:
        """Return the chunks as the stream has them."""
        return [change for change in changed_since(self.dynamodb) if change.sk == "chunk"]

    def drain(self, faults: Faults = _no_fault) -> None:
        """Settle all of the stream until nothing comes any more; a worker that dies gets the same again."""
        position = 0
        while position < len(self.dynamodb.stream):
            end = len(self.dynamodb.stream)
            while killed(partial(self.settle, self.changes(position, end), faults)):
                pass
            position = end

    def changes(self, since: int, until: int) -> list[Change]:
        """Return a stretch of the stream."""
        return changed_since(self.dynamodb, since)[: until - since]

    def change_chunk(self, position: int, **attributes: Any) -> None:
        """Let a chunk have become something else since its image."""
        self.dynamodb.items[batch_pk(self.batch_id) + f"#{position:06d}", "chunk"] |= attributes

    def change_batch(self, **attributes: Any) -> None:
        """Let the batch have become something else since its image."""
        self.dynamodb.items[batch_pk(self.batch_id), "batch"] |= attributes

    def batch(self) -> Batch:
        """Return the batch as it stands."""
        return Batch.from_item(self.dynamodb.items[batch_pk(self.batch_id), "batch"])

    def closed(self) -> list[int]:
        """Return the numbers of the closed chunks."""
        keys = [ChunkKey.from_pk(pk) for pk, sk in self.dynamodb.items if sk == "chunk"]
        return sorted(key.number for key in keys if chunk_of(self.dynamodb, key).closed)

    def batch_image(self) -> Change:
        """Return the newest image of the batch."""
        return [change for change in changed_since(self.dynamodb) if change.sk == "batch"][-1]


def _ended(world: World) -> Change:
    """Close everything and return the image in which the batch has ended, its event not yet put."""
    world.settle(world.chunk_images())
    world.settle([world.batch_image()])
    return world.batch_image()


def test_counted_chunks_are_closed_and_their_counts_added_to_the_batch() -> None:
    """In one transaction: a closed chunk that was not added up, or one added up twice, cannot be."""
    world = World()
    requests = Requests(world.dynamodb)
    settler = Settler(table=table(requests), bus=bus_of(faulty(world.events, _no_fault)))
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
    """What would be added to the batch is not what the chunk says now, or may not be: a newer image will come.

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
    settler = Settler(table=table(requests), bus=bus_of(faulty(world.events, _no_fault)))
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
    """What it said is no longer so, or was not so in between."""
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


def test_the_event_says_what_became_of_the_batch() -> None:
    """A subscriber need not read the table."""
    world = World()
    assert world.settle([_ended(world)]) == Settled(events=1)
    assert world.events.details == [
        {
            "schema_version": 1,
            "type": "Batch Completed",
            "event_id": "offices-1#1",
            "batch_id": BATCH,
            "job": "offices",
            "bucket": "inbox",
            "key": "inbox/offices/day.csv",
            "version": "v1",
            "status": "completed_with_failures",
            "attempt": 1,
            "rows": 6,
            "succeeded": 3,
            "failed": 3,
            "rejected": 0,
            "reason": "",
            "created_at": "2026-03-01T00:00:00.000000+00:00",
            "completed_at": "2026-03-01T12:00:00.000000+00:00",
        }
    ]
    assert world.batch().published_attempt == 1


def test_the_event_goes_to_the_bus_of_the_stage_as_tallys() -> None:
    """Rules match on the source and the kind."""
    world = World()
    ended = _ended(world)
    requests = Requests(world.events)
    events: Any = requests
    Settler(table=table(world.dynamodb), bus=bus_of(events)).settle([ended])
    (entry,) = requests.of("put_events")[0]["Entries"]
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == ("tally", "Batch Completed", "bus")


def test_an_event_that_is_put_again_has_the_same_id() -> None:
    """By which a subscriber tells that it is the same."""
    world = World()
    ended = _ended(world)
    world.settle([ended])
    world.settle([ended])
    assert [detail["event_id"] for detail in world.events.details] == ["offices-1#1"] * 2


def test_the_next_attempt_has_an_event_of_its_own() -> None:
    """A redrive reopened the batch, and it ended again."""
    world = World()
    ended = _ended(world)
    again = replace(ended, new={**ended.new, "attempt": number(2)})
    world.settle([ended, again])
    assert [detail["event_id"] for detail in world.events.details] == ["offices-1#1", "offices-1#2"]


def test_an_old_event_does_not_pass_for_that_of_the_next_attempt() -> None:
    """``published_attempt`` is by what one looks for events that did not go out."""
    world = World()
    ended = _ended(world)
    world.change_batch(attempt=number(2))
    world.settle([ended])
    assert world.batch().published_attempt == 0


def test_a_change_that_is_none_of_the_status_puts_no_event() -> None:
    """Noting that the event went out would put it again, for ever."""
    world = World()
    world.drain()
    assert len(world.events.details) == 1
    last = world.batch_image()
    assert (last.old["status"], last.new["status"]) == (text("completed_with_failures"),) * 2
    assert world.settle([last]) == Settled()


def test_a_batch_that_is_rejected_from_the_start_puts_batch_rejected() -> None:
    """It has no old image, and a reason."""
    world = World(0)
    rejected = {**world.batch_image().new, "status": text("rejected"), "reason": text("empty"), "chunks": number(0)}
    assert world.settle([Change(old={}, new=rejected)]) == Settled(events=1)
    (detail,) = world.events.details
    assert (detail["type"], detail["status"], detail["reason"]) == ("Batch Rejected", "rejected", "empty")


@pytest.mark.parametrize("hold", ["cancelled", "threshold"])
def test_a_batch_that_was_stopped_puts_batch_stopped_with_what_stopped_it(hold: str) -> None:
    world = World()
    ended = _ended(world)
    world.settle([replace(ended, new={**ended.new, "hold": text(hold)})])
    (detail,) = world.events.details
    assert (detail["type"], detail["stopped_by"], detail["event_id"]) == ("Batch Stopped", hold, "offices-1#1")


@pytest.mark.parametrize("change", [{"hold": text("paused")}, {"hold": text("cancelled"), "failed": number(0)}])
def test_a_batch_that_no_stop_kept_from_its_end_puts_batch_completed(change: dict[str, Any]) -> None:
    """Paused after its last row, or cancelled too late to fail any."""
    world = World()
    ended = _ended(world)
    world.settle([replace(ended, new={**ended.new, **change})])
    assert [detail["type"] for detail in world.events.details] == ["Batch Completed"]


class Refusing(MemoryEvents):
    """Does not take the entries of these batches at first, although it answers 200."""

    def __init__(self, *times: set[str]) -> None:
        super().__init__()
        self.times = list(times)
        self.requests: list[list[str]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        refused = self.times.pop(0) if self.times else set()
        names = [str(msgspec.json.decode(entry["Detail"])["batch_id"]) for entry in Entries]
        self.requests.append(names)
        taken = [entry for entry, name in zip(Entries, names, strict=True) if name not in refused]
        if taken:
            super().put_events(Entries=taken)
        answers = [{"ErrorCode": "ThrottlingException"} if name in refused else {"EventId": "1"} for name in names]
        return {"FailedEntryCount": len(refused), "Entries": answers}


def _three_ended(events: MemoryEvents) -> tuple[World, list[Change]]:
    world = World(0, batch="a-1")
    world.add("b-1", 0)
    world.add("c-1", 0)
    world.settle(changed_since(world.dynamodb))
    world.events = events
    return world, [change for change in changed_since(world.dynamodb) if change.new["status"] == text("completed")]


def test_only_the_events_that_a_200_refused_are_put_again() -> None:
    """EventBridge says so for each of them."""
    events = Refusing({"b-1", "c-1"}, {"c-1"})
    world, ended = _three_ended(events)
    assert world.settle(ended) == Settled(events=3)
    assert events.requests == [["a-1", "b-1", "c-1"], ["b-1", "c-1"], ["c-1"]]
    assert sorted(detail["batch_id"] for detail in events.details) == ["a-1", "b-1", "c-1"]


def test_an_event_that_is_never_taken_raises_and_is_not_noted_as_published() -> None:
    """The stream delivers again, and reconcile sees which one is missing."""
    world, ended = _three_ended(Refusing(*[{"b-1"}] * 99))
    with pytest.raises(ThrottledError, match="1 events were not taken"):
        world.settle(ended)
    assert "published_attempt" not in world.dynamodb.items["batch#b-1", "batch"]


def test_a_bus_that_refuses_the_call_raises() -> None:
    """A wrong name or a missing right is not taken for an event that went out."""

    class Forbidden(MemoryEvents):
        def put_events(self, **_: Any) -> dict[str, Any]:
            raise client_error("AccessDeniedException")

    world, ended = _three_ended(Forbidden())
    with pytest.raises(FatalError):
        world.settle(ended)


def test_ten_events_go_into_a_request() -> None:
    """The limit of PutEvents."""
    world = World(0, batch="a-00")
    for position in range(1, 12):
        world.add(f"a-{position:02d}", 0)
    world.settle(changed_since(world.dynamodb))
    ended = [change for change in changed_since(world.dynamodb) if change.new["status"] == text("completed")]
    events = Refusing()
    world.events = events
    assert world.settle(ended) == Settled(events=12)
    assert [len(request) for request in events.requests] == [10, 2]


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
