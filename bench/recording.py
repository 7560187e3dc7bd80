"""The functions' requests to AWS, from a log of them, and their invocations, from their own logs."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tally.stages.log_events import reports

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from tally.stages.stage import Stage

_RECORDER = Path(__file__).with_name("recorder")
_SQS_REQUEST_BYTES = 65_536
"""SQS bills a request for each 64 KB of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The functions' requests in one run: DynamoDB's units by kind, and requests by kind."""

    writes: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    sqs_billed: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocations:
    """The number of a function's runs, and their gigabyte-seconds."""

    count: int
    gb_seconds: float


@contextmanager
def variables(functions: "LambdaClient", names: list[str], more: Mapping[str, str]) -> Iterator[None]:
    """Give functions more environment variables for the block."""
    before = {
        name: functions.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
        for name in names
    }
    for name, own in before.items():
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**own, **more}})
    try:
        yield
    finally:
        for name, own in before.items():
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": own})


@contextmanager
def recorded(functions: "LambdaClient", names: list[str], log: Path, *, ambiguous: float = 0.0) -> Iterator[None]:
    """Have functions log their requests for the block; ``ambiguous`` is the share of lost answers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    more = {"PYTHONPATH": str(_RECORDER), "BENCH_RECORD": str(log), "BENCH_AMBIGUOUS": str(ambiguous)}
    with variables(functions, names, more):
        yield


def functions_of(stage: "Stage") -> list[str]:
    """Return the names of a stage's functions."""
    pages = stage.functions.get_paginator("list_functions").paginate()
    names = [each["FunctionName"] for page in pages for each in page["Functions"]]
    return [name for name in names if name.startswith(f"tally-{stage.name}-")]


def read(log: Path, wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> Traffic:
    """Return the sums of a log, or of its wanted requests."""
    writes: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    billed = messages = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        if not wanted(request):
            continue
        kind = _kind(request)
        requests[kind] += 1
        (writes if request.get("write") else reads)[kind] += request.get("units", 0.0)
        if "messages" in request:
            messages += request["messages"]
            billed += -(-request["bytes"] // _SQS_REQUEST_BYTES)
    return Traffic(writes=+writes, reads=+reads, requests=requests, sqs_billed=billed, messages=messages)


def invocations(logs: Any, names: list[str], since: datetime) -> dict[str, Invocations]:
    """Return the invocations that functions' logs report since a moment."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    found = {name: reports(logs, name, since, now) for name in names}
    return {
        name: Invocations(count=len(each), gb_seconds=sum(report.gb_seconds for report in each))
        for name, each in found.items()
    }


def _kind(request: Mapping[str, Any]) -> str:
    service, _, operation = request["target"].partition(".")
    if not operation:
        return f"s3 {request['method']}"
    names = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
    of = request.get("of", "")
    return f"{names.get(service, service)} {operation}" + (f" {of}" if of else "")
