"""Begin export: settle asks for the results of a batch that has ended to be written to files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.files.dialect import Format
from chalicelib.files.form import Form
from chalicelib.jobs import Job
from chalicelib.logs import logger
from chalicelib.results.fields import input_columns, result_fields
from chalicelib.results.table import Columns
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import FAILED_PIECE, Export, Exports
from chalicelib.store.items import timestamp
from chalicelib.transport.messages import ExportMessage, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

RESULTS_PREFIX = "results/"
CHUNKS_PER_PART = 50
"""Up to 50,000 rows: some megabytes, which a function writes in seconds."""
_ONE_MESSAGE = 2
"""So many pieces are written by one worker: a part, and failed.csv."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStarter:
    """Asks for exports. ``results_days`` is how long their files stay, 0 for ever."""

    table: "Table"
    sqs: "SQSClient"
    queue_url: str
    results_days: int
    retry: "Retry"

    def begin(self, batch: Batch) -> int:
        """Ask for every piece of a batch's results, as the attempt has ended; returns how many.

        Dying between the item and the messages is taken up where the batch's end comes again: messages double then,
        which the exporter takes. None for a batch without rows of its own, or whose job says ``EXPORT = False``.
        """
        form = _form(batch)
        if form is None or not batch.status.final or batch.status is BatchStatus.REJECTED:
            return 0
        columns = columns_of(jobs.require(batch.job), batch) if form is Form.CSV else Columns()
        export = Export(
            batch_id=batch.id,
            attempt=batch.attempt,
            prefix=f"{RESULTS_PREFIX}{batch.job}/{batch.id}/attempt-{batch.attempt}/",
            form=form,
            status=batch.status,
            completed_at=batch.completed_at,
            counts=batch.counts,
            chunks=batch.chunks or 0,
            chunks_per_part=CHUNKS_PER_PART,
            inputs=columns.inputs,
            fields=columns.fields,
            results_expire_at=self._expiry(batch),
        )
        exports = Exports(table=self.table)
        exports.begin(export)
        export = exports.require(batch.id, batch.attempt)  # an earlier call may have cut it in another way
        self._ask(export, export.pieces)
        return len(export.pieces)

    def ask_again(self, export: Export) -> int:
        """Ask for what is missing of an export; returns how many pieces.

        If only its manifest is missing, for a piece that is there: who finds it looks whether all are.
        """
        missing = Exports(table=self.table).missing(export) or [FAILED_PIECE]
        self._ask(export, missing)
        return len(missing)

    def _ask(self, export: Export, pieces: Sequence[int]) -> None:
        # A batch of one part is one message: most batches are small.
        alone = len(export.pieces) <= _ONE_MESSAGE
        groups = [sorted(pieces, reverse=True)] if alone else [[number] for number in pieces]
        bodies = (
            encode(ExportMessage(batch=export.batch_id, attempt=export.attempt, pieces=group)) for group in groups
        )
        send(self.sqs, self.queue_url, bodies, self.retry)

    def _expiry(self, batch: Batch) -> str:
        if not self.results_days:
            return ""
        return timestamp(datetime.fromisoformat(batch.completed_at) + timedelta(days=self.results_days))


def _form(batch: Batch) -> Form | None:
    """Return what a batch's results are written as; a job that no longer loads must not keep them from anybody."""
    try:
        job = jobs.find(batch.job)
    except Exception as error:  # noqa: BLE001  any error of its module; process reports it too, where it counts
        logger.warning("job.broken", job=batch.job, error=f"{type(error).__name__}: {error}")
        return Form.JSONL
    return job.export if job else Form.JSONL


def columns_of(job: Job, batch: Batch) -> Columns:
    """Return the columns of CSV as a job says them now: a deployment between two parts must not change them."""
    header = job.schema.columns if batch.layout.format is Format.JSONL else batch.header
    return Columns(input_columns(header), result_fields(job.process))
