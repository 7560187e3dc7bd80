"""The atomic counter: ADD 1, without a condition."""

from tests.chaos.counters.base import Counter, number


class Atomic(Counter):
    """One request, one write unit, and no way to tell a second time from a first."""

    name = "atomic"
    remark = "a retry after an unheard success counts twice, so does a second delivery"

    def count(self, item_id: str) -> int:
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key=self.key(),
            UpdateExpression="ADD #total :one",
            ExpressionAttributeNames={"#total": "total"},
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return number(answer["Attributes"], "total")
