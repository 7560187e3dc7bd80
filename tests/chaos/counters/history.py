"""Optimistic concurrency with a history: the item remembers the last ids, so that one that is there is not counted."""

from typing import Any

from botocore.exceptions import ClientError

from tests.chaos.counters.base import MAX_TRIES, Counter, number, refused

REMEMBERED = 100
"""More ids than this make every write dearer: an item of 1 KB costs one unit, of 10 KB ten."""


class History(Counter):
    """Exact while a second time comes before as many others as the history is long."""

    name = "history"
    remark = f"remembers the last {REMEMBERED} ids: what comes again later than that counts twice"

    def count(self, item_id: str) -> int:
        for _ in range(MAX_TRIES):
            item = self.item()
            total = number(item, "total")
            history: list[Any] = item["history"]["L"] if item else []
            values: dict[str, Any] = {
                ":next": {"N": str(total + 1)},
                ":history": {"L": [*history, {"S": item_id}][-REMEMBERED:]},
            }
            if item:
                values[":version"] = {"N": str(total)}
            if {"S": item_id} in history:
                return total
            try:
                self.dynamodb.update_item(
                    TableName=self.table,
                    Key=self.key(),
                    UpdateExpression="SET #total = :next, history = :history",
                    ConditionExpression="#total = :version" if item else "attribute_not_exists(pk)",
                    ExpressionAttributeNames={"#total": "total"},
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if not refused(error):
                    raise
                continue
            return total + 1
        raise TimeoutError(f"{MAX_TRIES} times somebody else was faster")
