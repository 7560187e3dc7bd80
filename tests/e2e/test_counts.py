"""What a row costs, counted at the functions: each request that leaves them, with the units of the answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest

from bench.recording import Traffic, functions_of, read, recorded, variables
from bench.samples import without_failures
from chalicelib.store.batch import Batch, BatchStatus
from tests.e2e.conftest import Tally

pytestmark = pytest.mark.e2e
ROWS = 3_000
MOST_WRITE_UNITS, MOST_REQUESTS = 0.12, 0.02
"""Of a row; requests are those that functions make, SQS's own to fetch and delete messages are not."""
COUNTED = "dynamodb TransactWriteItems mark"
WRITE_UNITS, WRITE_SHARE = 50, 0.8


def _process(tally: Tally, log: Path, name: str) -> tuple[Batch, Traffic]:
    """Process a sample and return its batch, and every request that the functions made for it."""
    written = BytesIO()
    expected = without_failures(written, ROWS)
    stage = tally.stage
    with recorded(stage.functions, functions_of(stage), log):
        batch = tally.ended(tally.submit(name, written.getvalue(), job="transactions"))
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert (batch.counts.succeeded, batch.counts.rejected) == (expected.succeeded, expected.rejected)
    return batch, read(log)


def test_a_row_takes_no_more_units_and_requests_than_promised(tally: Tally, tmp_path: Path) -> None:
    """Of the real functions over the real wire, in a file of a few chunks."""
    _, traffic = _process(tally, tmp_path / "requests", "counted.csv")
    assert traffic.writes.total() / ROWS <= MOST_WRITE_UNITS, traffic.writes
    assert traffic.requests.total() / ROWS <= MOST_REQUESTS, traffic.requests


@contextmanager
def _provisioned(tally: Tally) -> Iterator[None]:
    """Give the table capacity of its own for the block, and let the functions share it, as Terraform would."""
    stage = tally.stage
    throughput = {"ReadCapacityUnits": WRITE_UNITS, "WriteCapacityUnits": WRITE_UNITS}
    index = {"Update": {"IndexName": "batches", "ProvisionedThroughput": throughput}}
    stage.dynamodb.update_table(
        TableName=stage.resources.table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput=throughput,  # type: ignore[arg-type]
        GlobalSecondaryIndexUpdates=[index],  # type: ignore[list-item]
    )
    try:
        with variables(stage.functions, functions_of(stage), {"TALLY_WRITE_SHARE": str(WRITE_SHARE)}):
            yield
    finally:
        stage.dynamodb.update_table(TableName=stage.resources.table, BillingMode="PAY_PER_REQUEST")


def test_writers_of_a_provisioned_table_keep_to_their_share(tally: Tally, tmp_path: Path) -> None:
    """They ask for its capacity once a worker, not once a write, and take as long as the share makes them wait."""
    with _provisioned(tally):
        batch, traffic = _process(tally, tmp_path / "requests", "paced.csv")
    assert 2 <= traffic.requests["dynamodb DescribeTable"] <= 20
    took = datetime.fromisoformat(batch.completed_at) - datetime.fromisoformat(batch.created_at)
    # Outcomes alone, which have half of the share. A slow machine only makes it longer.
    assert took.total_seconds() >= traffic.writes[COUNTED] / (WRITE_UNITS * WRITE_SHARE / 2)
    assert tally.json("audit", batch.id)["exact"] is True
