"""Recount: count the rows of markers, and write counters that the markers prove."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.store.attempts import change_batch, next_attempt, reopen_batch
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.items import CHUNK_SK, Counts, bits, number, text
from chalicelib.store.marker import Marker
from chalicelib.store.table import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """The proof of a chunk's markers: rows that were counted, by outcome, and the version of the last marker.

    ``twice`` has rows that more than one marker counts, of which nothing can be proven.
    """

    done: RowBits
    counts: Counts
    version: int
    twice: RowBits

    def agrees(self, chunk: Chunk) -> bool:
        """Tell whether a chunk says the same, or the markers contradict each other."""
        same = (chunk.done, chunk.counts, chunk.remaining) == (self.done, self.counts, self.remaining(chunk))
        return bool(self.twice) or (same and chunk.version >= self.version)

    def remaining(self, chunk: Chunk) -> int:
        """Return how many rows of a chunk have no marker."""
        return (chunk.rows or 0) - len(self.done)

    def lacks(self, chunk: Chunk) -> bool:
        """Tell whether rows that a chunk says are done have no marker."""
        return bool(chunk.done - self.done)


def recount(markers: Iterable[Marker]) -> Recount:
    """Count markers again."""
    done, twice, counts, version = RowBits(), RowBits(), Counts(), 0
    for marker in markers:
        rows = marker.every_row
        twice |= done & rows
        done |= rows
        counts += marker.counts
        version = max(version, marker.version)
    return Recount(done=done, counts=counts, version=version, twice=twice)


def repair_chunk(batch: Batch, chunk: Chunk, found: Recount) -> list[Update]:
    """Return the transaction that sets a chunk to what its markers prove.

    A closed chunk has its share in the batch, which moves with it. If rows of it have no marker it is opened again, and
    the batch too: like a redrive this sends its rows with a new generation. A corrected row without its marker is read
    again, for what is stored of it may be the row that was uploaded.
    """
    opens = chunk.closed and found.remaining(chunk) > 0
    unread = (chunk.done - found.done) & chunk.corrected
    state = ChunkState.READY if opens else chunk.state
    values: dict[str, Any] = {
        ":version": number(chunk.version),
        ":next": number(max(chunk.version, found.version) + 1),
        ":generation": number(chunk.generation + (opens or bool(unread))),
        ":state": text(ChunkState.PLANNED if unread else state),
        ":done": bits(found.done),
        ":remaining": number(found.remaining(chunk)),
        **found.counts.values(),
    }
    expression = (
        "SET done = :done, remaining = :remaining, succeeded = :succeeded, #failed = :failed, "
        "rejected = :rejected, #version = :next, #generation = :generation, #state = :state"
    )
    if unread:
        expression += ", rereads = :rereads"
        values[":rereads"] = bits(chunk.rereads | unread)
    repair = Update(pk=chunk.key.pk, sk=CHUNK_SK, expression=expression, condition=AS_READ, values=values)
    if not chunk.closed:
        return [repair]
    if opens:
        return [repair, reopen_batch(batch, back=chunk)]
    change = found.counts - chunk.counts
    return [
        repair,
        change_batch(batch, "ADD succeeded :succeeded, #failed :failed, rejected :rejected", change.values()),
    ]


def repair_batch(batch: Batch, chunks: Sequence[Chunk]) -> Update | None:
    """Return the update that sets a batch to what its closed chunks add up to, None if it says so already.

    The end of a batch that has ended is set with its counters; if one of its chunks is open, it runs again.
    """
    closed = [chunk for chunk in chunks if chunk.closed]
    counts = sum((chunk.counts for chunk in closed), Counts())
    rows = sum(chunk.rows or 0 for chunk in closed)
    remaining = (batch.chunks or 0) - len(closed)
    status = BatchStatus.ended(flawless=counts.succeeded == rows)
    is_ended_right = not batch.status.final or (remaining == 0 and batch.status is status)
    if is_ended_right and (batch.counts, batch.rows, batch.remaining) == (counts, rows, remaining):
        return None
    sets, _, removes, values = next_attempt(batch) if remaining else ([], [], [], {})
    sets += [
        "remaining = :remaining",
        "#rows = :rows",
        "succeeded = :succeeded",
        "#failed = :failed",
        "rejected = :rejected",
    ]
    values |= {":remaining": number(remaining), ":rows": number(rows), **counts.values()}
    if batch.status.final and not remaining:
        sets.append("#status = :status")
        values[":status"] = text(status)
    removed = f" REMOVE {', '.join(removes)}" if removes else ""
    return change_batch(batch, f"SET {', '.join(sets)}{removed}", values)
