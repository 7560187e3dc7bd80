"""Dead letters become outcomes of their rows, so that batches end; a copy of each letter is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.errors import BusyError, MessageError
from chalicelib.steps.pieces import wanted_rows
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import ReasonCode, unsuccessful
from chalicelib.store.repository import Repository
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.steps.failed_plans import FailedPlans
    from chalicelib.steps.finish import Finisher
    from chalicelib.steps.ingest import Ingester
    from chalicelib.store.bits import RowBits
    from chalicelib.store.leases import Leases
    from chalicelib.store.ledger import Ledger
    from chalicelib.store.table import Table
    from chalicelib.transport.partial_batch_response import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledDeadLetter:
    """How many rows a dead letter was about, and how many of them had no outcome before."""

    rows: int
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterHandler:
    """Deals with the messages of dead-letter queues."""

    table: "Table"
    sqs: "SQSClient"
    ledger: "Ledger"
    ingester: "Ingester"
    finisher: "Finisher"
    leases: "Leases"
    failed_plans: "FailedPlans"
    dead_letters_queue_url: str
    retry: "Retry"

    def handle(self, message: "Message", queue: str) -> HandledDeadLetter:
        """Give every row that a dead letter of ``queue`` (its DLQ's name) is about an outcome, then keep a copy.

        Raises MessageError for what cannot be mapped to a row: that stays in its dead-letter queue, whose alarm calls
        an operator. Dying between outcome and copy means that the letter comes again, and its outcomes are counted
        once.
        """
        handled = self._record(message, queue)
        self._keep(message, queue)
        return handled

    def _record(self, message: "Message", queue: str) -> HandledDeadLetter:
        if queue.endswith("-ingest-dlq"):
            return self._give_up_chunk(decode(message.body, ChunkMessage))
        if queue.endswith(("-work-dlq", "-heavy-dlq")):
            return self._give_up_rows(decode(message.body, WorkMessage))
        if queue.endswith("-finished-dlq"):
            # The outcomes are known, only their counting failed: count them now, or leave the letter where it is.
            return self._count(decode(message.body, FinishedMessage))
        if queue.endswith("-plan-failures"):
            self.failed_plans.handle(message)
            return HandledDeadLetter(rows=0, counted=0)  # nobody has counted the rows of a file without a plan
        raise MessageError(f"{queue} is no dead-letter queue of Tally's")

    def _give_up_chunk(self, message: ChunkMessage) -> HandledDeadLetter:
        given_up = self.ingester.give_up(
            message, ReasonCode.DEAD_LETTERED, "dead-lettered: its chunk could not be read; see the logs of ingest"
        )
        return HandledDeadLetter(rows=given_up.rows, counted=given_up.failed)

    def _give_up_rows(self, message: WorkMessage) -> HandledDeadLetter:
        key = ChunkKey(message.batch, message.chunk)
        chunk = Repository(table=self.table).require_chunk(key)
        rows = wanted_rows(message, chunk)  # none of a letter that a redrive has overtaken
        self._refuse_while_leased(key, rows & chunk.heavy)
        outcomes = []
        for row in rows:
            reason = "dead-lettered: its worker died, timed out or failed each time; see the logs of process"
            if raised := message.raised.get(row):
                reason = f"{reason}; the try before raised {raised}"
            outcomes.append(unsuccessful(row, Outcome.FAILED, ReasonCode.DEAD_LETTERED, reason, tries=message.attempt))
        # The generation is the letter's: a redrive that comes between this and the transaction drops the failures.
        finished = [Finished(message.generation, outcome) for outcome in outcomes]
        counted = self.ledger.record(key, finished, Seen.of(chunk)).counted
        return HandledDeadLetter(rows=len(message.rows) if message.rows is not None else len(rows), counted=counted)

    def _refuse_while_leased(self, chunk: ChunkKey, rows: "RowBits") -> None:
        """Leave a heavy row alone whose worker lives: the letter is a second delivery that was put back too often."""
        for row in rows:
            if self.leases.seconds_left(chunk, row):
                raise BusyError(f"{chunk.pk} row {row} is being worked on")

    def _count(self, message: FinishedMessage) -> HandledDeadLetter:
        recorded = self.finisher.count(ChunkKey(message.batch, message.chunk), [message])
        return HandledDeadLetter(rows=len(message.outcomes), counted=recorded.counted)

    def _keep(self, message: "Message", queue: str) -> None:
        attributes: Any = {"queue": {"DataType": "String", "StringValue": queue}}
        self.retry(
            self.sqs.send_message,
            QueueUrl=self.dead_letters_queue_url,
            MessageBody=message.body,
            MessageAttributes=attributes,
        )
