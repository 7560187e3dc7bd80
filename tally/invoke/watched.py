"""The changes that a handler makes in AWS: every such call is kept and shown, as it happens."""

import base64
import copy
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tally.testing.memory_dynamodb import key_names

CHANGES: dict[str, frozenset[str]] = {
    "dynamodb": frozenset({"put_item", "update_item", "delete_item", "batch_write_item", "transact_write_items"}),
    "sqs": frozenset({"send_message", "send_message_batch", "change_message_visibility"}),
    "events": frozenset({"put_events"}),
    "s3": frozenset(
        {
            "put_object",
            "create_multipart_upload",
            "upload_part",
            "complete_multipart_upload",
            "abort_multipart_upload",
        }
    ),
    "lambda": frozenset({"invoke"}),
}
"""The operations that change something, of those that Tally calls; a test compares them with what roles allow."""

_MAX_SHOWN = 200
"""Characters of one value in a line; ``--json`` has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One call that changes something; ``refused`` is AWS's error code, or empty. ``lines`` tell people."""

    service: str
    operation: str
    request: Mapping[str, Any]
    refused: str = ""
    lines: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows; binary values are base64."""
        return {
            "service": self.service,
            "operation": self.operation,
            "request": json.loads(json.dumps(self.request, default=_plain)),
            "refused": self.refused,
        }


@dataclass(frozen=True, slots=True)
class Log:
    """Keeps changes and log lines in order; ``show`` gets each line at once, from any thread."""

    show: Callable[[str], None]
    changes: list[Change] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    """The handler's log lines: an object for each line of JSON, text for any other."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, change: Change) -> None:
        """Keep and show a change."""
        with self._lock:
            self.changes.append(change)
            refused = f" [refused: {change.refused}]" if change.refused else ""
            for line in change.lines:
                self.show(f"{line}{refused}")

    def line(self, text: str) -> None:
        """Keep and show a line that the handler logged."""
        try:
            logged = json.loads(text)
        except ValueError:
            logged = text
        with self._lock:
            self.lines.append(logged)
            self.show(_logged(logged))


class Watched:
    """Passes calls on to a client, and adds those that change something to the log."""

    def __init__(self, service: str, client: Any, log: Log) -> None:
        self._service = service
        self._client = client
        self._log = log

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)
        if operation not in CHANGES[self._service]:
            return call

        @wraps(call)
        def watched(**request: Any) -> Any:
            change = Change(
                service=self._service,
                operation=operation,
                request=_kept(request),
                lines=tuple(_lines(self._service, operation, request)),
            )
            try:
                answer = call(**request)
            except (ClientError, BotoCoreError) as error:
                code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
                self._log.change(replace(change, refused=code))
                raise
            self._log.change(change)
            return answer

        return watched


def _kept(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a request, which the caller may empty later; of an object only its size is kept."""
    size = {"Body": f"{len(request['Body']):,} bytes"} if isinstance(request.get("Body"), bytes) else {}
    return copy.deepcopy({name: value for name, value in request.items() if name not in size}) | size


def _lines(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[str]:
    match operation:
        case "transact_write_items":
            actions = [(kind, action) for each in request["TransactItems"] for kind, action in each.items()]
            yield f"transaction of {len(actions)}, all or none:"
            yield from (f"  {_write(kind.lower(), action)}" for kind, action in actions)
        case "batch_write_item":
            for requests in request["RequestItems"].values():
                yield from (_write("put", each["PutRequest"]) for each in requests)
        case "put_item" | "update_item" | "delete_item":
            yield _write(operation.removesuffix("_item"), request)
        case "send_message_batch":
            yield from (_sent(request["QueueUrl"], entry) for entry in request["Entries"])
        case "send_message":
            yield _sent(request["QueueUrl"], request)
        case "change_message_visibility":
            yield f"visibility of the message: {request['VisibilityTimeout']} s"
        case "put_events":
            yield from (f"event  {entry['DetailType']}: {_short(entry['Detail'])}" for entry in request["Entries"])
        case "invoke":
            yield f"invoke {request['FunctionName']}: {_short(_text(request['Payload']))}"
        case _:
            size = f", {len(request['Body']):,} bytes" if "Body" in request else ""
            yield f"{service} {operation} {request.get('Key', '')}{size}"


def _write(kind: str, action: Mapping[str, Any]) -> str:
    item = action.get("Item") or action["Key"]
    keys = key_names(item)
    place = f"{kind:<6} {' '.join(item[name]['S'] for name in keys)}"
    names: Mapping[str, str] = action.get("ExpressionAttributeNames", {})
    values: Mapping[str, Any] = action.get("ExpressionAttributeValues", {})

    def spoken(expression: str) -> str:
        named = re.sub(r"#\w+", lambda found: names.get(found[0], found[0]), expression)
        return re.sub(r":\w+", lambda found: _value(values[found[0]]) if found[0] in values else found[0], named)

    what = ""
    if "UpdateExpression" in action:
        what = f": {spoken(action['UpdateExpression'])}"
    elif "Item" in action:
        what = ": " + ", ".join(f"{name} = {_value(item[name])}" for name in item if name not in keys)
    condition = f" if {spoken(action['ConditionExpression'])}" if "ConditionExpression" in action else ""
    return f"{place}{what}{condition}"


def _sent(url: str, message: Mapping[str, Any]) -> str:
    delay = f" in {message['DelaySeconds']} s" if message.get("DelaySeconds") else ""
    return f"send   {url.rpartition('/')[2]}{delay}: {_short(message['MessageBody'])}"


def _value(attribute: Mapping[str, Any]) -> str:
    ((kind, value),) = attribute.items()
    if kind == "B":
        return f"{len(value):,} bytes"
    return _short(str(value) if kind in {"S", "N"} else json.dumps(value, default=_plain))


def _logged(logged: Any) -> str:
    if not isinstance(logged, dict) or "message" not in logged:
        return f"log    {_short(str(logged))}"
    left_out = {"level", "location", "message", "timestamp", "service", "request_id"}
    fields = [f"{name}={_short(_text(value))}" for name, value in logged.items() if name not in left_out]
    return " ".join(["log   ", str(logged.get("level", "")), str(logged["message"]), *fields])


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
