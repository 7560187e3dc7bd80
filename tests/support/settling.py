"""A batch whose chunks are counted, and settlers over its stream."""

from collections.abc import Callable
from functools import partial
from typing import Any

from chalicelib.steps.settle import Settled, Settler
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, batch_pk, bits, number, text
from chalicelib.transport.streams import Change
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryEvents
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import NOW, bus_of, changed_since, chunk_of, faulty, killed, plant_ready, table

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


def no_fault(_: str) -> Fault:
    """Let every call succeed."""
    return Fault.NONE


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

    def settle(self, changes: list[Change], faults: Faults = no_fault) -> Settled:
        """Settle changes, with faults at any call to either service."""
        events: Any = faulty(self.events, faults)
        settler = Settler(table=table(faulty(self.dynamodb, faults)), bus=bus_of(events), clock=lambda: NOW)
        return settler.settle(changes)

    def chunk_images(self) -> list[Change]:
        """Return the chunks as the stream has them."""
        return [change for change in changed_since(self.dynamodb) if change.sk == "chunk"]

    def drain(self, faults: Faults = no_fault) -> None:
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


def ended_image(world: World) -> Change:
    """Close everything and return the image in which the batch has ended, its event not yet put."""
    world.settle(world.chunk_images())
    world.settle([world.batch_image()])
    return world.batch_image()
