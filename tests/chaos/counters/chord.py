"""Celery's kind of chord counter: decrement what is left, fire when it is nothing."""

from botocore.exceptions import ClientError

from tests.chaos.counters.base import Counter, number, refused


class Chord(Counter):
    """The completion is the one decrement that hears 0; nobody looks again."""

    name = "chord"
    remark = "as atomic; the callback fires when a decrement hears 0: early, again for a late second delivery, or never"

    def begin(self) -> None:
        """Set what is left, once."""
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item={**self.key(), "left": {"N": str(self.expected)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if not refused(error):
                raise

    def count(self, item_id: str) -> int:
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key=self.key(),
            UpdateExpression="ADD #left :one",
            ExpressionAttributeNames={"#left": "left"},
            ExpressionAttributeValues={":one": {"N": "-1"}},
            ReturnValues="UPDATED_NEW",
        )
        return self.expected - number(answer["Attributes"], "left")

    def total(self) -> int:
        return self.expected - self.number("left")
