"""Process one work message: its rows run, wait, fail, or go back in pieces."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib import jobs
from chalicelib.bounds import grouped
from chalicelib.steps.pieces import pieces, split, wanted_rows
from chalicelib.steps.run import Processed, Run
from chalicelib.store.batch import Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.marker import (
    ReasonCode,
    RowOutcome,
    unsuccessful,
)
from chalicelib.store.repository import Repository
from chalicelib.store.waiting import note_waiting
from chalicelib.transport.messages import (
    MAX_PART_BYTES,
    FinishedMessage,
    WorkMessage,
    encode,
    outcome_groups,
)
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.repository import Work
    from chalicelib.store.starts import Starts
    from chalicelib.store.table import Table
    from chalicelib.transport.partial_batch_response import Message

BASE_DELAY_SECONDS = 2
CAP_DELAY_SECONDS = 900
"""SQS delays a message for no longer."""
PAUSED_DELAY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Runs jobs over the rows of one queue's messages and hands their outcomes to the ledger's queue."""

    table: "Table"
    sqs: "SQSClient"
    queue_url: str
    finished_queue_url: str
    retry: "Retry"
    starts: "Starts"
    random: Callable[[float, float], float] = random.uniform
    clock: Callable[[], float] = time.monotonic

    def work(self, message: WorkMessage, delivery: "Message") -> Processed:
        """Process a message and make its outcomes and messages durable; then it may be deleted.

        Dying before that makes the message come again: rows that were counted meanwhile are not run again, and outcomes
        that were sent twice are counted once.
        """
        work = self.load(message)
        return self.run(message, work, delivery)

    def load(self, message: WorkMessage) -> "Work":
        """Read what the message is about; raises NotFoundError if it is gone."""
        return Repository(table=self.table).require_work(ChunkKey(message.batch, message.chunk))

    def run(self, message: WorkMessage, work: "Work", delivery: "Message") -> Processed:
        """Process the rows of a message that still need it.

        A message that comes again after a run over it began and never ended may have killed its worker: it is not run
        again but split, so that a poison row comes to stand alone and dies alone. One that comes again for another
        reason, as when Lambda throttled it, is run like a new one.
        """
        wanted = wanted_rows(message, work.chunk)
        if not wanted:
            return Processed()
        if work.batch.hold is Hold.PAUSED:
            self._send([message], delay_seconds=PAUSED_DELAY_SECONDS)
            return Processed(returned=len(wanted))
        if work.batch.hold:
            return self._stop(message, work, wanted, work.batch.hold)
        run = Run(self, message, work, jobs.require(work.batch.job))
        if len(wanted) == 1 and delivery.receive_count == 1:
            return run.over(wanted)  # nothing to split; its dead letter asks for the runs of later deliveries
        with self.starts.marked(work.chunk.key, delivery.id) as died:
            # A duplicate of a first delivery may meet the mark of a worker that lives.
            if died and delivery.receive_count > 1 and len(wanted) > 1:
                self._send(split(message, list(wanted)))
                return Processed(returned=len(wanted))
            return run.over(wanted)

    def _stop(self, message: WorkMessage, work: "Work", wanted: RowBits, hold: Hold) -> Processed:
        reason = f"the batch was stopped ({hold}) before this row was processed"
        outcomes = []
        for row in wanted:
            raised = message.raised.get(row)
            code = ReasonCode.RAISED if raised else ReasonCode(hold)
            why = f"{raised} (the batch was stopped, {hold}, before the next try)" if raised else reason
            outcomes.append(unsuccessful(row, Outcome.FAILED, code, why, tries=message.attempt - 1))
        self.send_outcomes(message, work.chunk, outcomes)
        return Processed(finished=len(outcomes))

    def send_outcomes(self, message: WorkMessage, chunk: Chunk, outcomes: Iterable[RowOutcome]) -> None:
        """Make outcomes durable in the queue to ``finish``."""
        bodies = [
            encode(
                FinishedMessage(
                    batch=message.batch,
                    chunk=message.chunk,
                    generation=message.generation,
                    version=chunk.version,
                    done=chunk.done.to_bytes(),
                    outcomes=group,
                )
            )
            for group in outcome_groups(outcomes)
        ]
        send(self.sqs, self.finished_queue_url, bodies, self.retry)

    def _send(self, messages: Iterable[WorkMessage], *, delay_seconds: int = 0) -> None:
        send(self.sqs, self.queue_url, map(encode, messages), self.retry, delay_seconds=delay_seconds)

    def send_back(self, message: WorkMessage, rows: Sequence[int], size: int) -> None:
        """Ask for rows of a message again, in messages of so many."""
        self._send(pieces(message, rows, size))

    def send_later(self, message: WorkMessage, chunk: Chunk, raised: dict[int, str]) -> None:
        """Ask for rows that raised to be tried once more, after a while, and note that they wait and why.

        Rows of a message wait together, with full jitter: apart, each of them would be a message of its own.
        """
        delay = int(self.random(0, min(CAP_DELAY_SECONDS, BASE_DELAY_SECONDS * 2**message.attempt)))
        groups = grouped(raised.items(), size=_raised_size, max_bytes=MAX_PART_BYTES)
        later = msgspec.structs.replace(message, attempt=message.attempt + 1, splits=0, returns=0)
        again = [msgspec.structs.replace(later, rows=[row for row, _ in group], raised=dict(group)) for group in groups]
        self._send(again, delay_seconds=delay)
        # Dying before this leaves the rows on their way without a waiting note: nothing depends on it.
        note_waiting(self.table, chunk, raised, attempt=message.attempt + 1, delay_seconds=delay)


def _raised_size(raised: tuple[int, Any]) -> int:
    return len(msgspec.json.encode(raised)) + len(str(raised[0])) + 2
