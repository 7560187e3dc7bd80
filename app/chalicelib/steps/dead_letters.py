"""Dead letters become outcomes of their rows, so that batches end; a copy of each such dead letter is kept.

One that killed no worker, because Lambda throttled its deliveries or a service was out, is sent again instead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.errors import BusyError, MessageError
from chalicelib.steps.pieces import split, wanted_rows
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import ReasonCode, unsuccessful
from chalicelib.store.repository import Repository
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.steps.failed_plans import FailedPlans
    from chalicelib.steps.finish import Finisher
    from chalicelib.steps.ingest import Ingester
    from chalicelib.store.bits import RowBits
    from chalicelib.store.leases import Leases
    from chalicelib.store.ledger import Ledger
    from chalicelib.store.starts import Starts
    from chalicelib.store.table import Table
    from chalicelib.transport.partial_batch_response import Message

_DEADLY_RUNS = 2
"""So many runs that never ended prove that a row, or a chunk, kills its workers: one may have died of something else.
All queues allow five deliveries or more, so what is deadly comes to this number."""
MAX_RETURNS = 5
"""Times that one that killed no worker is sent again: thirty deliveries in all, some three hours."""
RETURN_SECONDS = 60
"""The delay before a dead letter comes again, so that throttling may end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledDeadLetter:
    """The rows that a dead letter was about, those that had no outcome before, and those that were sent again."""

    rows: int
    counted: int
    returned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterHandler:
    """Deals with the messages of dead-letter queues."""

    table: "Table"
    sqs: "SQSClient"
    ledger: "Ledger"
    ingester: "Ingester"
    finisher: "Finisher"
    leases: "Leases"
    starts: "Starts"
    failed_plans: "FailedPlans"
    queue_urls: "Mapping[str, str]"
    """Of the queues whose dead letters may be sent again, by name."""
    dead_letters_queue_url: str
    retry: "Retry"

    def handle(self, message: "Message", queue: str) -> HandledDeadLetter:
        """Give every row that a dead letter of ``queue`` (its DLQ's name) is about an outcome, then keep a copy.

        Or send the dead letter again, if the marks of its runs do not prove that it kills its workers; dying after that
        sends it twice, and its rows are counted once.

        Raises MessageError for what cannot be mapped to a row: that stays in its dead-letter queue, whose alarm calls
        an operator. Dying between outcome and copy means that the dead letter comes again, and its outcomes are counted
        once.
        """
        handled = self._record(message, queue)
        if not handled.returned:
            self._keep(message, queue)
        return handled

    def _record(self, message: "Message", queue: str) -> HandledDeadLetter:
        if queue.endswith("-ingest-dlq"):
            return self._end_chunk(decode(message.body, ChunkMessage), message.id)
        if queue.endswith(("-work-dlq", "-heavy-dlq")):
            name = "heavy" if queue.endswith("-heavy-dlq") else "work"
            return self._end_rows(decode(message.body, WorkMessage), message.id, name)
        if queue.endswith("-finished-dlq"):
            # The outcomes are known, only their counting failed: count them now, or leave the dead letter where it is.
            return self._count(decode(message.body, FinishedMessage))
        if queue.endswith("-plan-failures"):
            self.failed_plans.handle(message)
            return HandledDeadLetter(rows=0, counted=0)  # a file without a plan has no known number of rows
        raise MessageError(f"{queue} is no dead-letter queue of Tally's: remove the mapping by which it comes here")

    def _end_chunk(self, message: ChunkMessage, message_id: str) -> HandledDeadLetter:
        key = ChunkKey(message.batch, message.chunk)
        died = self.starts.died(key, message_id)
        if died < _DEADLY_RUNS and message.returns < MAX_RETURNS:
            chunk = Repository(table=self.table).require_chunk(key)
            if not chunk.to_be_read or message.generation < chunk.generation:
                return HandledDeadLetter(rows=0, counted=0)  # read by another delivery, or overtaken by a redrive
            self._send_again("ingest", [msgspec.structs.replace(message, returns=message.returns + 1)])
            rows = len(chunk.rereads) or chunk.expected_rows
            return HandledDeadLetter(rows=rows, counted=0, returned=rows)
        code, reason = _why(died, "its chunk could not be read; see the logs of ingest")
        given_up = self.ingester.give_up(message, code, reason)
        return HandledDeadLetter(rows=given_up.rows, counted=given_up.rows)

    def _end_rows(self, message: WorkMessage, message_id: str, queue: str) -> HandledDeadLetter:
        key = ChunkKey(message.batch, message.chunk)
        chunk = Repository(table=self.table).require_chunk(key)
        rows = wanted_rows(message, chunk)  # none of a dead letter that a redrive has overtaken
        self._refuse_while_leased(key, rows & chunk.heavy)
        died = self.starts.died(key, message_id)
        if rows and (again := _again(message, list(rows), died)):
            self._send_again(queue, again)
            return HandledDeadLetter(rows=len(rows), counted=0, returned=len(rows))
        code, why = _why(died, "its worker died, timed out or failed each time; see the logs of process")
        tries = message.attempt if died else message.attempt - 1
        outcomes = []
        for row in rows:
            raised = message.raised.get(row)
            reason = f"{why}; the try before raised {raised}" if raised else why
            outcomes.append(unsuccessful(row, Outcome.FAILED, code, reason, tries=tries))
        # The generation is the dead letter's: a redrive that comes between this and the transaction drops the failures.
        finished = [Finished(message.generation, outcome) for outcome in outcomes]
        counted = self.ledger.record(key, finished, Seen.of(chunk)).counted
        return HandledDeadLetter(rows=len(message.rows) if message.rows is not None else len(rows), counted=counted)

    def _send_again(self, queue: str, messages: "Sequence[ChunkMessage | WorkMessage]") -> None:
        send(self.sqs, self.queue_urls[queue], map(encode, messages), self.retry, delay_seconds=RETURN_SECONDS)

    def _refuse_while_leased(self, chunk: ChunkKey, rows: "RowBits") -> None:
        """Leave a heavy row alone whose worker lives: this is a second delivery that was put back too often."""
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


def _again(message: WorkMessage, rows: "Sequence[int]", died: int) -> list[WorkMessage]:
    """Return the messages that replace a dead letter; none if its rows are to be given up.

    Many rows are given up only when no worker ever began them: if one died, it died of one of them at most.
    """
    if died and len(rows) > 1:
        return split(message, rows)
    if died < _DEADLY_RUNS and message.returns < MAX_RETURNS:
        return [msgspec.structs.replace(message, returns=message.returns + 1)]
    return []


def _why(died: int, reason: str) -> tuple[ReasonCode, str]:
    if died:
        return ReasonCode.DEAD_LETTERED, f"dead-lettered: {reason}"
    deliveries = "its message was delivered again and again and no worker began it"
    return ReasonCode.NEVER_RAN, f"{deliveries}: see the throttles and errors of its function, then redrive"
