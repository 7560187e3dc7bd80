"""An item collection: the things are items that share a partition, and the count is a query."""

from typing import Any

from tests.chaos.counters.base import Counter


class Collection(Counter):
    """Exact by construction; every look at the total reads all of it."""

    name = "collection"
    remark = "exact; each look at the total reads every item, so completion is polled, and the partition is hot"
    total_is_cheap = False

    def count(self, item_id: str) -> None:
        self.dynamodb.put_item(TableName=self.table, Item=self.key(item_id))

    def total(self) -> int:
        counted = 0
        page: dict[str, Any] = {}
        while True:
            answer = self.dynamodb.query(
                TableName=self.table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": self.name}},
                Select="COUNT",
                ConsistentRead=True,
                **page,
            )
            counted += answer["Count"]
            if "LastEvaluatedKey" not in answer:
                return counted
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
