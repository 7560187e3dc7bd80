"""What a row costs, counted at the functions: each request that leaves them, with the units of the answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest

from bench import counts
from bench.recording import Traffic, functions_of, read, recorded, variables
from bench.samples import without_failures
from chalicelib.store.batch import Batch, BatchStatus
from tests.e2e.conftest import Tally

pytestmark = pytest.mark.e2e
ROWS, PACED_ROWS = 10_000, 1_000
WRITE_UNITS, WRITE_SHARE = 1_000, 0.8


def _process(tally: Tally, log: Path, rows: int) -> tuple[Batch, Traffic]:
    """Process a sample and return its batch, and every request that the functions made for it."""
    written = BytesIO()
    expected = without_failures(written, rows)
    stage = tally.stage
    with recorded(stage.functions, functions_of(stage), log):
        batch = tally.ended(tally.submit(f"counted-{rows}.csv", written.getvalue(), job="transactions"))
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert (batch.counts.succeeded, batch.counts.rejected) == (expected.succeeded, expected.rejected)
    return batch, read(log)


def test_a_row_takes_no_more_units_and_requests_than_the_bench_allows(tally: Tally, tmp_path: Path) -> None:
    """0.12 write units and 0.02 requests in all, of the real functions over the real wire."""
    _, traffic = _process(tally, tmp_path / "requests", ROWS)
    for line in counts.lines(traffic, ROWS):
        assert line.met is not False, f"{line.name}: {line.value}, not {line.goal}; {line.raw}"


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
        batch, traffic = _process(tally, tmp_path / "requests", PACED_ROWS)
    assert 2 <= traffic.requests["dynamodb DescribeTable"] <= 20
    took = datetime.fromisoformat(batch.completed_at) - datetime.fromisoformat(batch.created_at)
    # Markers alone: two units each, of two thirds of the share. A slow machine only makes it longer.
    assert took.total_seconds() >= 2 * batch.counts.succeeded / (2 / 3 * WRITE_SHARE * WRITE_UNITS)
    assert tally.json("audit", batch.id)["exact"] is True
