"""failed.csv: the original bytes of rows that did not succeed, each after its line and reason."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from chalicelib.files.form import LINE_COLUMN, REASON_COLUMN
from chalicelib.files.records import read_range, read_records

_MARK = b"\xef\xbb\xbf"
_FORMULA = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with in a spreadsheet (OWASP, "CSV Injection"), full-width signs too."""
_CELL_INSIDE = re.compile(rf"([,;|\t]\s*)(?=[{re.escape(_FORMULA)}])")
"""Where a cell would begin for a spreadsheet that parts by another delimiter than the file's."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class SourceRow(NamedTuple):
    """A row as it is in the file: the line where it begins, its bytes with their line end, its cells for csv."""

    line: int
    data: bytes
    cells: Sequence[str]


def source_rows(data: bytes, first_line: int, delimiter: str) -> Iterator[SourceRow]:
    """Return every row of a range, as ``ingest`` counts them: blank lines are none."""
    text = data.decode(errors="surrogateescape")
    place, line = 0, first_line
    for record in read_range(text, delimiter):
        raw = text[place : place + record.length]
        if record.cells:
            yield SourceRow(line, raw.encode(errors="surrogateescape"), record.cells)
        place += record.length
        line += record.lines


def header(before: bytes, names: Sequence[str], delimiter: str) -> bytes:
    """Return the header: the file's own, of the bytes before its first row, after the two columns of Tally's.

    A file without a header gets one of ``names``. A byte order mark stays in front.
    """
    mark = _MARK if before.startswith(_MARK) else b""
    text = before.removeprefix(_MARK).decode(errors="surrogateescape")
    place = 0
    own = ""
    for record in read_records(text, delimiter):
        if record.cells and not record.unclosed:
            own = text[place : place + record.length]
            break
        place += record.length
    own = own or delimiter.join(map(_quoted, names))
    ours = delimiter.join((LINE_COLUMN, REASON_COLUMN))
    return mark + ended(f"{ours}{delimiter}{own}".encode(errors="surrogateescape"))


def lead(line: int | None, reason: str, delimiter: str) -> bytes:
    """Return what stands before a row's own bytes: its line, and why it did not succeed."""
    return f"{line or ''}{delimiter}{_quoted(harmless(reason))}{delimiter}".encode(errors="backslashreplace")


def harmless(reason: str) -> str:
    """Return a reason that starts no formula, also where a spreadsheet parts cells by another delimiter."""
    text = _CELL_INSIDE.sub(r"\1'", _CONTROLS.sub(" ", reason).strip())
    return f"'{text}" if text[:1] and text[0] in _FORMULA else text


def has_formula(cells: Sequence[str]) -> bool:
    """Tell whether a spreadsheet would take a cell of a row for a formula; a number with a sign is none."""
    return any(cell[:1] and cell[0] in _FORMULA and not _is_number(cell) for cell in cells)


def ended(row: bytes) -> bytes:
    """Return a row with a line end: the last one of a file may have none."""
    return row if row.endswith((b"\n", b"\r")) else row + b"\n"


def _is_number(cell: str) -> bool:
    with suppress(InvalidOperation):
        return Decimal(cell.replace(",", ".")).is_finite()
    return False


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
