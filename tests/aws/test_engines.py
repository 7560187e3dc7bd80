# ruff: noqa: E501  a table of rules, one a line
"""Where the engines differ from AWS: each is asked what AWS's documents say, and docs/local-aws.md has the answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.store.items import binary, key, number, text
from chalicelib.store.pacing import item_size
from tests.support.tables import ENGINES

DOCS = Path(__file__).parents[2] / "docs" / "local-aws.md"
TABLE = "tally-test"
ROWS = {"#rows": "rows"}
ONE = {":one": number(1)}
TOKEN = "4711"


def _put(client: Any, pk: str = "a", **attributes: Any) -> dict[str, Any]:
    item = {**key(pk, "x"), **attributes}
    client.put_item(TableName=TABLE, Item=item)
    return item


def _get(client: Any, pk: str = "a") -> Any:
    return client.get_item(TableName=TABLE, Key=key(pk, "x"), ConsistentRead=True).get("Item")


def _update(expression: str = "ADD #rows :one", pk: str = "a", **also: Any) -> dict[str, Any]:
    update: dict[str, Any] = {"TableName": TABLE, "Key": key(pk, "x"), "UpdateExpression": expression}
    update |= {"ExpressionAttributeNames": ROWS, "ExpressionAttributeValues": ONE, **also}
    return {name: value for name, value in update.items() if value is not None}


def _puts(count: int, size: int = 1) -> list[Any]:
    items = [{**key(f"a{position}", "x"), "data": binary(bytes(size))} for position in range(count)]
    return [{"Put": {"TableName": TABLE, "Item": item}} for item in items]


def _sized(size: int) -> dict[str, Any]:
    item = {**key("a", "x"), "data": binary(b"")}
    return {**item, "data": binary(bytes(size - item_size(item)))}


def _error(call: Callable[..., Any], **request: Any) -> dict[str, Any]:
    """Return how a call was refused; nothing if it was not."""
    try:
        call(**request)
    except ClientError as refused:
        return dict(refused.response)
    return {}


def _is_refused(call: Callable[..., Any], **request: Any) -> bool:
    return bool(_error(call, **request).get("Error", {}).get("Code") == "ValidationException")


def _lone_write_brings_the_item(client: Any) -> bool:
    item = _put(client, rows=number(1), done=binary(b"\x00\xff"))
    refused = _update(ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    return bool(_error(client.update_item, **refused).get("Item") == item)


def _transaction_brings_reasons_in_order(client: Any) -> bool:
    item = _put(client, rows=number(1), done=binary(b"\x00\xff"))
    fails = _update(ConditionExpression="attribute_not_exists(pk)")
    actions = [
        {"Update": _update(pk="b")},
        {"Update": {**fails, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
        {"Update": {**fails, "Key": key("c", "x"), "ConditionExpression": "attribute_exists(pk)"}},
    ]
    reasons = _error(client.transact_write_items, TransactItems=actions).get("CancellationReasons", [])
    codes = [reason["Code"] for reason in reasons]
    return codes == ["None", *["ConditionalCheckFailed"] * 2] and reasons[1].get("Item") == item


def _token_is_answered_again(client: Any) -> bool:
    for _ in range(2):
        client.transact_write_items(TransactItems=[{"Update": _update()}], ClientRequestToken=TOKEN)
    return bool(_get(client)["rows"] == number(1))


def _token_is_not_reused(client: Any) -> bool:
    client.transact_write_items(TransactItems=[{"Update": _update()}], ClientRequestToken=TOKEN)
    other = [{"Update": _update(pk="b")}]
    refused = _error(client.transact_write_items, TransactItems=other, ClientRequestToken=TOKEN)
    return bool(refused.get("Error", {}).get("Code") == "IdempotentParameterMismatchException")


def _largest_item_is_taken(client: Any) -> bool:
    return not _error(client.put_item, TableName=TABLE, Item=_sized(400 * 1024))


def _too_large_an_item_is_refused(client: Any) -> bool:
    return _is_refused(client.put_item, TableName=TABLE, Item=_sized(400 * 1024 + 1))


def _batches_are_limited(client: Any) -> bool:
    requests = [{"PutRequest": {"Item": put["Put"]["Item"]}} for put in _puts(26)]
    keys = [key(f"a{position}", "x") for position in range(101)]
    return _is_refused(client.batch_write_item, RequestItems={TABLE: requests}) and _is_refused(
        client.batch_get_item, RequestItems={TABLE: {"Keys": keys}}
    )


def _an_item_is_once_in_a_batch(client: Any) -> bool:
    requests = [{"PutRequest": {"Item": _puts(1)[0]["Put"]["Item"]}}] * 2
    return _is_refused(client.batch_write_item, RequestItems={TABLE: requests})


def _a_number_is_not_added_to_text(client: Any) -> bool:
    _put(client, rows=text("4"))
    return _is_refused(client.update_item, **_update())


def _update_is_refused(**also: Any) -> Callable[[Any], bool]:
    return lambda client: _is_refused(client.update_item, **_update(**also))


def _put_is_refused(item: Mapping[str, Any]) -> Callable[[Any], bool]:
    return lambda client: _is_refused(client.put_item, TableName=TABLE, Item=item)


def _transaction_is_refused(actions: list[Any]) -> Callable[[Any], bool]:
    return lambda client: _is_refused(client.transact_write_items, TransactItems=actions)


@dataclass(frozen=True, slots=True)
class Rule:
    """A behaviour of AWS, and the check whether an engine has it."""

    says: str
    holds: Callable[[Any], bool]


RULES = (
    Rule("a lone write whose condition failed brings the item (`ALL_OLD`)", _lone_write_brings_the_item),
    Rule("a cancelled transaction has a reason for each action, in order, with the item, binary attributes too", _transaction_brings_reasons_in_order),
    Rule("a transaction that comes again with its token is answered and not applied", _token_is_answered_again),
    Rule("a token that comes with another transaction is refused", _token_is_not_reused),
    Rule("a reserved word for an attribute is refused", _update_is_refused(expression="ADD rows :one", ExpressionAttributeNames=None)),
    Rule("a `:value` that is not used is refused", _update_is_refused(ExpressionAttributeValues={**ONE, ":two": number(2)})),
    Rule("a `#name` that is not used is refused", _update_is_refused(ExpressionAttributeNames={**ROWS, "#state": "state"})),
    Rule("an attribute twice in one update is refused", _update_is_refused(expression="SET #rows = :one ADD #rows :one")),
    Rule("an update of the key is refused", _update_is_refused(expression="SET sk = :one", ExpressionAttributeNames=None)),
    Rule("an item without its sort key is refused", _put_is_refused({"pk": text("a")})),
    Rule("an empty key is refused", _put_is_refused(key("a", ""))),
    Rule("an empty set is refused", _put_is_refused({**key("a", "x"), "rows": {"NS": []}})),
    Rule("a number is not added to text", _a_number_is_not_added_to_text),
    Rule("an item of 409,600 bytes is taken", _largest_item_is_taken),
    Rule("an item of 409,601 bytes is refused", _too_large_an_item_is_refused),
    Rule("a transaction of 101 actions is refused", _transaction_is_refused(_puts(101))),
    Rule("a transaction over 4 MB is refused", _transaction_is_refused(_puts(11, 400_000))),
    Rule("an item twice in one transaction is refused", _transaction_is_refused(_puts(1) * 2)),
    Rule("26 puts, or 101 keys to read, are refused", _batches_are_limited),
    Rule("an item twice in one BatchWriteItem is refused", _an_item_is_once_in_a_batch),
)  # fmt: skip


def documented() -> dict[tuple[str, str], bool]:
    """Return what the page says of each rule and engine."""
    (header, *lines) = re.findall(
        r"^\|(.+)\|$", DOCS.read_text(encoding="utf-8").partition("## Engines")[2], re.MULTILINE
    )
    engines = [cell.strip() for cell in header.split("|")[1:]]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines[1:]]
    known = {row[0]: row[1:] for row in rows if row[0] in {rule.says for rule in RULES}}
    return {
        (says, engine): cell == "yes"
        for says, cells in known.items()
        for engine, cell in zip(engines, cells, strict=True)
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.says)
def test_an_engine_does_what_the_page_says(dynamodb: Any, rule: Rule, request: pytest.FixtureRequest) -> None:
    """An engine that gets better, or worse, makes the page wrong, and fails here."""
    engine = request.node.callspec.params["dynamodb"]
    assert rule.holds(dynamodb) is documented()[rule.says, engine]


def test_the_page_has_every_rule_and_engine() -> None:
    """None is left over, either."""
    assert set(documented()) == {(rule.says, engine) for rule in RULES for engine in ENGINES}
