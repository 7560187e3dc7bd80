"""The cost of a batch: the share of the functions, and the text about it; test_costs holds the model to a meter."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from chalicelib.store.batch import Batch, BatchStatus, Source
from tally.batch import prices
from tally.batch.cost import Cost, show, used
from tally.cli import run
from tally.errors import ExitCode
from tally.output import Output
from tests.unit.tally import finished_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tally.stages.stage import Stage

BATCH = Batch(
    id="b",
    job="transactions",
    source=Source(bucket="inbox", key="inbox/transactions/a.csv", version_id="v", etag="e"),
    size=1,
    status=BatchStatus.COMPLETED,
    created_at="2026-03-01T12:00:00.000000+00:00",
    completed_at="2026-03-03T12:00:00.000000+00:00",
    expires_at=1,
    chunk_rows=495,
    chunk_bytes=1000,
)
COST = Cost(
    rows=1_000_000, chunks=2_100, sampled=10, write_units=3_040_000.0, read_units=7_000.0, dynamodb_requests=60_000,
    sqs_requests=20_000, s3_requests=2_102, job_seconds=12.5, functions={"process": (6_000, 300.0)}, messages=5_051,
    messages_estimated=False, stored_gb_months=0.07, log_bytes=2 * 10**9,
)  # fmt: skip


def _report(request: str) -> str:
    return f"REPORT RequestId: {request}\tDuration: 999.20 ms\tBilled Duration: 1000 ms\tMemory Size: 512 MB\tMax"


def _line(request: str, **fields: Any) -> str:
    return json.dumps({"message": "rows.processed", "request_id": request, **fields})


class Logs:
    """Has the logs of two functions, each in pages, with lines that are no reports and lines of other batches."""

    lines: ClassVar = {
        # The second invocation was another batch's; the first was tried again, under the same id.
        "process": [
            _line("1", batch_id="b"), _report("1"), _report("2"), "REPORTS are late", "Traceback: of b", '"b"',
            _line("3", batch_id="b"), _report("3"), _report("1"), _line("4", batch_id="b-2"), _report("4"),
        ],
        "finish": [json.dumps({"message": "rows.counted", "request_id": "5", "batches": ["a", "b"]}), _report("5")],
    }  # fmt: skip

    def get_paginator(self, _: str) -> "Logs":
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        function = request["logGroupName"].removeprefix("/aws/lambda/tally-x-")
        if function not in self.lines:
            raise NO_LOG
        assert request["endTime"] - request["startTime"] == (2 * 86_400 + 20) * 1000
        wanted = request["filterPattern"].strip('"')
        for line in self.lines[function]:
            yield {"events": [{"message": line}] if wanted in line else []}


def test_function_time_is_that_of_the_invocations_which_name_the_batch() -> None:
    """Billed by memory; one that worked for two batches counts by half, and a function that never ran has no log."""
    names = {name: f"tally-x-{name}" for name in ("process", "finish", "dead_letters")}
    worked = used(Logs(), names, BATCH, datetime.fromisoformat(BATCH.completed_at))
    assert worked.functions == {"process": (3, 1.5), "finish": (0.5, 0.25)}
    assert worked.messages == 2


def test_dollars_are_what_was_used_at_the_prices_of_the_day() -> None:
    """By service, for the whole batch."""
    assert COST.dollars == pytest.approx(
        {
            "DynamoDB": 3.04 * 0.625 + 0.007 * 0.125,
            "SQS": 0.02 * 0.40,
            "Lambda": 0.006 * 0.20 + 300 * prices.LAMBDA_GB_SECOND,
            "S3": 2_102 * 0.0004 / 1000,
            "DynamoDB storage": 0.07 * 0.25,
            "logs": 2 * 0.53,
        }
    )


def test_a_batch_without_rows_costs_nothing_a_row() -> None:
    """It was rejected: there is nothing to divide by."""
    nothing = Cost(
        rows=0, chunks=0, sampled=0, write_units=8.0, read_units=0.0, dynamodb_requests=4, sqs_requests=0,
        s3_requests=1, job_seconds=0.0, functions={},
    )  # fmt: skip
    assert nothing.as_json()["dollars_per_million_rows"] == 0


def test_what_is_shown_says_units_a_row_and_dollars_a_million(capsys: pytest.CaptureFixture[str]) -> None:
    """And from how much of the batch it was read."""
    show(Output.make(as_json=False), COST)
    said = capsys.readouterr().out
    assert "3.040" in said
    assert f"{sum(COST.dollars.values()):.2f} a million rows" in said
    assert "10 of the chunks" in said
    assert "5,051 work messages (counted in the logs)" in said


def test_a_batch_is_summed_up_in_one_line() -> None:
    """For the end of a demo."""
    assert COST.summary == (
        "3,040,000 write units (3.040 a row), 82,102 requests (0.082 a row), 300.0 GB-s of functions, "
        "2.9934 dollars (2.99 a million rows)"
    )


NO_LOG = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")


class NoLogs:
    """Has no log, or refuses to show it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_paginator(self, _: str) -> "NoLogs":
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        raise self.error
        yield {}


def _status(
    stage: "Stage", finished: "DynamoDBClient", logs: NoLogs, capsys: pytest.CaptureFixture[str], *more: str
) -> Any:
    vars(stage).update({"dynamodb": finished, "logs": logs})
    assert run(["status", "b", "--json", *more]) is ExitCode.OK
    return json.loads(capsys.readouterr().out)


def test_the_status_of_a_batch_that_has_ended_says_what_it_cost(
    stage: "Stage", finished: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    """Units, requests and dollars, in all and a row, also where the logs are gone; not if it is not wanted."""
    shown = _status(stage, finished, NoLogs(NO_LOG), capsys)
    cost = shown["cost"]
    assert cost["rows"] == 6
    # Two chunks, each planned in a transaction, with a page of rows, a mark of its run, two markers, three versions.
    assert cost["write_units"] == 2 * (2 + 1 + 1 + 2 * 2 + 2 * 3) + 8
    assert cost["work_messages"] == {"count": 2, "estimated": True}
    assert cost["dollars_total"] > 0
    assert "cost" not in _status(stage, finished, NoLogs(NO_LOG), capsys, "--no-cost")


def test_the_status_of_a_batch_that_runs_has_no_cost_yet(
    stage: "Stage", finished: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    """`tally cost` says what it took so far."""
    finished_batch.change(finished, "batch#b", "batch", "status", {"S": "running"})
    assert _status(stage, finished, NoLogs(NO_LOG), capsys)["cost"] is None


def test_a_status_is_shown_to_those_who_may_not_see_the_logs(
    stage: "Stage", finished: "DynamoDBClient", capsys: pytest.CaptureFixture[str]
) -> None:
    """Without what it cost."""
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "FilterLogEvents")
    shown = _status(stage, finished, NoLogs(refused), capsys)
    assert (shown["status"], shown["cost"]) == ("completed_with_failures", None)
