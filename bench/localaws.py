"""A local AWS of a measurement's own: nothing is deployed in it, and it goes when the measurement ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tally import localaws
from tally.stage import Resources, Stage
from tally.workspace import StageFolder

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "floor"


@contextmanager
def fresh(folder: Path, name: str) -> Iterator[Stage]:
    """Run an empty local AWS for the block."""
    place = StageFolder(name=name, root=folder / name)
    place.root.mkdir(parents=True, exist_ok=True)
    server = localaws.start(place, port=None)
    try:
        yield Stage(name=name, resources=Resources(table=TABLE, inbox_bucket=""), server=server)
    finally:
        localaws.stop(place)
        place.wipe()


def make_table(dynamodb: "DynamoDBClient", name: str) -> None:
    """Make a table with the keys, the index and the stream of the real one: they cost the local AWS time."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in ("pk", "sk", "listing", "created_at")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "batches",
                "KeySchema": [
                    {"AttributeName": "listing", "KeyType": "HASH"},
                    {"AttributeName": "created_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
