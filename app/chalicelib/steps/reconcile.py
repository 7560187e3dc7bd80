"""Reconcile: find batches that do not move, recount them from their markers, and send again what was lost."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import described
from chalicelib.logs import logger
from chalicelib.metrics import Metric, Metrics
from chalicelib.store.batch import Batch, BatchStatus, Hold, Listing
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    ROW_PREFIX,
    Chunk,
    ChunkKey,
    Counts,
    Marker,
    Record,
    batch_pk,
    key,
    number,
    text,
)
from chalicelib.store.ledger import count
from chalicelib.store.table import Put, Update
from chalicelib.transport.uploads import Upload

if TYPE_CHECKING:
    from chalicelib.steps.dispatch import Dispatcher
    from chalicelib.steps.plan import Planner
    from chalicelib.steps.settle import Settler
    from chalicelib.store.table import Table

_WATCH_SK = "watch"
_MAX_PATIENCE = timedelta(hours=6)
_KEPT = timedelta(days=1)
"""How long it is remembered how a batch looked; a batch that is still open is noted anew."""

CHUNK_COUNTERS_AS_READ = (
    "attribute_not_exists(#closed) AND #rows = :rows AND remaining = :remaining "
    "AND succeeded = :succeeded AND #failed = :failed AND rejected = :rejected"
)
"""The counters were read before the markers: if they have not moved since, no marker has come either, so markers that
disagree prove the counters wrong. If they have, it is too early to say."""
BATCH_COUNTERS_AS_READ = (
    "attempt = :attempt AND remaining = :remaining "
    "AND succeeded = :succeeded AND #failed = :failed AND rejected = :rejected"
)


@dataclass(slots=True)
class Repairs:
    """What was found amiss in a batch and mended."""

    batch_id: str
    planned_again: bool = False
    chunks_sent: int = 0
    rows_sent: int = 0
    counters_mended: list[str] = field(default_factory=list)
    chunks_closed: int = 0
    completed: bool = False
    events_published: int = 0

    @property
    def any(self) -> bool:
        """Tell whether there was anything."""
        return bool(
            self.planned_again
            or self.chunks_sent
            or self.rows_sent
            or self.counters_mended
            or self.chunks_closed
            or self.completed
            or self.events_published
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standstill:
    """For how long a batch has looked like this, since it was seen or repaired, and how many repairs moved nothing."""

    looks: str
    seconds: float
    repairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Pushes batches on. Whatever it sends may be on its way already: a duplicate, which every consumer takes."""

    table: "Table"
    planner: "Planner"
    dispatcher: "Dispatcher"
    settler: "Settler"
    patience: timedelta
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = utc_now

    def sweep(self, batches: Iterable[Batch]) -> list[Repairs]:
        """Repair those of the batches that have not moved for longer than ``patience``.

        A batch counts as stalled from then on until it moves, also while its next repair waits.
        """
        repaired = []
        unsettled = [batch for batch in batches if not batch.status.final or batch.published_attempt != batch.attempt]
        self.metrics.add(Metric.BATCHES_OPEN, len(unsettled))
        self.metrics.add(Metric.BATCHES_STALLED, 0)
        for batch in unsettled:
            standstill = None if batch.hold is Hold.PAUSED else self._standstill(batch)
            if standstill is None:
                continue
            due = standstill.seconds >= self._patience(standstill.repairs)
            self.metrics.add(Metric.BATCHES_STALLED, due or standstill.repairs > 0)
            if not due:
                continue
            # Before the repair: one that is killed in the middle was tried, or it would have its turn at every sweep
            # and keep the others waiting.
            self._note(batch.id, standstill.looks, repairs=standstill.repairs + 1)
            try:
                repairs = self.repair(batch.id)
            except Exception as error:  # noqa: BLE001  the other batches are not to wait; the next sweep comes back
                logger.error("repair.failed", batch_id=batch.id, error=described(error))
                continue
            # An operator should know: something was lost, or a queue is much slower than the schedule.
            logger.warning("batch.repaired", extra=_fields(repairs))
            repaired.append(repairs)
        return repaired

    def open_batches(self) -> list[Batch]:
        """Return every batch whose end was not announced yet, the newest first."""
        found = map(Batch.from_item, self.table.get_all(self.table.newest(Listing.OPEN)))
        return sorted(found, key=lambda batch: batch.created_at, reverse=True)

    def repair(self, batch_id: str, on_chunk: Callable[[], None] = lambda: None) -> Repairs:
        """Do at once for a batch what can be done; safe to repeat, and to run while the batch is running."""
        repairs = Repairs(batch_id)
        batch = self._batch(batch_id)
        upload = Upload(source=batch.source, size=batch.size)
        if batch.status is BatchStatus.UNPACKING:
            self.planner.hand_over(upload)  # unpacking wants all the time that there is, and plan has more of it
            repairs.planned_again = True
        elif batch.status is BatchStatus.PLANNING:
            self.planner.plan(upload)
            repairs.planned_again = True
            batch = self._batch(batch_id)
        chunks = self._chunks(batch)
        if not batch.status.final:
            for chunk in chunks:
                if not chunk.closed:
                    self._repair_chunk(chunk, repairs)
                on_chunk()
            self._repair_batch(batch_id, repairs)
        batch = self._batch(batch_id)
        if batch.status.final and batch.published_attempt != batch.attempt:
            repairs.events_published = self.settler.publish([batch])
        return repairs

    def _repair_chunk(self, chunk: Chunk, repairs: Repairs) -> None:
        if chunk.rows is None:
            self.dispatcher.send_chunks([chunk.key])
            repairs.chunks_sent += 1
            return
        markers = [Marker.from_item(item) for item in self.table.query(chunk.key.pk, MARKER_PREFIX)]
        chunk = self._mend_chunk(chunk, count(markers), repairs)
        counted = {marker.row for marker in markers}
        if len(counted) < (chunk.rows or 0):
            records = map(Record.from_item, self.table.query(chunk.key.pk, ROW_PREFIX))
            lost = [record for record in records if record.row not in counted]
            repairs.rows_sent += self.dispatcher.send_records(lost)
            if len(lost) + len(counted) < (chunk.rows or 0):
                self.dispatcher.send_chunks([chunk.key])  # rows without a record: read them again
                repairs.chunks_sent += 1
        elif chunk.done:
            repairs.chunks_closed += self.settler.close(chunk.key.batch_id, [chunk])

    def _mend_chunk(self, chunk: Chunk, found: Counts, repairs: Repairs) -> Chunk:
        """Set a chunk's counters to what its markers prove, if they disagree; returns the chunk as it is then."""
        remaining = (chunk.rows or 0) - found.total
        if (chunk.counts, chunk.remaining) == (found, remaining):
            return chunk
        mended = self.table.update(
            Update(
                pk=chunk.key.pk,
                sk=CHUNK_SK,
                expression="SET remaining = :new_remaining, succeeded = :new_succeeded, #failed = :new_failed, "
                "rejected = :new_rejected",
                condition=CHUNK_COUNTERS_AS_READ,
                values={
                    ":rows": number(chunk.rows or 0),
                    **_values("", chunk.counts, chunk.remaining),
                    **_values("new_", found, remaining),
                },
            )
        )
        if mended:
            repairs.counters_mended.append(chunk.key.pk)
        return Chunk.from_item(self.table.get(chunk.key.pk, CHUNK_SK) or {})

    def _repair_batch(self, batch_id: str, repairs: Repairs) -> None:
        batch = self._batch(batch_id)
        if batch.chunks is None:
            return
        closed = [chunk for chunk in self._chunks(batch) if chunk.closed]
        found = sum((chunk.counts for chunk in closed), Counts())
        remaining = batch.chunks - len(closed)
        if (batch.counts, batch.remaining) != (found, remaining):
            mended = self.table.update(
                Update(
                    pk=batch_pk(batch_id),
                    sk=BATCH_SK,
                    expression="SET remaining = :new_remaining, succeeded = :new_succeeded, #failed = :new_failed, "
                    "rejected = :new_rejected, #rows = :new_rows",
                    condition=BATCH_COUNTERS_AS_READ,
                    values={
                        ":attempt": number(batch.attempt),
                        ":new_rows": number(found.total),
                        **_values("", batch.counts, batch.remaining),
                        **_values("new_", found, remaining),
                    },
                )
            )
            if mended:
                repairs.counters_mended.append(batch_pk(batch_id))
            batch = self._batch(batch_id)
        repairs.completed = self.settler.complete(batch)

    def _standstill(self, batch: Batch) -> _Standstill | None:
        """Return for how long a batch has looked as it does, None if it has moved; remembers how it looks."""
        looks = self._looks(batch)
        seen = self.table.get(batch_pk(batch.id), _WATCH_SK)
        if seen and seen["looks"]["S"] == looks:
            since = int(seen["since"]["N"])
            stood = self.clock().timestamp() - since
            return _Standstill(looks=looks, seconds=stood, repairs=int(seen["repairs"]["N"]))
        self._note(batch.id, looks)
        return None

    def _patience(self, repairs: int) -> float:
        """Return how many seconds a batch may stand still.

        Each repair that moved nothing doubles them: a batch that only waits behind another's rows must not get a
        copy of all its own every few minutes.
        """
        return min(self.patience * (1 << repairs), _MAX_PATIENCE).total_seconds()

    def _looks(self, batch: Batch) -> str:
        chunks = self._chunks(batch)
        counted = sum((chunk.counts for chunk in chunks), Counts()).total
        planned = batch.cursor.chunks if batch.cursor else len(chunks)
        unpacked = batch.unpacking.read if batch.unpacking else 0
        return f"{batch.attempt} {batch.status} {unpacked} {planned} {batch.remaining} {counted}"

    def _note(self, batch_id: str, looks: str, *, repairs: int = 0) -> None:
        now = self.clock()
        item = {
            **key(batch_pk(batch_id), _WATCH_SK),
            "looks": text(looks),
            "since": number(int(now.timestamp())),
            "repairs": number(repairs),
            "expires_at": number(int((now + _KEPT).timestamp())),
        }
        self.table.put(Put(item=item, condition=""))

    def _batch(self, batch_id: str) -> Batch:
        return Batch.from_item(self.table.get(batch_pk(batch_id), BATCH_SK) or {})

    def _chunks(self, batch: Batch) -> list[Chunk]:
        keys = [(ChunkKey(batch.id, position).pk, CHUNK_SK) for position in range(batch.chunks or 0)]
        return sorted(map(Chunk.from_item, self.table.get_all(keys)), key=lambda chunk: chunk.key)


def _values(prefix: str, counts: Counts, remaining: int) -> dict[str, dict[str, str]]:
    return {
        f":{prefix}remaining": number(remaining),
        f":{prefix}succeeded": number(counts.succeeded),
        f":{prefix}failed": number(counts.failed),
        f":{prefix}rejected": number(counts.rejected),
    }


def _fields(repairs: Repairs) -> dict[str, object]:
    names = ("batch_id", "planned_again", "chunks_sent", "rows_sent", "counters_mended", "chunks_closed", "completed")
    return {name: getattr(repairs, name) for name in names}
