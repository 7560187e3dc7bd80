"""Redrive: failed rows run again. Their markers are taken back, and with them exactly what they had counted."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import ConflictError, TallyError
from chalicelib.store.batch import Batch, BatchStatus, Listing
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    Chunk,
    ChunkKey,
    Marker,
    Outcome,
    batch_pk,
    marker_sk,
    number,
    text,
)
from chalicelib.store.table import MAX_ACTIONS, Delete, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_MAX_MARKERS = MAX_ACTIONS - 2
"""Two actions of a transaction are the chunk's and the batch's."""

IS_FAILED = "outcome = :outcome"
"""Only a failure is taken back, and only once: a second redrive runs into a marker that is gone."""
CHUNK_IS_OPEN = "attribute_not_exists(#closed)"
"""Its batch has none of its counts yet."""
CHUNK_IS_CLOSED_AS_READ = "attribute_exists(#closed) AND #failed = :was_failed"
"""Its batch has exactly the counts that were read, and gives exactly these back."""
BATCH_IS_AS_READ = "#status = :status AND attempt = :attempt"
"""Of several redrives of a finished batch one begins the next attempt, the others join it."""


class NotRedrivableError(TallyError):
    """There is no such batch, it never had rows, or they have expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriver:
    """Takes failures back; the stream then sends those rows again, so dying at any point loses none."""

    table: "Table"

    def redrive(
        self, batch_id: str, *, error: str = "", rows: Collection[tuple[int, int]] = (), on_chunk: Callable[[], None]
    ) -> int:
        """Run failed rows again, those whose reason matches ``error`` and, if given, that are in ``rows``.

        ``rows`` are pairs of chunk and row. Returns how many were taken back. Safe to repeat, to interrupt and to run
        while the batch is running; ``on_chunk`` is called after each chunk.
        """
        batch = self._batch(batch_id)
        if batch.status is BatchStatus.REJECTED:
            raise NotRedrivableError(f"{batch_id} was rejected as a file, it has no rows: {batch.reason}")
        pattern = re.compile(error)
        taken = 0
        for chunk in range(batch.chunks or 0):
            wanted = {row for number, row in rows if number == chunk}
            if not rows or wanted:
                taken += self._redrive_chunk(ChunkKey(batch_id, chunk), pattern, wanted)
            on_chunk()
        return taken

    def _redrive_chunk(self, key: ChunkKey, pattern: re.Pattern[str], wanted: set[int]) -> int:
        taken = 0
        before = self._chunk(key)
        markers = [Marker.from_item(item) for item in self.table.query(key.pk, MARKER_PREFIX)]
        failed = [marker for marker in markers if _matches(marker, pattern, wanted)]
        # A chunk that has changed meanwhile was redriven by somebody else, who took the markers that are missing.
        if failed and before.closed and before == self._chunk(key):
            _require_whole(before, len(markers))
        while failed:
            group, failed = failed[:_MAX_MARKERS], failed[_MAX_MARKERS:]
            taken += self._take_back(key, group)
        return taken

    def _take_back(self, key: ChunkKey, markers: list[Marker]) -> int:
        """Take one transaction's worth of failures back, whatever closes, ends or redrives the batch meanwhile."""
        pending = markers
        while pending:
            chunk, batch = self._chunk(key), self._batch(key.batch_id)
            moves = [_reopen_chunk(chunk, len(pending)), _reopen_batch(batch, chunk)] if chunk.closed else []
            deletes = [
                Delete(
                    pk=key.pk,
                    sk=marker_sk(marker.row),
                    condition=IS_FAILED,
                    values={":outcome": text(Outcome.FAILED)},
                )
                for marker in pending
            ]
            stale = set(self.table.transact([*deletes, *(moves or [_uncount(chunk, len(pending))])]))
            if not stale:
                return len(pending)
            # Markers that are gone were taken back before, perhaps by a call of ours that was not heard of.
            pending = [marker for position, marker in enumerate(pending) if position not in stale]
        return 0

    def _batch(self, batch_id: str) -> Batch:
        item = self.table.get(batch_pk(batch_id), BATCH_SK)
        if item is None:
            raise NotRedrivableError(f"there is no batch {batch_id}")
        return Batch.from_item(item)

    def _chunk(self, key: ChunkKey) -> Chunk:
        item = self.table.get(key.pk, CHUNK_SK)
        if item is None:
            raise ConflictError(f"{key.pk} is gone")
        return Chunk.from_item(item)


def _require_whole(chunk: Chunk, markers: int) -> None:
    """Refuse a closed chunk whose markers expire: its other rows, read again, could be counted again."""
    expired = (chunk.rows or 0) - markers
    if expired > 0:
        raise NotRedrivableError(f"{chunk.key.pk}: {expired} of its rows have expired; upload the file again")


def _matches(marker: Marker, pattern: re.Pattern[str], wanted: set[int]) -> bool:
    chosen = marker.outcome is Outcome.FAILED and (not wanted or marker.row in wanted)
    return chosen and bool(pattern.search(marker.error))


def _uncount(chunk: Chunk, rows: int) -> Update:
    return Update(
        pk=chunk.key.pk,
        sk=CHUNK_SK,
        expression="ADD remaining :rows, #failed :less, redriven :rows",
        condition=CHUNK_IS_OPEN,
        values={":rows": number(rows), ":less": number(-rows)},
    )


def _reopen_chunk(chunk: Chunk, rows: int) -> Update:
    return Update(
        pk=chunk.key.pk,
        sk=CHUNK_SK,
        expression="ADD remaining :rows, #failed :less, redriven :rows REMOVE #closed",
        condition=CHUNK_IS_CLOSED_AS_READ,
        values={":rows": number(rows), ":less": number(-rows), ":was_failed": number(chunk.counts.failed)},
    )


def _reopen_batch(batch: Batch, chunk: Chunk) -> Update:
    """Give back what the chunk had added, and begin the next attempt if the batch had ended."""
    return Update(
        pk=batch_pk(batch.id),
        sk=BATCH_SK,
        expression="SET #status = :running, attempt = :next, listing = :open "
        "ADD remaining :one, #rows :rows, succeeded :succeeded, #failed :failed, rejected :rejected "
        "REMOVE completed_at",
        condition=BATCH_IS_AS_READ,
        values={
            ":status": text(batch.status),
            ":attempt": number(batch.attempt),
            ":running": text(BatchStatus.RUNNING),
            ":open": text(Listing.OPEN),
            ":next": number(batch.attempt + batch.status.final),
            ":one": number(1),
            ":rows": number(-(chunk.rows or 0)),
            ":succeeded": number(-chunk.counts.succeeded),
            ":failed": number(-chunk.counts.failed),
            ":rejected": number(-chunk.counts.rejected),
        },
    )
