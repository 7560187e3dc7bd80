"""Lost exports: find results that were asked for and are not written, and ask for what is missing again."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import described
from chalicelib.logs import logger
from chalicelib.metrics import Metric, Metrics
from chalicelib.steps.standstill import Standstills
from chalicelib.store.exports import Export, Exports
from chalicelib.store.repository import Repository

if TYPE_CHECKING:
    from chalicelib.steps.begin_export import ExportStarter
    from chalicelib.store.batch import Batch
    from chalicelib.store.table import Table

EXPORT_WATCH_SK = "watch-export"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostExports:
    """Pushes exports on. What it sends may be on its way already: a second delivery, which ``export`` takes."""

    table: "Table"
    starter: "ExportStarter"
    patience: timedelta
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = utc_now

    def sweep(self) -> int:
        """Ask again for what is missing of each export that was not written for longer than ``patience``.

        Returns how many pieces. An export counts as stalled from then on until its next piece is there.
        """
        sent = 0
        for export in self._exports.unwritten():
            try:
                sent += self._push(export)
            except Exception as error:  # noqa: BLE001  the other exports are not to wait; the next sweep comes back
                logger.error("export.push_failed", batch_id=export.batch_id, error=described(error))
        return sent

    def send_missing(self, batch: "Batch") -> int:
        """Ask at once for what is missing of a batch's last attempt; returns how many pieces, none if all is there."""
        export = self._exports.find(batch.id, batch.attempt)
        if export is None or export.exported_at or not self._possible(export, batch):
            return 0
        return self.starter.ask_again(export)

    def _push(self, export: Export) -> int:
        batch = Repository(table=self.table).find_batch(export.batch_id)
        if batch is None or not self._possible(export, batch):
            self._exports.give_up(export)
            return 0
        if batch.published_attempt != batch.attempt:
            return 0  # its end was not announced: the batch's own repair begins the export too
        try:
            standstill = self._standstills.seen(batch.id, f"{export.attempt} {export.written}")
        except Exception:
            self.metrics.add(Metric.BATCHES_STALLED, 1)  # as of a batch that cannot be looked at: only this alarms
            raise
        due = standstill is not None and self._standstills.due(standstill)
        stalled = due or (standstill is not None and standstill.repairs > 0)
        self.metrics.add(Metric.BATCHES_STALLED, stalled)
        if standstill is None or not due:
            return 0
        self._standstills.note(batch.id, standstill.snapshot, repairs=standstill.repairs + 1)
        sent = self.starter.ask_again(export)
        # An operator should know: a message was lost, or export fails.
        logger.warning("export.asked_again", batch_id=export.batch_id, attempt=export.attempt, pieces=sent)
        return sent

    def _possible(self, export: Export, batch: "Batch") -> bool:
        """Tell whether an export can still be written: its attempt stands, and its markers have not expired."""
        if export.attempt != batch.attempt:
            return False
        if self.clock().timestamp() < batch.expires_at:
            return True
        logger.error("export.expired", batch_id=export.batch_id, attempt=export.attempt)
        return False

    @property
    def _exports(self) -> Exports:
        return Exports(table=self.table)

    @property
    def _standstills(self) -> Standstills:
        return Standstills(table=self.table, patience=self.patience, sk=EXPORT_WATCH_SK, clock=self.clock)
