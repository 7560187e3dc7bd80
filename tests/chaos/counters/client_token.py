"""A transaction with a client request token that is made of the thing's id."""

import hashlib
import time

from botocore.exceptions import ClientError

from tests.chaos.counters.base import MAX_TRIES, Counter, may_pass

_PAUSE_SECONDS = 0.05


class ClientToken(Counter):
    """Exact for the ten minutes that DynamoDB remembers a token."""

    name = "token"
    remark = "exact for 10 minutes after a thing was first counted, not after: a redrive of yesterday counts again"

    def count(self, item_id: str) -> None:
        for _ in range(MAX_TRIES):
            try:
                self.dynamodb.transact_write_items(
                    ClientRequestToken=hashlib.sha256(item_id.encode()).hexdigest()[:36],
                    TransactItems=[
                        {
                            "Update": {
                                "TableName": self.table,
                                "Key": self.key(),
                                "UpdateExpression": "ADD #total :one",
                                "ExpressionAttributeNames": {"#total": "total"},
                                "ExpressionAttributeValues": {":one": {"N": "1"}},
                            }
                        }
                    ],
                )
            except ClientError as error:
                if not may_pass(error):
                    raise
                time.sleep(_PAUSE_SECONDS)
                continue
            return
        raise TimeoutError(f"cancelled {MAX_TRIES} times")
