"""Run a trial for the command: its progress, its interruption, its output and its exit status."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from chalicelib.jobs import Job
from chalicelib.steps.unpack import GZIP_MAGIC
from chalicelib.store.items import Outcome
from tally.errors import ExitCode
from tally.output import Output
from tally.trial import line as single
from tally.trial import report
from tally.trial.estimate import estimate
from tally.trial.planning import Planning
from tally.trial.stage import MAX_TOGETHER
from tally.trial.trial import Trial
from tally.trial.watch import QuitError, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request for a trial: ``file`` is called ``name``, ``folder`` is for unpacked bytes."""

    job: Job
    file: Path
    name: str
    folder: Path
    rows: int | None = None
    debug: bool = False

    def trial(self, *, at_start: bool = False) -> Trial:
        """Return a trial that has not begun."""
        watch = Watch(self.job, debug=self.debug, at_start=at_start)
        return Trial(watch, self.file, self.folder / "unpacked", most=self.rows, name=self.name)


def try_rows(output: Output, request: Request) -> tuple[dict[str, Any], ExitCode]:
    """Try the rows of a file; returns the result for ``--json``, and the exit status. An interrupt ends it early."""
    trial = request.trial()
    interrupted = False
    with trial.planning() as planning:
        try:
            _run(output, trial, planning, request)
        except KeyboardInterrupt:
            interrupted = True
            trial.salvage(planning)
    interrupted |= trial.watch.stopped
    expected = estimate(trial, planning)
    report.show(output, trial, expected, interrupted=interrupted)
    result = report.as_json(trial, expected, file=request.name, interrupted=interrupted)
    return result, report.verdict(trial.seen, interrupted=interrupted)


def try_line(output: Output, request: Request, line: int) -> tuple[dict[str, Any], ExitCode]:
    """Try one row; returns the result for ``--json``, and the exit status."""
    try:
        tried = single.try_line(request.trial(at_start=True), line)
    except QuitError:
        raise KeyboardInterrupt from None
    single.show(output, tried)
    outcome = tried.found.outcome
    succeeded = outcome is not None and outcome.outcome is Outcome.SUCCEEDED
    result = tried.as_json(job=request.job.name, file=request.name)
    return result, ExitCode.OK if succeeded else ExitCode.NOT_AS_HOPED


def _run(output: Output, trial: Trial, planning: Planning, request: Request) -> None:
    with request.file.open("rb") as file:
        is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if is_gzip:
        with output.step(f"unpacking {request.name}"):
            records = planning.planned(MAX_TOGETHER)
    else:
        records = planning.planned(MAX_TOGETHER)
    if not records:
        return
    bar = _progress(output, trial, planning, bar=not request.debug)
    with _stops_at_interrupt(output, trial.watch), bar as advance:
        trial.on_rows = advance
        trial.over(planning, records)


@contextmanager
def _stops_at_interrupt(output: Output, watch: Watch) -> Iterator[None]:
    """Stop at the first Ctrl-C after the row that runs, so that no outcome is lost."""

    def stop(_signum: int, _frame: FrameType | None) -> None:
        if watch.stopped:
            raise KeyboardInterrupt
        watch.stopped = True
        output.say("stopping after this row; Ctrl-C again stops at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(output: Output, trial: Trial, planning: Planning, *, bar: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar over the rows, whose number is estimated; none if a debugger may want the terminal."""
    if not bar:
        yield lambda _: None
        return
    batch = trial.reader.batch(planning.batch_id)
    size = max(batch.content_size if batch else 0, planning.cut.bytes)
    rows = round(planning.cut.rows * size / planning.cut.bytes)
    with output.progress("trying rows", min(rows, trial.most or rows)) as advance:
        yield advance
