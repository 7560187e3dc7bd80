"""A job under watch: how long each row takes, its exception, and where a debugger stops."""

import math
import os
import pdb  # noqa: T100  it is what --pdb asks for
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from chalicelib.errors import WorkerStop, job_errors
from chalicelib.jobs import Job

_STEP = math.log(1.02)
"""Durations are kept to within 2 %."""
_LEAST_SECONDS = 1e-9


class QuitError(WorkerStop):
    """The debugger was left with ``q`` at the start of a row: no handler may catch this."""


class ExitCalledError(BaseException):
    """The job called ``os._exit``: here its row fails, and on a stage its worker dies until a dead letter fails it."""


@contextmanager
def no_exit() -> Iterator[None]:
    """Let ``os._exit`` raise while the block runs: it would end the trial in the middle, with the job's own status."""
    here, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != here:
            leave(status)  # a child of the job's
        raise ExitCalledError(f"os._exit({status}) ends the worker: a stage dead-letters the row")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


@dataclass(slots=True)
class Durations:
    """Durations of calls, in bounded memory."""

    calls: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    _steps: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Add the duration of one call."""
        self.calls += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        self._steps[math.floor(math.log(max(seconds, _LEAST_SECONDS)) / _STEP)] += 1

    def quantile(self, share: float) -> float:
        """Return the seconds that this share of the calls did not exceed; 0 if there was no call."""
        wanted = share * self.calls
        passed = 0
        for step, calls in sorted(self._steps.items()):
            passed += calls
            if passed >= wanted:
                return min(self.longest, math.exp((step + 0.5) * _STEP))
        return 0.0


@dataclass(slots=True)
class Watch:
    """Watches ``process`` of a job: ``job`` is the job to run in its place.

    ``debug`` opens a debugger where a row raises; with ``at_start`` as well it stops before its first line instead.
    ``on_call`` is called after each row.
    """

    of: Job
    debug: bool = False
    at_start: bool = False
    on_call: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.perf_counter
    processor_clock: Callable[[], float] = time.thread_time
    durations: Durations = field(default_factory=Durations)
    waited: float = 0.0
    """Seconds of the job without a processor at work for it."""
    stopped: bool = False
    """Whether no further row should run."""
    raised: BaseException | None = None
    """The exception of the last row."""

    @property
    def job(self) -> Job:
        """The job, under watch."""
        return replace(self.of, process=self._process)

    def _process(self, row: Any) -> object:
        self.raised = None
        began, worked = self.clock(), self.processor_clock()
        try:
            if self.debug and self.at_start:
                return _stop_in(self.of.process, row)
            return self.of.process(row)
        except job_errors() as error:
            self.raised = error
            if self.debug and not self.at_start:
                self.stopped |= not _look_at(error)
            raise
        finally:
            took = self.clock() - began
            self.durations.add(took)
            self.waited += max(0.0, took - (self.processor_clock() - worked))
            self.on_call()


WATCHED_CODE = Watch._process.__code__  # noqa: SLF001  its own module
"""The code that calls the job: frames below it are the job's own."""


class _Debugger(pdb.Pdb):
    """A debugger that notes whether it was left with ``q``; the library's own flag has other meanings too."""

    def __init__(self) -> None:
        # The job's output may be redirected; the debugger uses the present stream.
        super().__init__(stdin=sys.stdin, stdout=sys.stdout)
        self.left = False

    def set_quit(self) -> None:
        """Note that the debugger was left."""
        self.left = True
        super().set_quit()


def _stop_in(process: Callable[[Any], object], row: Any) -> object:
    """Call the job with a debugger at its first line; raises QuitError if the debugger is left with ``q``."""
    debugger = _Debugger()
    try:
        returned: object = debugger.runcall(process, row)
    finally:
        if debugger.left:
            raise QuitError
    return returned


def _look_at(error: BaseException) -> bool:
    """Open a debugger on the frame that raised; returns False if the debugger is left with ``q``."""
    trace = error.__traceback__
    debugger = _Debugger()
    debugger.message(f"{type(error).__name__}: {error}")
    debugger.reset()
    debugger.interaction(None, trace.tb_next if trace and trace.tb_next else trace)
    return not debugger.left
