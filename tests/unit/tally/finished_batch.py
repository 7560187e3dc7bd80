"""A batch that has ended, item by item, for tests that then change what they are about."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.items import Chunk, ChunkKey, Marker, Outcome, Record, key, number

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


def write(dynamodb: "DynamoDBClient") -> None:
    """Write the batch, two chunks with a row of each outcome in either."""
    put(dynamodb, BATCH.to_item() | counters(2) | {"chunks": number(2), "rows": number(6), "expected_rows": number(6)})
    for position in range(2):
        chunk = Chunk(key=ChunkKey("b", position), start=0, end=1, first_line=2, expected_rows=3)
        closed = {"rows": number(3), "remaining": number(0), "closed": {"BOOL": True}}
        put(dynamodb, chunk.to_item() | counters(1) | closed)
        for row, outcome in enumerate(OUTCOMES):
            put(dynamodb, Marker(chunk=chunk.key, row=row, outcome=outcome).to_item(at=AT, expires_at=1))
            if outcome is not Outcome.REJECTED:
                put(dynamodb, Record(chunk=chunk.key, row=row, line=2, data="{}").to_item(expires_at=1))


def counters(each: int) -> dict[str, Any]:
    """Return every counter at the same value."""
    return {outcome.value: number(each) for outcome in OUTCOMES}


def put(dynamodb: "DynamoDBClient", item: dict[str, Any]) -> None:
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
