"""The marker-item transaction: every row is counted exactly once, also if answers are lost.

A transaction puts a marker, which has the outcomes of a set of rows, and sets the bits of these rows
in the chunk and moves its counters by as many. It holds only for the version of the chunk that it was decided on, and
raises it. So a transaction that was applied but not heard of cannot be applied again, and its retry learns from the
bits which rows are done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from chalicelib.bounds import grouped
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import FatalError, NotFoundError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.items import (
    CHUNK_SK,
    ChunkKey,
    Outcome,
    bits,
    number,
    text,
    timestamp,
)
from chalicelib.store.marker import RowOutcome, encoded_size, markers, rows_by_outcome
from chalicelib.store.table import MAX_PACED_BYTES, MAX_TRANSACTION_BYTES, Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

NO_SUCH_MARKER = "attribute_not_exists(pk)"
"""The version is new, so its marker is too; a marker is never overwritten by counting."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The outcome of a row, and the generation of the message that caused it."""

    generation: int
    outcome: RowOutcome


@dataclass(frozen=True, slots=True)
class Seen:
    """A chunk as it was read, with which outcomes are compared."""

    version: int
    generation: int
    done: RowBits
    corrected: RowBits = NO_ROWS
    corrected_generation: int = 0

    @classmethod
    def of(cls, chunk: Chunk) -> Self:
        """Return a chunk as it was read."""
        return cls(chunk.version, chunk.generation, chunk.done, chunk.corrected, chunk.corrected_generation)

    def is_past(self, finished: "Finished") -> bool:
        """Tell whether an outcome is out of date: a redrive has sent its row again, if it is not done.

        A failure from before the redrive is one of the past; a success is a success, unless it came of a row that was
        corrected since.
        """
        outcome = finished.outcome
        if outcome.row in self.corrected and finished.generation < self.corrected_generation:
            return True
        return outcome.outcome is not Outcome.SUCCEEDED and finished.generation < self.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The result of ``Ledger.record``: rows counted by this call, and outcomes dropped.

    An outcome is dropped when its row was counted before, and when it is a failure from before a redrive. After an
    answer that was not heard a row may be missing in ``counted``: it is for logs only.
    """

    counted: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Counts outcomes of rows, each row once: the first outcome recorded stands."""

    table: "Table"
    retention: timedelta
    clock: Clock = utc_now

    def record(self, key: ChunkKey, finished: Sequence[Finished], seen: Seen) -> Recorded:
        """Count outcomes of rows of one chunk; safe to call again with any of them.

        ``seen`` is what the worker read of the chunk; if that is old, the answer to the transaction says what is new.
        When it returns, every one of the rows was counted, or its outcome was dropped. When it raises, some may have
        been counted: the caller delivers all of them again.
        """
        counted = 0
        most = MAX_PACED_BYTES if self.table.pacer else MAX_TRANSACTION_BYTES
        while pending := fresh(finished, seen):
            # What does not fit into one transaction is counted in several: the next round finds the first part done.
            group = next(grouped(pending, size=encoded_size, max_bytes=most))
            refused = self._count(key, group, seen)
            if refused is None:
                counted += len(group)
                done = seen.done | RowBits.of(outcome.row for outcome in group)
                seen = replace(seen, version=seen.version + 1, done=done)
            else:
                seen = Seen.of(refused)
        return Recorded(counted=counted, dropped=len(finished) - counted)

    def _count(self, key: ChunkKey, outcomes: list[RowOutcome], seen: Seen) -> Chunk | None:
        """Count the outcomes of one transaction; returns None, or the chunk as it is if somebody else was first."""
        now = self.clock()
        puts = [
            Put(item=marker.to_item(), condition=NO_SUCH_MARKER)
            for marker in markers(
                key,
                seen.version + 1,
                outcomes,
                counted_at=timestamp(now),
                expires_at=int((now + self.retention).timestamp()),
            )
        ]
        refused = self.table.transact([*puts, move_chunk(key, outcomes, seen)])
        if not refused:
            return None
        if len(puts) not in refused:
            raise FatalError(
                f"{key.pk}: there is a marker of version {seen.version + 1}, and the chunk has version {seen.version}: "
                f"run `tally audit {key.batch_id} --repair`"
            )
        if not refused[len(puts)]:
            raise NotFoundError(f"outcomes for {key.pk}, which no plan has made: was its batch deleted?")
        return Chunk.from_item(refused[len(puts)])


def fresh(finished: Iterable[Finished], seen: Seen) -> list[RowOutcome]:
    """Return the outcomes that are to be counted, the first of each row.

    A row that is done stays as it is, and what is of the past is dropped.
    """
    first: dict[int, RowOutcome] = {}
    for each in finished:
        if each.outcome.row not in seen.done and not seen.is_past(each):
            first.setdefault(each.outcome.row, each.outcome)
    return list(first.values())


def move_chunk(key: ChunkKey, outcomes: list[RowOutcome], seen: Seen) -> Update:
    """Return the update of a chunk by which outcomes are counted."""
    rows = rows_by_outcome(outcomes)
    return Update(
        pk=key.pk,
        sk=CHUNK_SK,
        expression="SET done = :done, #version = :next, #state = :counting "
        "ADD remaining :taken, succeeded :succeeded, #failed :failed",
        condition=AS_READ,
        values={
            ":done": bits(seen.done | RowBits.of(outcome.row for outcome in outcomes)),
            ":version": number(seen.version),
            ":next": number(seen.version + 1),
            ":counting": text(ChunkState.COUNTING),
            ":taken": number(-len(outcomes)),
            ":succeeded": number(len(rows[Outcome.SUCCEEDED])),
            ":failed": number(len(rows[Outcome.FAILED])),
        },
        returns_item=True,
    )
