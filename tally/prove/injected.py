"""Faults inside the functions of a stage that ``tally prove`` deploys; no other deployment has this module.

It is copied into the stage's own ``chalicelib``, with its plan as JSON beside it, and installed by its ``app.py`` first
of all. It acts below the SDK's own retries, and only on requests about one job: by the ids of its batches and by its
keys. So the probes do not disturb each other.
"""

import io
import json
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.httpsession import URLLib3Session

from chalicelib import clients

KEY = {"pk": {"S": "prove"}, "sk": {"S": "faults"}}
"""The item with the numbers of faults of each kind, in the stage's table."""
RATES = {
    "error_before": 0.015,
    "answer_lost": 0.015,
    "error_after": 0.015,
    "throttled": 0.015,
    "sent_twice": 0.015,
    "killed_before": 0.002,
    "killed_after": 0.002,
}
"""The faults of a request, and how often. Half of the kinds happen after AWS has applied the request."""
_PLAN = Path(__file__).with_suffix(".json")

_made = clients.client


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The faults to inject, and their targets. Each kind is met at least once, however small the batch is."""

    seed: int
    """With a worker's number it determines the sequence of that worker's faults."""
    job: str = "prove_faulty"
    """The job whose requests meet faults."""
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    killed: Sequence[str] = ("process", "finish")
    """Functions whose worker may die: their queues bring the message back within half a minute."""


class Met(Protocol):
    """The faults that all workers of the stage have met."""

    def worker(self) -> int:
        """Return the number of a new worker."""

    def first(self, kind: str) -> bool:
        """Tell whether this is the first fault of its kind; true once."""

    def count(self, kind: str) -> None:
        """Store that a fault was met."""


class Faults:
    """The faults that one worker meets."""

    def __init__(self, plan: Plan, met: Met, function: str, send: Callable[[Any], Any]) -> None:
        self.plan = plan
        self._met = met
        self._mortal = function in plan.killed
        self._send = send
        self._luck: random.Random | None = None
        self._seen: set[str] = set()

    def meet(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        """Return an answer in AWS's place, raise in the network's, or let the request pass."""
        if not self._concerns(request):
            return None
        kind = self._drawn(event_name)
        match kind:
            case "error_before":
                return _answer(request, 500, b'{"__type":"InternalServerError"}')
            case "throttled":
                return _answer(request, 400, b'{"__type":"ProvisionedThroughputExceededException"}')
            case "killed_before":
                os._exit(1)
            case "":
                return None
        self._send(request)
        match kind:
            case "answer_lost":
                raise ConnectionClosedError(endpoint_url=request.url)
            case "error_after":
                return _answer(request, 500, b'{"__type":"InternalServerError"}')
            case "killed_after":
                os._exit(1)
        return None  # sent twice: the SDK sends it again

    def _concerns(self, request: Any) -> bool:
        body = request.body or b""
        about = body if isinstance(body, bytes) else str(body).encode()
        return self.plan.job.encode() in about or self.plan.job in request.url

    def _drawn(self, event_name: str) -> str:
        """Return the fault for this request, and store it: of a kind not met before, else one by chance."""
        for kind in self.plan.rates:
            if kind not in self._seen and self._possible(kind, event_name):
                self._seen.add(kind)
                if self._met.first(kind):
                    return kind
        if self._luck is None:
            self._luck = random.Random(f"{self.plan.seed}-{self._met.worker()}")
        rates = self.plan.rates
        kind = self._luck.choices(["", *rates], [1 - sum(rates.values()), *rates.values()])[0]
        if not kind or not self._possible(kind, event_name):
            return ""
        self._met.count(kind)
        return kind

    def _possible(self, kind: str, event_name: str) -> bool:
        if kind == "throttled":
            return ".dynamodb." in event_name
        return self._mortal or not kind.startswith("killed")


class Table:
    """Keeps the faults met in the stage's own table, through a client without faults."""

    def worker(self) -> int:
        """Return the number of a new worker."""
        return int(self._add("workers") or 0)

    def first(self, kind: str) -> bool:
        """Tell whether this is the first fault of its kind."""
        return self._add(kind, ConditionExpression="attribute_not_exists(#name)") is not None

    def count(self, kind: str) -> None:
        """Store that a fault was met."""
        self._add(kind)

    def _add(self, name: str, **condition: str) -> str | None:
        try:
            answer = _made("dynamodb").update_item(
                TableName=os.environ["TALLY_TABLE"],
                Key=KEY,
                UpdateExpression="ADD #name :one",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":one": {"N": "1"}},
                ReturnValues="UPDATED_NEW",
                **condition,
            )
            return str(answer["Attributes"][name]["N"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                logging.getLogger().exception("a fault was not counted")
            return None


def _answer(request: Any, status: int, body: bytes) -> AWSResponse:
    headers: Any = HeadersDict({"content-type": "application/x-amz-json-1.0"})
    return AWSResponse(request.url, status, headers, _Raw(body))


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        """Yield the body, as urllib3's answers do."""
        yield self.read()


def _send(request: Any) -> None:
    verify: Any = os.environ.get("AWS_CA_BUNDLE") or True
    URLLib3Session(verify=verify).send(request)


def install() -> None:
    """Make every client that is created from now on meet the faults of the plan."""
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "").rpartition("-")[2]
    faults = Faults(Plan(**json.loads(_PLAN.read_text(encoding="utf-8"))), Table(), function, _send)

    @cache
    def client(service: str) -> Any:
        made = _made(service)
        made.meta.events.register("before-send.*", faults.meet)
        return made

    clients.client = client
