"""What a batch cost: the share of the functions, and what is said of it; test_costs holds the model to a meter."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.items import Batch, BatchStatus, Source
from tally import prices
from tally.cost import Cost, show, used
from tally.output import Output

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
    sqs_requests=20_000, s3_requests=2_102, job_seconds=12.5, functions={"process": (6_000, 300.0)},
)  # fmt: skip


class Logs:
    """Has one function's log, in two pages, with lines that are no reports."""

    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def get_paginator(self, _: str) -> "Logs":
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        if request["logGroupName"] != "/aws/lambda/tally-x-process":
            raise LookupError
        report = "REPORT RequestId: 1\tDuration: 999.20 ms\tBilled Duration: 1000 ms\tMemory Size: 512 MB\tMax"
        assert request["endTime"] - request["startTime"] == (2 * 86_400 + 20) * 1000
        yield {"events": [{"message": report}, {"message": "REPORTS are late"}]}
        yield {"events": [{"message": report}]}


def test_function_time_is_billed_by_memory_and_idle_functions_are_left_out() -> None:
    """As the reports of the invocations say; a function that never ran has no log."""
    names = {name: f"tally-x-{name}" for name in ("process", "finish")}
    assert used(Logs(), names, BATCH, datetime.now(UTC)) == {"process": (2, 1.0)}


def test_dollars_are_what_was_used_at_the_prices_of_the_day() -> None:
    """By service, for the whole batch."""
    assert COST.dollars == pytest.approx(
        {
            "DynamoDB": 3.04 * 0.625 + 0.007 * 0.125,
            "SQS": 0.02 * 0.40,
            "Lambda": 0.006 * 0.20 + 300 * prices.LAMBDA_GB_SECOND,
            "S3": 2_102 * 0.0004 / 1000,
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


def test_a_batch_is_summed_up_in_one_line() -> None:
    """For the end of a demo."""
    assert COST.summary.startswith("3.04 write units and 0.08 requests a row, 300.0 GB-s of functions; ")
