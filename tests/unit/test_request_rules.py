# ruff: noqa: E501  a table of cases, one a line
"""The guard of all requests: what AWS refuses is refused, and what it takes is taken."""

from typing import Any

import pytest

from chalicelib.store.items import key, number, text
from tally.testing import expressions, request_rules

UPDATE = {
    "TableName": "tally-test",
    "Key": key("a", "x"),
    "UpdateExpression": "SET #state = :ready, done = :done ADD remaining :taken",
    "ConditionExpression": "#version = :version AND attribute_exists(pk)",
    "ExpressionAttributeNames": {"#state": "state", "#version": "version"},
    "ExpressionAttributeValues": {
        ":ready": text("ready"),
        ":done": {"B": b"\x01"},
        ":taken": number(-1),
        ":version": number(1),
    },
}
BODY = {"QueueUrl": "http://127.0.0.1/work", "MessageBody": "{}"}


def _put(pk: str, size: int = 1) -> dict[str, Any]:
    return {"TableName": "tally-test", "Item": {**key(pk, "x"), "data": {"B": bytes(size)}}}


def _puts(count: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"Put": _put(f"a{position}", size)} for position in range(count)]


def _written(count: int, size: int = 1) -> dict[str, Any]:
    requests = [{"PutRequest": {"Item": _put(f"a{position}", size)["Item"]}} for position in range(count)]
    return {"RequestItems": {"tally-test": requests}}


def _read(count: int) -> dict[str, Any]:
    return {"RequestItems": {"tally-test": {"Keys": [key(f"a{position}", "x") for position in range(count)]}}}


def _entries(count: int, size: int = 2, **also: Any) -> dict[str, Any]:
    entries = [{"Id": str(position), "MessageBody": "x" * size, **also} for position in range(count)]
    return {"QueueUrl": "http://127.0.0.1/work", "Entries": entries}


def _events(count: int, size: int = 2) -> dict[str, Any]:
    return {"Entries": [{"Source": "tally", "DetailType": "t", "Detail": "x" * size}] * count}


TAKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("dynamodb", "update_item", UPDATE),
    ("dynamodb", "put_item", _put("a", 400_000)),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(100), "ClientRequestToken": "t" * 36}),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(10, 400_000)}),
    ("dynamodb", "batch_write_item", _written(25)),
    ("dynamodb", "batch_get_item", _read(100)),
    ("sqs", "send_message_batch", _entries(10, 26_000, DelaySeconds=900)),
    ("sqs", "send_message", {**BODY, "MessageBody": "x" * 262_144}),
    ("s3", "get_object", {"Bucket": "inbox", "Key": "é" * 512, "Range": "bytes=0-0"}),
    ("events", "put_events", _events(10, 20_000)),
]


@pytest.mark.parametrize(("service", "operation", "request_"), TAKEN)
def test_what_aws_takes_is_taken(service: str, operation: str, request_: dict[str, Any]) -> None:
    """At its limits; else the guard would be passed by asking for less than there is."""
    assert request_rules.faults(service, operation, request_) == []


def _update(**changed: Any) -> dict[str, Any]:
    return {name: value for name, value in {**UPDATE, **changed}.items() if value is not None}


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready, rows = :done ADD remaining :taken"), "rows is a reserved word"),
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready ADD remaining :taken, Rows :done"), "Rows is a reserved word"),
    ("dynamodb", "update_item", _update(ConditionExpression="until = :version OR #version = :version"), "until is a reserved"),
    ("dynamodb", "query", {"TableName": "tally-test", "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": text("a")}, "ProjectionExpression": "pk, failed, Data"}, "Data is a reserved word"),
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready ADD remaining :taken"), ":done is given and not used"),
    ("dynamodb", "update_item", _update(ConditionExpression=":version = :version"), "#version is given and not used"),
    ("dynamodb", "update_item", _update(ConditionExpression="#version = :vers AND #version < :version"), ":vers is used and not given"),
    ("dynamodb", "update_item", _update(ExpressionAttributeNames={"#version": "version"}), "#state is used and not given"),
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready, done = :done ADD done :taken"), "done is written twice"),
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready, sk = :done ADD remaining :taken"), "sk is of the key"),
    ("dynamodb", "update_item", _update(UpdateExpression="SET #state = :ready SET done = :done ADD n :taken"), "says a verb twice"),
    ("dynamodb", "update_item", _update(ConditionExpression="#version = :version AND attribute_exist(pk)"), "attribute_exist is no function"),
    ("dynamodb", "update_item", _update(ConditionExpression=""), "ConditionExpression is empty"),
    ("dynamodb", "update_item", _update(UpdateExpression="REMOVE a", ConditionExpression=None, ExpressionAttributeNames=None, ExpressionAttributeValues={}), "given, and empty"),
    ("dynamodb", "update_item", _update(Key={"pk": text("a")}), "sk of a key is missing"),
    ("dynamodb", "update_item", _update(Key=key("a", "")), "sk of a key is missing, empty"),
    ("dynamodb", "update_item", _update(Key={**key("a", "x"), "n": number(1)}), "a key has"),
    ("dynamodb", "update_item", _update(ReturnValuesOnConditionCheckFailure="ALL"), "not one of"),
    ("dynamodb", "put_item", {"TableName": "tally-test", "Item": {"pk": text("a")}}, "sk of a key is missing"),
    ("dynamodb", "put_item", _put("a" * 2_049), "pk has 2049 bytes"),
    ("dynamodb", "put_item", _put("a", 409_600), "an item has"),
    ("dynamodb", "put_item", {"TableName": "tally-test", "Item": {**key("a", "x"), "rows": {"NS": []}}}, "rows is a set that is empty"),
    ("dynamodb", "put_item", {"TableName": "tally-test", "Item": {**key("a", "x"), "n": {"N": "nan"}}}, "which is no number"),
    ("dynamodb", "put_item", {"TableName": "tally-test", "Item": {**key("a", "x"), "n": {"N": 1}}}, "Invalid type"),
    ("dynamodb", "put_item", {**_put("a"), "Conditon": "x"}, "Unknown parameter"),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(101)}, "at most 100"),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(11, 400_000)}, "at most 4194304"),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(1) * 2}, "twice in one request"),
    ("dynamodb", "transact_write_items", {"TransactItems": _puts(1), "ClientRequestToken": "t" * 37}, "at most 36"),
    ("dynamodb", "transact_write_items", {"TransactItems": [{"Update": _update(UpdateExpression="SET rows = :done")}]}, "rows is a reserved word"),
    ("dynamodb", "batch_write_item", _written(26), "at most 25"),
    ("dynamodb", "batch_write_item", {"RequestItems": {"tally-test": _written(1)["RequestItems"]["tally-test"] * 2}}, "twice"),
    ("dynamodb", "batch_get_item", _read(101), "at most 100"),
    ("sqs", "send_message_batch", _entries(11), "1 to 10"),
    ("sqs", "send_message_batch", _entries(10, 26_215), "at most 262144"),
    ("sqs", "send_message_batch", _entries(1, 262_145), "at most 262144"),
    ("sqs", "send_message_batch", _entries(1, DelaySeconds=901), "a delay of 901 s"),
    ("sqs", "send_message_batch", {"QueueUrl": "q", "Entries": _entries(1)["Entries"] * 2}, "one id"),
    ("sqs", "send_message", {**BODY, "MessageBody": "\uffff"}, "characters that XML does not"),
    ("sqs", "send_message", {**BODY, "MessageBody": ""}, "a message is empty"),
    ("sqs", "send_message", {**BODY, "MessageAttributes": {"AWS.q": {"DataType": "String", "StringValue": "x"}}}, "no name of an attribute"),
    ("sqs", "send_message", {**BODY, "MessageAttributes": {"q": {"DataType": "Text", "StringValue": "x"}}}, "has the type Text"),
    ("sqs", "send_message", {**BODY, "MessageAttributes": {"q": {"DataType": "String", "StringValue": ""}}}, "q is empty"),
    ("sqs", "change_message_visibility", {"QueueUrl": "q", "ReceiptHandle": "r", "VisibilityTimeout": 43_201}, "visibility"),
    ("s3", "get_object", {"Bucket": "inbox", "Key": "é" * 513}, "at most 1024"),
    ("s3", "get_object", {"Bucket": "inbox", "Key": "a", "Range": "bytes=5-4"}, "no range"),
    ("s3", "upload_part", {"Bucket": "b", "Key": "k", "UploadId": "u", "PartNumber": 10_001, "Body": b""}, "1 to 10000"),
    ("s3", "create_multipart_upload", {"Bucket": "b", "Key": "k", "ChecksumAlgorithm": "CRC"}, "not one of"),
    ("events", "put_events", _events(11), "at most 10"),
    ("events", "put_events", _events(10, 26_300), "at most 262144"),
    ("lambda", "invoke", {"FunctionName": "tally test", "InvocationType": "Event"}, "not of the pattern"),
    ("lambda", "invoke", {"FunctionName": "t", "InvocationType": "Event", "Payload": bytes(2**20 + 1)}, "at most 1048576"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "request_", "why"), REFUSED)
def test_what_aws_refuses_is_refused(service: str, operation: str, request_: dict[str, Any], why: str) -> None:
    """Each with what is wrong, so that the test which meets it says what to do."""
    assert why in "; ".join(request_rules.faults(service, operation, request_))


def test_every_reserved_word_is_known() -> None:
    """As many as the developer guide has, those that Tally writes with # among them."""
    assert len(expressions.reserved_words()) == 573
    assert {"ROWS", "STATUS", "STATE", "TIMESTAMP", "HOLD", "OWNER", "UNTIL"} <= expressions.reserved_words()
