"""Process: the job's own function, row by row; what it does to one row it cannot do to another."""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from chalicelib import jobs
from chalicelib.errors import FatalError, PermanentError, described
from chalicelib.steps.plan import job_of
from chalicelib.store.batch import Batch, Hold
from chalicelib.store.items import BATCH_SK, ChunkKey, Outcome, Record, batch_pk, row_id, row_sk
from chalicelib.transport.messages import (
    MAX_PART_BYTES,
    FinishedMessage,
    FinishedRow,
    RowOutcome,
    WorkMessage,
    WorkRow,
    encode,
    encoded_size,
    pack,
)
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

_MAX_OUTCOMES = 1_000
"""Outcomes in one message: ten transactions of the ledger, seconds of work at the worst."""
_MAX_ERROR_CHARACTERS = 1_000
_BASE_DELAY_SECONDS = 2
_CAP_DELAY_SECONDS = 900
"""SQS delays a message for no longer."""
_PAUSED_DELAY_SECONDS = 60


@dataclass(slots=True)
class Processed:
    """What became of the rows of a message; every row is in one of the lists."""

    finished: list[FinishedRow] = field(default_factory=list)
    again: list[WorkRow] = field(default_factory=list)  # the job raised: to be tried once more, later
    rest: list[WorkRow] = field(default_factory=list)  # not begun
    delay_seconds: int = 0  # of the rest
    run: int = 0  # rows that the job ran for, ...
    seconds: float = 0  # ... all of them together

    @property
    def sizes(self) -> dict[str, int]:
        """How many rows are in each list, for the log."""
        return {"finished": len(self.finished), "again": len(self.again), "rest": len(self.rest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs jobs over the rows of one queue's messages and hands their outcomes to the ledger's queue."""

    table: "Table"
    sqs: "SQSClient"
    queue_url: str
    finished_queue_url: str
    retry: "Retry"
    random: Callable[[float, float], float] = random.uniform
    clock: Callable[[], float] = time.monotonic

    def work(self, message: WorkMessage, *, receive_count: int) -> Processed:
        """Process a message and make durable all that came of it; then it may be acknowledged.

        A pack that comes a second time may have killed its worker: it is not run again but taken apart, each row
        in a message of its own, so that a poison row stands alone and dies alone. Dying before the
        partial_batch_response makes the pack come again, and outcomes that were sent twice are counted once.
        """
        if receive_count > 1 and len(message.rows) > 1:
            done = Processed(rest=message.rows)
            self._send_rows(message.batch, done.rest, most=1)
            return done
        done = self.process(message)
        self.send(message.batch, done.finished)
        self._send_rows(message.batch, done.rest, most=len(message.rows), delay_seconds=done.delay_seconds)
        for attempt in sorted({row.attempt for row in done.again}):
            rows = [row for row in done.again if row.attempt == attempt]
            # Full jitter, as for requests; whole packs wait together, or each row would be a message of its own.
            delay = int(self.random(0, min(_CAP_DELAY_SECONDS, _BASE_DELAY_SECONDS * 2**attempt)))
            self._send_rows(message.batch, rows, most=len(rows), delay_seconds=delay)
        return done

    def process(self, message: WorkMessage) -> Processed:
        """Run the job over the rows while there is time; nothing is sent yet.

        Raises only for what is no row's fault: a job that is not deployed, a table that cannot be read.
        """
        job = jobs.require(job_of(message.batch))
        hold = self._hold(message.batch)
        if hold is Hold.PAUSED:
            return Processed(rest=message.rows, delay_seconds=_PAUSED_DELAY_SECONDS)
        if hold:
            reason = f"{hold}: the batch was stopped before this row was processed"
            return Processed(finished=[FinishedRow(row.chunk, _failed(row.row, reason)) for row in message.rows])
        done = Processed()
        longest = 0.0
        for position, row in enumerate(message.rows):
            if position and self.retry.remaining_seconds() < longest:
                done.rest = message.rows[position:]
                break
            began = self.clock()
            outcome = self._run(job, message.batch, row)
            took = self.clock() - began
            longest = max(longest, took)
            done.run += 1
            done.seconds += took
            if outcome is None:
                done.again.append(msgspec.structs.replace(row, attempt=row.attempt + 1))
            else:
                timed = msgspec.structs.replace(outcome, ms=int(took * 1000))
                done.finished.append(FinishedRow(row.chunk, timed))
        return done

    def send(self, batch_id: str, finished: Iterable[FinishedRow]) -> int:
        """Make outcomes durable in the queue to ``finish``; returns in how many messages."""
        packs = pack(finished, size=encoded_size, most=_MAX_OUTCOMES)
        bodies = [encode(FinishedMessage(batch_id, rows)) for rows in packs]
        return send(self.sqs, self.finished_queue_url, bodies, self.retry)

    def _send_rows(self, batch_id: str, rows: Iterable[WorkRow], *, most: int, delay_seconds: int = 0) -> None:
        packs = pack(rows, size=encoded_size, most=most)
        bodies = [encode(WorkMessage(batch_id, packed)) for packed in packs]
        send(self.sqs, self.queue_url, bodies, self.retry, delay_seconds=delay_seconds)

    def _hold(self, batch_id: str) -> Hold | None:
        item = self.table.get(batch_pk(batch_id), BATCH_SK)
        if item is None:
            raise FatalError(f"{batch_id} is not in the table: was it deleted?")
        return Batch.from_item(item).hold

    def _run(self, job: jobs.Job, batch_id: str, work: WorkRow) -> RowOutcome | None:
        """Return a row's outcome; None if the job raised and the row has attempts left."""
        data = work.data if bytes(work.data) else self._fetch(batch_id, work)
        if data is None:
            return _failed(work.row, "its record is no longer in the table")
        try:
            row = msgspec.json.decode(data, type=job.schema.row)
            row.idempotency_key = row_id(ChunkKey(batch_id, work.chunk), work.row)
            result = msgspec.Raw(msgspec.json.encode(job.process(row)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the job raises is this row's outcome
            if work.attempt < job.attempts and not isinstance(error, PermanentError):
                return None
            return _failed(work.row, described(error))
        outcome = RowOutcome(work.row, Outcome.SUCCEEDED, result)
        if encoded_size(FinishedRow(work.chunk, outcome)) > MAX_PART_BYTES:
            return _failed(work.row, f"the job's result is too large: {len(bytes(result)):,} bytes of JSON")
        return outcome

    def _fetch(self, batch_id: str, work: WorkRow) -> bytes | None:
        """Read a row that was too large for its message: one request, for such a row alone."""
        item = self.table.get(ChunkKey(batch_id, work.chunk).pk, row_sk(work.row))
        return Record.from_item(item).data.encode() if item else None


def _failed(row: int, reason: str) -> RowOutcome:
    return RowOutcome(row, Outcome.FAILED, error=reason[:_MAX_ERROR_CHARACTERS])
