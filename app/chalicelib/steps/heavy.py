"""Heavy rows: one a message, leased by one worker at a time, which a heartbeat shows to be alive."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import BusyError, MessageError, TallyError
from chalicelib.logs import logger
from chalicelib.steps.pieces import wanted_rows
from chalicelib.steps.run import Processed
from chalicelib.store.items import ChunkKey

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.steps.process import Processor
    from chalicelib.store.leases import Leases
    from chalicelib.transport.messages import WorkMessage
    from chalicelib.transport.partial_batch_response import Message

_BEATS_PER_LEASE = 3
_UNTIL_COUNTED_SECONDS = 900
"""The lease of a row that succeeded: while its outcome waits to be counted, a second delivery waits too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeavyProcessor:
    """Processes messages of the heavy queue."""

    processor: "Processor"
    leases: "Leases"
    sqs: "SQSClient"
    queue_url: str

    def work(self, message: "WorkMessage", delivery: "Message") -> Processed:
        """Process the one row of a message, unless it was counted or somebody else works on it (BusyError).

        The queue's own visibility timeout is long, for the longest row. The heartbeat keeps a much shorter one, so
        that a row whose worker dies comes back within a lease's time.
        """
        if message.rows is None or len(message.rows) != 1:
            raise MessageError("a heavy message names one row")
        row = message.rows[0]
        work = self.processor.load(message)
        if not wanted_rows(message, work.chunk):
            return Processed()  # a second delivery of a row that is done, or one that a redrive has overtaken
        chunk = work.chunk.key
        if not self.leases.take(chunk, row):
            self._set_visibility(delivery, self.leases.seconds_left(chunk, row) + 1)
            raise BusyError(f"{chunk.pk} row {row} is being worked on")
        with self._heartbeat(chunk, row, delivery):
            done = self.processor.run(message, work, delivery)
        # The heartbeat has ended, so nothing shortens the lease after this.
        if row in done.succeeded:
            self.leases.take(chunk, row, seconds=_UNTIL_COUNTED_SECONDS)
        else:
            self.leases.release(chunk, row)  # its next try, or its redrive, must not meet this one's lease
        return done

    @contextmanager
    def _heartbeat(self, chunk: ChunkKey, row: int, delivery: "Message") -> Iterator[None]:
        """Extend lease and visibility while the block runs.

        If a beat fails the next may not; if none comes through the row is taken over, and the first outcome that is
        recorded stands.
        """
        stop = threading.Event()
        self._set_visibility(delivery, self.leases.seconds)

        def beat() -> None:
            while not stop.wait(self.leases.seconds / _BEATS_PER_LEASE):
                with _logged():
                    if not self.leases.take(chunk, row):
                        logger.warning("lease.lost", batch_id=chunk.batch_id, chunk=chunk.number, row=row)
                    self._set_visibility(delivery, self.leases.seconds)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _set_visibility(self, delivery: "Message", seconds: float) -> None:
        self.processor.retry(
            self.sqs.change_message_visibility,
            QueueUrl=self.queue_url,
            ReceiptHandle=delivery.receipt_handle,
            VisibilityTimeout=int(seconds),
        )


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except TallyError as error:  # every call of a beat goes through ``retry``, which raises nothing else
        logger.warning("heartbeat.failed", error=f"{type(error).__name__}: {error}")
