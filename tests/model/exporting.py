"""Exports as the explorer runs them: a batch that has ended, the bucket as items of the table, and what must hold."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any
from unittest.mock import patch

import msgspec

from chalicelib import services
from chalicelib.results.manifest import Manifest, ManifestPart
from chalicelib.steps import begin_export, export, export_content
from chalicelib.store.batch import Batch
from chalicelib.store.exports import EXPORT_PREFIX, Export, Piece
from chalicelib.store.items import BATCH_SK, ChunkKey, Counts
from chalicelib.transport.messages import ExportMessage, decode
from chalicelib.transport.streams import changes
from tally.testing.memory_aws import MemoryEvents, MemoryS3, MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.model import protocol
from tests.model.protocol import BATCH, QUEUES, Tally, ready
from tests.model.replay import Operation, Tape
from tests.model.system import Message, Start
from tests.model.table import Item, Place
from tests.support.builders import NOW, RETRY, count_rows, failed, succeeded

OBJECT_SK = "object"
"""The sort key of what is in the bucket; its partition key is the object's."""
EXPORT_QUEUE = services.settings().queues["export"].url
EXPORTED = "#exported"
"""How the id of the event of an export ends."""
FIRST_END = json.dumps({"event_id": f"{BATCH}#1"})
"""The event that went out before the schedules begin."""


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A client of S3 whose uploads are inbox objects, which stay, and whose puts other invocations may come between."""

    tape: Tape
    uploads: MemoryS3

    def get_object(self, **request: Any) -> Any:
        return self.uploads.get_object(**request)

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> dict[str, str]:  # noqa: N803
        item = {"pk": {"S": Key}, "sk": {"S": OBJECT_SK}, "body": {"B": bytes(Body)}}
        self.tape.ask(Operation.WRITE, ("put_item", {"TableName": "tally-test", "Item": item}))
        digest = hashlib.sha256(Body).hexdigest()
        return {"VersionId": digest, "ETag": f'"{digest}"'}  # a second version of the same bytes is as good


@dataclass(frozen=True, slots=True)
class Exporting(Tally):
    """Tally with the export function; a part has one chunk, so that a batch of two has three pieces."""

    queues: Mapping[str, str] = field(
        default_factory=lambda: {
            QUEUES["ingest"]: "ingest",
            QUEUES["work"]: "process",
            QUEUES["finished"]: "finish",
            EXPORT_QUEUE: "export",
        }
    )

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        """Run the handler of a queue."""
        if handler != "export":
            Tally.deliver(self, handler, messages, tape)
            return
        tape.forgets = self.forgets
        with small_parts():
            for body, _ in messages:
                self._exporter(tape).export(decode(body, ExportMessage))

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Run a handler of the stream; settle asks for results."""
        consume(self, consumer, records, tape)

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        """Say which invariant a table breaks."""
        found = [Tally.violation(self, before, after), *_changed_objects(before, after), *self._wrong_exports(after)]
        return "; ".join(filter(None, found))

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        """Say what is not settled when nothing is on its way."""
        exported = {event for event in events if json.loads(event)["event_id"].endswith(EXPORTED)}
        others = {*events, FIRST_END} - exported
        found = [Tally.unrest(self, table, others)]
        if not found[0]:
            found += _unfinished(table, exported)
        return "; ".join(filter(None, found))

    def _exporter(self, tape: Tape) -> "_Exporter":
        made = protocol.steps(tape, self.s3).services.exporter
        named = {each.name: getattr(made, each.name) for each in fields(made)}
        named |= {"s3": _Bucket(tape, self.s3), "clock": lambda: NOW}
        return _Exporter(**named, tape=tape)

    def _wrong_exports(self, table: Mapping[Place, Item]) -> Iterator[str]:
        for found in _exports(table):
            there = _pieces(table, found)
            if found.written != len(there):
                yield f"results: attempt {found.attempt} counts {found.written} pieces, and {len(there)} are there"
            manifest = _object(table, found.manifest_key)
            if manifest is not None:
                yield from self._wrong_manifest(table, found, msgspec.json.decode(manifest, type=Manifest))

    def _wrong_manifest(self, table: Mapping[Place, Item], found: Export, manifest: Manifest) -> Iterator[str]:
        name = f"results: the manifest of attempt {found.attempt}"
        if len(manifest.parts) != found.parts:
            yield f"{name} has {len(manifest.parts)} parts of {found.parts}"
        rows: list[Any] = []
        for part in manifest.parts:
            body = _object(table, found.prefix + part.name)
            if not _is_of(part, body):
                yield f"{name} says another {part.name} than there is"
            rows += map(json.loads, gzip.decompress(body or b"").splitlines())
        if not _is_of(manifest.failed, _object(table, found.prefix + manifest.failed.name)):
            yield f"{name} says another {manifest.failed.name} than there is"
        lines = list(range(2, 2 + self.content.count(b"\n") - 1))
        if [row["line"] for row in rows] != lines:
            yield f"{name} has parts with the lines {[row['line'] for row in rows]}, in place of {lines}"
        outcomes = Counter(row["outcome"] for row in rows)
        counts = Counts(**{str(outcome): number for outcome, number in outcomes.items()})
        if counts != found.counts:
            yield f"{name} has parts with {counts}, and the attempt ended with {found.counts}"
        if manifest.failed.rows != counts.failed + counts.rejected:
            yield f"{name} has {manifest.failed.rows} rows in {manifest.failed.name}, of {counts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exporter(export.Exporter):
    tape: Tape

    def _finish(self, message: Any) -> bool:
        self.tape.forget(message)  # it reads all that it needs
        return export.Exporter._finish(self, message)


def consume(system: Tally, consumer: str, records: Sequence[Any], tape: Tape) -> None:
    """Run a handler of the stream of a stage that exports."""
    if consumer != "settle":
        Tally.consume(system, consumer, records, tape)
        return
    tape.forgets = system.forgets
    steps = protocol.steps(tape, system.s3)
    with small_parts():
        replace(steps.settler, exports=_starter(steps.services)).settle(changes({"Records": records}))


@contextmanager
def small_parts() -> Iterator[None]:
    """Let a part have one chunk."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(begin_export, "CHUNKS_PER_PART", 1))
        stack.enter_context(patch.object(export_content, "READERS", 1))
        yield


def _starter(found: services.Services) -> begin_export.ExportStarter:
    exporting = msgspec.structs.replace(found.settings, export=True)
    starter = replace(found, settings=exporting).settler.exports
    assert starter is not None
    return starter


def ended(*chunks: str) -> Start:
    """Return where a batch has ended and its results are asked for: its first row has failed, the others have not."""
    dynamodb, sqs, events = MemoryDynamoDB(), MemorySQS(), MemoryEvents()
    dynamodb.items = {place: dict(item) for place, item in ready(*chunks).items()}
    clients: dict[str, Any] = {"dynamodb": dynamodb, "sqs": sqs, "events": events}
    made = services.Services(services.settings(), RETRY, clients.__getitem__)
    settler = replace(made.settler, exports=_starter(made), clock=lambda: NOW)
    for chunk in range(len(chunks)):
        outcomes = [succeeded(row) if chunk or row else failed(row) for row in range(chunks[chunk].count("\n"))]
        count_rows(dynamodb, ChunkKey(BATCH, chunk), *outcomes)
    with small_parts():
        while records := list(dynamodb.stream):
            dynamodb.stream.clear()
            settler.settle(changes({"Records": records}))
    assert _exports(dynamodb.items)
    return Start(items=dict(dynamodb.items), messages=[(EXPORT_QUEUE, body) for body in sqs.bodies[EXPORT_QUEUE]])


def _exports(table: Mapping[Place, Item]) -> list[Export]:
    found = [item for (_, sk), item in table.items() if sk.startswith(EXPORT_PREFIX) and sk.count("#") == 1]
    return sorted(map(Export.from_item, found), key=lambda each: each.attempt)


def _pieces(table: Mapping[Place, Item], found: Export) -> list[Piece]:
    prefix = f"{EXPORT_PREFIX}{found.attempt:06d}#"
    return [Piece.from_item(item) for (_, sk), item in table.items() if sk.startswith(prefix)]


def _object(table: Mapping[Place, Item], key: str) -> bytes | None:
    item = table.get((key, OBJECT_SK))
    return bytes(item["body"]["B"]) if item else None


def _is_of(part: ManifestPart, body: bytes | None) -> bool:
    return body is not None and (part.bytes, part.sha256) == (len(body), hashlib.sha256(body).hexdigest())


def _changed_objects(before: Mapping[Place, Item], after: Mapping[Place, Item]) -> Iterator[str]:
    for place, item in before.items():
        if place[1] == OBJECT_SK and after.get(place) != item:
            yield f"results: {place[0]} has changed: it is no pure function of the ledger"


def _unfinished(table: Mapping[Place, Item], exported: Collection[str]) -> Iterator[str]:
    (batch,) = (Batch.from_item(item) for (_, sk), item in table.items() if sk == BATCH_SK)
    last = _exports(table)[-1]
    if last.attempt != batch.attempt:
        yield f"results: attempt {batch.attempt} has ended, and its export was not begun"
    elif _object(table, last.manifest_key) is None:
        yield f"results: attempt {last.attempt} has no manifest, and nothing is on its way"
    elif not last.exported_at:
        yield f"results: attempt {last.attempt} has a manifest, and that is not noted"
    announced = {json.loads(event)["event_id"] for event in exported}
    if f"{batch.id}#{batch.attempt}{EXPORTED}" not in announced:
        yield f"results: attempt {batch.attempt} is written, and these were announced: {sorted(announced)}"
