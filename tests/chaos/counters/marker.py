"""A transaction that puts a marker for the thing and moves the counter, or does neither."""

import time

from botocore.exceptions import ClientError

from tests.chaos.counters.base import MAX_TRIES, Counter, may_pass, reasons

_PAUSE_SECONDS = 0.05


class Marker(Counter):
    """What Tally does, for one thing at a time and on one item: exact, and dear."""

    name = "marker"
    remark = "exact for as long as the markers stay; Tally's way, but one thing a transaction and all on one item"

    def count(self, item_id: str) -> None:
        for _ in range(MAX_TRIES):
            try:
                self._count_once(item_id)
            except ClientError as error:
                if may_pass(error):
                    time.sleep(_PAUSE_SECONDS)
                    continue
                if "ConditionalCheckFailed" not in reasons(error):
                    raise
            return
        raise TimeoutError(f"cancelled {MAX_TRIES} times")

    def _count_once(self, item_id: str) -> None:
        self.dynamodb.transact_write_items(
            TransactItems=[
                {
                    "Put": {
                        "TableName": self.table,
                        "Item": {"pk": {"S": f"{self.name}#{item_id}"}, "sk": {"S": "marker"}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
                {
                    "Update": {
                        "TableName": self.table,
                        "Key": self.key(),
                        "UpdateExpression": "ADD #total :one",
                        "ExpressionAttributeNames": {"#total": "total"},
                        "ExpressionAttributeValues": {":one": {"N": "1"}},
                    }
                },
            ]
        )
