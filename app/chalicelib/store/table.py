"""The table: every request that Tally makes of DynamoDB, tried again as ``retry`` says.

A condition that fails is an answer, not an error: what was asked for is there already, or no longer called for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from chalicelib.errors import CancelledError, ThrottledError
from chalicelib.store.items import Item, key, text
from chalicelib.store.pacing import item_size, write_units

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from chalicelib.retry import Retry
    from chalicelib.store.pacing import Pacer

MAX_ACTIONS = 100
"""Actions of one TransactWriteItems."""
MAX_TRANSACTION_BYTES = 3_500_000
"""TransactWriteItems takes 4 MB; the rest is room for keys and names."""
MAX_PACED_BYTES = 262_144
"""The most bytes that a paced transaction counts: a message's worth, so that it fits into the function's time."""
_MAX_PUTS = 25
"""Requests of one BatchWriteItem."""
MAX_KEYS = 100
"""Keys of one BatchGetItem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Puts an item if the condition holds."""

    item: Mapping[str, Any]
    condition: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Updates an item if the condition holds; ``#name`` stands for an attribute whose name is a reserved word."""

    pk: str
    sk: str
    expression: str
    values: Mapping[str, Any]
    condition: str = ""
    returns_item: bool = False
    """Whether a condition that fails brings the item as it is, which spares reading it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Deletes an item if the condition holds."""

    pk: str
    sk: str
    condition: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Reads and writes of one table; with a ``pacer`` many writes at once wait for their share of its capacity."""

    dynamodb: "DynamoDBClient"
    name: str
    retry: "Retry"
    pacer: "Pacer | None" = None

    def get(self, pk: str, sk: str) -> Item | None:
        """Return an item as it is now, None if there is none."""
        answer = self.retry(self.dynamodb.get_item, TableName=self.name, Key=key(pk, sk), ConsistentRead=True)
        return answer.get("Item")

    def get_all(self, keys: Iterable[tuple[str, str]]) -> list[Item]:
        """Return those of the items that exist, as they are now, in no order."""
        waiting = iter(keys)
        found: list[Item] = []
        while group := list(islice(waiting, MAX_KEYS)):
            self.retry(self._get_some, [key(pk, sk) for pk, sk in group], found)
        return found

    def put(self, put: Put) -> bool:
        """Put an item; tells whether its condition held.

        False may also mean that an earlier try of this very call was applied and not heard.
        """
        try:
            self.retry(self.dynamodb.put_item, **self._put(put))
        except CancelledError:
            return False
        return True

    def update(self, update: Update) -> bool:
        """Update an item; tells whether its condition held, with the same doubt as ``put``."""
        try:
            self.retry(self.dynamodb.update_item, **self._update(update))
        except CancelledError:
            return False
        return True

    def change(self, update: Update) -> Item:
        """Update an item of any kind and return the new item; if an answer is lost, the update may be made twice."""
        answer = self.retry(self.dynamodb.update_item, **self._update(update), ReturnValues="ALL_NEW")
        return answer["Attributes"]

    def delete(self, delete: Delete) -> bool:
        """Delete an item; tells whether its condition held, with the same doubt as ``put``."""
        try:
            self.retry(self.dynamodb.delete_item, **self._delete(delete))
        except CancelledError:
            return False
        return True

    def query(self, pk: str, prefix: str, *, projection: str = "") -> Iterator[Item]:
        """Return the items of a partition whose sort key begins with ``prefix``, or all, as they are now, in order."""
        values = {":pk": text(pk)} | ({":prefix": text(prefix)} if prefix else {})
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :prefix)" if prefix else ""),
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }
        if projection:
            request |= {"ProjectionExpression": projection, **_names(projection)}
        while True:
            answer = self.retry(self.dynamodb.query, **request)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def newest(self, listing: str, *, limit: int | None = None) -> list[tuple[str, str]]:
        """Return the keys of the newest items of one list of the sparse index, or of all of it, newest first."""
        keys: list[tuple[str, str]] = []
        request: dict[str, Any] = {
            "TableName": self.name,
            "IndexName": "batches",
            "KeyConditionExpression": "listing = :listing",
            "ExpressionAttributeValues": {":listing": text(listing)},
            "ScanIndexForward": False,
        }
        while limit is None or len(keys) < limit:
            if limit is not None:
                request["Limit"] = limit - len(keys)
            answer = self.retry(self.dynamodb.query, **request)
            keys += [(item["pk"]["S"], item["sk"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return keys

    def transact(self, actions: Sequence[Put | Update | Delete]) -> Mapping[int, Item]:
        """Apply all actions or none; returns the positions whose conditions failed, none if all was applied.

        Each position comes with the item as it is, if its action asked for that and there is one.

        A new call makes a new ClientRequestToken, so that a token never meets another set of actions; botocore
        keeps the token over its own retries of one call.
        """
        # Counters are small: an action that is no put is a unit.
        self._wait((action.item if isinstance(action, Put) else {} for action in actions), transactional=True)
        wire: Any = [self._action(action) for action in actions]
        try:
            self.retry(self.dynamodb.transact_write_items, TransactItems=wire)
        except CancelledError as cancelled:
            return cancelled.failed
        return {}

    def write_all(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Put items without a condition, 25 to a request."""
        waiting = iter(items)
        while group := list(islice(waiting, _MAX_PUTS)):
            self._wait(group)
            self.retry(self._write_some, [{"PutRequest": {"Item": item}} for item in group])

    def _wait(self, items: Iterable[Item], *, transactional: bool = False) -> None:
        if self.pacer:
            units = sum(write_units(item_size(item), transactional=transactional) for item in items)
            self.pacer.wait(units, self.retry.remaining_seconds())

    def _get_some(self, keys: list[dict[str, Any]], found: list[Item]) -> None:
        """Read what is left in ``keys`` and leave in it only what DynamoDB did not read."""
        answer = self.dynamodb.batch_get_item(RequestItems={self.name: {"Keys": keys, "ConsistentRead": True}})
        found += answer["Responses"].get(self.name, [])
        unprocessed: Any = answer.get("UnprocessedKeys", {})
        keys[:] = unprocessed.get(self.name, {}).get("Keys", [])
        if keys:
            raise ThrottledError(f"{len(keys)} items were not read")

    def _write_some(self, requests: list[Any]) -> None:
        """Write what is left in ``requests`` and leave in it only what DynamoDB did not take."""
        answer = self.dynamodb.batch_write_item(RequestItems={self.name: requests})
        requests[:] = answer.get("UnprocessedItems", {}).get(self.name, [])
        if requests:
            raise ThrottledError(f"{len(requests)} items were not taken")

    def _action(self, action: Put | Update | Delete) -> dict[str, Any]:
        match action:
            case Put():
                return {"Put": self._put(action)}
            case Update():
                return {"Update": self._update(action)}
            case Delete():
                return {"Delete": self._delete(action)}

    def _put(self, put: Put) -> dict[str, Any]:
        return {"TableName": self.name, "Item": put.item, **_guard("", put.condition, put.values)}

    def _update(self, update: Update) -> dict[str, Any]:
        return {
            "TableName": self.name,
            "Key": key(update.pk, update.sk),
            **_guard(update.expression, update.condition, update.values),
            **({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if update.returns_item else {}),
        }

    def _delete(self, delete: Delete) -> dict[str, Any]:
        return {
            "TableName": self.name,
            "Key": key(delete.pk, delete.sk),
            **_guard("", delete.condition, delete.values),
        }


def _guard(expression: str, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the expressions of a write, without those that would be empty: DynamoDB refuses them."""
    parts = {
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeValues": values,
    }
    return {name: part for name, part in parts.items() if part} | _names(f"{expression} {condition}")


def _names(expression: str) -> dict[str, Any]:
    names = {f"#{name}": name for name in re.findall(r"#(\w+)", expression)}
    return {"ExpressionAttributeNames": names} if names else {}
