"""A part of the results as CSV: the cells of the file, the outcome, and the fields of the result, a record each row.

Comma, UTF-8 and line feeds, for every file: results are for machines. No cell is changed, also one that a
spreadsheet takes for a formula; the manifest counts the rows that have one.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chalicelib.columns import compared
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.form import (
    CHUNK_COLUMN,
    CODE_COLUMN,
    CORRECTED_COLUMN,
    LINE_COLUMN,
    OUR_COLUMNS,
    OUTCOME_COLUMN,
    REASON_COLUMN,
    RESULT_COLUMN,
    ROW_COLUMN,
    TRIES_COLUMN,
)
from chalicelib.files.json_lines import read_objects
from chalicelib.results.failed import SourceRow, harmless
from chalicelib.results.fields import field_columns
from chalicelib.store.marker import RowOutcome

_END = "\r\n"
"""The end of csv's records: it quotes a cell that has either of them. A part has the line feed alone."""
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
"""The character for bytes that are no characters; failed.csv has the bytes."""
_NULL = b"null"
AFTER_FIELDS = (
    RESULT_COLUMN,
    CODE_COLUMN,
    REASON_COLUMN,
    TRIES_COLUMN,
    LINE_COLUMN,
    CHUNK_COLUMN,
    ROW_COLUMN,
    CORRECTED_COLUMN,
)
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a batch's results: those of its file, and the fields that its job says results have."""

    inputs: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The header of every part."""
        return [*self.inputs, OUTCOME_COLUMN, *field_columns(self.inputs, self.fields), *AFTER_FIELDS]

    def header(self) -> bytes:
        """Return the first record of a part."""
        return record(self.names)

    def result_cells(self, result: msgspec.Raw) -> list[str]:
        """Return a cell for each field, and one with the whole result where they do not hold all of it."""
        found = _object(bytes(result))
        if found is None:
            return [*[""] * len(self.fields), bytes(result).decode()]
        cells = [cell(found[name]) if name in found else "" for name in self.fields]
        whole = bool(self.fields) and found.keys() <= set(self.fields)
        return [*cells, "" if whole else bytes(result).decode()]


@dataclass(frozen=True, slots=True)
class InputCells:
    """Takes the cells of a batch's file, by its ``header``; of JSON lines by the names of the columns."""

    columns: Columns
    header: Sequence[str]
    layout: Layout
    _places: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        """Find the columns among the file's own."""
        places = [place for place, name in enumerate(self.header) if name not in OUR_COLUMNS]
        object.__setattr__(self, "_places", places)

    def of(self, row: SourceRow | None) -> list[str]:
        """Return the cells as they are in the file; empty ones where a row has none, or has more than its header."""
        if row is None:
            return [""] * len(self.columns.inputs)
        if self.layout.format is Format.JSONL:
            return self._values(row)
        cells = row.cells
        return [cells[place] if place < len(cells) else "" for place in self._places]

    def _values(self, row: SourceRow) -> list[str]:
        """Return the values of an object: texts as they read, other values as they are written, null as nothing."""
        named: dict[str, msgspec.Raw] = {}
        for line in read_objects(row.data, row.line, self.layout.encoding):
            for name, value in line.values.items():
                named.setdefault(compared(name), value)
        return [cell(named[name]) if name in named else "" for name in map(compared, self.columns.inputs)]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a row in the file and in the ledger; ``corrected`` is the corrections file that it was read from."""

    line: int | None
    chunk: int
    row: int
    corrected: str = ""


def row_cells(columns: Columns, inputs: Sequence[str], outcome: RowOutcome, place: Place) -> list[str]:
    """Return all cells of a row."""
    return [
        *inputs,
        outcome.outcome.value,
        *columns.result_cells(outcome.result),
        outcome.code.value if outcome.code else "",
        harmless(outcome.reason),
        str(outcome.tries),
        str(place.line or ""),
        str(place.chunk),
        str(place.row),
        place.corrected,
    ]


def cell(value: msgspec.Raw) -> str:
    """Return a JSON value as a cell."""
    data = bytes(value)
    if data == _NULL:
        return ""
    if data[:1] == b'"':
        try:
            return _decode_text(data)
        except msgspec.DecodeError:  # half of a character, which the row was rejected for
            pass
    return data.decode(errors="replace")


def record(cells: Sequence[str]) -> bytes:
    """Return one record, with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator=_END).writerow(cells)
    line = text.getvalue().removesuffix(_END) + "\n"
    try:
        return line.encode()
    except UnicodeEncodeError:
        return _NO_CHARACTER.sub("\ufffd", line).encode()


def _object(data: bytes) -> dict[str, Any] | None:
    return _decode(data) if data[:1] == b"{" else None
