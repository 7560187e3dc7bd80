"""Run the job over the rows of one message, row by row: no row changes the outcome of another."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from chalicelib import jobs
from chalicelib.errors import PermanentError, described, job_errors
from chalicelib.logs import logger
from chalicelib.steps.results import encoded
from chalicelib.store.bits import RowBits
from chalicelib.store.items import Outcome, row_id
from chalicelib.store.marker import (
    MAX_REASON_CHARACTERS,
    MAX_TRACEBACK_CHARACTERS,
    ReasonCode,
    RowOutcome,
    unsuccessful,
)
from chalicelib.store.rows import StoredRow
from chalicelib.transport.messages import MAX_PART_BYTES, MAX_RAISED_CHARACTERS, WorkMessage, outcome_size

if TYPE_CHECKING:
    from chalicelib.steps.process import Processor
    from chalicelib.store.repository import Work

SPLIT_SECONDS = 10.0
"""A message whose rows would take longer than this, at the pace seen so far, is split."""
_PIECES = 200
"""Into about so many pieces is cut what is left of a batch: a few for each of 50 workers, so that none waits long for
the last one, and no more messages than that where many chunks are open anyway."""
_MIN_PIECE_SECONDS = 0.5
"""The least worth of a piece: more than its messages cost."""
FLUSH_SECONDS = 5.0
"""The time between two sends of outcomes; after a crash the rows of this time run again."""
_PACE_SECONDS = 0.2
"""Rows run for as long as this, without the slowest, before their pace says anything: the first one pays for what a
cold worker imports."""
_JOBS_FOLDER = "/chalicelib/jobs/"


@dataclass(slots=True)
class Processed:
    """The outcomes of the rows of a message, in numbers: the log's and the metrics'."""

    run: int = 0  # rows that the job ran for, ...
    seconds: float = 0  # ... all of them together
    finished: int = 0
    retried: int = 0  # the job raised: to be tried once more, later
    returned: int = 0  # sent back without having been run
    succeeded: set[int] = field(default_factory=set)

    @property
    def sizes(self) -> dict[str, int]:
        """The fields of its log event."""
        return {"finished": self.finished, "retried": self.retried, "returned": self.returned}


@dataclass(slots=True)
class Run:
    """One run over rows of one message."""

    processor: "Processor"
    message: WorkMessage
    work: "Work"
    job: jobs.Job
    done: Processed = field(default_factory=Processed)
    outcomes: list[RowOutcome] = field(default_factory=list)
    raised: dict[int, str] = field(default_factory=dict)
    longest: float = 0.0

    def over(self, wanted: RowBits) -> Processed:
        """Run the job over rows while there is time, and send their outcomes; the rest goes back."""
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
        """Send the outcomes so far. Dying here sends some of them twice, when the message comes again."""
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
            parsed = self.job.schema.row_of(columns, stored.values, key, stored.extra)
            result = encoded(self.job.process(parsed))
        except job_errors() as error:  # every error of the job is this row's outcome
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
