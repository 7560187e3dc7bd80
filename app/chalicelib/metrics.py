"""Metrics of an invocation, for CloudWatch: one line of Embedded Metric Format in its log.

There is one dimension, the stage: a dimension for each batch would be a metric, and a price, for each batch.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

if TYPE_CHECKING:
    from chalicelib.store.items import Counts

NAMESPACE = "Tally"


class Metric(StrEnum):
    """Every metric; dashboard and alarms name them."""

    ROWS_SUCCEEDED = "RowsSucceeded"
    ROWS_FAILED = "RowsFailed"
    ROWS_REJECTED = "RowsRejected"
    ROW_SECONDS = "RowSeconds"
    BATCHES_COMPLETED = "BatchesCompleted"
    BATCHES_OPEN = "BatchesOpen"
    BATCHES_STALLED = "BatchesStalled"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one invocation: collected while it lasts, written at its end."""

    _totals: dict[Metric, float] = field(default_factory=dict)
    _rows: dict[Metric, int] = field(default_factory=dict)

    def add(self, metric: Metric, amount: float) -> None:
        """Add to a metric; a 0 is a point too."""
        self._totals[metric] = self._totals.get(metric, 0) + amount

    def add_rows(self, counts: "Counts") -> None:
        """Add the rows of a chunk by outcome."""
        self.add(Metric.ROWS_SUCCEEDED, counts.succeeded)
        self.add(Metric.ROWS_FAILED, counts.failed)
        self.add(Metric.ROWS_REJECTED, counts.rejected)

    def time_rows(self, rows: int, seconds: float) -> None:
        """Add rows and the seconds that they took together; the metric is the average of a row."""
        if rows:
            self.add(Metric.ROW_SECONDS, seconds)
            self._rows[Metric.ROW_SECONDS] = self._rows.get(Metric.ROW_SECONDS, 0) + rows

    def flush(self, stage: str) -> None:
        """Write what was collected, in one line, and begin again; nothing if there was nothing."""
        if not self._totals:
            return
        # No service: it would be a second dimension.
        line = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
        line.add_dimension(name="stage", value=stage)
        for metric, total in self._totals.items():
            unit = MetricUnit.Seconds if metric is Metric.ROW_SECONDS else MetricUnit.Count
            line.add_metric(name=metric, unit=unit, value=total / self._rows.get(metric, 1))
        line.flush_metrics()
        self._totals.clear()
        self._rows.clear()
