"""Begin chain: settle asks for the results of a batch that has ended to be given to the next job."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.transport.messages import ExportMessage, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStarter:
    """Asks for chains, on the export queue."""

    sqs: "SQSClient"
    queue_url: str
    retry: "Retry"

    def begin(self, batch: Batch) -> bool:
        """Ask that the job of ``THEN`` gets the results of an attempt that has ended; tells whether it asked.

        Safe to repeat: the chainer decides once an attempt.
        """
        if not batch.status.final or batch.status is BatchStatus.REJECTED or not _may_say_then(batch.job):
            return False
        message = ExportMessage(batch=batch.id, attempt=batch.attempt, chain=True)
        send(self.sqs, self.queue_url, [encode(message)], self.retry)
        return True


def _may_say_then(name: str) -> bool:
    """Tell whether a job says ``THEN``, or does not load: then the chainer raises until it is deployed again."""
    try:
        job = jobs.find(name)
    except Exception:  # noqa: BLE001  any error of its module; begin_export logs it
        return True
    return job is not None and job.then is not None
