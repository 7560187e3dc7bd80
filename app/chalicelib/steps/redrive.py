"""Redrive: failed rows run again, rejected ones are read again, and corrected ones are read in place of either.

They are taken out of their markers, and with them exactly what they had counted.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chalicelib.bounds import grouped
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import ConflictError, TallyError
from chalicelib.store.attempts import reopen_batch
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.corrections import IS_NEW, Correction, name_file
from chalicelib.store.items import (
    CHUNK_SK,
    ChunkKey,
    Outcome,
    bits,
    marker_sk,
    number,
    text,
)
from chalicelib.store.marker import Marker, ReasonCode, RowOutcome, encoded_size, rows_by_outcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_ACTIONS, MAX_TRANSACTION_BYTES, Delete, Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_MAX_MARKERS = MAX_ACTIONS - 2
"""Two actions of a transaction are the chunk's and the batch's."""
_MAX_CORRECTED_MARKERS = _MAX_MARKERS - 2
"""Two more are those that name a correction and its file."""
_UNSUCCESSFUL = frozenset({Outcome.FAILED, Outcome.REJECTED})


class NotRedrivableError(TallyError):
    """The batch does not exist, never had rows, or its rows have expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """The number of rows that were taken back, and the hold that was lifted with the first of them."""

    rows: int = 0
    lifted: Hold | None = None

    def __add__(self, other: "Redriven") -> "Redriven":
        """Add what was taken back after this."""
        return Redriven(rows=self.rows + other.rows, lifted=self.lifted or other.lifted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The rows of a chunk that are taken back; without ``rows`` all of those outcomes whose reason is wanted.

    ``correction`` is what they are replaced by, if they are.
    """

    outcomes: frozenset[Outcome]
    reason: Callable[[str], object]
    rows: RowBits
    correction: Correction | None = None

    def has(self, found: RowOutcome) -> bool:
        """Tell whether a row is to be taken back."""
        is_named = not self.rows or found.row in self.rows
        return found.outcome in self.outcomes and is_named and bool(self.reason(found.reason))


@dataclass(frozen=True, slots=True)
class _Taken:
    """A marker, the outcomes that stay in it, and those that are taken back."""

    before: Marker
    after: Marker | None
    outcomes: Sequence[RowOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriver:
    """Takes failures back; the stream then sends those rows again, so dying at any point loses none."""

    table: "Table"
    clock: Clock = utc_now

    def redrive(
        self,
        batch_id: str,
        *,
        outcome: Outcome = Outcome.FAILED,
        reason: Callable[[str], object] = lambda _: True,
        rows: Collection[tuple[int, int]] = (),
        on_chunk: Callable[[], None],
    ) -> Redriven:
        """Run failed rows again, or read rejected ones again: of ``rows``, if given, those whose ``reason`` is wanted.

        ``rows`` are pairs of chunk and row. What had stopped the batch is lifted in the transaction that takes the
        first row back: a redrive that takes nothing back changes nothing. Of a chunk that was never read all rows are
        taken back. Safe to repeat, to interrupt and to run while the batch is running; ``on_chunk`` is called after
        each chunk. Raises NotRedrivableError.
        """
        batch = self._require(batch_id)
        done = Redriven()
        for chunk in range(batch.chunks or 0):
            wanted = RowBits.of(row for number, row in rows if number == chunk)
            if not rows or wanted:
                done += self._redrive_chunk(ChunkKey(batch_id, chunk), _Wanted(frozenset({outcome}), reason, wanted))
            on_chunk()
        return done

    def correct(
        self, batch_id: str, corrections: Iterable[tuple[int, Correction]], *, on_chunk: Callable[[], None]
    ) -> Redriven:
        """Run rows again as they were corrected: those of the corrections that have failed or were rejected.

        Each correction is of the chunk with that number; its generation does not matter. Otherwise as ``redrive``.
        """
        self._require(batch_id)
        done = Redriven()
        for chunk, correction in corrections:
            wanted = _Wanted(_UNSUCCESSFUL, lambda _: True, correction.rows, correction)
            done += self._redrive_chunk(ChunkKey(batch_id, chunk), wanted)
            on_chunk()
        return done

    def _require(self, batch_id: str) -> Batch:
        batch = self._repository.find_batch(batch_id)
        if batch is None:
            raise NotRedrivableError(f"there is no batch {batch_id}")
        if batch.status is BatchStatus.REJECTED:
            raise NotRedrivableError(f"{batch_id} was rejected as a file, it has no rows: {batch.reason}")
        if self.clock().timestamp() >= batch.expires_at:
            raise NotRedrivableError(f"the rows of {batch_id} have expired; upload the file again")
        return batch

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    def _redrive_chunk(self, key: ChunkKey, wanted: _Wanted) -> Redriven:
        """Take outcomes of one chunk back, in as many transactions as their markers need.

        Not until there are none: a row that fails again at once would be taken back for ever.
        """
        done, more = Redriven(), True
        while more:
            taken, more = self.table.retry(self._take_back, key, wanted)
            done += taken
        return done

    def _take_back(self, key: ChunkKey, wanted: _Wanted) -> tuple[Redriven, bool]:
        """Take back what fits into a transaction, and tell whether that leaves more of what was found.

        Raises ConflictError if the chunk has moved.
        """
        # In this order: every change of markers after this raises the version that guards the transaction.
        batch, chunk = self._repository.require_with_batch(key)
        if not any(getattr(chunk.counts, outcome) for outcome in wanted.outcomes):
            return Redriven(), False
        found = self._repository.markers(key)
        taken = [each for marker in found if (each := _take(marker, wanted)) is not None]
        if not taken:
            return Redriven(), False
        if wanted.correction is None and _is_unread(chunk):  # so that all of it is read now
            taken = [_Taken(marker, None, marker.outcomes) for marker in found]
        most = _MAX_CORRECTED_MARKERS if wanted.correction else _MAX_MARKERS
        group = next(grouped(taken, size=_size, max_bytes=MAX_TRANSACTION_BYTES, max_parts=most))
        outcomes = [outcome for each in group for outcome in each.outcomes]
        corrected = self._correct(batch, chunk, wanted.correction, outcomes) if wanted.correction else []
        reopened = _reopen_chunk(chunk, outcomes, self._stored(key, chunk), is_correction=bool(corrected))
        if self.table.transact(_actions(batch, chunk, group, [*corrected, reopened])):
            raise ConflictError(f"{key.pk} has moved since it was read")
        lifted = batch.hold if _is_stopped(batch) else None
        return Redriven(rows=len(outcomes), lifted=lifted), len(group) < len(taken)

    def _correct(
        self, batch: Batch, chunk: Chunk, correction: Correction, taken: Sequence[RowOutcome]
    ) -> list[Put | Delete | Update]:
        """Return the writes that name what rows are replaced by, in the chunk and in the batch."""
        lines = {found.row: correction.lines[found.row] for found in taken}
        of_chunk = replace(correction, generation=chunk.generation + 1, lines=lines)
        attempt = batch.attempt + batch.status.final
        return [
            Put(item=of_chunk.to_item(chunk.key, expires_at=batch.expires_at), condition=IS_NEW),
            *name_file(self.table, batch.id, correction.file, attempt=attempt, expires_at=batch.expires_at),
        ]

    def _stored(self, key: ChunkKey, chunk: Chunk) -> RowBits | None:
        """Return the rows of a chunk that are in the table, None if its outcomes say so.

        Of a chunk that was given up unread, and in which rows were corrected since, only those may be.
        """
        if not chunk.corrected:
            return None
        return RowBits.of(row.row for _, row in self._repository.require_work(key).stored())


def _is_stopped(batch: Batch) -> bool:
    return batch.hold is not None and batch.hold.stops


def _is_unread(chunk: Chunk) -> bool:
    """Tell whether a chunk was given up before it was read: then it has no rows, and every one of them has failed."""
    return chunk.pages == 0 and chunk.counts.failed > 0


def _is_stored(found: RowOutcome) -> bool:
    """Tell whether a row of a chunk that was read is in the table. One that is not has to be read again."""
    return found.outcome is not Outcome.REJECTED and found.code is not ReasonCode.ROW_GONE


def _lacks(stored: RowBits | None, found: RowOutcome) -> bool:
    return stored is not None and found.row not in stored


def _take(marker: Marker, wanted: _Wanted) -> _Taken | None:
    """Return what is taken out of a marker, None if it has nothing that is asked for."""
    taken = [outcome for outcome in marker.outcomes if wanted.has(outcome)]
    if not taken:
        return None
    left = [outcome for outcome in marker.outcomes if not wanted.has(outcome)]
    return _Taken(marker, marker.with_outcomes(left) if left else None, taken)


def _size(taken: _Taken) -> int:
    return sum(map(encoded_size, taken.after.outcomes)) if taken.after else 0


def _actions(
    batch: Batch, chunk: Chunk, group: Sequence[_Taken], moves: Sequence[Put | Delete | Update]
) -> list[Put | Delete | Update]:
    """Return the transaction that takes rows back; the guards are those of the chunk and the batch."""
    markers: list[Put | Delete | Update] = [
        Put(item=each.after.to_item())
        if each.after
        else Delete(pk=chunk.key.pk, sk=marker_sk(each.before.version, each.before.page))
        for each in group
    ]
    if chunk.closed or _is_stopped(batch):
        reopened = reopen_batch(batch, back=chunk if chunk.closed else None, lifts=_is_stopped(batch))
        return [*markers, *moves, reopened]
    return [*markers, *moves]


def _reopen_chunk(chunk: Chunk, taken: Sequence[RowOutcome], stored: RowBits | None, *, is_correction: bool) -> Update:
    """Return the update by which rows of a chunk are to be processed again, or to be read if they are not ``stored``.

    Those that are corrected are read in any case.
    """
    values: dict[str, Any] = {
        ":version": number(chunk.version),
        ":next": number(chunk.version + 1),
        ":generation": number(chunk.generation + 1),
        ":taken": number(len(taken)),
    }
    sets = "SET #state = :state, #version = :next, #generation = :generation"
    if _is_unread(chunk) and not is_correction:
        values[":state"] = text(ChunkState.PLANNED)
        rest = " ADD redriven :taken REMOVE #rows, pages, done, heavy, remaining, succeeded, #failed, rejected, rereads"
        return Update(pk=chunk.key.pk, sk=CHUNK_SK, expression=sets + rest, condition=AS_READ, values=values)
    rows = rows_by_outcome(taken)
    # Those that an earlier redrive wants to be read stay in it: its message may have been dropped for this one's.
    rereads = chunk.rereads | RowBits.of(
        found.row for found in taken if is_correction or not _is_stored(found) or _lacks(stored, found)
    )
    values |= {
        # What is to be read is read first: ingest makes the chunk ready, and so has all of its rows sent.
        ":state": text(ChunkState.PLANNED if rereads else ChunkState.READY),
        ":done": bits(chunk.done - RowBits.of(found.row for found in taken)),
        ":failed": number(-len(rows[Outcome.FAILED])),
        ":rejected": number(-len(rows[Outcome.REJECTED])),
    }
    sets += ", done = :done"
    if rereads:
        sets += ", rereads = :rereads"
        values[":rereads"] = bits(rereads)
    if is_correction:
        sets += ", corrected = :corrected, corrected_generation = :generation"
        values[":corrected"] = bits(chunk.corrected | RowBits.of(found.row for found in taken))
    expression = f"{sets} ADD remaining :taken, #failed :failed, rejected :rejected, redriven :taken"
    return Update(pk=chunk.key.pk, sk=CHUNK_SK, expression=expression, condition=AS_READ, values=values)
