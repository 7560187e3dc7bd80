"""Optimistic concurrency: read, then write under the condition that the version is still the one that was read."""

from botocore.exceptions import ClientError

from tests.chaos.counters.base import MAX_TRIES, Counter, refused


class Optimistic(Counter):
    """Never loses an update; after an unheard success its condition fails, and it cannot tell why."""

    name = "optimistic"
    remark = "takes its own unheard success for somebody else's and counts again; slow under contention"

    def count(self, item_id: str) -> int:
        for _ in range(MAX_TRIES):
            version = self.number("total")
            try:
                self.dynamodb.update_item(
                    TableName=self.table,
                    Key=self.key(),
                    UpdateExpression="SET #total = :next",
                    ConditionExpression="#total = :version" if version else "attribute_not_exists(pk)",
                    ExpressionAttributeNames={"#total": "total"},
                    ExpressionAttributeValues={":next": {"N": str(version + 1)}}
                    | ({":version": {"N": str(version)}} if version else {}),
                )
            except ClientError as error:
                if not refused(error):
                    raise
                continue
            return version + 1
        raise TimeoutError(f"{MAX_TRIES} times somebody else was faster")
