"""Watch a batch to its end: a live picture on a terminal, else a line now and then."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.clock import Clock, utc_now
from chalicelib.store.batch import Batch, BatchStatus, Hold
from tally.batch import chains
from tally.batch.failures import Sampler, Top
from tally.batch.lost_runs import NO_LOST_RUNS, LostRuns, lost_runs_of
from tally.batch.picture import Picture, short_status
from tally.batch.reader import Progress, Reader
from tally.errors import ExitCode, OperatorError
from tally.look import Redrawn, duration, several
from tally.output import Output
from tally.stages.stage import Stage

_WINDOW_SECONDS = 20.0
_LINE_SECONDS = 5.0
_STALLED_SECONDS = 60.0
_APPEAR_SECONDS = 30.0
_LIVE_CHUNKS = 10
"""Chunks whose reasons are read again for each picture, at most: a watch must not load the table."""


@dataclass(slots=True)
class Meter:
    """Rows a second over the last seconds, from the counts that are added."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, at: float, counted: int) -> None:
        """Add a count."""
        self.samples.append((at, counted))
        while len(self.samples) > 2 and at - self.samples[1][0] >= _WINDOW_SECONDS:  # noqa: PLR2004  # two make a rate
            self.samples.popleft()

    @property
    def rate(self) -> float:
        """Rows a second; 0 before the second reading."""
        (began, first), (ended, last) = self.samples[0], self.samples[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def eta_seconds(self, left: int) -> float | None:
        """Seconds until ``left`` more rows are counted at this rate; None while the rate is unknown."""
        return left / self.rate if self.rate > 0 else None


def elapsed_seconds(progress: Progress, now: datetime) -> float:
    """Return seconds from a batch's creation to its end, or to now."""
    end = datetime.fromisoformat(progress.batch.completed_at) if progress.batch.completed_at else now
    return max(0.0, (end - datetime.fromisoformat(progress.batch.created_at)).total_seconds())


def status_of(batch: Batch) -> str:
    """Return a batch's status with its hold, and the progress of its unpacking."""
    shown = short_status(batch)
    if batch.status is not BatchStatus.UNPACKING:
        return shown
    return f"{shown}, {batch.unpacking.read if batch.unpacking else 0:,} of {batch.size:,} bytes read"


def waiting_of(progress: Progress) -> str:
    """Return in words how many rows wait for their next try, and why."""
    return f"{several(progress.rows_waiting, 'row')} raised, to be tried again, for example: {progress.waiting_reason}"


def verdict(progress: Progress) -> ExitCode:
    """Return the exit status for a batch that was watched to its end."""
    return ExitCode.OK if progress.batch.status is BatchStatus.COMPLETED else ExitCode.NOT_AS_HOPED


def show(output: Output, progress: Progress, top: Top, now: datetime, lost: LostRuns = NO_LOST_RUNS) -> None:
    """Write the summary of a batch, with the most frequent reasons of failed and rejected rows."""
    batch, counts = progress.batch, progress.counts
    seconds = elapsed_seconds(progress, now)
    rows = [
        ("batch", batch.id),
        ("file", f"s3://{batch.source.bucket}/{batch.source.key}"),
        ("job", batch.job),
        ("status", status_of(batch)),
        *([("reason", batch.reason)] if batch.reason else []),
        ("rows found", f"{progress.found:,}" + ("" if batch.chunks is not None or batch.status.final else " so far")),
        ("succeeded", f"{counts.succeeded:,}"),
        ("failed", f"{counts.failed:,}"),
        ("rejected", f"{counts.rejected:,}"),
        *([("waiting", waiting_of(progress))] if progress.rows_waiting else []),
        *([("lost runs", str(lost))] if lost.runs else []),
        ("chunks done", f"{progress.closed:,} of {_planned_chunks(progress)}"),
        ("elapsed", duration(seconds) + ("" if batch.status.final else ", not ended")),
        *([("rate", f"{counts.total / seconds:,.0f} rows/s on average")] if seconds and counts.total else []),
        *([("attempt", str(batch.attempt))] if batch.attempt > 1 else []),
        *progress.results(now).table_rows(),
        *chains.described(batch),
    ]
    output.table("", ("", ""), rows)
    for line in top.lines:
        output.say(line)
    if top.groups:
        output.say(f"All reasons, and how to run a group again: tally failures {batch.id}")
    if step := progress.results(now).next_step():
        output.say(step)


def _planned_chunks(progress: Progress) -> str:
    planned = progress.batch.chunks
    if planned is None and not progress.batch.status.final:
        return f"{len(progress.chunks):,} so far"
    return f"{planned or len(progress.chunks):,}"


def follow(
    output: Output, reader: Reader, stage: Stage, batch_id: str, *, interval: float, timeout: float | None
) -> Progress:
    """Watch a batch to its end and write its summary."""
    watch = Watch(
        reader=reader,
        output=output,
        where_to_look=stage.where_to_look,
        come_back=stage.watch_command,
        interval=interval,
        timeout=timeout,
    )
    progress = watch.until_final(batch_id)
    show(output, progress, Sampler(reader).top(progress), utc_now())
    return progress


@dataclass(kw_only=True)
class Watch:
    """One watch of one batch.

    ``where_to_look`` completes the hint that is given when nothing moves, and ``come_back`` returns the command that
    watches a batch again.
    """

    reader: Reader
    output: Output
    where_to_look: str
    come_back: Callable[[str], str]
    interval: float = 1.0
    timeout: float | None = None
    stall_timeout: float | None = None
    clock: Callable[[], float] = time.monotonic
    now: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep
    _meter: Meter = field(default_factory=Meter)
    _sampler: Sampler = field(init=False)
    _moved_at: float = 0.0
    _hinted: bool = False
    _said: tuple[float, Progress] | None = None
    """The time of the last written line, and its progress."""

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.reader)

    def until_final(self, batch_id: str) -> Progress:
        """Return the batch's last progress once its status is final.

        Raises when no batch of that id appears (planning starts seconds after an upload), and when the
        timeout passes first.
        """
        try:
            if not self.output.live:
                return self._until_final(batch_id, self._say_change)
            with Redrawn(self.output.console, again=lambda: self.output.command(f"batch {batch_id}")) as redrawn:
                return self._until_final(batch_id, lambda progress, _at: redrawn.show(self._picture(progress)))
        except KeyboardInterrupt as interrupt:
            raise OperatorError(
                f"batch {batch_id} continues without being watched",
                hint=f"`{self.come_back(batch_id)}` watches it again.",
                code=ExitCode.INTERRUPTED,
            ) from interrupt

    def _until_final(self, batch_id: str, show: Callable[[Progress, float], None]) -> Progress:
        began = self._moved_at = self.clock()
        progress: Progress | None = None
        while True:
            before, progress = progress, self.reader.progress(batch_id, progress)
            at = self.clock()
            if progress is not None:
                self._meter.add(at, progress.counts.total)
                if progress.batch.status.final:
                    return progress
                show(progress, at)
            self._notice_stall(before, progress, at)
            self._give_up(batch_id, progress, waited=at - began, stalled=at - self._moved_at)
            self.sleep(self.interval)

    def _say_change(self, progress: Progress, at: float) -> None:
        """Write a line if the progress has changed, at most every few seconds."""
        said = self._said
        if said is None or (progress != said[1] and at - said[0] >= _LINE_SECONDS):
            self.output.say(self._line(progress))
            self._said = (at, progress)

    def _notice_stall(self, before: Progress | None, progress: Progress | None, at: float) -> None:
        if progress != before:
            self._moved_at, self._hinted = at, False
        elif not self._hinted and at - self._moved_at >= _STALLED_SECONDS:
            self.output.warn(f"no progress for {_STALLED_SECONDS:.0f} s: {self._why(progress)}.")
            self._hinted = True

    def _why(self, progress: Progress | None) -> str:
        if progress is not None and progress.batch.hold is Hold.PAUSED:
            return f"the batch is paused (tally resume {progress.batch.id})"
        if progress is not None and progress.rows_waiting:
            return waiting_of(progress)
        if progress is not None and (lost := lost_runs_of(self.reader, progress)).runs:
            return f"{lost}; look at {self.where_to_look}"
        return f"look at {self.where_to_look}"

    def _give_up(self, batch_id: str, progress: Progress | None, *, waited: float, stalled: float) -> None:
        if progress is None and waited >= (self.timeout or _APPEAR_SECONDS):
            raise OperatorError(
                f"No batch {batch_id} after {waited:.0f} s",
                hint=f"`tally list` shows the batches, or look at {self.where_to_look}.",
                code=ExitCode.USAGE,
            )
        if self.stall_timeout is not None and stalled >= self.stall_timeout:
            raise OperatorError(
                f"Batch {batch_id} has not moved for {stalled:.0f} s: look at {self.where_to_look}.",
                code=ExitCode.TIMED_OUT,
            )
        if self.timeout is not None and waited >= self.timeout:
            raise OperatorError(
                f"Batch {batch_id} has not ended after {self.timeout:.0f} s; it still runs",
                hint=f"`{self.come_back(batch_id)}` watches it again.",
                code=ExitCode.TIMED_OUT,
            )

    def _line(self, progress: Progress) -> str:
        if progress.batch.status is BatchStatus.UNPACKING:
            return f"{status_of(progress.batch)}; elapsed {duration(elapsed_seconds(progress, self.now()))}"
        counts, left = progress.counts, progress.found - progress.counts.total
        eta = duration(self._meter.eta_seconds(left))
        planning = "" if progress.batch.chunks is not None else " so far"
        waiting = f"; {waiting_of(progress)}" if progress.rows_waiting else ""
        return (
            f"{status_of(progress.batch)}: {counts.total:,} of {progress.found:,}{planning} rows: "
            f"{counts.succeeded:,} succeeded, {counts.failed:,} failed, {counts.rejected:,} rejected; "
            f"chunks {progress.closed:,} of {_planned_chunks(progress)}; {self._meter.rate:,.0f} rows/s, ETA {eta}, "
            f"elapsed {duration(elapsed_seconds(progress, self.now()))}{waiting}"
        )

    def _picture(self, progress: Progress) -> Picture:
        return Picture(
            progress=progress,
            top=self._sampler.top(progress, _LIVE_CHUNKS),
            rate=self._meter.rate,
            eta_seconds=self._meter.eta_seconds(progress.found - progress.counts.total),
            elapsed_seconds=elapsed_seconds(progress, self.now()),
        )
