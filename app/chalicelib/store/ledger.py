"""The marker-item transaction: every row is counted exactly once, whatever the network says.

A marker is put under a condition that it does not exist yet, and in the same transaction the chunk's counter
moves by as many rows. So a transaction that was applied but not heard of cancels itself when it is sent again,
and a marker without its count, or a count without its marker, cannot be.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import FatalError
from chalicelib.store.items import CHUNK_SK, ChunkKey, Counts, Marker, Outcome, number
from chalicelib.store.table import MAX_ACTIONS, Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

MAX_MARKERS = MAX_ACTIONS - 1
"""One action of each transaction is the counter."""
_MAX_BYTES = 3_500_000
"""TransactWriteItems takes 4 MB; the rest is room for keys and names."""

NOT_COUNTED_BEFORE = "attribute_not_exists(pk)"
"""The row has no marker. This is what a second delivery, or a retry after an unheard success, runs into."""
CHUNK_IS_PLANNED = "attribute_exists(pk)"
"""A counter is never made by counting: an outcome for a chunk that no plan made is a bug, not a new chunk."""
CHUNK_IS_OPEN = "attribute_not_exists(#closed)"
"""Every row of a closed chunk was counted, so an outcome that comes after is a duplicate, even when its marker
has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What ``Ledger.record`` did: rows counted by this call, and rows that had been counted before."""

    counted: int
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Counts outcomes of rows, each once: the first one recorded stands."""

    table: "Table"
    retention: timedelta
    clock: Clock = utc_now

    def record(self, chunk: ChunkKey, markers: Iterable[Marker]) -> Recorded:
        """Count the outcomes of rows of one chunk; safe to call again with any of them.

        When it returns every one of the rows has a marker. When it raises some may have been counted: the
        caller delivers all of them again.
        """
        first_by_row: dict[int, Marker] = {}
        given = 0
        for marker in markers:
            given += 1
            first_by_row.setdefault(marker.row, marker)
        counted = sum(self._record_group(chunk, group) for group in _groups(first_by_row.values()))
        return Recorded(counted=counted, duplicates=given - counted)

    def _record_group(self, chunk: ChunkKey, markers: list[Marker]) -> int:
        """Count what is not counted yet of one transaction's worth; returns how many rows that were.

        The number may be too low after an unheard success, whose retry finds its own markers. It is for logs only.
        """
        now = self.clock()
        expires_at = int((now + self.retention).timestamp())
        pending = markers
        while pending:
            puts = [
                Put(item=marker.to_item(at=now, expires_at=expires_at), condition=NOT_COUNTED_BEFORE)
                for marker in pending
            ]
            failed = set(self.table.transact([*puts, _move_counter(chunk, pending)]))
            if not failed:
                return len(pending)
            if len(puts) in failed:
                self._require_closed(chunk)
                return 0
            pending = [marker for position, marker in enumerate(pending) if position not in failed]
        return 0

    def _require_closed(self, chunk: ChunkKey) -> None:
        """Tell a late duplicate (the chunk is closed) from an outcome that belongs to no chunk; raises FatalError."""
        if self.table.get(chunk.pk, CHUNK_SK) is None:
            raise FatalError(f"outcomes for {chunk.pk}, which no plan has made: was its batch deleted?")


def _move_counter(chunk: ChunkKey, markers: list[Marker]) -> Update:
    counts = count(markers)
    return Update(
        pk=chunk.pk,
        sk=CHUNK_SK,
        expression="ADD remaining :taken, succeeded :succeeded, #failed :failed, rejected :rejected",
        condition=f"{CHUNK_IS_PLANNED} AND {CHUNK_IS_OPEN}",
        values={
            ":taken": number(-counts.total),
            ":succeeded": number(counts.succeeded),
            ":failed": number(counts.failed),
            ":rejected": number(counts.rejected),
        },
    )


def count(markers: Iterable[Marker]) -> Counts:
    """Return how many markers there are of each outcome."""
    outcomes = [marker.outcome for marker in markers]
    return Counts(
        succeeded=outcomes.count(Outcome.SUCCEEDED),
        failed=outcomes.count(Outcome.FAILED),
        rejected=outcomes.count(Outcome.REJECTED),
    )


def _groups(markers: Iterable[Marker]) -> Iterator[list[Marker]]:
    group: list[Marker] = []
    room = _MAX_BYTES
    for marker in markers:
        size = len(marker.result.encode()) + len(marker.error.encode())
        if group and (size > room or len(group) == MAX_MARKERS):
            yield group
            group, room = [], _MAX_BYTES
        group.append(marker)
        room -= size
    if group:
        yield group
