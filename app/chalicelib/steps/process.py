"""Process: the job's own function, row by row; what it does to one row it cannot do to another."""

import math
import random
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib import jobs
from chalicelib.bounds import grouped
from chalicelib.errors import PermanentError, described
from chalicelib.logs import logger
from chalicelib.store.batch import Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Outcome, row_id
from chalicelib.store.marker import (
    MAX_REASON_CHARACTERS,
    MAX_TRACEBACK_CHARACTERS,
    ReasonCode,
    RowOutcome,
    unsuccessful,
)
from chalicelib.store.repository import Repository
from chalicelib.store.rows import StoredRow
from chalicelib.store.waiting import note_waiting
from chalicelib.transport.messages import (
    MAX_PART_BYTES,
    MAX_RAISED_CHARACTERS,
    FinishedMessage,
    WorkMessage,
    encode,
    outcome_groups,
    outcome_size,
)
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.repository import Work
    from chalicelib.store.table import Table

SPLIT_SECONDS = 10.0
"""A message whose rows would take longer than this, at the pace seen so far, is split."""
_PIECES = 200
"""Into about so many pieces is cut what is left of a batch: a few for each of 50 workers, so that none waits long for
the last one, and no more messages than that where many chunks are open anyway."""
_MIN_PIECE_SECONDS = 0.5
"""What a piece is worth at least: more than its messages cost."""
FLUSH_SECONDS = 5.0
"""How often outcomes are sent on: what a crash makes to be done again."""
_PACE_SECONDS = 0.2
"""Rows run for as long as this, without the slowest, before their pace says anything: the first one pays for what a
cold worker imports."""
_BASE_DELAY_SECONDS = 2
_CAP_DELAY_SECONDS = 900
"""SQS delays a message for no longer."""
_PAUSED_DELAY_SECONDS = 60
_JOBS_FOLDER = "/chalicelib/jobs/"


@dataclass(slots=True)
class Processed:
    """What became of the rows of a message, in numbers: the log's and the metrics'."""

    run: int = 0  # rows that the job ran for, ...
    seconds: float = 0  # ... all of them together
    finished: int = 0
    retried: int = 0  # the job raised: to be tried once more, later
    returned: int = 0  # sent back without having been run
    succeeded: set[int] = field(default_factory=set)

    @property
    def sizes(self) -> dict[str, int]:
        """What the log says."""
        return {"finished": self.finished, "retried": self.retried, "returned": self.returned}


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
        """Process a message and make durable all that came of it; then it may be deleted.

        Dying before that makes the message come again: rows that were counted meanwhile are not run again, and outcomes
        that were sent twice are counted once.
        """
        work = self.load(message)
        return self.run(message, work, receive_count=receive_count)

    def load(self, message: WorkMessage) -> "Work":
        """Read what the message is about; raises NotFoundError if it is gone."""
        return Repository(table=self.table).require_work(ChunkKey(message.batch, message.chunk))

    def run(self, message: WorkMessage, work: "Work", *, receive_count: int) -> Processed:
        """Process the rows of a message that still need it.

        A message that comes a second time may have killed its worker: it is not run again but split, so that a poison
        row comes to stand alone and dies alone.
        """
        wanted = wanted_rows(message, work.chunk)
        if not wanted:
            return Processed()
        if work.batch.hold is Hold.PAUSED:
            self._send([message], delay_seconds=_PAUSED_DELAY_SECONDS)
            return Processed(returned=len(wanted))
        if work.batch.hold:
            return self._stop(message, work, wanted, work.batch.hold)
        if receive_count > 1 and len(wanted) > 1:
            self._send(split(message, list(wanted)))
            return Processed(returned=len(wanted))
        return _Run(self, message, work, jobs.require(work.batch.job)).over(wanted)

    def _stop(self, message: WorkMessage, work: "Work", wanted: RowBits, hold: Hold) -> Processed:
        reason = f"the batch was stopped ({hold}) before this row was processed"
        outcomes = []
        for row in wanted:
            raised = message.raised.get(row)
            code = ReasonCode.RAISED if raised else ReasonCode(hold)
            said = f"{raised} (the batch was stopped, {hold}, before the next try)" if raised else reason
            outcomes.append(unsuccessful(row, Outcome.FAILED, code, said, tries=message.attempt - 1))
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
        delay = int(self.random(0, min(_CAP_DELAY_SECONDS, _BASE_DELAY_SECONDS * 2**message.attempt)))
        groups = grouped(raised.items(), size=_raised_size, max_bytes=MAX_PART_BYTES)
        again = [
            msgspec.structs.replace(
                message, rows=[row for row, _ in group], attempt=message.attempt + 1, raised=dict(group), splits=0
            )
            for group in groups
        ]
        self._send(again, delay_seconds=delay)
        # Dying before this leaves the rows on their way, and nobody told that they wait: nothing depends on it.
        note_waiting(self.table, chunk, raised, attempt=message.attempt + 1, delay_seconds=delay)


def wanted_rows(message: WorkMessage, chunk: Chunk) -> RowBits:
    """Return the rows of a message that still need processing, by what the chunk says now.

    None of a message that a redrive has overtaken: the redrive sent every row that was not done, with its own
    generation.
    """
    if message.generation < chunk.generation or chunk.closed:
        return RowBits()
    if message.rows is None:
        return chunk.undone - chunk.heavy
    return chunk.undone & RowBits.of(message.rows)


def split(message: WorkMessage, rows: Sequence[int]) -> list[WorkMessage]:
    """Return the messages that take the place of one whose worker may have died of one of its rows.

    About the square root of the rows' number at first, then a row each: so one poison row among n makes some
    2 x sqrt(n) messages, and the healthy rows run three times at most.
    """
    size = 1 if message.splits else math.isqrt(len(rows) - 1) + 1
    return [msgspec.structs.replace(piece, splits=message.splits + 1) for piece in pieces(message, rows, size)]


def pieces(message: WorkMessage, rows: Sequence[int], size: int) -> list[WorkMessage]:
    """Return messages of so many rows each, otherwise the same."""
    groups = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
    return [
        msgspec.structs.replace(
            message, rows=group, raised={row: message.raised[row] for row in group if row in message.raised}
        )
        for group in groups
    ]


@dataclass(slots=True)
class _Run:
    """One run over rows of one message."""

    processor: Processor
    message: WorkMessage
    work: "Work"
    job: jobs.Job
    done: Processed = field(default_factory=Processed)
    outcomes: list[RowOutcome] = field(default_factory=list)
    raised: dict[int, str] = field(default_factory=dict)
    longest: float = 0.0

    def over(self, wanted: RowBits) -> Processed:
        """Run the job over rows while there is time, and send what comes of them; the rest goes back."""
        clock, done, outcomes = self.processor.clock, self.done, self.outcomes
        left = list(wanted)
        found = {row.row: (columns, row) for columns, row in self.work.stored() if row.row in wanted}
        began = flushed = now = clock()
        for position, row in enumerate(left):
            rest = left[position:]
            if position and self._is_late():
                self.processor.send_back(self.message, rest, len(rest))
                done.returned = len(rest)
                break
            if (size := self._piece_size(now - began, len(rest))) < len(rest):
                self.processor.send_back(self.message, rest, size)
                done.returned = len(rest)
                break
            outcome = self._outcome(row, *found[row]) if row in found else _gone(row)
            took, now = (after := clock()) - now, after
            self.longest = max(self.longest, took)
            done.run += 1
            if outcome is not None:
                outcomes.append(msgspec.structs.replace(outcome, duration_ms=int(took * 1000)))
            if now - flushed >= FLUSH_SECONDS:
                self._flush()
                flushed = now
        done.seconds = now - began
        self._flush()
        return done

    def _flush(self) -> None:
        """Send on what came of rows so far. Dying here sends some of it twice, when the message comes again."""
        if self.outcomes:
            self.processor.send_outcomes(self.message, self.work.chunk, self.outcomes)
        if self.raised:
            self.processor.send_later(self.message, self.work.chunk, self.raised)
        self.done.finished += len(self.outcomes)
        self.done.retried += len(self.raised)
        self.done.succeeded |= {found.row for found in self.outcomes if found.outcome is Outcome.SUCCEEDED}
        self.outcomes.clear()
        self.raised.clear()

    def _is_late(self) -> bool:
        return self.processor.retry.remaining_seconds() < self.longest

    def _piece_size(self, elapsed: float, left: int) -> int:
        """Return how many rows a message should have: all that are left, unless at the pace so far they take too long.

        The slowest row is not counted, once there are others: it may have paid for what all of them needed.
        """
        run = self.done.run
        if run < 2:  # noqa: PLR2004  the slowest of one is all of them
            if elapsed < SPLIT_SECONDS:
                return left
            pace = elapsed
        else:
            if elapsed - self.longest < _PACE_SECONDS:
                return left
            pace = (elapsed - self.longest) / (run - 1)
        rest = pace * left
        if rest <= SPLIT_SECONDS:
            return left
        of_batch = rest * max(1, self.work.batch.remaining)  # its other open chunks keep workers busy too
        worth = min(SPLIT_SECONDS, max(_MIN_PIECE_SECONDS, of_batch / _PIECES))
        return max(1, round(worth / pace))

    def _outcome(self, row: int, columns: Sequence[str], stored: StoredRow) -> RowOutcome | None:
        """Return a row's outcome; None if the job raised and the row has tries left."""
        tries = self.message.attempt
        try:
            key = row_id(self.work.chunk.key, row)
            parsed = self.job.schema.row_of(columns, stored.values, key)
            result = msgspec.Raw(msgspec.json.encode(self.job.process(parsed)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the job raises is this row's outcome
            permanent = isinstance(error, PermanentError)
            if tries < self.job.attempts and not permanent:
                self.raised[row] = described(error)[:MAX_RAISED_CHARACTERS]
                return None
            return self._failed(stored, error, ReasonCode.PERMANENT if permanent else ReasonCode.RAISED)
        outcome = RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=result, tries=tries)
        if len(bytes(result)) > MAX_PART_BYTES // 2 and outcome_size(outcome) > MAX_PART_BYTES:
            reason = f"the job's result is too large: {len(bytes(result)):,} bytes of JSON"
            return unsuccessful(row, Outcome.FAILED, ReasonCode.TOO_LARGE, reason, line=stored.line, tries=tries)
        return outcome

    def _failed(self, stored: StoredRow, error: BaseException, code: ReasonCode) -> RowOutcome:
        frames = job_traceback(error.__traceback__)
        chunk, tries = self.work.chunk.key, self.message.attempt
        # The reason and the frames may quote the row: they are in the ledger, and the log has the places only.
        logger.warning(
            "row.failed",
            extra={
                "batch_id": chunk.batch_id,
                "chunk": chunk.number,
                "row": stored.row,
                "line": stored.line,
                "tries": tries,
                "code": code.value,
                "error": type(error).__name__,
                "traceback": frames,
            },
        )
        return RowOutcome(
            row=stored.row,
            outcome=Outcome.FAILED,
            code=code,
            reason=described(error)[:MAX_REASON_CHARACTERS],
            line=stored.line,
            tries=tries,
            traceback=frames,
        )


def job_traceback(raised: TracebackType | None) -> str:
    """Return the frames of a traceback from the job's module on, the last ones if they are many: places, no values."""
    frames = traceback.extract_tb(raised)
    first = next((at for at, frame in enumerate(frames) if _JOBS_FOLDER in frame.filename.replace("\\", "/")), None)
    own = frames[first:] if first is not None else frames[-1:]
    lines = [f"{_short(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line or ''}".rstrip() for frame in own]
    return "\n".join(lines)[-MAX_TRACEBACK_CHARACTERS:]


def _short(filename: str) -> str:
    _, found, name = filename.replace("\\", "/").rpartition(_JOBS_FOLDER)
    return f"jobs/{name}" if found else filename.rpartition("/")[2]


def _gone(row: int) -> RowOutcome:
    return unsuccessful(row, Outcome.FAILED, ReasonCode.ROW_GONE, "the row is no longer in the table")


def _raised_size(raised: tuple[int, Any]) -> int:
    return len(msgspec.json.encode(raised)) + len(str(raised[0])) + 2
