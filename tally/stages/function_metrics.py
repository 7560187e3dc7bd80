"""The runs of a stage's functions: as CloudWatch measured them, or as Lambda reported them in their logs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from tally.stages.log_events import reports
from tally.stages.measured import Metric, values

_SUM, _COUNT, _LARGEST = "Sum", "SampleCount", "Maximum"
_MAX_REPORTS = 10_000
"""The most events of one log that the local AWS returns."""
_RECENT = timedelta(minutes=15)
_MINUTE = timedelta(minutes=1)


class Window(Enum):
    """A span of time up to now, and the step in it; CloudWatch keeps steps of a minute for 15 days."""

    QUARTER = ("15 minutes", timedelta(minutes=15), _MINUTE)
    HOUR = ("hour", timedelta(hours=1), timedelta(minutes=5))
    DAY = ("24 hours", timedelta(days=1), timedelta(hours=1))
    WEEK = ("7 days", timedelta(days=7), timedelta(hours=6))

    def __init__(self, title: str, length: timedelta, period: timedelta) -> None:
        self.title, self.length, self.period = title, length, period

    def since(self, now: datetime) -> datetime:
        """Return the beginning of the window: a whole step, so that everything in the first step counts."""
        step = self.period.total_seconds()
        began = (now - self.length).timestamp()
        return datetime.fromtimestamp(began - began % step, now.tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUse:
    """Measurements of one function; None where nothing was measured, which differs from 0."""

    function: str
    invocations: int | None = None
    errors: int | None = None
    throttles: int | None = None
    mean_ms: float | None = None
    longest_ms: float | None = None
    more: bool = False
    """Whether there were more invocations than those that were counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """The age of the oldest message or record, in seconds, at most over a quarter of an hour: by queue, by reader."""

    queues: dict[str, float]
    readers: dict[str, float]


def uses(cloudwatch: Any, prefix: str, functions: Sequence[str], window: Window, now: datetime) -> list[FunctionUse]:
    """Return CloudWatch's measurements of functions, whose names begin with ``prefix``, within a window before now.

    It takes one request for all of them.
    """

    def metric(function: str, name: str, statistic: str) -> Metric:
        return Metric(
            namespace="AWS/Lambda", name=name, statistic=statistic, dimension=("FunctionName", prefix + function)
        )

    asked = (
        ("Invocations", _SUM), ("Errors", _SUM), ("Throttles", _SUM),
        ("Duration", _SUM), ("Duration", _COUNT), ("Duration", _LARGEST),
    )  # fmt: skip
    metrics = [metric(function, *of) for function in functions for of in asked]
    found = values(cloudwatch, metrics, since=window.since(now), until=now, period=window.period)

    def total(function: str, name: str, statistic: str = _SUM) -> float | None:
        return sum(known) if (known := found.get(metric(function, name, statistic))) else None

    def use(function: str) -> FunctionUse:
        took, runs = total(function, "Duration"), total(function, "Duration", _COUNT)
        return FunctionUse(
            function=function,
            invocations=_whole(total(function, "Invocations")),
            errors=_whole(total(function, "Errors")),
            throttles=_whole(total(function, "Throttles")),
            mean_ms=took / runs if took is not None and runs else None,
            longest_ms=max(found.get(metric(function, "Duration", _LARGEST), ()), default=None),
        )

    return [use(function) for function in functions]


def reported(logs: Any, prefix: str, functions: Sequence[str], window: Window, now: datetime) -> list[FunctionUse]:
    """Return the runs that the functions' logs report, without errors and throttles.

    For a local stage, whose CloudWatch does not count runs that queues and streams start. One request per function.
    """
    return [_reported(logs, prefix, function, window.since(now)) for function in functions]


def _reported(logs: Any, prefix: str, function: str, since: datetime) -> FunctionUse:
    took = [report.took_ms for report in reports(logs, prefix + function, since)]
    if not took:
        return FunctionUse(function=function)
    return FunctionUse(
        function=function,
        invocations=len(took),
        mean_ms=sum(took) / len(took),
        longest_ms=max(took),
        more=len(took) >= _MAX_REPORTS,
    )


def ages(cloudwatch: Any, queues: Iterable[str], prefix: str, readers: Iterable[str], now: datetime) -> Ages:
    """Return the recent lag of queues and readers of the stream; those that were not measured are left out."""
    queue_age = {
        name: Metric(
            namespace="AWS/SQS",
            name="ApproximateAgeOfOldestMessage",
            statistic=_LARGEST,
            dimension=("QueueName", name),
        )
        for name in queues
    }
    reader_age = {
        name: Metric(
            namespace="AWS/Lambda", name="IteratorAge", statistic=_LARGEST, dimension=("FunctionName", prefix + name)
        )
        for name in readers
    }
    metrics = [*queue_age.values(), *reader_age.values()]
    found = values(cloudwatch, metrics, since=now - _RECENT, until=now, period=_MINUTE)
    return Ages(
        queues={name: max(found[metric]) for name, metric in queue_age.items() if metric in found},
        readers={name: max(found[metric]) / 1000 for name, metric in reader_age.items() if metric in found},
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
