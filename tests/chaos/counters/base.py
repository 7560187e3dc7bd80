"""What a competing counter is: one item of a table, or a few, and a way to count a thing that has an id."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_TRIES = 50
"""Rounds of a loop of one's own: more of them only under a fault that does not pass."""


class Counter(ABC):
    """Counts distinct things; each subclass is one of the ways in AWS's post, or Celery's."""

    name: ClassVar[str]
    remark: ClassVar[str]
    """What to know when reading its figures."""
    total_is_cheap: ClassVar[bool] = True
    """Whether ``total`` may be asked for after each count; if not it is asked for now and then."""

    def __init__(self, *, dynamodb: "DynamoDBClient", table: str, expected: int) -> None:
        self.dynamodb = dynamodb
        self.table = table
        self.expected = expected

    def begin(self) -> None:  # noqa: B027  most have nothing to prepare
        """Prepare what has to be there before anything is counted."""

    @abstractmethod
    def count(self, item_id: str) -> int | None:
        """Count one thing; returns the total if the write itself tells it.

        Raises what the SDK raises when its retries are used up: the queue will deliver the thing again.
        """

    def total(self) -> int:
        """Return the count as the counter has it."""
        return self.number("total")

    def key(self, part: str = "counter") -> dict[str, Any]:
        """Return the key of an item of this counter."""
        return {"pk": {"S": self.name}, "sk": {"S": part}}

    def item(self) -> dict[str, Any]:
        """Return the counter's item as it is now; empty if there is none."""
        return self.dynamodb.get_item(TableName=self.table, Key=self.key(), ConsistentRead=True).get("Item", {})

    def number(self, attribute: str) -> int:
        """Return an attribute of the counter's item; 0 if there is none."""
        return number(self.item(), attribute)


def number(item: dict[str, Any], attribute: str) -> int:
    """Return a number of an item; 0 if it has none."""
    return int(item[attribute]["N"]) if attribute in item else 0


def refused(error: ClientError) -> bool:
    """Tell whether a lone write's condition failed."""
    return error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


def reasons(error: ClientError) -> list[str]:
    """Return why a transaction was cancelled, action by action; nothing if it was not."""
    found: Any = error.response.get("CancellationReasons", [])
    return [reason.get("Code", "None") for reason in found]


def may_pass(error: ClientError) -> bool:
    """Tell whether a transaction was cancelled for what passes by itself, which no SDK retries."""
    codes = set(reasons(error)) - {"None"}
    return bool(codes) and codes <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
