"""A table as Terraform makes it, for tests and measurements that have no stage."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ENGINES = ("memory", "moto", "local AWS", "roto")
"""The engines that stand in for DynamoDB; docs/local-aws.md says how they differ from it."""


def make_table(dynamodb: "DynamoDBClient", name: str) -> None:
    """Make a table with the keys, the index and the stream of the real one, and wait until it is there."""
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
    dynamodb.get_waiter("table_exists").wait(TableName=name)
