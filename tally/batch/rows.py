"""Single rows of a batch: lists of rows by outcome, and one row with everything known of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.errors import SourceGoneError
from chalicelib.files.source import ObjectReader
from chalicelib.retry import Retry
from chalicelib.store import rows as stored_rows
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    ROWS_PREFIX,
    ChunkKey,
    Item,
    Outcome,
    batch_pk,
    text_of,
    waiting_sk,
)
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.store.table import MAX_KEYS
from chalicelib.store.waiting import Waiting
from tally.batch.lines import Chunks, find_chunk, find_row
from tally.batch.reader import Reader
from tally.batch.row_names import parse_rows, row_name
from tally.errors import ExitCode, OperatorError
from tally.look import Column, Kind
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """One row: its cells, its outcome if it has one, and the note on its next try if it waits for one.

    ``line`` is where it begins, None if that is not known: its chunk was not read yet, or the row has expired.
    """

    batch: Batch
    chunk: Chunk
    row: int
    line: int | None
    cells: dict[str, Any]
    outcome: RowOutcome | None
    counted_at: str
    waiting: Waiting | None

    @property
    def name(self) -> str:
        """The row's name, as commands print and take it."""
        return row_name(self.chunk.key.number, self.row)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        outcome = self.outcome
        return {
            "batch": self.batch.id,
            "id": self.name,
            "line": self.line,
            "cells": self.cells,
            "outcome": outcome.outcome.value if outcome else None,
            "code": outcome.code.value if outcome and outcome.code else "",
            "reason": outcome.reason if outcome else "",
            "result": _result(outcome) if outcome else None,
            "tries": outcome.tries if outcome else None,
            "duration_ms": outcome.duration_ms if outcome else None,
            "traceback": outcome.traceback if outcome else "",
            "counted_at": self.counted_at,
            "waiting": {"attempt": self.waiting.attempt, "reason": self.waiting.reason} if self.waiting else None,
            "heavy": self.row in self.chunk.heavy,
            "attempt": self.batch.attempt,
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """The first rows of a batch that have an outcome, in the file's order; ``total`` is how many rows there are.

    ``rows`` are as ``--json`` shows them: docs/runbook.md says what each field is.
    """

    rows: list[dict[str, Any]]
    total: int


def listed(reader: Reader, batch: Batch, outcome: Outcome | None, limit: int) -> Listed:
    """Return the first rows of a batch that have an outcome, or any; rows without one yet are left out."""
    chunks = sorted(reader.chunks(batch).items())
    counts = [chunk.counts.total if outcome is None else getattr(chunk.counts, outcome) for _, chunk in chunks]
    found: list[dict[str, Any]] = []
    for (_, chunk), count in zip(chunks, counts, strict=True):
        # Chunks are read one after another, those without such a row not at all, until there are enough.
        if len(found) >= limit:
            break
        partition = read_partition(reader, chunk.key) if count else None
        if partition is not None:
            found += partition.listed(outcome)
    return Listed(found[:limit], total=sum(counts))


def show_listed(output: Output, listed: Listed) -> None:
    """Write rows for people; a row's name is one word, to be pasted after `tally redrive --rows`."""
    shown = ("id", "line", "outcome", "code", "tries", "counted_at")
    rows = [
        (
            *("" if row[name] is None else row[name] for name in shown),
            row["reason"] or ("" if row["result"] is None else msgspec.json.encode(row["result"]).decode()),
        )
        for row in listed.rows
    ]
    output.table("", ("chunk:row", *shown[1:], Column("reason or result", Kind.TEXT)), rows)
    output.say(f"{len(rows):,} of {listed.total:,} rows")


def by_name(reader: Reader, batch_id: str, name: str) -> FoundRow:
    """Return a row by its chunk and number, in two requests; raises OperatorError if there is no such row."""
    names = parse_rows(name)
    if len(names) != 1:
        raise OperatorError("--row takes one row, as CHUNK:ROW.", code=ExitCode.USAGE)
    ((number, row),) = names
    batch, _ = _batch_and_chunks(reader, batch_id, [])
    found = read_partition(reader, ChunkKey(batch_id, number))
    if found is None or row >= found.chunk.expected_rows:
        raise OperatorError(
            f"batch {batch_id} has no row {name}", hint=f"`tally rows {batch_id}` names its rows.", code=ExitCode.USAGE
        )
    return found.row(batch, row)


def by_line(reader: Reader, s3: "S3Client", batch_id: str, line: int) -> FoundRow:
    """Return the row that begins at a line of the file, or spans it; raises OperatorError if no row does.

    Three requests find a row that begins at the line: for the batch with its first chunks, for chunks around the
    expected place, and for the chunk's partition. If lines are spread unevenly it takes another one or two, and for a
    line inside a row one to S3.
    """
    batch, first = _batch_and_chunks(reader, batch_id, range(MAX_KEYS - 1))
    # A plan under way has made at least the chunks before its cursor.
    total = batch.chunks if batch.chunks is not None else max(len(first), batch.cursor.chunks if batch.cursor else 0)

    def read(numbers: Iterable[int]) -> Chunks:
        return {chunk.key.number: chunk for chunk in reader.repository.chunks(batch_id, numbers)}

    chunk = find_chunk(first, total, line, read)
    found = read_partition(reader, chunk.key) if chunk else None
    if found is None:
        problem = f"batch {batch_id} has no row at line {line:,}: no row begins before it."
        raise OperatorError(problem, code=ExitCode.USAGE)
    return in_chunk(found, batch, line, ObjectReader(s3=s3, source=batch.content, retry=Retry(sleep=reader.sleep)))


def in_chunk(found: "Partition", batch: Batch, line: int, file: ObjectReader) -> FoundRow:
    """Return the row of a chunk that begins at a line of the file, or spans it; raises OperatorError if none does."""
    no_row = f"batch {batch.id} has no row at line {line:,}"
    row = found.begins.get(line)
    if row is not None:
        return found.row(batch, row)
    try:
        spanning = find_row(file, found.chunk, line, batch.layout)
    except SourceGoneError as error:
        raise OperatorError(
            f"batch {batch.id}: no row is known to begin at line {line:,}, and its file is gone: {found.before(line)}.",
            code=ExitCode.USAGE,
        ) from error
    if spanning is None:
        yet = " yet, it is still being planned" if batch.chunks is None else ""
        raise OperatorError(f"{no_row}{yet}: {found.before(line)}.", code=ExitCode.USAGE)
    row, begins = spanning
    return found.row(batch, row, begins)


def show(output: Output, found: FoundRow) -> None:
    """Write a row for people: its outcome, then its cells."""
    outcome = found.outcome
    shown = [
        ("row", found.name + (f", line {found.line:,}" if found.line else "")),
        ("outcome", outcome.outcome.value if outcome else _pending(found)),
    ]
    if outcome:
        shown += [("code", outcome.code.value)] if outcome.code else []
        shown += [("reason", outcome.reason)] if outcome.reason else []
        shown += [("result", bytes(outcome.result).decode())] if bytes(outcome.result) else []
        shown += [("tries", str(outcome.tries)), ("took", f"{outcome.duration_ms:,} ms")]
        shown += [("counted at", found.counted_at)]
        shown += [("raised in", outcome.traceback)] if outcome.traceback else []
    output.table("", ("", ""), shown)
    if found.cells:
        cells = [(name, "" if value is None else str(value)) for name, value in found.cells.items()]
        output.table("", (Column("column", Kind.NAME), Column("cell", Kind.TEXT)), cells)


def _pending(found: FoundRow) -> str:
    if found.waiting:
        return f"none yet: it raised and waits for try {found.waiting.attempt}, for example: {found.waiting.reason}"
    if found.row in found.chunk.rereads:
        return "none yet: it is to be read again"
    return "none yet" if found.chunk.rows is not None else "none yet: its chunk has not been read"


@dataclass(frozen=True, slots=True)
class Partition:
    """A chunk with its rows and markers, and the note on its waiting rows."""

    chunk: Chunk
    stored: dict[int, tuple[int, dict[str, Any]]]
    outcomes: dict[int, tuple[Marker, RowOutcome]]
    waiting: Waiting | None

    @property
    def begins(self) -> dict[int, int]:
        """Rows by the line where they begin, as far as known; the chunk's first line begins a row."""
        rejected = {each.line: row for row, (_, each) in self.outcomes.items() if each.line}
        stored = {line: row for row, (line, _) in self.stored.items()}
        return {self.chunk.first_line: 0} | rejected | stored

    def before(self, line: int) -> str:
        """Return the last row that is known to begin before a line, in words."""
        begins = self.begins
        last = max(begin for begin in begins if begin <= line)
        name = row_name(self.chunk.key.number, begins[last])
        return f"the last row known to begin before it is {name}, at line {last:,}"

    def listed(self, outcome: Outcome | None) -> list[dict[str, Any]]:
        """Return the rows that have an outcome, or any, in their order, as ``--json`` shows them."""
        lines = {row: line for line, row in self.begins.items()}
        return [
            {
                "id": row_name(self.chunk.key.number, row),
                "chunk": self.chunk.key.number,
                "row": row,
                "line": lines.get(row),
                "outcome": each.outcome.value,
                "code": each.code.value if each.code else "",
                "reason": each.reason,
                "result": _result(each),
                "tries": each.tries,
                "duration_ms": each.duration_ms,
                "counted_at": marker.counted_at,
                "traceback": each.traceback,
            }
            for row, (marker, each) in sorted(self.outcomes.items())
            if outcome is None or each.outcome is outcome
        ]

    def row(self, batch: Batch, row: int, line: int | None = None) -> FoundRow:
        """Return a row; ``line`` is where it begins, if the caller knows."""
        marker, outcome = self.outcomes.get(row, (None, None))
        lines = {row: line for line, row in self.begins.items()}
        is_waiting = self.waiting is not None and row in self.waiting.rows and outcome is None
        return FoundRow(
            batch=batch,
            chunk=self.chunk,
            row=row,
            line=line or lines.get(row),
            cells=self.stored[row][1] if row in self.stored else {},
            outcome=outcome,
            counted_at=marker.counted_at if marker else "",
            waiting=self.waiting if is_waiting else None,
        )


def _batch_and_chunks(reader: Reader, batch_id: str, numbers: Iterable[int]) -> tuple[Batch, Chunks]:
    """Return a batch and those of its chunks that exist, in one request; raises as ``Reader.require``."""
    keys = [(batch_pk(batch_id), BATCH_SK), *((ChunkKey(batch_id, number).pk, CHUNK_SK) for number in numbers)]
    items: list[Item] = reader.repository.table.get_all(keys)
    batches = [item for item in items if text_of(item, "sk") == BATCH_SK]
    # The batch first: the chunks of a batch in another format cannot be read.
    batch = Batch.from_item(batches[0]) if batches else reader.require(batch_id)
    chunks = [Chunk.from_item(item) for item in items if text_of(item, "sk") == CHUNK_SK]
    return batch, {chunk.key.number: chunk for chunk in chunks}


def read_partition(reader: Reader, key: ChunkKey) -> Partition | None:
    """Return a chunk with everything stored of it, in one query for each megabyte; None if there is none."""
    items = {text_of(item, "sk"): item for item in reader.repository.table.query(key.pk, "")}
    if CHUNK_SK not in items:
        return None
    chunk = Chunk.from_item(items[CHUNK_SK])
    pages = [item for sk, item in items.items() if sk.startswith(ROWS_PREFIX)]
    stored = {
        row.row: (row.line, {**dict(zip(columns, row.values, strict=True)), **(row.extra or {})})
        for columns, row in stored_rows.from_items(pages)
    }
    markers = [Marker.from_item(item) for sk, item in items.items() if sk.startswith(MARKER_PREFIX)]
    outcomes = {outcome.row: (marker, outcome) for marker in markers for outcome in marker.outcomes}
    noted = items.get(waiting_sk(chunk.generation))
    return Partition(chunk, stored, outcomes, Waiting.from_item(noted) if noted else None)


def _result(outcome: RowOutcome) -> Any:
    return msgspec.json.decode(outcome.result) if bytes(outcome.result) else None
