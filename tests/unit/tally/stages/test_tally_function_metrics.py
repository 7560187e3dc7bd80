"""CloudWatch's metrics of the functions: in one request, and never a zero that nobody measured."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tally.stages.function_metrics import FunctionUse, Window, ages, reported, uses
from tally.testing import service_models

NOW = datetime(2026, 11, 26, 12, 34, 56, tzinfo=UTC)
FUNCTIONS = ("plan", "process", "settle")


class Cloudwatch:
    """Has values of metrics by function or queue, name and statistic, and counts requests."""

    def __init__(self, values: dict[tuple[str, str, str], list[float]]) -> None:
        self.values = values
        self.requests: list[dict[str, Any]] = []

    def get_paginator(self, operation: str) -> Any:
        """Return itself, as what pages."""
        assert operation == "get_metric_data"
        return self

    def paginate(self, **request: Any) -> Any:
        """Answer as CloudWatch does: a result for each query, without values where there is none, in two pages."""
        self.requests.append(request)
        results = []
        for query in request["MetricDataQueries"]:
            stat = query["MetricStat"]
            (dimension,) = stat["Metric"]["Dimensions"]
            found = self.values.get((dimension["Value"], stat["Metric"]["MetricName"], stat["Stat"]), [])
            results.append({"Id": query["Id"], "Values": found})
        half = len(results) // 2
        yield {"MetricDataResults": results[:half]}
        yield {"MetricDataResults": results[half:]}


class Logs:
    """Has the messages of log groups."""

    def __init__(self, **messages: list[str]) -> None:
        self.messages, self.asked = messages, 0

    def get_paginator(self, _operation: str) -> Any:
        """Return itself, as what pages."""
        return self

    def paginate(self, *, logGroupName: str, **_request: Any) -> Any:  # noqa: N803
        """Answer as CloudWatch Logs does."""
        self.asked += 1
        name = logGroupName.rpartition("-")[2]
        if name not in self.messages:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        yield {"events": [{"message": message} for message in self.messages[name]]}


@pytest.mark.parametrize("window", Window)
def test_no_window_asks_for_more_than_cloudwatch_answers(window: Window) -> None:
    """500 queries of a request, 100,800 values of an answer, whole minutes: API reference, "GetMetricData"."""
    cloudwatch = Cloudwatch({})
    uses(cloudwatch, "tally-x-", [f"f{number}" for number in range(100)], window, NOW)
    asked = [len(request["MetricDataQueries"]) for request in cloudwatch.requests]
    assert asked == [500, 100]
    for request in cloudwatch.requests:
        (period,) = {query["MetricStat"]["Period"] for query in request["MetricDataQueries"]}
        values = (request["EndTime"] - request["StartTime"]) / timedelta(seconds=period) + 1
        assert period % 60 == 0
        assert len(request["MetricDataQueries"]) * values <= 100_800
        assert service_models.faults("cloudwatch", "get_metric_data", request) == []


def test_all_functions_take_one_request() -> None:
    cloudwatch = Cloudwatch({})
    uses(cloudwatch, "tally-x-", [f"f{number}" for number in range(11)], Window.HOUR, NOW)
    (request,) = cloudwatch.requests
    assert len(request["MetricDataQueries"]) == 66
    assert len({query["Id"] for query in request["MetricDataQueries"]}) == 66


def test_what_was_not_measured_is_none_and_a_measured_zero_is_zero() -> None:
    cloudwatch = Cloudwatch(
        {
            ("tally-x-process", "Invocations", "Sum"): [3.0, 4.0],
            ("tally-x-process", "Errors", "Sum"): [0.0, 0.0],
            ("tally-x-process", "Throttles", "Sum"): [0.0, 1.0],
            ("tally-x-process", "Duration", "Sum"): [100.0, 600.0],
            ("tally-x-process", "Duration", "SampleCount"): [3.0, 4.0],
            ("tally-x-process", "Duration", "Maximum"): [50.0, 400.0],
            ("tally-x-settle", "Throttles", "Sum"): [2.0],
        }
    )
    assert uses(cloudwatch, "tally-x-", FUNCTIONS, Window.HOUR, NOW) == [
        FunctionUse(function="plan"),
        FunctionUse(function="process", invocations=7, errors=0, throttles=1, mean_ms=100.0, longest_ms=400.0),
        FunctionUse(function="settle", throttles=2),
    ]


@pytest.mark.parametrize("window", list(Window))
def test_a_window_begins_at_a_whole_step_and_is_not_too_short(window: Window) -> None:
    """Of a step that begins before the window, CloudWatch would count what is not in it."""
    since = window.since(NOW)
    assert since.timestamp() % window.period.total_seconds() == 0
    assert timedelta(0) <= NOW - since - window.length < window.period


def test_ages_are_of_queues_in_seconds_and_of_readers_in_milliseconds() -> None:
    cloudwatch = Cloudwatch(
        {
            ("tally-x-work", "ApproximateAgeOfOldestMessage", "Maximum"): [7.0, 90.0],
            ("tally-x-settle", "IteratorAge", "Maximum"): [2500.0],
        }
    )
    found = ages(cloudwatch, ["tally-x-work", "tally-x-heavy"], "tally-x-", ["dispatch", "settle"], NOW)
    assert found.queues == {"tally-x-work": 90.0}
    assert found.readers == {"settle": 2.5}
    assert len(cloudwatch.requests) == 1


def test_of_a_local_stage_the_logs_are_counted_and_errors_are_not_known() -> None:
    report = "REPORT RequestId: {0}\tDuration: {0}00 ms\tBilled Duration: 9 ms\tMemory Size: 512 MB"
    logs = Logs(process=[report.format(1), "REPORTS are late", report.format(3)], plan=["Traceback"])
    assert reported(logs, "tally-x-", FUNCTIONS, Window.HOUR, NOW) == [
        FunctionUse(function="plan"),
        FunctionUse(function="process", invocations=2, mean_ms=200.0, longest_ms=300.0),
        FunctionUse(function="settle"),
    ]
    assert logs.asked == len(FUNCTIONS)


def test_a_log_that_is_too_long_is_said_to_be_more() -> None:
    logs = Logs(process=["REPORT RequestId: 1\tDuration: 5 ms\tBilled Duration: 5 ms\tMemory Size: 512 MB"] * 10_000)
    (found,) = reported(logs, "tally-x-", ["process"], Window.HOUR, NOW)
    assert (found.invocations, found.more) == (10_000, True)
