"""Reconcile: find batches that do not move, recount them from their markers, and send again what was lost."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import NotFoundError, described
from chalicelib.logs import logger
from chalicelib.metrics import Metric, Metrics
from chalicelib.steps.recount import Recount, recount, repair_batch, repair_chunk
from chalicelib.steps.standstill import Standstills
from chalicelib.store.batch import Batch, BatchStatus, Hold, Listing, is_known
from chalicelib.store.chains import MAY_CHANGE
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import Counts, batch_pk
from chalicelib.store.repository import Repository
from chalicelib.transport.uploads import Upload

if TYPE_CHECKING:
    from chalicelib.steps.begin_chain import ChainStarter
    from chalicelib.steps.dispatch import Dispatcher
    from chalicelib.steps.lost_exports import LostExports
    from chalicelib.steps.plan import Planner
    from chalicelib.steps.settle import Settler
    from chalicelib.store.table import Table


@dataclass(slots=True)
class Repairs:
    """The repairs of a batch."""

    batch_id: str
    planned_again: bool = False
    chunks_sent: int = 0
    rows_sent: int = 0
    counters_repaired: list[str] = field(default_factory=list)
    chunks_closed: int = 0
    completed: bool = False
    events_published: int = 0
    pieces_sent: int = 0
    chain_asked: bool = False

    @property
    def sizes(self) -> dict[str, Any]:
        """The fields of its log event."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The result of a sweep of the stage."""

    repaired: list[Repairs]
    pieces_sent: int
    """Of results that were asked for and not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Pushes batches on. Its messages may be on their way already: every consumer tolerates such duplicates."""

    table: "Table"
    planner: "Planner"
    dispatcher: "Dispatcher"
    settler: "Settler"
    patience: timedelta
    exports: "LostExports | None" = None
    """None in a stage that writes no files of results."""
    chains: "ChainStarter | None" = None
    """None where nothing asks for the next job of a chain."""
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = utc_now

    def sweep_stage(self) -> Swept:
        """Push on every batch that stands still and all results that were not written."""
        try:
            repaired = self.sweep(self.open_batches())
        finally:  # the results must not wait until the batches can be listed
            pieces = self.exports.sweep() if self.exports else 0
        return Swept(repaired=repaired, pieces_sent=pieces)

    def sweep(self, batches: Iterable[Batch]) -> list[Repairs]:
        """Repair those of the batches that have not moved for longer than ``patience``.

        A batch counts as stalled from then on until it moves, also while its next repair waits. While no batch is open
        no metric is written: each costs by the hour that it is written in.
        """
        repaired = []
        unsettled = [batch for batch in batches if not batch.status.final or batch.published_attempt != batch.attempt]
        if unsettled:
            self.metrics.add(Metric.BATCHES_OPEN, len(unsettled))
            self.metrics.add(Metric.BATCHES_STALLED, 0)
        for batch in unsettled:
            try:
                repairs = self._push(batch)
            except Exception as error:  # noqa: BLE001  the other batches are not to wait; the next sweep comes back
                logger.error("repair.failed", batch_id=batch.id, error=described(error))
                continue
            if repairs is not None:
                repaired.append(repairs)
        return repaired

    def open_batches(self) -> list[Batch]:
        """Return every batch whose end was not announced yet, the newest first."""
        found = self.table.get_all(self.table.newest(Listing.OPEN))
        batches = [Batch.from_item(item) for item in found if is_known(item)]
        return sorted(batches, key=lambda batch: batch.created_at, reverse=True)

    def repair(self, batch_id: str, on_chunk: Callable[[], None] = lambda: None, *, thorough: bool = False) -> Repairs:
        """Do at once for a batch what can be done; safe to repeat, and to run while the batch is running.

        ``thorough`` recounts chunks that are closed too, also of a batch that has ended, and asks again for the next
        job where that may still get the results. Counters are set only to what the markers prove. ``on_chunk`` is
        called after each chunk. Raises NotFoundError, also if chunks of the batch are gone.
        """
        repairs = Repairs(batch_id)
        batch = self._repository.require_batch(batch_id)
        upload = Upload(source=batch.source, size=batch.size)
        if batch.status is BatchStatus.UNPACKING:
            self.planner.hand_over(upload)  # unpacking wants all the time that there is, and plan has more of it
            repairs.planned_again = True
        elif batch.status is BatchStatus.PLANNING:
            self.planner.plan(upload)
            repairs.planned_again = True
        batch = self._repository.require_batch(batch_id)
        if batch.status is not BatchStatus.REJECTED and (thorough or not batch.status.final):
            for chunk in self._repository.chunks(batch_id, range(batch.chunks or 0)):
                if thorough or not chunk.closed:
                    self._repair_chunk(chunk, repairs)
                on_chunk()
            self._repair_batch(batch_id, repairs)
            batch = self._repository.require_batch(batch_id)
        if batch.status.final and batch.published_attempt != batch.attempt:
            repairs.events_published = self.settler.publish([batch])  # which asks for all of its results
        elif batch.status.final:
            repairs.pieces_sent = self.exports.send_missing(batch) if self.exports else 0
            if thorough and self.chains and _may_be_chained(batch):
                repairs.chain_asked = self.chains.begin(batch)
        return repairs

    def _push(self, batch: Batch) -> Repairs | None:
        if batch.hold is Hold.PAUSED:
            return None
        try:
            standstill = self._standstills.seen(batch.id, self._snapshot(batch))
        except Exception:
            # It may stand still for all that is known, and the sweep succeeds all the same: only this metric alarms.
            self.metrics.add(Metric.BATCHES_STALLED, 1)
            raise
        if standstill is None:
            return None
        due = self._standstills.due(standstill)
        self.metrics.add(Metric.BATCHES_STALLED, due or standstill.repairs > 0)
        if not due:
            return None
        # Before the repair: one that is killed in the middle was tried, or it would have its turn at every sweep
        # and keep the others waiting.
        self._standstills.note(batch.id, standstill.snapshot, repairs=standstill.repairs + 1)
        repairs = self.repair(batch.id)
        # An operator should know: something was lost, or a queue is much slower than the schedule.
        logger.warning("batch.repaired", extra=repairs.sizes)
        return repairs

    def _repair_chunk(self, chunk: Chunk, repairs: Repairs) -> None:
        if chunk.rows is not None:
            # The chunk was read before its markers: every count in between raises its version, which guards.
            found = recount(self._repository.markers(chunk.key, data=False))
            if not found.agrees(chunk):
                if self._set_counters(chunk, found):
                    repairs.counters_repaired.append(chunk.key.pk)
                chunk = self._repository.require_chunk(chunk.key)
        if chunk.to_be_read or chunk.undone:
            sent = self.dispatcher.send([chunk])
            repairs.chunks_sent += sent.chunks
            repairs.rows_sent += sent.rows
        elif chunk.complete and not chunk.closed:
            repairs.chunks_closed += self.settler.close(chunk.key.batch_id, [chunk])

    def _set_counters(self, chunk: Chunk, found: Recount) -> bool:
        batch = self._repository.require_batch(chunk.key.batch_id)
        if chunk.closed and found.lacks(chunk) and self.clock().timestamp() >= batch.expires_at:
            return False  # markers that have expired prove nothing
        return not self.table.transact(repair_chunk(batch, chunk, found))

    def _repair_batch(self, batch_id: str, repairs: Repairs) -> None:
        batch = self._repository.require_batch(batch_id)
        if batch.chunks is None:
            return
        # The batch was read before its chunks: every step that closes or reopens one in between raises its version.
        chunks = self._repository.chunks(batch_id, range(batch.chunks))
        if len(chunks) < batch.chunks:
            # What is left proves nothing of the others: a batch without them would end, or run again, as a smaller one.
            raise NotFoundError(
                f"{batch.chunks - len(chunks):,} of {batch.chunks:,} chunks of {batch_pk(batch_id)} are not in the "
                "table: they were deleted, or have expired; the counters of the batch were not repaired"
            )
        repair = repair_batch(batch, chunks)
        if repair:
            if self.table.update(repair):
                repairs.counters_repaired.append(batch_pk(batch_id))
            batch = self._repository.require_batch(batch_id)
        repairs.completed = self.settler.complete(batch)

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    @property
    def _standstills(self) -> Standstills:
        return Standstills(table=self.table, patience=self.patience, clock=self.clock)

    def _snapshot(self, batch: Batch) -> str:
        return snapshot_of(batch, self._repository.chunks(batch.id, range(batch.chunks or 0)))


def snapshot_of(batch: Batch, chunks: Collection[Chunk]) -> str:
    """Return what is another text once a batch has moved; ``chunks`` are all of a batch that is planned, else none."""
    counted = sum((chunk.counts for chunk in chunks), Counts()).total
    planned = batch.cursor.chunks if batch.cursor else len(chunks)
    unpacked = batch.unpacking.read if batch.unpacking else 0
    return f"{batch.attempt} {batch.status} {unpacked} {planned} {batch.remaining} {counted}"


def _may_be_chained(batch: Batch) -> bool:
    """Tell whether the next job may still get the results of a batch's last attempt: nothing final is noted of it."""
    chained = batch.chained
    return chained is None or chained.attempt < batch.attempt or chained.not_chained in MAY_CHANGE
