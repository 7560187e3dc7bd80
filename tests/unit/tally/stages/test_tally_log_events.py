"""Events and reports of a function's log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tally.stages.log_events import Report, events, reports

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


class Logs:
    """Answers in pages, or refuses."""

    def __init__(self, *pages: list[str], refuses: str = "") -> None:
        self.pages, self.refuses, self.request = pages, refuses, dict[str, Any]()

    def get_paginator(self, operation: str) -> "Logs":
        assert operation == "filter_log_events"
        return self

    def paginate(self, **request: Any) -> Any:
        self.request = request
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses}}, "FilterLogEvents")
        for page in self.pages:
            yield {"events": [{"message": message} for message in page]}


def test_events_of_all_pages_are_read_within_the_time_that_was_asked_for() -> None:
    logs = Logs(["a"], [], ["b"])
    found = events(logs, "tally-x-plan", "word", SINCE, SINCE + timedelta(seconds=1))
    assert [event["message"] for event in found] == ["a", "b"]
    assert logs.request["endTime"] - logs.request["startTime"] == 1_000
    list(events(logs, "tally-x-plan", "word", SINCE))
    assert "endTime" not in logs.request


def test_a_function_that_has_never_run_has_no_events_and_another_refusal_is_raised() -> None:
    assert reports(Logs(refuses="ResourceNotFoundException"), "tally-x-plan", SINCE) == []
    with pytest.raises(ClientError, match="AccessDenied"):
        reports(Logs(refuses="AccessDeniedException"), "tally-x-plan", SINCE)


def test_a_report_has_the_time_that_was_taken_and_the_one_that_is_billed() -> None:
    """A line that a job printed is none."""
    line = "REPORT RequestId: 7\tDuration: 1.50 ms\tBilled Duration: 2000 ms\tMemory Size: 512 MB\tMax"
    logs = Logs([line, "REPORTS are late"])
    assert reports(logs, "tally-x-plan", SINCE) == [Report(request="7", took_ms=1.5, gb_seconds=1.0)]
