"""AWS's own words: what a request is, and how each service says that something went wrong. Standard library only."""

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults import TALLY, WRITES, Call

_SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
_PREFIXES = {
    "dynamodb": "com.amazonaws.dynamodb.v20120810#",
    "sqs": "com.amazonaws.sqs#",
    "events": "com.amazonaws.events#",
    "lambda": "",
}
_THROTTLES = {
    "dynamodb": (400, "ThrottlingException"),
    "sqs": (400, "RequestThrottled"),
    "events": (400, "ThrottlingException"),
    "lambda": (429, "TooManyRequestsException"),
    "s3": (503, "SlowDown"),
}
_ERRORS = {
    "dynamodb": (500, "InternalServerError"),
    "sqs": (500, "InternalFailure"),
    "events": (500, "InternalException"),
    "lambda": (500, "ServiceException"),
    "s3": (500, "InternalError"),
}
_CALLER = re.compile(r"counter/([a-z-]+)")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that no service gave."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def call_of(method: str, path: str, headers: Mapping[str, str]) -> Call:
    """Say what a request is; header names in any case."""
    lowered = {name.lower(): value for name, value in headers.items()}
    named = _CALLER.search(lowered.get("user-agent", ""))
    caller = named[1] if named else TALLY
    prefix, _, operation = lowered.get("x-amz-target", "").partition(".")
    if prefix in _SERVICES:
        return Call(caller, _SERVICES[prefix], operation)
    if path.startswith("/2015-03-31/"):
        return Call(caller, "lambda", "ListEventSourceMappings")
    return Call(caller, "s3", f"{method.capitalize()}Object")


def throttled(call: Call, rng: random.Random, body: bytes) -> Reply:
    """Refuse for the pace: DynamoDB has three ways to say so, one of them only for transactions."""
    if call.service == "dynamodb":
        if call.operation == "TransactWriteItems" and rng.random() < 1 / 3:
            return _cancelled(len(json.loads(body)["TransactItems"]), "ThrottlingError", rng)
        if rng.random() < 1 / 2:
            return _reply(call, 400, "ProvisionedThroughputExceededException", "slow down (chaos)")
    status, code = _THROTTLES[call.service]
    return _reply(call, status, code, "rate exceeded (chaos)")


def internal_error(call: Call) -> Reply:
    """Fail with a 500, which says nothing about what was done."""
    status, code = _ERRORS[call.service]
    return _reply(call, status, code, "internal error (chaos)")


def conflict(call: Call, rng: random.Random, body: bytes) -> Reply:
    """Refuse because another transaction has one of the items."""
    if call.operation == "TransactWriteItems":
        return _cancelled(len(json.loads(body)["TransactItems"]), "TransactionConflict", rng)
    return _reply(call, 400, "TransactionConflictException", "transaction is ongoing for the item (chaos)")


def hold_back(call: Call, request: Document, rng: random.Random) -> list[int]:
    """Take from a request what the service will lease not to have handled; returns the positions, none if too few."""
    entries = _entries(call, request)
    fewest = 1 if call.service == "dynamodb" else 0  # DynamoDB throttles rather than take none of a batch
    most = len(entries) - fewest
    if most < 1:
        return []
    held = sorted(rng.sample(range(len(entries)), rng.randint(1, most)))
    entries[:] = [entry for position, entry in enumerate(entries) if position not in held]
    return held


def own_up(call: Call, asked: Document, held: list[int], answer: Document) -> Document:
    """Say in the answer which parts of what was asked were not handled."""
    entries = _entries(call, asked)
    left = [entries[position] for position in held]
    match call.operation:
        case "BatchWriteItem":
            return answer | {"UnprocessedItems": {next(iter(asked["RequestItems"])): left}}
        case "BatchGetItem":
            ((table, keys),) = asked["RequestItems"].items()
            return answer | {"UnprocessedKeys": {table: keys | {"Keys": left}}}
        case "SendMessageBatch":
            failed = [
                {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "chaos"} for entry in left
            ]
            return answer | {"Successful": answer.get("Successful", []), "Failed": [*answer.get("Failed", []), *failed]}
        case _:  # PutEvents answers in the order of the request
            handled = iter(answer.get("Entries", []))
            refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "chaos"}
            results = [refused if position in held else next(handled) for position in range(len(entries))]
            return answer | {"Entries": results, "FailedEntryCount": sum("ErrorCode" in each for each in results)}


def units(call: Call, asked: Document, status: int, answer: Document) -> tuple[float, float]:
    """Return the read and write units of a request that reached DynamoDB.

    As the local AWS says (ConsumedCapacity, by item size); a failed condition, which is billed but not told, counts
    as documented for items of up to 1 KB: 1 unit, in a transaction 2 for each action.
    """
    if status == 200:
        consumed = answer.get("ConsumedCapacity", [])
        total = sum(float(each["CapacityUnits"]) for each in (consumed if isinstance(consumed, list) else [consumed]))
        return (0.0, total) if call.operation in WRITES else (total, 0.0)
    code = str(answer.get("__type", "")).rpartition("#")[2]
    if code == "TransactionCanceledException":
        return 0.0, 2.0 * len(asked["TransactItems"])
    return 0.0, 1.0 if code == "ConditionalCheckFailedException" else 0.0


def _entries(call: Call, request: Document) -> list[Any]:
    match call.operation:
        case "BatchWriteItem":
            found = next(iter(request["RequestItems"].values()))
        case "BatchGetItem":
            found = next(iter(request["RequestItems"].values()))["Keys"]
        case _:
            found = request["Entries"]
    return list(found) if not isinstance(found, list) else found


def _cancelled(actions: int, code: str, rng: random.Random) -> Reply:
    reasons: list[Document] = [{"Code": "None"} for _ in range(actions)]
    reasons[rng.randrange(actions)] = {"Code": code, "Message": "chaos"}
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    document = {
        "__type": f"{_PREFIXES['dynamodb']}TransactionCanceledException",
        "Message": message,
        "CancellationReasons": reasons,
    }
    return Reply(400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(document).encode())


def _reply(call: Call, status: int, code: str, message: str) -> Reply:
    if call.service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Reply(
            status, {"Content-Type": "application/xml"}, b"" if call.operation == "HeadObject" else body.encode()
        )
    document = {"__type": f"{_PREFIXES[call.service]}{code}", "message": message}
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-ErrorType": code}
    return Reply(status, headers, json.dumps(document).encode())
