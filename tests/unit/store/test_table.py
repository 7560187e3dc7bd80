"""Requests of DynamoDB: the limits of each, the rest of each, and conditions as answers."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.errors import ConflictError, FatalError, ThrottledError
from chalicelib.store.items import key, number, text
from chalicelib.store.table import Put, Update
from tally.testing.faults import Fault
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tests.support.builders import Requests, faulty, in_turn, table

NEW = "attribute_not_exists(pk)"


def _item(name: str, **attributes: Any) -> dict[str, Any]:
    return {**key(name, "x"), **attributes}


def _add(name: str, amount: int = 1, condition: str = "") -> Update:
    return Update(
        pk=name, sk="x", expression="ADD #rows :amount", condition=condition, values={":amount": number(amount)}
    )


class Reluctant(MemoryDynamoDB):
    """Does only so many of a batch's requests at a time, as a throttled table does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((name, request),) = RequestItems.items()
        keys = request["Keys"]
        answer: dict[str, Any] = {"Responses": {}}
        if self.most:
            answer = super().batch_get_item(RequestItems={name: {**request, "Keys": keys[: self.most]}})
        left = {name: {**request, "Keys": keys[self.most :]}} if keys[self.most :] else {}
        return {**answer, "UnprocessedKeys": left}

    def batch_write_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((name, requests),) = RequestItems.items()
        if self.most:
            super().batch_write_item(RequestItems={name: requests[: self.most]})
        return {"UnprocessedItems": {name: requests[self.most :]} if requests[self.most :] else {}}


def test_an_item_that_is_not_there_is_none() -> None:
    """Not an error: the caller knows what it means."""
    assert table(MemoryDynamoDB()).get("a", "x") is None
    assert table(MemoryDynamoDB()).get_all([("a", "x")]) == []


def test_reads_see_what_was_written_before() -> None:
    """A decision on a stale read would be a wrong one."""
    requests = Requests(MemoryDynamoDB())
    table(requests).get("a", "x")
    table(requests).get_all([("a", "x")])
    assert requests.of("get_item")[0]["ConsistentRead"] is True
    assert requests.of("batch_get_item")[0]["RequestItems"]["tally-test"]["ConsistentRead"] is True


def test_a_hundred_keys_go_into_a_read_and_25_items_into_a_write() -> None:
    """Limits of BatchGetItem and BatchWriteItem; nothing is left out at their edges."""
    requests = Requests(MemoryDynamoDB())
    items = [_item(str(position)) for position in range(201)]
    table(requests).write_all(items)
    sizes = [len(request["RequestItems"]["tally-test"]) for request in requests.of("batch_write_item")]
    assert sizes == [25] * 8 + [1]
    found = table(requests).get_all((str(position), "x") for position in range(201))
    assert len(requests.of("batch_get_item")) == 3
    assert sorted(item["pk"]["S"] for item in found) == sorted(map(str, range(201)))


def test_what_a_read_left_is_read_again_and_nothing_twice() -> None:
    """UnprocessedKeys come with a 200."""
    dynamodb = Reluctant(most=3)
    dynamodb.items = {(str(position), "x"): _item(str(position)) for position in range(10)}
    found = table(dynamodb).get_all((str(position), "x") for position in range(10))
    assert sorted(item["pk"]["S"] for item in found) == sorted(map(str, range(10)))


def test_what_a_write_left_is_written_again() -> None:
    """UnprocessedItems come with a 200: taking it for success would lose rows."""
    dynamodb = Reluctant(most=7)
    table(dynamodb).write_all(_item(str(position)) for position in range(30))
    assert len(dynamodb.items) == 30


def test_what_is_never_taken_raises() -> None:
    """The queue delivers the chunk again."""
    with pytest.raises(ThrottledError, match="2 items were not taken"):
        table(Reluctant(most=0)).write_all([_item("a"), _item("b")])
    with pytest.raises(ThrottledError, match="1 items were not read"):
        table(Reluctant(most=0)).get_all([("a", "x")])


def test_a_put_tells_whether_its_condition_held() -> None:
    """The second does not write."""
    dynamodb = MemoryDynamoDB()
    assert table(dynamodb).put(Put(item=_item("a", state=text("1")), condition=NEW)) is True
    assert table(dynamodb).put(Put(item=_item("a", state=text("2")), condition=NEW)) is False
    assert dynamodb.items["a", "x"]["state"] == text("1")


def test_a_put_whose_answer_was_lost_finds_itself() -> None:
    """False with the doubt that the docstring speaks of, and written once."""
    dynamodb = MemoryDynamoDB()
    lossy = faulty(dynamodb, in_turn(Fault.ERROR_AFTER))
    assert table(lossy).put(Put(item=_item("a"), condition=NEW)) is False
    assert len(dynamodb.stream) == 1


def test_an_update_tells_whether_its_condition_held() -> None:
    """Names with # stand for reserved words, wherever they are used."""
    dynamodb = MemoryDynamoDB()
    assert table(dynamodb).update(_add("a")) is True
    assert table(dynamodb).update(_add("a", condition="attribute_not_exists(#rows)")) is False
    assert table(dynamodb).update(_add("a", condition="attribute_exists(#rows)")) is True
    assert dynamodb.items["a", "x"]["rows"] == number(2)


def test_names_are_those_that_the_expressions_use_and_no_others() -> None:
    """DynamoDB refuses a request that defines a name and does not use it, or an empty condition."""
    requests = Requests(MemoryDynamoDB())
    table(requests).update(_add("a", condition="attribute_not_exists(#closed)"))
    table(requests).update(Update(pk="a", sk="x", expression="SET reason = :why", values={":why": text("x")}))
    both, none = requests.of("update_item")
    assert both["ExpressionAttributeNames"] == {"#rows": "rows", "#closed": "closed"}
    assert "ExpressionAttributeNames" not in none
    assert "ConditionExpression" not in none


def test_a_transaction_applies_all_or_says_which_did_not_hold() -> None:
    """Positions are those of the actions."""
    dynamodb = MemoryDynamoDB()
    assert table(dynamodb).transact([Put(item=_item("a"), condition=NEW), _add("n")]) == {}
    before = dict(dynamodb.items)
    actions: list[Put | Update] = [Put(item=_item("b"), condition=NEW), Put(item=_item("a"), condition=NEW), _add("n")]
    assert table(dynamodb).transact(actions) == {1: {}}
    assert dynamodb.items == before


def test_a_condition_that_fails_brings_the_item_as_it_is_to_who_asks_for_it() -> None:
    """The answer spares a read, and the item is of the moment of the refusal. Other requests do not pay for it."""
    dynamodb = MemoryDynamoDB()
    table(dynamodb).transact([_add("a", 7), _add("b", 8)])
    asks, asks_not = (replace(_add(name, condition="#rows = :amount"), returns_item=name == "a") for name in "ab")
    asks_of_none = replace(_add("c", condition="#rows = :amount"), returns_item=True)
    refused = table(dynamodb).transact([asks, asks_not, asks_of_none])
    assert refused == {0: _item("a", rows=number(7)), 1: {}, 2: {}}


def test_an_update_asks_for_the_item_only_where_its_caller_reads_it() -> None:
    """DynamoDB bills the item that a refusal brings as a read."""
    requests = Requests(MemoryDynamoDB())
    table(requests).transact([_add("a"), replace(_add("b"), returns_item=True)])
    first, second = (action["Update"] for action in requests.of("transact_write_items")[0]["TransactItems"])
    assert "ReturnValuesOnConditionCheckFailure" not in first
    assert second["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.THROTTLED, Fault.ERROR_BEFORE])
def test_a_transaction_that_was_not_applied_is_tried_again(fault: Fault) -> None:
    """No SDK mode retries a conflict."""
    dynamodb = MemoryDynamoDB()
    assert table(faulty(dynamodb, in_turn(fault, fault))).transact([_add("n")]) == {}
    assert dynamodb.items["n", "x"]["rows"] == number(1)


def test_a_transaction_that_always_conflicts_raises() -> None:
    """It never counts as done."""
    dynamodb = MemoryDynamoDB()
    with pytest.raises(ConflictError):
        table(faulty(dynamodb, lambda _: Fault.CONFLICT)).transact([_add("n")])
    assert dynamodb.items == {}


def test_every_call_has_a_token_of_its_own() -> None:
    """A token that met another set of actions would be a mismatch, so none is kept here: botocore makes one a call."""
    requests = Requests(MemoryDynamoDB())
    table(requests).transact([_add("n")])
    table(requests).transact([_add("n")])
    assert all(set(request) == {"TransactItems"} for request in requests.of("transact_write_items"))


def test_a_wrong_request_raises() -> None:
    """It is no answer, and waiting does not help."""

    class Refusing(MemoryDynamoDB):
        def update_item(self, **_: Any) -> dict[str, Any]:
            raise client_error("ValidationException")

    with pytest.raises(FatalError, match="ValidationException"):
        table(Refusing()).update(_add("a"))
