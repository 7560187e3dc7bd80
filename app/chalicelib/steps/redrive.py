"""Redrive: failed rows run again. They are taken out of their markers, and with them exactly what they had counted."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.bounds import grouped
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import ConflictError, TallyError
from chalicelib.store.attempts import reopen_batch
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.items import (
    CHUNK_SK,
    ChunkKey,
    Outcome,
    bits,
    marker_sk,
    number,
    text,
)
from chalicelib.store.marker import Marker, encoded_size
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_ACTIONS, MAX_TRANSACTION_BYTES, Delete, Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_MAX_MARKERS = MAX_ACTIONS - 2
"""Two actions of a transaction are the chunk's and the batch's."""


class NotRedrivableError(TallyError):
    """There is no such batch, it never had rows, or they have expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """How many rows of a batch were taken back, and what had stopped it and was lifted with the first of them."""

    rows: int = 0
    lifted: Hold | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A marker and what stays in it: nothing, if all of its rows are taken back."""

    before: Marker
    after: Marker | None
    rows: RowBits


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriver:
    """Takes failures back; the stream then sends those rows again, so dying at any point loses none."""

    table: "Table"
    clock: Clock = utc_now

    def redrive(
        self,
        batch_id: str,
        *,
        reason: Callable[[str], object] = lambda _: True,
        rows: Collection[tuple[int, int]] = (),
        on_chunk: Callable[[], None],
    ) -> Redriven:
        """Run failed rows again, those whose ``reason`` is wanted and, if given, that are in ``rows``.

        ``rows`` are pairs of chunk and row. What had stopped the batch is lifted in the transaction that takes the
        first row back: a redrive that takes nothing back changes nothing. Of a chunk that was never read all rows are
        taken back. Safe to repeat, to interrupt and to run while the batch is running; ``on_chunk`` is called after
        each chunk. Raises NotRedrivableError.
        """
        batch = self._repository.find_batch(batch_id)
        if batch is None:
            raise NotRedrivableError(f"there is no batch {batch_id}")
        if batch.status is BatchStatus.REJECTED:
            raise NotRedrivableError(f"{batch_id} was rejected as a file, it has no rows: {batch.reason}")
        if self.clock().timestamp() >= batch.expires_at:
            raise NotRedrivableError(f"the rows of {batch_id} have expired; upload the file again")
        taken = 0
        lifted: Hold | None = None
        for chunk in range(batch.chunks or 0):
            wanted = RowBits.of(row for number, row in rows if number == chunk)
            if not rows or wanted:
                done = self._redrive_chunk(ChunkKey(batch_id, chunk), reason, wanted)
                taken += done.rows
                lifted = lifted or done.lifted
            on_chunk()
        return Redriven(rows=taken, lifted=lifted)

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    def _redrive_chunk(self, key: ChunkKey, reason: Callable[[str], object], wanted: RowBits) -> Redriven:
        """Take the failures of one chunk back, in as many transactions as their markers need.

        Not until there are none: a row that fails again at once would be taken back for ever.
        """
        done, more = Redriven(), True
        while more:
            taken, more = self.table.retry(self._take_back, key, reason, wanted)
            done = Redriven(rows=done.rows + taken.rows, lifted=done.lifted or taken.lifted)
        return done

    def _take_back(self, key: ChunkKey, reason: Callable[[str], object], wanted: RowBits) -> tuple[Redriven, bool]:
        """Take back what fits into a transaction, and tell whether that leaves more of what was found.

        Raises ConflictError if the chunk has moved.
        """
        # In this order: whatever changes markers after this raises the version that the transaction is guarded by.
        batch, chunk = self._repository.require_with_batch(key)
        if not chunk.counts.failed:
            return Redriven(), False
        found = self._repository.markers(key)
        taken = [each for marker in found if (each := _take(marker, reason, wanted)) is not None]
        if not taken:
            return Redriven(), False
        if chunk.pages == 0:  # it was never read, so that all of it is read now
            taken = [_Taken(marker, None, marker.every_row) for marker in found]
        group = next(grouped(taken, size=_size, max_bytes=MAX_TRANSACTION_BYTES, max_parts=_MAX_MARKERS))
        if self.table.transact(_actions(batch, chunk, group)):
            raise ConflictError(f"{key.pk} has moved since it was read")
        lifted = batch.hold if _is_stopped(batch) else None
        return Redriven(rows=sum(len(each.rows) for each in group), lifted=lifted), len(group) < len(taken)


def _is_stopped(batch: Batch) -> bool:
    return batch.hold is not None and batch.hold.stops


def _take(marker: Marker, reason: Callable[[str], object], wanted: RowBits) -> _Taken | None:
    """Return what is taken out of a marker, None if it has nothing that is asked for."""
    rows = RowBits.of(
        outcome.row
        for outcome in marker.outcomes
        if outcome.outcome is Outcome.FAILED and (not wanted or outcome.row in wanted) and reason(outcome.reason)
    )
    if not rows:
        return None
    left = [outcome for outcome in marker.outcomes if outcome.row not in rows]
    return _Taken(marker, marker.with_outcomes(left) if left else None, rows)


def _size(taken: _Taken) -> int:
    return sum(map(encoded_size, taken.after.outcomes)) if taken.after else 0


def _actions(batch: Batch, chunk: Chunk, group: Sequence[_Taken]) -> list[Put | Delete | Update]:
    """Return the transaction that takes rows back; the guards are those of the chunk and the batch."""
    markers: list[Put | Delete | Update] = [
        Put(item=each.after.to_item())
        if each.after
        else Delete(pk=chunk.key.pk, sk=marker_sk(each.before.version, each.before.page))
        for each in group
    ]
    rows = RowBits.of(row for each in group for row in each.rows)
    moves = [_reopen_chunk(chunk, rows)]
    if chunk.closed or _is_stopped(batch):
        moves.append(reopen_batch(batch, back=chunk if chunk.closed else None, lifts=_is_stopped(batch)))
    return [*markers, *moves]


def _reopen_chunk(chunk: Chunk, rows: RowBits) -> Update:
    """Return the update by which rows of a chunk are to be processed again, or the chunk to be read if it never was."""
    values: dict[str, Any] = {
        ":version": number(chunk.version),
        ":next": number(chunk.version + 1),
        ":generation": number(chunk.generation + 1),
        ":taken": number(len(rows)),
        ":state": text(ChunkState.READY if chunk.pages else ChunkState.PLANNED),
    }
    expression = "SET #state = :state, #version = :next, #generation = :generation"
    if chunk.pages:
        values |= {":less": number(-len(rows)), ":done": bits(chunk.done - rows)}
        expression += ", done = :done ADD remaining :taken, #failed :less, redriven :taken"
    else:
        expression += " ADD redriven :taken REMOVE #rows, pages, done, heavy, remaining, succeeded, #failed, rejected"
    return Update(pk=chunk.key.pk, sk=CHUNK_SK, expression=expression, condition=AS_READ, values=values)
