"""A batch that has ended, item by item, for tests that then change what they are about."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.store import rows as stored_rows
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Outcome, bits, key, number, text
from chalicelib.store.marker import ReasonCode, RowOutcome, markers, unsuccessful

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "tally-test"
EXPIRES_AT = 4_102_444_800
"""In the year 2100: its rows can be run again."""
BATCH = Batch(
    id="b",
    job="transactions",
    source=Source(bucket="inbox", key="inbox/transactions/a.csv", version_id="v", etag="e"),
    size=1,
    status=BatchStatus.COMPLETED_WITH_FAILURES,
    created_at="2026-03-01T00:00:00.000000+00:00",
    expires_at=EXPIRES_AT,
    chunk_rows=500,
    chunk_bytes=1000,
    completed_at="2026-03-01T00:01:00.000000+00:00",
)
AT = "2026-03-01T00:00:30.000000+00:00"
FRAMES = "jobs/transactions.py:12 in process: raise ValueError(row.amount)"
SUCCEEDED = RowOutcome(row=0, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(b'{"fee":"0.10"}'), duration_ms=4)
FAILED = RowOutcome(
    row=1,
    outcome=Outcome.FAILED,
    code=ReasonCode.RAISED,
    reason="ValueError: no good",
    line=3,
    tries=3,
    duration_ms=7,
    traceback=FRAMES,
)
REJECTED = unsuccessful(2, Outcome.REJECTED, ReasonCode.INVALID, "line 4, column 2 'amount': no number", line=4)
COUNTED, VERSION = 2, 3
"""The versions that counting and closing have raised a chunk to; ingest has raised it to 1."""


def write(dynamodb: "DynamoDBClient") -> None:
    """Write the batch, two chunks with a row of each outcome in either.

    A chunk comes after its markers, and the batch last: a reader that reads no version twice finds
    the markers of that version.
    """
    for position in range(2):
        chunk = Chunk(key=ChunkKey("b", position), start=0, end=1, first_line=2 + 3 * position, expected_rows=3)
        stored = [stored_rows.StoredRow(row, chunk.first_line + row, [f"T{row}", row]) for row in range(2)]
        for page in stored_rows.to_items(chunk.key, ["transaction_id", "amount"], stored, expires_at=EXPIRES_AT):
            put(dynamodb, page)
        put_marker(dynamodb, chunk.key, 1, REJECTED)
        put_marker(dynamodb, chunk.key, COUNTED, SUCCEEDED, FAILED)
        counted = {"rows": number(3), "remaining": number(0), "pages": number(1), "version": number(VERSION)}
        closed = {"state": text(ChunkState.CLOSED), "done": bits(RowBits.first(3))}
        put(dynamodb, chunk.to_item() | counters(1) | counted | closed)
    put(dynamodb, BATCH.to_item() | counters(2) | {"chunks": number(2), "rows": number(6), "expected_rows": number(6)})


def put_marker(dynamodb: "DynamoDBClient", chunk: ChunkKey, version: int, *outcomes: RowOutcome) -> None:
    """Put the marker of a transaction that has counted these outcomes."""
    for marker in markers(chunk, version, outcomes, counted_at=AT, expires_at=EXPIRES_AT):
        put(dynamodb, marker.to_item())


def counters(each: int) -> dict[str, Any]:
    """Return every counter at the same value."""
    return {outcome.value: number(each) for outcome in Outcome}


def put(dynamodb: "DynamoDBClient", item: Mapping[str, Any]) -> None:
    """Put an item."""
    dynamodb.put_item(TableName=TABLE, Item=item)


def change(dynamodb: "DynamoDBClient", pk: str, sk: str, name: str, value: dict[str, Any]) -> None:
    """Set one attribute of an item."""
    dynamodb.update_item(
        TableName=TABLE,
        Key=key(pk, sk),
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )
