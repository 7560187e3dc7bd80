"""What the page of a stage knows: its queues and its functions, read once for all who look at it."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from botocore.exceptions import ClientError

from chalicelib.clock import Clock, utc_now
from tally.batch.cost import FUNCTIONS
from tally.queues import dead, overview
from tally.queues.depth import name_of
from tally.stages.expected import Expected
from tally.stages.function_metrics import Ages, FunctionUse, Window, ages, reported, uses
from tally.stages.stage import Stage

QUEUE_SECONDS = 15.0
METRIC_SECONDS = 60.0
"""CloudWatch has a figure a minute, and takes money for each that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of functions within a window, or ``unknown``, which says why that is not known."""

    window: Window
    since: datetime
    functions: list[FunctionUse]
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    at: float
    measured: Measured


@dataclass(kw_only=True)
class StageFeed:
    """Reads a stage for all who look at its page.

    Queues take a request each, every 15 s. What is measured is read once a minute: in AWS in one request for all
    functions and one for all ages, of a local stage in a request for the log of each function.
    """

    stage: Stage
    clock: Callable[[], float] = time.monotonic
    now: Clock = utc_now
    queues: list[overview.QueueState] = field(default_factory=list)
    readers: Mapping[str, float | None] = field(default_factory=dict)
    """By how many seconds each reader of the stream is behind; None where that was not measured."""
    ages_unknown: str = ""
    """Why it is not known for how long anything waits; empty if it is known."""
    _measured: dict[Window, _Read] = field(default_factory=dict)
    _queues_at: float = float("-inf")
    _ages_at: float = float("-inf")
    _ages: Ages = field(default_factory=lambda: Ages(queues={}, readers={}))
    _copies: dead.DeadQueue | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(self, window: Window) -> Measured:
        """Return what was measured within a window, at most a minute ago; what AWS refuses is part of the answer."""
        with self._lock:
            known = self._measured.get(window)
            if known is None or self.clock() - known.at >= METRIC_SECONDS:
                known = _Read(measured=self._measure(window), at=self.clock())
                self._measured[window] = known
            return known.measured

    def step(self) -> None:
        """Read the queues if that was not done lately. Raises as ``Expected.require``, and what AWS answers."""
        with self._lock:
            if self.clock() - self._queues_at >= QUEUE_SECONDS:
                self._read_queues()
                self._queues_at = self.clock()

    def _measure(self, window: Window) -> Measured:
        now = self.now()
        made = Measured(window=window, since=window.since(now), functions=[])
        prefix = f"tally-{self.stage.name}-"
        try:
            if self.stage.server:
                found = reported(self.stage.logs, prefix, FUNCTIONS, window, now)
            else:
                found = uses(self.stage.client("cloudwatch"), prefix, FUNCTIONS, window, now)
        except ClientError as error:
            return replace(made, unknown=str(error))
        return replace(made, functions=found)

    def _read_queues(self) -> None:
        wanted, sqs = Expected.require(self.stage.resources.expected, self.stage.name), self.stage.client("sqs")
        if self._copies is None:
            self._copies = dead.copies(sqs, self.stage.name)
        if self.clock() - self._ages_at >= METRIC_SECONDS:
            self._read_ages(wanted)
            self._ages_at = self.clock()
        self.queues = overview.overview(sqs, wanted, [self._copies], self._ages.queues.get)

    def _read_ages(self, wanted: Expected) -> None:
        readers = [mapping.function for mapping in wanted.mappings if mapping.stream]
        self.readers, self.ages_unknown = dict.fromkeys(readers), ""
        if self.stage.server:
            self.ages_unknown = "a local stage does not measure it"
            return
        urls = [*(queue.url for queue in wanted.queues.values()), *wanted.failure_queues.values()]
        names = [name_of(url) for url in [*urls, *([self._copies.url] if self._copies else [])]]
        try:
            self._ages = ages(self.stage.client("cloudwatch"), names, f"tally-{self.stage.name}-", readers, self.now())
        except ClientError as error:
            self._ages, self.ages_unknown = Ages(queues={}, readers={}), str(error)
        self.readers = {name: self._ages.readers.get(name) for name in readers}
