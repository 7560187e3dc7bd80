"""Rules of AWS for requests that the service models do not have: limits in bytes, and required combinations.

Sources: DynamoDB developer guide, "Quotas" and "Constraints"; SQS developer guide, "Quotas"; S3 user guide, "Creating
object key names"; EventBridge user guide, "PutEvents event entry size"; Lambda developer guide, "Lambda quotas".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from chalicelib.store.pacing import item_size
from tally.testing import expressions, service_models

Wire = Mapping[str, Any]

MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_BATCH_WRITE_BYTES = 16 * 1024 * 1024
MAX_PUTS = 25
KEYS = {"pk": 2_048, "sk": 1_024}
"""The attributes of the table's key, and how many bytes each may have."""
KEYS_OF_RESULTS = {"key": 2_048, "job": 1_024}
"""The same of the results table."""
MAX_DIGITS = 38
"""Digits of a number without zeros before and after them; it is 0 or from 1E-130 to 9.99E+125."""
MAX_MESSAGE_BYTES = 262_144
"""The queues' max_message_size in infra/."""
MAX_MESSAGE_BATCH_BYTES = 262_144
"""SQS takes 1 MiB, but no document says that on such a queue ten messages together may have it."""
MAX_MESSAGES = 10
MAX_DELAY_SECONDS = 900
MAX_VISIBILITY_SECONDS = 43_200
MAX_MESSAGE_ATTRIBUTES = 10
MAX_OBJECT_KEY_BYTES = 1_024
MAX_PARTS = 10_000
MAX_LISTED = 1_000
MAX_EVENT_BYTES = 256 * 1024
"""EventBridge has taken 1 MiB since January 2026; what is stricter holds in every region."""
MAX_ASYNC_PAYLOAD_BYTES = 1024 * 1024


def faults(service: str, operation: str, request: Wire) -> list[str]:
    """Return why AWS would refuse a request, empty if it would not; ``operation`` is the client's method."""
    found = service_models.faults(service, operation, request)
    rule = _RULES.get(service)
    return found or (list(rule(operation, request)) if rule else [])


def _dynamodb(operation: str, request: Wire) -> Iterator[str]:
    if operation == "transact_write_items":
        yield from _transaction(request["TransactItems"])
    elif operation == "batch_write_item":
        yield from _batch_write(request["RequestItems"])
    elif operation == "batch_get_item":
        for asked in request["RequestItems"].values():
            yield from _each_once([key for wanted in asked["Keys"] for key in _key_of(wanted)])
            for wanted in asked["Keys"]:
                yield from _key_faults(wanted, whole=True)
    else:
        yield from _action(request)


def _action(action: Wire) -> Iterator[str]:
    """Return the faults of one write, or of one read of an item or a partition."""
    yield from expressions.faults(action)
    if "Key" in action:
        yield from _key_faults(action["Key"], whole=True)
    if "Item" in action:
        yield from _item_faults(action["Item"])
    for name, value in action.get("ExpressionAttributeValues", {}).items():
        yield from _value_faults(name, value)


def _transaction(actions: list[Wire]) -> Iterator[str]:
    kinds = [kind for action in actions for kind in action.values()]
    if len(kinds) != len(actions):
        yield "an action of a transaction is not of one kind"
    yield from _each_once([key for action in kinds for key in _key_of(action.get("Key") or action["Item"])])
    for action in kinds:
        yield from _action(action)
    size = sum(item_size(action.get("Item", {})) for action in kinds)
    if size > MAX_TRANSACTION_BYTES:
        yield f"the items of a transaction have {size} bytes, at most {MAX_TRANSACTION_BYTES} are taken"


def _batch_write(tables: Mapping[str, list[Wire]]) -> Iterator[str]:
    requests = [each for asked in tables.values() for each in asked]
    items = [each["PutRequest"]["Item"] for each in requests if "PutRequest" in each]
    if len(requests) > MAX_PUTS:
        yield f"{len(requests)} requests, at most {MAX_PUTS} are taken"
    yield from _each_once([key for item in items for key in _key_of(item)])
    for item in items:
        yield from _item_faults(item)
    size = sum(map(item_size, items))
    if size > MAX_BATCH_WRITE_BYTES:
        yield f"the items have {size} bytes, at most {MAX_BATCH_WRITE_BYTES} are taken"


def _item_faults(item: Wire) -> Iterator[str]:
    yield from _key_faults(item, whole=False)
    size = item_size(item)
    if size > MAX_ITEM_BYTES:
        yield f"an item has {size} bytes, at most {MAX_ITEM_BYTES} are taken"
    for name, value in item.items():
        yield from _value_faults(name, value)


def _key_faults(key: Wire, *, whole: bool) -> Iterator[str]:
    keys = KEYS_OF_RESULTS if "key" in key and "pk" not in key else KEYS
    for name, most in keys.items():
        value = key.get(name, {}).get("S")
        if not value:
            yield f"{name} of a key is missing, empty or no string: {key.get(name)}"
        elif len(value.encode()) > most:
            yield f"{name} has {len(value.encode())} bytes, at most {most} are taken"
    if whole and set(key) != set(keys):
        yield f"a key has {sorted(key)}"


def _value_faults(name: str, value: Wire) -> Iterator[str]:
    ((kind, content),) = value.items()
    if kind in {"SS", "NS", "BS"} and (not content or len(set(content)) != len(content)):
        yield f"{name} is a set that is empty or has a member twice: {content}"
    for number in {"N": [content], "NS": content}.get(kind, []):
        if not _is_number(number):
            yield f"{name} is {number!r}, which is no number"
    if kind == "M":
        for inner, each in content.items():
            yield from _value_faults(f"{name}.{inner}", each)
    for each in content if kind == "L" else ():
        yield from _value_faults(name, each)


def _is_number(text: str) -> bool:
    """Tell whether DynamoDB takes a text as a number."""
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text):
        return False
    found = Decimal(text)
    digits = "".join(map(str, found.as_tuple().digits)).strip("0")
    return not digits or (len(digits) <= MAX_DIGITS and -130 <= found.adjusted() <= 125)


def _key_of(item: Wire) -> Iterator[tuple[str, str]]:
    if all("S" in item.get(name, {}) for name in KEYS):  # else it is a fault of its own
        yield item["pk"]["S"], item["sk"]["S"]


def _each_once(keys: list[tuple[str, str]]) -> Iterator[str]:
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"{key} is there twice in one request"


_XML_CHARACTERS = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


def _sqs(operation: str, request: Wire) -> Iterator[str]:
    if operation == "send_message_batch":
        entries = request["Entries"]
        names = [entry["Id"] for entry in entries]
        if not 0 < len(entries) <= MAX_MESSAGES:
            yield f"{len(entries)} messages, 1 to {MAX_MESSAGES} are taken"
        if len(set(names)) < len(names):
            yield "two messages of a request have one id"
        for name in names:
            if not re.fullmatch(r"[\w-]{1,80}", name, re.ASCII):
                yield f"{name!r} is no id of a message"
        for entry in entries:
            yield from _message_faults(entry)
        size = sum(map(_message_size, entries))
        if size > MAX_MESSAGE_BATCH_BYTES:
            yield f"the messages have {size} bytes, at most {MAX_MESSAGE_BATCH_BYTES} are taken"
    elif operation == "send_message":
        yield from _message_faults(request)
    elif operation == "change_message_visibility" and not 0 <= request["VisibilityTimeout"] <= MAX_VISIBILITY_SECONDS:
        yield f"a visibility timeout of {request['VisibilityTimeout']} s"


def _message_faults(message: Wire) -> Iterator[str]:
    if not _XML_CHARACTERS.fullmatch(message["MessageBody"]):
        yield "a message is empty, or has characters that XML does not"
    if _message_size(message) > MAX_MESSAGE_BYTES:
        yield f"a message has {_message_size(message)} bytes, at most {MAX_MESSAGE_BYTES} are taken"
    if not 0 <= message.get("DelaySeconds", 0) <= MAX_DELAY_SECONDS:
        yield f"a delay of {message['DelaySeconds']} s"
    attributes = message.get("MessageAttributes", {})
    if len(attributes) > MAX_MESSAGE_ATTRIBUTES:
        yield f"{len(attributes)} attributes of a message, at most {MAX_MESSAGE_ATTRIBUTES} are taken"
    for name, attribute in attributes.items():
        if not re.fullmatch(r"(?!(?i:aws\.|amazon\.))(?!\.)(?!.*\.\.)[\w.-]{1,256}(?<!\.)", name, re.ASCII):
            yield f"{name!r} is no name of an attribute of a message"
        if not re.match(r"(String|Number|Binary)(\.|$)", attribute["DataType"]):
            yield f"{name} has the type {attribute['DataType']}"
        if not (attribute.get("StringValue") or attribute.get("BinaryValue")):
            yield f"{name} is empty"


def _message_size(message: Wire) -> int:
    attributes = message.get("MessageAttributes", {})
    values = [
        name.encode() + attribute["DataType"].encode() + attribute.get("StringValue", "").encode()
        for name, attribute in attributes.items()
    ]
    return len(message["MessageBody"].encode()) + sum(map(len, values))


def _s3(_: str, request: Wire) -> Iterator[str]:
    size = len(request.get("Key", "").encode())
    if size > MAX_OBJECT_KEY_BYTES:
        yield f"the key of an object has {size} bytes, at most {MAX_OBJECT_KEY_BYTES} are taken"
    if "Range" in request:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request["Range"])
        if not wanted or int(wanted[1]) > int(wanted[2]):  # S3 would send the whole object
            yield f"{request['Range']} is no range"
    if not 1 <= request.get("PartNumber", 1) <= MAX_PARTS:
        yield f"part {request['PartNumber']}, 1 to {MAX_PARTS} are taken"
    if not 1 <= request.get("MaxKeys", 1) <= MAX_LISTED:
        yield f"MaxKeys is {request['MaxKeys']}"
    parts = [part["PartNumber"] for part in request.get("MultipartUpload", {}).get("Parts", [])]
    if parts != sorted(set(parts)):
        yield f"parts are not in order: {parts}"


def _events(operation: str, request: Wire) -> Iterator[str]:
    assert operation == "put_events"
    for entry in request["Entries"]:
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                yield f"an event has no {name}"
    size = sum(
        len(entry.get(name, "").encode()) for entry in request["Entries"] for name in ("Source", "DetailType", "Detail")
    )
    if size > MAX_EVENT_BYTES:
        yield f"the events have {size} bytes, at most {MAX_EVENT_BYTES} are taken"


def _lambda(_: str, request: Wire) -> Iterator[str]:
    if len(request.get("Payload", b"")) > MAX_ASYNC_PAYLOAD_BYTES and request.get("InvocationType") == "Event":
        yield f"an event has {len(request['Payload'])} bytes, at most {MAX_ASYNC_PAYLOAD_BYTES} are taken"


_RULES: Mapping[str, Callable[[str, Wire], Iterator[str]]] = {
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "s3": _s3,
    "events": _events,
    "lambda": _lambda,
}
