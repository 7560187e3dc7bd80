"""The log of a function: events that match a pattern, and Lambda's report of each invocation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

_REPORT = re.compile(
    r"REPORT RequestId: (?P<request>\S+)\s+Duration: (?P<took>[0-9.]+) ms\s+"
    r"Billed Duration: (?P<billed>[0-9.]+) ms\s+Memory Size: (?P<mb>[0-9]+) MB"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Lambda's report at the end of an invocation; ``gb_seconds`` is what it bills."""

    request: str
    took_ms: float
    gb_seconds: float


def events(
    logs: Any, function: str, pattern: str, since: datetime, until: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the events of a function's log that match, as CloudWatch Logs has them; none if it has never run."""
    request: dict[str, Any] = {
        "logGroupName": f"/aws/lambda/{function}",
        "startTime": int(since.timestamp() * 1000),
        "filterPattern": pattern,
    }
    if until is not None:
        request["endTime"] = int(until.timestamp() * 1000)
    try:
        for page in logs.get_paginator("filter_log_events").paginate(**request):
            yield from page["events"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def reports(logs: Any, function: str, since: datetime, until: datetime | None = None) -> list[Report]:
    """Return the reports of a function's invocations; none if it has never run."""
    found = (_REPORT.match(event["message"]) for event in events(logs, function, "REPORT", since, until))
    return [
        Report(
            request=match["request"],
            took_ms=float(match["took"]),
            gb_seconds=float(match["billed"]) / 1000 * int(match["mb"]) / 1024,
        )
        for match in found
        if match
    ]
