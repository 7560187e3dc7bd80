"""DynamoDB in memory, as far as Tally uses it, with its stream; fast enough for thousands of histories.

It refuses what DynamoDB would refuse: ``strict`` checks each request first.

``tests/aws/test_table_contract.py`` holds it, moto and the local AWS to the same behaviour.
"""

import copy
import re
from base64 import b64encode
from typing import Any

from botocore.exceptions import ClientError

from tally.testing.strict import as_strict_as_aws

Wire = dict[str, Any]
PAGE = 7
"""Items of one answer to a query; DynamoDB's are a megabyte."""


def client_error(code: str, status: int = 400, **extra: Any) -> ClientError:
    """Return an error as botocore raises it."""
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **extra}
    return ClientError(response, "Operation")


@as_strict_as_aws("dynamodb")
class MemoryDynamoDB:
    """The table and the results table, of any names; ``stream`` has every change of the first, as Lambda gets it."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Wire] = {}
        self.results: dict[tuple[str, str], Wire] = {}
        """The items of the results table: its keys are called otherwise, which tells the two apart."""
        self.stream: list[Wire] = []
        self.tokens: dict[str, list[Wire]] = {}

    def describe_table(self, **_: Any) -> Wire:
        return {"Table": {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}}

    def get_item(self, *, Key: Wire, **_: Any) -> Wire:  # noqa: N803
        item = item_at(self, Key)
        return {"Item": copy.deepcopy(item)} if item else {}

    def batch_get_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        ((table, request),) = RequestItems.items()
        found = [self.items[_key(key)] for key in request["Keys"] if _key(key) in self.items]
        return {"Responses": {table: copy.deepcopy(found)}, "UnprocessedKeys": {}}

    def put_item(self, *, Item: Wire, **request: Any) -> Wire:  # noqa: N803
        return self._single({"Item": Item, **request})

    def update_item(self, *, ReturnValues: str = "NONE", **request: Any) -> Wire:  # noqa: N803
        answer = self._single(request)
        asked = {"NONE": {}, "ALL_NEW": {"Attributes": copy.deepcopy(self.items.get(_target(request)))}}
        return answer | asked[ReturnValues]

    def delete_item(self, **request: Any) -> Wire:
        return self._single({**request, "Delete": True})

    def batch_write_item(self, *, RequestItems: Wire) -> Wire:  # noqa: N803
        ((_, requests),) = RequestItems.items()
        for request in requests:
            self._apply({"Item": request["PutRequest"]["Item"]})
        return {"UnprocessedItems": {}}

    def transact_write_items(self, *, TransactItems: list[Wire], ClientRequestToken: str = "") -> Wire:  # noqa: N803
        if ClientRequestToken in self.tokens:
            if self.tokens[ClientRequestToken] != TransactItems:
                raise client_error("IdempotentParameterMismatchException")
            return {}
        actions = [{**request, kind: True} for action in TransactItems for kind, request in action.items()]
        reasons = [{"Code": "None"} if self._holds(action) else self._reason(action) for action in actions]
        if any(reason["Code"] != "None" for reason in reasons):
            raise client_error("TransactionCanceledException", CancellationReasons=reasons)
        for action in actions:
            self._apply(action)
        if ClientRequestToken:
            self.tokens[ClientRequestToken] = copy.deepcopy(TransactItems)
        return {}

    def query(self, *, ExpressionAttributeValues: Wire, Limit: int | None = None, **request: Any) -> Wire:  # noqa: N803
        """Return a page, which is short here, so that every caller must read on."""
        values = {name.removeprefix(":"): value["S"] for name, value in ExpressionAttributeValues.items()}
        after = _key(request["ExclusiveStartKey"]) if "ExclusiveStartKey" in request else None
        if "IndexName" in request:
            listed = [item for item in self.items.values() if item.get("listing") == {"S": values["listing"]}]
            listed.sort(
                key=lambda item: (item["created_at"]["S"], *_key(item)), reverse=not request["ScanIndexForward"]
            )
            found = [{name: item[name] for name in ("pk", "sk", "listing", "created_at")} for item in listed]
            places = [_key(item) for item in found]
            found = found[places.index(after) + 1 if after else 0 :]
        else:
            keys = [
                key
                for key in sorted(self.items)
                if key[0] == values["pk"] and key[1].startswith(values.get("prefix", ""))
            ]
            found = [self.items[key] for key in keys if after is None or key > after]
        page = found[: min(Limit or PAGE, PAGE)]
        names = request.get("ExpressionAttributeNames", {})
        asked = [name for name in request.get("ProjectionExpression", "").split(", ") if name]
        wanted = [names.get(name, name) for name in asked]
        items = [{name: item[name] for name in item if not wanted or name in wanted} for item in page]
        last = {"LastEvaluatedKey": {name: page[-1][name] for name in ("pk", "sk")}} if len(found) > len(page) else {}
        return {"Items": copy.deepcopy(items), **last}

    def _reason(self, action: Wire) -> Wire:
        item = item_at(self, _key_of(action))
        asked = action.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return {"Code": "ConditionalCheckFailed"} | ({"Item": copy.deepcopy(item)} if asked and item else {})

    def _single(self, request: Wire) -> Wire:
        if not self._holds(request):
            item = self._reason(request).get("Item")
            raise client_error("ConditionalCheckFailedException", **({"Item": item} if item else {}))
        self._apply(request)
        return {}

    def _holds(self, action: Wire) -> bool:
        item = item_at(self, _key_of(action)) or {}
        names, values = action.get("ExpressionAttributeNames", {}), action.get("ExpressionAttributeValues", {})
        return _condition_holds(action.get("ConditionExpression", ""), item, names, values)

    def _apply(self, action: Wire) -> None:
        key = _target(action)
        if "pk" not in _key_of(action):
            self.results[key] = copy.deepcopy(action["Item"])
            return
        old = self.items.get(key)
        if "Delete" in action:
            if self.items.pop(key, None):
                keys = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
                self.stream.append({"eventName": "REMOVE", "dynamodb": {"Keys": keys, "OldImage": _image(old)}})
            return
        new = copy.deepcopy(action["Item"]) if "Item" in action else _updated(old, action)
        if new == old:
            return  # a write that changes nothing emits nothing
        self.items[key] = new
        change = {"Keys": {"pk": new["pk"], "sk": new["sk"]}, "NewImage": _image(new)}
        if old:
            change["OldImage"] = _image(old)
        self.stream.append({"eventName": "MODIFY" if old else "INSERT", "dynamodb": change})


def _image(item: Wire | None) -> Wire:
    """Return an item in the form of a Lambda event, where binary attributes are base64."""
    image = copy.deepcopy(item or {})
    for value in image.values():
        if "B" in value:
            value["B"] = b64encode(value["B"]).decode()
    return image


def item_at(client: MemoryDynamoDB, key: Wire) -> Wire | None:
    """Return an item of either table by its key, or by an item that has the key; None if there is none."""
    return (client.items if "pk" in key else client.results).get(_key(key))


def key_names(key: Wire) -> tuple[str, str]:
    """Return the names of the key attributes in the table that a key is of: this one, or the results table."""
    return ("pk", "sk") if "pk" in key else ("key", "job")


def _key(key: Wire) -> tuple[str, str]:
    partition, sort = key_names(key)
    return key[partition]["S"], key[sort]["S"]


def _key_of(action: Wire) -> Wire:
    found: Wire = action.get("Key") or action["Item"]
    return found


def _target(action: Wire) -> tuple[str, str]:
    return _key(_key_of(action))


_TOKEN = re.compile(r"attribute_(?:not_)?exists\(#?\w+\)|#?\w+ (?:<=|[=<]) :\w+|\(|\)|AND|OR")


def _condition_holds(condition: str, item: Wire, names: Wire, values: Wire) -> bool:
    """Evaluate a condition as Tally writes them: existence, =, < and <= with a value, AND, OR, brackets."""
    if not condition:
        return True
    tokens = _TOKEN.findall(condition)
    assert "".join(tokens).replace(" ", "") == condition.replace(" ", ""), f"the fake does not know {condition}"
    words = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    said = [words.get(token) or str(_clause_holds(token, item, names, values)) for token in tokens]
    return bool(eval(" ".join(said), {"__builtins__": {}}))  # noqa: S307  nothing but True, False, and, or, brackets


def _clause_holds(clause: str, item: Wire, names: Wire, values: Wire) -> bool:
    exists = re.fullmatch(r"attribute_(not_)?exists\((#?\w+)\)", clause)
    if exists:
        return (names.get(exists[2], exists[2]) in item) is not bool(exists[1])
    name, operator, value = clause.split(" ")
    found = item.get(str(names.get(name, name)))
    if operator == "=":
        return bool(found == values[value])
    if found is None or found.keys() != values[value].keys():
        return False
    ((kind, content),), ((_, limit),) = found.items(), values[value].items()
    # DynamoDB compares texts by their bytes in UTF-8.
    less, more = (int(content), int(limit)) if kind == "N" else (content.encode(), limit.encode())
    return bool(less < more or (operator == "<=" and less == more))


_SECTIONS = re.compile(r"(SET|ADD|REMOVE|DELETE) (.*?)(?= SET | ADD | REMOVE | DELETE |$)")


def _updated(old: Wire | None, action: Wire) -> Wire:
    item = copy.deepcopy(old) if old else dict(action["Key"])
    names, values = action.get("ExpressionAttributeNames", {}), action.get("ExpressionAttributeValues", {})
    for verb, body in _SECTIONS.findall(action["UpdateExpression"]):
        for part in body.split(", "):
            match = re.fullmatch(r"(#?\w+)(?: =)?(?: (:\w+))?", part)
            assert match, f"the fake does not know {part}"
            name = names.get(match[1], match[1])
            if verb == "SET":
                item[name] = values[match[2]]
            elif verb == "ADD" and "N" not in values[match[2]]:
                ((kind, members),) = values[match[2]].items()
                item[name] = {kind: sorted({*item.get(name, {kind: []})[kind], *members})}
            elif verb == "DELETE":
                ((kind, members),) = values[match[2]].items()
                left = {kind: sorted(set(item.get(name, {kind: []})[kind]) - set(members))}
                item = {**item, name: left} if left[kind] else {other: item[other] for other in item if other != name}
            elif verb == "ADD" and "N" not in item.get(name, {"N": "0"}):
                raise client_error("ValidationException")
            elif verb == "ADD":
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(values[match[2]]["N"]))}
            else:
                item.pop(name, None)
    return item
