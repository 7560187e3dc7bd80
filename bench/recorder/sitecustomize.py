"""Loaded by Python itself into the functions of a counting run: writes a line for each request that leaves.

Wraps the SDK below its own retries, so that an attempt is a request. With ``BENCH_AMBIGUOUS`` that share of the writes
is applied and then answered with a 500, the case that exact counting must survive. Never part of a deployment: the run
puts this folder on the functions' PYTHONPATH and removes it again.
"""

import json
import os
import random

from botocore import client, httpsession

_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
_log = os.open(os.environ["BENCH_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_ambiguous = float(os.environ.get("BENCH_AMBIGUOUS", "0"))
_function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
_rng = random.Random()
_call, _send = client.BaseClient._make_api_call, httpsession.URLLib3Session.send  # noqa: SLF001


def _asking(self, operation, parameters):  # noqa: ANN001, ANN202  the SDK's own signature
    """Ask DynamoDB for the consumed units of a request, where it has any."""
    model = self.meta.service_model
    if (
        model.service_name == "dynamodb"
        and "ReturnConsumedCapacity" in model.operation_model(operation).input_shape.members
    ):
        parameters = {**parameters, "ReturnConsumedCapacity": "TOTAL"}
    return _call(self, operation, parameters)


def _recorded(self, request):  # noqa: ANN001, ANN202  the SDK's own signature
    answer = _send(self, request)
    target = request.headers.get("X-Amz-Target", "")
    target = target.decode() if isinstance(target, bytes) else target
    line = {"function": _function, "target": target, "method": request.method, "status": answer.status_code}
    asked = json.loads(request.body) if target else {}
    if target.startswith("DynamoDB"):
        line |= _cost(target.partition(".")[2], asked, answer)
    elif "SendMessageBatch" in target:
        line |= {"messages": len(asked["Entries"]), "bytes": len(request.body), "queue": asked["QueueUrl"]}
    elif "SendMessage" in target:
        line |= {"messages": 1, "bytes": len(request.body), "queue": asked["QueueUrl"]}
    os.write(_log, (json.dumps(line) + "\n").encode())
    # The idempotency store of the textbook would answer a lost write with a wait of its own: its counter alone is hit,
    # and of Tally the transaction that counts.
    counts = target.endswith("TransactWriteItems") or (target.endswith("UpdateItem") and "ADD" in str(asked))
    if answer.status_code == 200 and counts and _rng.random() < _ambiguous:  # noqa: PLR2004  HTTP
        answer.status_code, answer._content = 500, b'{"__type":"InternalServerError"}'  # noqa: SLF001
    return answer


def _cost(operation, asked, answer):  # noqa: ANN001, ANN202
    document = json.loads(answer.content or b"{}")
    consumed = document.get("ConsumedCapacity", [])
    units = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
    code = str(document.get("__type", "")).rpartition("#")[2]
    if code == "TransactionCanceledException":  # billed and not told; as documented for items of up to 1 KB
        units = 2.0 * len(asked["TransactItems"])
    elif code == "ConditionalCheckFailedException":
        units = 1.0
    return {"units": units, "write": operation in _WRITES, "of": _kind(asked)}


def _kind(asked):  # noqa: ANN001, ANN202
    """Return the sort key's prefix of the first item, which tells the kind of item."""
    if "TransactItems" in asked:
        ((_, asked),) = asked["TransactItems"][0].items()
    elif "RequestItems" in asked:
        (found,) = asked["RequestItems"].values()
        asked = {"Key": found["Keys"][0]} if "Keys" in found else found[0]["PutRequest"]
    key = asked.get("Key") or asked.get("Item") or {}
    return key.get("sk", {}).get("S", "").partition("#")[0]


client.BaseClient._make_api_call, httpsession.URLLib3Session.send = _asking, _recorded  # noqa: SLF001
