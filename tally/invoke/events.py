"""Events from files: read, and checked against the types that their handler takes, with errors that name them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote_plus

import msgspec

from chalicelib.errors import MessageError, TallyError
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.batch import Source as Upload
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, ChunkKey
from chalicelib.transport.messages import WorkMessage, decode
from chalicelib.transport.uploads import INBOX_PREFIX
from tally.errors import ExitCode, OperatorError
from tally.invoke.handlers import FAILED_PLANS, MESSAGES, Handler, Source, message_queue
from tally.testing.configuration import delivers

_CHUNK = Chunk(key=ChunkKey("b", 0), start=0, end=0, first_line=0, expected_rows=0)
_BATCH = Batch(
    id="b",
    job="",
    source=Upload(bucket="", key="", version_id="", etag=""),
    size=0,
    status=BatchStatus.RUNNING,
    created_at="",
    expires_at=0,
    chunk_rows=0,
    chunk_bytes=0,
)
_LATER = {"listing", "rows", "version_id", "file_format", "delimiter", "encoding"}
"""Attributes of a batch that an image may lack: it is not open, has no versions, or is older than they are."""


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct, rename="camel"):
    key: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0
    e_tag: str = ""
    version_id: str = ""


class _Stored(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Upload(msgspec.Struct, rename="camel"):
    s3: _Stored
    event_time: datetime | None = None


class _Message(msgspec.Struct):
    messageId: str  # noqa: N815  as SQS writes it, the ARN too
    body: str
    eventSourceARN: str  # noqa: N815
    attributes: dict[str, str] = {}


class _Change(msgspec.Struct):
    NewImage: dict[str, dict[str, Any]] = {}
    OldImage: dict[str, dict[str, Any]] = {}


class _StreamRecord(msgspec.Struct):
    dynamodb: _Change


class _Uploads(msgspec.Struct):
    """An S3 event."""

    Records: Annotated[list[_Upload], msgspec.Meta(min_length=1)]


class _Messages(msgspec.Struct):
    """An SQS event."""

    Records: Annotated[list[_Message], msgspec.Meta(min_length=1)]


class _Changes(msgspec.Struct):
    """An event of a table's stream."""

    Records: Annotated[list[_StreamRecord], msgspec.Meta(min_length=1)]


class _Tick(msgspec.Struct, rename="kebab"):
    """An event of EventBridge: the fields that Chalice reads."""

    version: Any
    account: str
    region: str
    detail: Any
    detail_type: str
    source: str
    time: str
    resources: list[str]


_SHAPES: dict[Source, type[msgspec.Struct]] = {
    Source.S3: _Uploads,
    Source.QUEUE: _Messages,
    Source.STREAM: _Changes,
    Source.SCHEDULE: _Tick,
}
_MARKS = {"s3": Source.S3, "body": Source.QUEUE, "dynamodb": Source.STREAM}
"""The key of a record that shows which service an event is from."""


def read(path: Path) -> Any:
    """Return the content of a JSON file; raises OperatorError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _wrong(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}", _AN_EVENT) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _wrong(f"{path} is not JSON: {where}: {error.msg}", _AN_EVENT) from error
    except RecursionError as error:
        raise _wrong(f"{path} is nested too deeply for an event", _AN_EVENT) from error


_AN_EVENT = "it has to be the event of a handler, as in tests/events."


def check(handler: Handler, event: Any, handlers: Mapping[str, Handler], where: str) -> None:
    """Raise OperatorError if a handler does not take an event; ``where`` is where the event came from."""
    expected = f"{handler.name} takes {handler.takes}; {handler.sample} is one."
    if not isinstance(event, dict):
        raise _wrong(f"{where} is no event: it holds {_kind(event)}, not an object", expected)
    source = _source(event)
    if source and source is not handler.source:
        raise _others(handler, [each for each in handlers.values() if each.source is source], where, expected)
    try:
        msgspec.convert(event, _SHAPES[handler.source])
    except msgspec.ValidationError as error:
        raise _wrong(f"{where} is not an event for {handler.name}: {_place(str(error))}", expected) from error
    match handler.source:
        case Source.S3:
            _check_uploads(event, where, expected)
        case Source.QUEUE:
            _check_messages(handler, event, handlers, where, expected)
        case Source.STREAM:
            _check_changes(handler, event, handlers, where, expected)


def queue_of(arn: str, queues: Sequence[str]) -> str | None:
    """Return the queue of an ARN; None for a queue with another name, made elsewhere."""
    name = arn.rpartition(":")[2]
    return next((queue for queue in queues if name == queue or name.endswith(f"-{queue}")), None)


def _source(event: Mapping[str, Any]) -> Source | None:
    records = event.get("Records")
    if isinstance(records, list) and records and isinstance(records[0], dict):
        return next((source for mark, source in _MARKS.items() if mark in records[0]), None)
    return Source.SCHEDULE if "detail-type" in event and "Records" not in event else None


def _check_uploads(event: Any, where: str, expected: str) -> None:
    for position, record in enumerate(event["Records"]):
        key = unquote_plus(record["s3"]["object"]["key"])
        if not key.startswith(INBOX_PREFIX) or key.count("/") < 2:  # noqa: PLR2004  inbox/, the job's folder
            place = f"Records[{position}].s3.object.key"
            raise _wrong(f"{where}: {place} is {key!r}, and an upload is inbox/JOB/FILE", expected)


def _check_messages(handler: Handler, event: Any, handlers: Mapping[str, Handler], where: str, expected: str) -> None:
    for position, record in enumerate(event["Records"]):
        arn = record["eventSourceARN"]
        queue = queue_of(arn, handler.queues)
        if queue is None:
            others = [other for other in handlers.values() if queue_of(arn, other.queues)]
            if others or len(handler.queues) > 1:
                found = f"Records[{position}].eventSourceARN names {arn.rpartition(':')[2]}"
                raise _others(handler, others, where, expected, found)
        place = f"{where}: Records[{position}].body"
        _check_body(queue or handler.queues[0], record["body"], place, expected)
        received = record.get("attributes", {}).get("ApproximateReceiveCount", "1")
        if not (received.isascii() and received.isdigit()):
            place = f"Records[{position}].attributes.ApproximateReceiveCount"
            raise _wrong(f"{where}: {place} is {received!r}, not a number", expected)


def _check_body(queue: str, body: str, place: str, expected: str) -> None:
    if queue == FAILED_PLANS:
        try:
            event = msgspec.json.decode(body, type=dict[str, Any])
            msgspec.convert(event.get("requestPayload"), _Uploads)
        except msgspec.DecodeError as error:
            reason = f"requestPayload is no S3 event: {_place(str(error))}"
            raise _wrong(f"{place} is nothing that Lambda gave up on: {reason}", expected) from error
        return
    kind = MESSAGES[message_queue(queue)]
    try:
        message = decode(body, kind)
    except MessageError as error:
        raise _wrong(f"{place} is {_place(str(error))}; {_fields(kind)}", expected) from error
    unknown = sorted(set(msgspec.json.decode(body)) - set(kind.__struct_fields__))
    if unknown:
        raise _wrong(f"{place} is not a {kind.__name__}, it has {', '.join(unknown)}; {_fields(kind)}", expected)
    if queue == "heavy" and isinstance(message, WorkMessage) and len(message.rows or []) != 1:
        raise _wrong(f"{place}: a heavy message names one row, as in rows: [3]", expected)


def _check_changes(handler: Handler, event: Any, handlers: Mapping[str, Handler], where: str, expected: str) -> None:
    for position, record in enumerate(event["Records"]):
        place = f"Records[{position}].dynamodb.NewImage"
        image = record["dynamodb"].get("NewImage", {})
        if not delivers(handler.name, record):
            others = [
                each for each in handlers.values() if each.source is Source.STREAM and delivers(each.name, record)
            ]
            shown = {name: image[name] for name in ("sk", "state", "remaining", "format") if name in image}
            found = f"{place} is one that the filters of the stream keep from {handler.name}: {json.dumps(shown)}"
            raise _others(handler, others, where, expected, found)
        is_batch = image["sk"]["S"] == BATCH_SK
        needed = _BATCH.to_item().keys() - _LATER if is_batch else _CHUNK.to_item().keys()
        missing = sorted(needed - image.keys())
        if missing:
            raise _wrong(f"{where}: {place} lacks {', '.join(missing)}", expected)
        try:
            Batch.from_item(image) if is_batch else Chunk.from_item(image)
        except (TallyError, LookupError, TypeError, ValueError) as error:
            kind = "batch" if is_batch else "chunk"
            raise _wrong(f"{where}: {place} is not a {kind}: {type(error).__name__}: {error}", expected) from error


def _others(handler: Handler, others: Sequence[Handler], where: str, expected: str, found: str = "") -> OperatorError:
    """Return the error for an event that its handler does not take, with the handlers that take it."""
    names = " or ".join(other.name for other in others)
    message = f"{where} is not an event for {handler.name}" + (f", it is one for {names}" if names else "")
    return _wrong(message + (f": {found}" if found else ""), expected)


def _wrong(message: str, hint: str) -> OperatorError:
    return OperatorError(message, hint=hint, code=ExitCode.USAGE)


def _place(said: str) -> str:
    """Return msgspec's message, with the place in the form that this module uses."""
    return said.replace("`$.", "`")


def _fields(kind: type[msgspec.Struct]) -> str:
    found = msgspec.structs.fields(kind)
    needed = [field.encode_name for field in found if field.required]
    optional = [field.encode_name for field in found if not field.required]
    return f"a {kind.__name__} has {', '.join(needed)}" + (f", and may have {', '.join(optional)}" if optional else "")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case str():
            return "a text"
    return "a number" if not isinstance(value, bool) else "true or false"
