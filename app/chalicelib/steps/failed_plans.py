"""Failed plans: have an upload planned again that plan gave up on, and reject it when that does not help."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import BusyError, MessageError
from chalicelib.logs import logger
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.batch import BatchStatus
from chalicelib.store.repository import Repository
from chalicelib.transport.messages import decode
from chalicelib.transport.uploads import Upload, uploads

if TYPE_CHECKING:
    from chalicelib.steps.plan import Planner
    from chalicelib.store.table import Table
    from chalicelib.store.uploads import UploadNotes
    from chalicelib.transport.partial_batch_response import Message

WAITS = (1, 6, 24)
"""An upload waits so many times ``patience`` before it is planned again, by how many of its plans failed before: an
outage gets the time to pass, or to be put right. With five minutes it is rejected after some three hours."""


class _FailedEvent(msgspec.Struct, frozen=True, rename="camel"):
    """Lambda's report of an event that a function gave up on."""

    request_payload: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPlans:
    """Handles the messages of the plan-failures queue."""

    table: "Table"
    notes: "UploadNotes"
    planner: "Planner"
    patience: timedelta
    clock: Clock = utc_now

    def handle(self, message: "Message") -> None:
        """Have the uploads of a failed event planned again, or reject them when their plans have failed too often.

        Raises BusyError while an upload still has to wait: the message comes again. Raises MessageError for what is no
        failed event of S3's.
        """
        for upload in _uploads(message.body):
            self._handle(upload, message.id)

    def _handle(self, upload: Upload, message_id: str) -> None:
        batch_id = batch_id_of(upload)
        batch = Repository(table=self.table).find_batch(batch_id)
        if batch and batch.status not in {BatchStatus.UNPACKING, BatchStatus.PLANNING}:
            return  # planned or rejected since
        failure = self.notes.note_failure(batch_id, message_id)
        # Dying from here on means that the message comes again: its failure is noted, and the upload is planned twice.
        if failure.earlier >= len(WAITS):
            reason = f"plan gave up on it {failure.earlier + 1} times: see `tally logs plan`, then upload it again"
            given_up = self.planner.give_up(upload, reason)
            logger.error("upload.given_up", batch_id=batch_id, key=upload.source.key, status=given_up.status)
            return
        due = failure.noted_at + WAITS[failure.earlier] * self.patience
        if self.clock() < due:
            raise BusyError(f"{batch_id} is planned again after {due:%H:%M:%S}")
        self.planner.hand_over(upload)
        logger.warning("upload.planned_again", batch_id=batch_id, key=upload.source.key, failures=failure.earlier + 1)


def _uploads(body: str) -> list[Upload]:
    event = decode(body, _FailedEvent).request_payload
    try:
        return list(uploads({"Records": event["Records"]}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MessageError(f"not an event of S3: {error!r}") from error
