"""Single rows of a batch: those with an outcome, and one with all that is known of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

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
)
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.store.table import MAX_KEYS
from tally.batch.reader import Reader
from tally.batch.redrive import parse_rows, row_name
from tally.errors import ExitCode, OperatorError
from tally.output import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """One row: what is stored of it, and its outcome if it has one."""

    batch: Batch
    chunk: Chunk
    row: int
    line: int
    cells: dict[str, Any]
    outcome: RowOutcome | None
    counted_at: str

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        outcome = self.outcome
        return {
            "batch": self.batch.id,
            "id": row_name(self.chunk.key.number, self.row),
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
            "heavy": self.row in self.chunk.heavy,
            "attempt": self.batch.attempt,
        }


def listed(reader: Reader, batch: Batch, outcome: Outcome, limit: int) -> list[dict[str, Any]]:
    """Return the first rows of a batch that have an outcome, in the file's order, as ``--json`` shows them."""
    found: list[dict[str, Any]] = []
    for _, chunk in sorted(reader.chunks(batch).items()):
        # Chunks are read one after another, those without such a row not at all, until there are enough.
        if len(found) >= limit or not getattr(chunk.counts, outcome):
            continue
        found += [
            {
                "id": row_name(chunk.key.number, each.row),
                "chunk": chunk.key.number,
                "row": each.row,
                "line": each.line or None,
                "counted_at": marker.counted_at,
                "code": each.code.value if each.code else "",
                "tries": each.tries,
                "duration_ms": each.duration_ms,
                "why": each.reason or bytes(each.result).decode(),
                "traceback": each.traceback,
            }
            for marker, each in reader.outcomes(chunk.key)
            if each.outcome is outcome
        ]
    return found[:limit]


def by_name(reader: Reader, batch_id: str, name: str) -> FoundRow:
    """Return a row by its chunk and number, in two requests; raises OperatorError if there is no such row."""
    names = parse_rows(name)
    if len(names) != 1:
        raise OperatorError("--row names one row, as CHUNK:ROW.", code=ExitCode.USAGE)
    ((number, row),) = names
    batch, _ = _batch_and_chunks(reader, batch_id, [])
    found = _partition(reader, ChunkKey(batch_id, number))
    if found is None or row >= found.chunk.expected_rows:
        raise OperatorError(f"batch {batch_id} has no row {name}.", code=ExitCode.USAGE)
    return found.row(batch, row)


def by_line(reader: Reader, batch_id: str, line: int) -> FoundRow:
    """Return the row that begins at a line of the file, or the last one that begins before it.

    Three requests: the batch with its first chunks, chunks around the place where the line should be, and the chunk's
    partition. A file whose lines are very uneven may need another look or two.
    """
    batch, known = _batch_and_chunks(reader, batch_id, range(MAX_KEYS - 1))
    total = batch.chunks if batch.chunks is not None else len(known)
    while (number := _holds(known, line, total)) is None:
        guess = _guess(known, line, total)
        first = max(0, min(guess - MAX_KEYS // 2, total - MAX_KEYS))
        wanted = [at for at in range(first, min(total, first + MAX_KEYS)) if at not in known]
        if not wanted:
            break
        known |= {chunk.key.number: chunk for chunk in reader.repository.chunks(batch_id, wanted)}
    found = _partition(reader, ChunkKey(batch_id, number)) if number is not None else None
    row = found.row_at(line, is_last=number == total - 1) if found else None
    if found is None or row is None:
        raise OperatorError(f"batch {batch_id} has no row at line {line:,}.", code=ExitCode.USAGE)
    return found.row(batch, row)


def show(output: Output, found: FoundRow) -> None:
    """Write a row for people."""
    outcome = found.outcome
    shown = [
        ("row", f"{row_name(found.chunk.key.number, found.row)}, line {found.line:,}"),
        ("outcome", outcome.outcome.value if outcome else "none yet"),
    ]
    if outcome:
        shown += [("code", outcome.code.value)] if outcome.code else []
        shown += [("reason", outcome.reason)] if outcome.reason else []
        shown += [("result", bytes(outcome.result).decode())] if bytes(outcome.result) else []
        shown += [("tries", str(outcome.tries)), ("took", f"{outcome.duration_ms:,} ms")]
        shown += [("counted at", found.counted_at)]
        shown += [("raised in", outcome.traceback)] if outcome.traceback else []
    shown += [(name, "" if value is None else str(value)) for name, value in found.cells.items()]
    output.table("", ("", ""), shown)


@dataclass(frozen=True, slots=True)
class _Partition:
    """A chunk with its rows and markers."""

    chunk: Chunk
    stored: dict[int, tuple[int, dict[str, Any]]]
    outcomes: dict[int, tuple[Marker, RowOutcome]]

    def row_at(self, line: int, *, is_last: bool) -> int | None:
        """Return the row that begins at a line, or spans it: the one before it, unless that ends the file."""
        begins = {row: begin for row, (begin, _) in self.stored.items()}
        begins |= {row: each.line for row, (_, each) in self.outcomes.items() if each.line and row not in begins}
        row = max((row for row, begin in begins.items() if begin <= line), default=None)
        ends_file = is_last and row == self.chunk.expected_rows - 1
        return None if row is None or (ends_file and begins[row] < line) else row

    def row(self, batch: Batch, row: int) -> FoundRow:
        line, cells = self.stored.get(row, (0, {}))
        marker, outcome = self.outcomes.get(row, (None, None))
        return FoundRow(
            batch=batch,
            chunk=self.chunk,
            row=row,
            line=line or (outcome.line if outcome else 0) or self.chunk.first_line,
            cells=cells,
            outcome=outcome,
            counted_at=marker.counted_at if marker else "",
        )


def _batch_and_chunks(reader: Reader, batch_id: str, numbers: Iterable[int]) -> tuple[Batch, dict[int, Chunk]]:
    """Return a batch and those of its chunks that exist, in one request."""
    keys = [(batch_pk(batch_id), BATCH_SK), *((ChunkKey(batch_id, number).pk, CHUNK_SK) for number in numbers)]
    items: list[Item] = reader.repository.table.get_all(keys)
    batches = [item for item in items if text_of(item, "sk") == BATCH_SK]
    if not batches:
        reader.require(batch_id)
    chunks = [Chunk.from_item(item) for item in items if text_of(item, "sk") == CHUNK_SK]
    return Batch.from_item(batches[0]), {chunk.key.number: chunk for chunk in chunks}


def _partition(reader: Reader, key: ChunkKey) -> _Partition | None:
    """Return everything about a chunk, in one query for each megabyte of it."""
    items = list(reader.repository.table.query(key.pk, ""))
    by_kind = {prefix: [item for item in items if text_of(item, "sk").startswith(prefix)] for prefix in _KINDS}
    if not by_kind[CHUNK_SK]:
        return None
    stored = {
        row.row: (row.line, dict(zip(columns, row.values, strict=True)))
        for columns, row in stored_rows.from_items(by_kind[ROWS_PREFIX])
    }
    markers = map(Marker.from_item, by_kind[MARKER_PREFIX])
    outcomes = {outcome.row: (marker, outcome) for marker in markers for outcome in marker.outcomes}
    return _Partition(Chunk.from_item(by_kind[CHUNK_SK][0]), stored, outcomes)


_KINDS = (CHUNK_SK, ROWS_PREFIX, MARKER_PREFIX)


def _holds(known: dict[int, Chunk], line: int, total: int) -> int | None:
    """Return the chunk that holds a line, if what is known of their first lines says so."""
    for number, chunk in known.items():
        after = known.get(number + 1)
        if chunk.first_line <= line and (number + 1 >= total or (after is not None and line < after.first_line)):
            return number
    return None


def _guess(known: dict[int, Chunk], line: int, total: int) -> int:
    """Return where a line should be, if lines were spread evenly between the chunks that are known."""
    before = max((number for number, chunk in known.items() if chunk.first_line <= line), default=0)
    after = min((number for number, chunk in known.items() if chunk.first_line > line), default=None)
    if before not in known:
        return 0
    start = known[before].first_line
    if after is not None:
        share = (line - start) / (known[after].first_line - start)
        return round(before + share * (after - before))
    a_chunk = (start - known[0].first_line) / before if before and 0 in known else 1
    return min(total - 1, before + round((line - start) / max(1, a_chunk)))


def _result(outcome: RowOutcome) -> Any:
    return msgspec.json.decode(outcome.result) if bytes(outcome.result) else None
