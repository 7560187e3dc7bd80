"""Faults inside the functions of a stage that ``tally prove`` deploys; no other deployment has this module.

It is copied into the stage's own ``chalicelib`` and installed by its ``app.py`` first of all. It acts below the SDK's
own retries, and only on requests about the job ``prove_faulty``: by the ids of its batches and by its keys.
"""

import io
import logging
import os
import random
from functools import cache
from typing import Any

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from chalicelib import clients

JOB = "prove_faulty"
_ABOUT = JOB.encode()
_KEY = {"pk": {"S": "prove"}, "sk": {"S": "faults"}}
KINDS = {
    "error_before": 0.015,
    "answer_lost": 0.015,
    "error_after": 0.015,
    "throttled": 0.015,
    "sent_twice": 0.015,
    "killed_before": 0.002,
    "killed_after": 0.002,
}
"""What may happen to a request, and how often. Half of the kinds happen after AWS has done what it was asked for."""
_KILLED = {"process", "finish", "ingest"}
"""Functions whose worker may die: their queues bring the message back."""

_made = clients.client
_luck = random.Random()


@cache
def client(service: str) -> Any:
    """Return Tally's own client, which meets faults."""
    made = _made(service)
    made.meta.events.register("before-send.*", _meet)
    return made


def _meet(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
    """Return an answer in AWS's place, raise in the network's, or let the request pass."""
    body = request.body or b""
    about = body if isinstance(body, bytes) else str(body).encode()
    if _ABOUT not in about and JOB not in request.url:
        return None
    kind = _drawn(event_name)
    if not kind:
        return None
    _count(kind)
    match kind:
        case "error_before":
            return _answer(request, 500, b'{"__type":"InternalServerError"}')
        case "throttled":
            return _answer(request, 400, b'{"__type":"ProvisionedThroughputExceededException"}')
        case "killed_before":
            os._exit(1)
    _pass_on(request)
    match kind:
        case "answer_lost":
            raise ConnectionClosedError(endpoint_url=request.url)
        case "error_after":
            return _answer(request, 500, b'{"__type":"InternalServerError"}')
        case "killed_after":
            os._exit(1)
    return None  # sent twice: the SDK sends it again


def _drawn(event_name: str) -> str:
    kind = _luck.choices(["", *KINDS], [1 - sum(KINDS.values()), *KINDS.values()])[0]
    if kind == "throttled" and ".dynamodb." not in event_name:
        return ""
    if kind.startswith("killed") and os.environ["AWS_LAMBDA_FUNCTION_NAME"].rpartition("-")[2] not in _KILLED:
        return ""
    return kind


def _pass_on(request: Any) -> None:
    verify: Any = os.environ.get("AWS_CA_BUNDLE") or True
    URLLib3Session(verify=verify).send(request)


def _answer(request: Any, status: int, body: bytes) -> AWSResponse:
    headers: Any = HeadersDict({"content-type": "application/x-amz-json-1.0"})
    return AWSResponse(request.url, status, headers, _Raw(body))


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        """Yield the body, as urllib3's answers do."""
        yield self.read()


def _count(kind: str) -> None:
    """Keep that the fault was met, so that a probe can say that there were any."""
    try:
        _made("dynamodb").update_item(
            TableName=os.environ["TALLY_TABLE"],
            Key=_KEY,
            UpdateExpression="ADD #kind :one",
            ExpressionAttributeNames={"#kind": kind},
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
    except Exception:
        logging.getLogger().exception("a fault was met that could not be counted")


def install() -> None:
    """Have every client that is made from now on meet faults."""
    clients.client = client
