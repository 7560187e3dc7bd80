"""Begin save: export asks for results that are exported to be put into the results table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.clock import Clock, utc_now
from chalicelib.logs import logger
from chalicelib.store.items import timestamp
from chalicelib.store.saves import Place, Save, Saves
from chalicelib.transport.messages import SaveMessage, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.batch import Batch
    from chalicelib.store.exports import Export
    from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveStarter:
    """Asks for saves. ``has_table`` tells whether the stage has a results table."""

    table: "Table"
    sqs: "SQSClient"
    queue_url: str
    retry: "Retry"
    has_table: bool
    clock: Clock = utc_now

    def begin(self, batch: "Batch", export: "Export") -> bool:
        """Ask for the results of an attempt to be saved, if its job says ``KEY``; tells whether it did.

        Safe to repeat: the key is that of the first call. Dying between the item and the message is taken up when the
        export's message comes again; dying after it doubles the message, which the saver takes. Raises what the job's
        module raises if it does not load any more: then its key is unknown.
        """
        job = jobs.find(batch.job)
        if job is None or job.key is None:
            return False
        if not self.has_table:  # a deployment refuses that; the table may be gone since
            logger.error("save.no_table", batch_id=batch.id, job=batch.job, key=job.key.name)
            return False
        save = Save(
            batch_id=batch.id,
            attempt=export.attempt,
            key=job.key,
            rows=export.counts.succeeded,
            completed_at=export.completed_at,
            begun_at=timestamp(self.clock()),
            place=Place(chunks_left=export.chunks),
        )
        Saves(table=self.table).begin(save)
        message = SaveMessage(batch=batch.id, attempt=export.attempt)
        send(self.sqs, self.queue_url, [encode(message)], self.retry)
        return True
