"""A set of ids on one item: adding one that is there changes nothing."""

from tests.chaos.counters.base import Counter


class IdSet(Counter):
    """Exact until the item is full; each write costs by the size of all that is there."""

    name = "set"
    remark = "exact up to 400 KB of ids; the n-th write costs n ids' worth of units"

    def count(self, item_id: str) -> int:
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key=self.key(),
            UpdateExpression="ADD ids :id",
            ExpressionAttributeValues={":id": {"SS": [item_id]}},
            ReturnValues="UPDATED_NEW",
        )
        return len(answer["Attributes"]["ids"]["SS"])

    def total(self) -> int:
        item = self.item()
        return len(item["ids"]["SS"]) if item else 0
