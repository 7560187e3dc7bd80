"""The event of a real batch, which a handler had or will have. Every handler may get one twice."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus

from chalicelib.settings import Settings
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.exports import Exports, export_sk
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    ChunkKey,
    Counts,
    Item,
    Outcome,
    batch_pk,
    bits,
    number,
    text,
)
from chalicelib.store.saves import Place, Saves, save_sk
from chalicelib.store.table import Table
from chalicelib.transport.messages import (
    ChunkMessage,
    ExportMessage,
    FinishedMessage,
    SaveMessage,
    WorkMessage,
    encode,
    outcome_groups,
)
from tally.batch.names import resolve
from tally.batch.reader import Reader
from tally.errors import ExitCode, OperatorError
from tally.invoke.handlers import DEAD_LETTERS, EXPORT, SAVE, Handler, Source
from tally.invoke.records import Records

_OF = re.compile(r"(?P<batch>[^:]+)(?::(?P<chunk>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An event, its subject, and the reason if its handler has nothing to do.

    ``items`` replace items of the table in a dry run; None means that there is no such item.
    """

    event: dict[str, Any]
    about: str
    idle: str = ""
    items: Mapping[tuple[str, str], Item | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivery:
    """Builds events of batches of one stage; with ``again`` of chunks as they were before the handler came to them."""

    reader: Reader
    table: Table
    settings: Settings
    again: bool = False

    def build(self, handler: Handler, of: str) -> Built:
        """Return the event of ``BATCH`` or ``BATCH:CHUNK``; without a chunk of the first that has something to do.

        Raises OperatorError if there is no such batch or chunk, or none for this handler.
        """
        named = _OF.fullmatch(of)
        if not named:
            raise _usage(f"--of {of}: write BATCH or BATCH:CHUNK, the chunk a number from 0")
        if handler.source is Source.SCHEDULE:
            raise _usage(f"{handler.name} is not about one batch: leave --of out, and it handles the whole stage")
        batch = self.reader.require(resolve(lambda: self.reader, named["batch"]))
        if handler.source is Source.S3:
            if named["chunk"]:
                raise _usage(f"{handler.name} plans a whole batch: leave :{named['chunk']} out of --of {of}")
            keys = [(ChunkKey(batch.id, each).pk, CHUNK_SK) for each in range(batch.chunks or 0)] if self.again else []
            forgotten = dict.fromkeys([(batch_pk(batch.id), BATCH_SK), *keys]) if self.again else {}
            return Built(event=self._uploaded(batch), about=f"the upload of {batch.id}", items=forgotten)
        chunks = self.reader.chunks(batch)
        if handler.name == "settle" and named["chunk"] is None and batch.status.final:
            no_export = {(batch_pk(batch.id), export_sk(batch.attempt)): None} if self.again else {}
            return Built(event=self._batch_record(batch), about=f"the end of {batch.id}", items=no_export)
        if handler.name == EXPORT:
            return self._exported(batch, int(named["chunk"]) if named["chunk"] else None)
        if handler.name == SAVE:
            return self._saved(batch)
        chunk, idle = _chosen(handler, batch, chunks, named["chunk"])
        items: dict[tuple[str, str], Item | None] = {}
        if self.again and idle:
            before = self._before(handler, chunk)
            items[chunk.key.pk, CHUNK_SK] = before
            if handler.name == "ingest":  # its markers are of later transactions, or of its own
                found = self.table.query(chunk.key.pk, MARKER_PREFIX, projection="pk, sk")
                items |= dict.fromkeys((marker["pk"]["S"], marker["sk"]["S"]) for marker in found)
            chunk, idle = Chunk.from_item(before), ""
        build = {
            "dispatch": self._dispatched,
            "settle": self._settled,
            "ingest": self._ingested,
            "process": self._processed,
            "process_heavy": self._heavy,
            "finish": self._finished,
            DEAD_LETTERS: self._dead,
        }[handler.name]
        event = build(chunk, items.get((chunk.key.pk, CHUNK_SK)) or self._item(chunk))
        return Built(event=event, about=_place(chunk.key), idle=idle, items=items)

    def _before(self, handler: Handler, chunk: Chunk) -> Item:
        """Return the item of a chunk as it was before the handler changed it."""
        match handler.name:
            case "dispatch" | "ingest":
                return replace(chunk, version=0).to_item()
            case "settle":
                return _unclosed(chunk, self._item(chunk))
        rejected = RowBits.of(
            found.row for _, found in self.reader.outcomes(chunk.key) if found.outcome is Outcome.REJECTED
        )
        counts = Counts(rejected=len(rejected))
        counted = {name.removeprefix(":"): value for name, value in counts.values().items()}
        left = {"remaining": number((chunk.rows or 0) - len(rejected)), "done": bits(rejected)}
        return {**self._item(chunk), "state": text(ChunkState.READY), **left, **counted}

    def _uploaded(self, batch: Batch) -> dict[str, Any]:
        source = batch.source
        found = {"key": quote_plus(source.key), "size": batch.size, "eTag": source.etag}
        found |= {"versionId": source.version_id} if source.version_id else {}
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self._records.region,
            "eventTime": batch.created_at,
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": source.bucket, "arn": f"arn:aws:s3:::{source.bucket}"}, "object": found},
        }
        return {"Records": [record]}

    def _dispatched(self, chunk: Chunk, item: Item) -> dict[str, Any]:
        """Return the image of the chunk that asks for something, else the one that planned it."""
        if chunk.state in {ChunkState.PLANNED, ChunkState.READY}:
            return self._records.change(item, {})
        return self._records.change(replace(chunk, version=0).to_item(), {})

    def _settled(self, chunk: Chunk, item: Item) -> dict[str, Any]:
        """Return the image of the chunk without remaining rows; of a closed chunk, the one before it was closed."""
        image = _unclosed(chunk, item)
        return self._records.change(image, {**image, "remaining": number(1)})

    def _batch_record(self, batch: Batch) -> dict[str, Any]:
        item = self._require(batch_pk(batch.id), BATCH_SK)
        return self._records.change(item, {**item, "status": text(BatchStatus.RUNNING)})

    def _ingested(self, chunk: Chunk, _item: Item) -> dict[str, Any]:
        key = chunk.key
        return self._records.messages("ingest", encode(ChunkMessage(key.batch_id, key.number, chunk.generation)))

    def _processed(self, chunk: Chunk, _item: Item) -> dict[str, Any]:
        return self._records.messages("work", _work(chunk))

    def _heavy(self, chunk: Chunk, _item: Item) -> dict[str, Any]:
        row = min((chunk.undone & chunk.heavy) or chunk.heavy)
        return self._records.messages("heavy", _work(chunk, [row]))

    def _finished(self, chunk: Chunk, _item: Item) -> dict[str, Any]:
        """Return the counted outcomes of the chunk, as a second delivery."""
        outcomes = [found for _, found in self.reader.outcomes(chunk.key) if found.outcome is not Outcome.REJECTED]
        bodies = [
            encode(
                FinishedMessage(
                    batch=chunk.key.batch_id,
                    chunk=chunk.key.number,
                    generation=chunk.generation,
                    version=chunk.version,
                    done=chunk.done.to_bytes(),
                    outcomes=group,
                )
            )
            for group in outcome_groups(outcomes)
        ]
        if not bodies:
            key = chunk.key
            raise _usage(
                f"finish has counted nothing of chunk {key.number} of {key.batch_id}: `tally invoke process --of "
                f"{key.batch_id}:{key.number} --dry-run` shows what it would get"
            )
        return self._records.messages("finished", *bodies)

    def _dead(self, chunk: Chunk, _item: Item) -> dict[str, Any]:
        """Return the dead letter for what the chunk waits for."""
        if chunk.to_be_read:
            queue, body = "ingest", encode(ChunkMessage(chunk.key.batch_id, chunk.key.number, chunk.generation))
        elif chunk.undone and not chunk.undone - chunk.heavy:
            queue, body = "heavy", _work(chunk, [min(chunk.undone)])
        else:
            queue, body = "work", _work(chunk)
        return self._records.messages(f"{queue}-dlq", body)

    def _exported(self, batch: Batch, chunk: int | None) -> Built:
        """Return the message for all pieces of a batch's results, or for the part that a chunk is in."""
        exports = Exports(table=self.table)
        export = exports.find(batch.id, batch.attempt)
        if export is None:
            raise _usage(f"{batch.id} is {batch.status}, and attempt {batch.attempt} of it has no export")
        if chunk is not None and chunk >= export.chunks:
            raise _usage(f"{batch.id} has no chunk {chunk}, its chunks are 0 to {export.chunks - 1}")
        asked = list(export.pieces) if chunk is None else [export.piece_of(chunk)]
        written = {piece.number for piece in exports.pieces(export)}
        items: dict[tuple[str, str], Item | None] = {}
        if self.again:
            pk = batch_pk(batch.id)
            items = dict.fromkeys((pk, export_sk(export.attempt, piece)) for piece in asked)
            written -= set(asked)
            items[pk, export_sk(export.attempt)] = replace(export, written=len(written)).to_item()
        body = encode(ExportMessage(batch=batch.id, attempt=export.attempt, pieces=asked))
        return Built(
            event=self._records.messages("export", body),
            about=f"the results of {batch.id}" if chunk is None else f"results-{asked[0]:06d} of {batch.id}",
            idle="its files are written already" if written.issuperset(asked) else "",
            items=items,
        )

    def _saved(self, batch: Batch) -> Built:
        """Return the message that saves a batch's results by key, as a whole."""
        save = Saves(table=self.table).find(batch.id, batch.attempt)
        export = Exports(table=self.table).find(batch.id, batch.attempt)
        if save is None or export is None:
            raise _usage(f"{batch.id} is {batch.status}, and nothing of its attempt {batch.attempt} is saved by key")
        begun = replace(save, place=Place(chunks_left=export.chunks)).to_item()
        return Built(
            event=self._records.messages("save", encode(SaveMessage(batch=batch.id, attempt=batch.attempt))),
            about=f"the results of {batch.id} by key",
            idle="they are saved already" if save.saved_at and not self.again else "",
            items={(batch_pk(batch.id), save_sk(batch.attempt)): begun} if self.again else {},
        )

    def _item(self, chunk: Chunk) -> Item:
        return self._require(chunk.key.pk, CHUNK_SK)

    def _require(self, pk: str, sk: str) -> Item:
        item = self.table.get(pk, sk)
        if item is None:
            raise _usage(f"{pk} {sk} is gone from {self.table.name}")
        return item

    @property
    def _records(self) -> Records:
        return Records(self.settings)


def _chosen(handler: Handler, batch: Batch, chunks: Mapping[int, Chunk], asked: str | None) -> tuple[Chunk, str]:
    """Return the chunk for an event, and the reason if there is nothing to do."""
    has_work, lacking = _WORK[handler.name]
    if not chunks:
        why = f": {batch.reason}" if batch.reason else ""
        raise _usage(f"{batch.id} has no chunk, it is {batch.status}{why}")
    if asked is None:
        chunk = next((chunk for _, chunk in sorted(chunks.items()) if has_work(chunk)), chunks[min(chunks)])
    elif int(asked) not in chunks:
        raise _usage(f"{batch.id} has no chunk {asked}, its chunks are {min(chunks)} to {max(chunks)}")
    else:
        chunk = chunks[int(asked)]
    if handler.name == "process_heavy" and not chunk.heavy:
        raise _usage(f"{_place(chunk.key)} has no heavy row: `tally invoke process` is for the others")
    if handler.name == "process" and chunk.rows is None:
        raise _usage(f"{_place(chunk.key)} is {chunk.state}, its rows are not read yet: ingest is next")
    if handler.name == "settle" and not chunk.complete:
        left = f"{chunk.remaining} rows remain" if chunk.rows is not None else "its rows are not read yet"
        raise _usage(f"{_place(chunk.key)} is {chunk.state}, {left}: settle gets a chunk of which nothing remains")
    return chunk, "" if has_work(chunk) else lacking


_DONE = "every row of it has an outcome already"
_WORK: Mapping[str, tuple[Callable[[Chunk], bool], str]] = {
    "dispatch": (
        lambda chunk: chunk.state in {ChunkState.PLANNED, ChunkState.READY},
        "it was dispatched; the event is that of its planning, and asks for it again",
    ),
    "ingest": (lambda chunk: chunk.to_be_read, "its rows were read already"),
    "process": (lambda chunk: bool(chunk.undone - chunk.heavy), _DONE),
    "process_heavy": (lambda chunk: bool(chunk.undone & chunk.heavy), _DONE),
    "finish": (lambda chunk: not chunk.done, "these outcomes were counted, and come a second time"),
    "settle": (lambda chunk: chunk.complete and not chunk.closed, "it was closed already"),
    DEAD_LETTERS: (lambda chunk: chunk.to_be_read or bool(chunk.undone), _DONE),
}
"""The chunks that a handler has something to do with, and the reason for any other."""


def _place(key: ChunkKey) -> str:
    return f"chunk {key.number} of {key.batch_id}"


def _work(chunk: Chunk, rows: list[int] | None = None) -> str:
    key = chunk.key
    return encode(WorkMessage(batch=key.batch_id, chunk=key.number, generation=chunk.generation, rows=rows))


def _unclosed(chunk: Chunk, item: Item) -> Item:
    if not chunk.closed:
        return item
    return {**item, "state": text(ChunkState.COUNTING), "version": number(chunk.version - 1)}


def _usage(message: str) -> OperatorError:
    return OperatorError(f"{message}.", code=ExitCode.USAGE)
