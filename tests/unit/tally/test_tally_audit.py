"""The audit finds every way in which counters and markers can disagree."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.items import (
    BATCH_SK,
    CHUNK_SK,
    Batch,
    BatchStatus,
    Chunk,
    ChunkKey,
    Marker,
    Outcome,
    Record,
    Source,
    batch_pk,
    key,
    marker_sk,
    number,
    text,
)
from tally.audit import Audit, audit
from tally.batches import Reader
from tally.errors import OperatorError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "tally-test"
BATCH = Batch(
    id="b",
    job="transactions",
    source=Source(bucket="inbox", key="inbox/transactions/a.csv", version_id="v", etag="e"),
    size=1,
    status=BatchStatus.COMPLETED_WITH_FAILURES,
    created_at="2026-03-01T00:00:00.000000+00:00",
    expires_at=1,
    chunk_rows=500,
    chunk_bytes=1000,
    completed_at="2026-03-01T00:01:00.000000+00:00",
)
OUTCOMES = (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REJECTED)
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def finished(dynamodb: "DynamoDBClient") -> "DynamoDBClient":
    """Write a batch of two chunks with a row of each outcome in either."""
    put(dynamodb, BATCH.to_item() | counters(2) | {"chunks": number(2), "rows": number(6), "expected_rows": number(6)})
    for position in range(2):
        chunk = Chunk(key=ChunkKey("b", position), start=0, end=1, first_line=2, expected_rows=3)
        closed = {"rows": number(3), "remaining": number(0), "closed": {"BOOL": True}}
        put(dynamodb, chunk.to_item() | counters(1) | closed)
        for row, outcome in enumerate(OUTCOMES):
            put(dynamodb, Marker(chunk=chunk.key, row=row, outcome=outcome).to_item(at=AT, expires_at=1))
            if outcome is not Outcome.REJECTED:
                put(dynamodb, Record(chunk=chunk.key, row=row, line=2, data="{}").to_item(expires_at=1))
    return dynamodb


def counters(each: int) -> dict[str, Any]:
    return {outcome.value: number(each) for outcome in OUTCOMES}


def put(dynamodb: "DynamoDBClient", item: dict[str, Any]) -> None:
    dynamodb.put_item(TableName=TABLE, Item=item)


def change(dynamodb: "DynamoDBClient", pk: str, sk: str, name: str, value: dict[str, Any]) -> None:
    dynamodb.update_item(
        TableName=TABLE,
        Key=key(pk, sk),
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )


def audited(reader: Reader) -> Audit:
    return audit(reader, reader.require("b"), lambda: None)


def found(reader: Reader) -> list[str]:
    return [f"{difference.where}: {difference.what}" for difference in audited(reader).differences]


def test_a_batch_whose_counters_and_markers_agree_is_exact(finished: "DynamoDBClient", reader: Reader) -> None:
    result = audited(reader)
    assert result.exact
    assert (result.chunks, result.counts.total) == (2, 6)


def test_a_counter_that_is_off_by_one_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "failed", number(2))
    assert found(reader) == ["chunk 1: counter failed is 2, its markers is 1"]


def test_a_row_without_a_marker_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    finished.delete_item(TableName=TABLE, Key=key(ChunkKey("b", 0).pk, marker_sk(1)))
    differences = found(reader)
    assert "chunk 0: rows 1 without a marker" in differences
    assert "chunk 0: rows 1 with a record but no marker" in differences
    assert "batch: counter failed is 2, its chunks say 1" in differences


def test_a_marker_of_no_row_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    put(finished, Marker(chunk=ChunkKey("b", 0), row=9, outcome=Outcome.FAILED).to_item(at=AT, expires_at=1))
    assert "chunk 0: rows 9 marked but not of this chunk" in found(reader)


def test_rows_that_are_not_those_the_planner_counted_are_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 0).pk, CHUNK_SK, "rows", number(2))
    differences = found(reader)
    assert "chunk 0: rows is 2, the planner's count is 3" in differences
    assert "chunk 0: markers is 3, rows is 2" in differences


def test_a_chunk_that_is_gone_is_noticed(finished: "DynamoDBClient", reader: Reader) -> None:
    finished.delete_item(TableName=TABLE, Key=key(ChunkKey("b", 1).pk, CHUNK_SK))
    assert "batch: chunks is 2, its chunks say 1" in found(reader)


def test_a_total_of_the_batch_that_is_off_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, batch_pk("b"), BATCH_SK, "rows", number(7))
    assert found(reader) == ["batch: rows is 7, its chunks say 6"]


def test_a_batch_that_has_not_ended_is_not_exact(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, batch_pk("b"), BATCH_SK, "status", text(BatchStatus.RUNNING))
    assert found(reader) == ["batch: not ended, its status is running"]


def test_a_batch_that_was_rejected_as_a_whole_is_exact(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    put(dynamodb, replace(BATCH, status=BatchStatus.REJECTED, reason="no header").to_item())
    assert audited(reader).exact


def test_a_batch_that_is_not_there_is_said_to_be_so(reader: Reader) -> None:
    with pytest.raises(OperatorError, match="No batch b in tally-test"):
        audited(reader)
