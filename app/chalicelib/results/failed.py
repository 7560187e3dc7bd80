"""failed.csv: the original bytes of rows that did not succeed, each after its line and reason.

Of JSON lines it is failed.jsonl: the lines as they are, for a line has no room for more. The results have the reasons.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import is_wide, marked
from chalicelib.files.form import LINE_COLUMN, REASON_COLUMN
from chalicelib.files.records import read_range, read_records

_FORMULA = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
"""The first characters of a formula in a spreadsheet (OWASP, "CSV Injection"), full-width signs too."""
_CELL_INSIDE = re.compile(rf"([,;|\t]\s*)(?=[{re.escape(_FORMULA)}])")
"""The begin of a cell for a spreadsheet that takes another delimiter than the file's."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_WHITE = " \t\r\n"
"""JSON's white space: a line of nothing else is no row."""


class SourceRow(NamedTuple):
    """A row as it is in the file: the line where it begins, its bytes with their line end, its cells for csv."""

    line: int
    data: bytes
    cells: Sequence[str]


def name(layout: Layout) -> str:
    """Return the name of the file."""
    return f"failed.{layout.format}"


def source_rows(data: bytes, first_line: int, layout: Layout) -> Iterator[SourceRow]:
    """Return every row of a range, as ``ingest`` counts them: blank lines are none."""
    whole = len(data) // 2 * 2 if is_wide(layout.encoding) else len(data)
    text = data[:whole].decode(layout.encoding, _errors(layout))
    rows = _json_rows(text, first_line) if layout.format is Format.JSONL else _csv_rows(text, first_line, layout)
    # A last byte without its other half stays with the last row, or is one by itself.
    rest = data[whole:]
    before: SourceRow | None = None
    for line, raw, cells in rows:
        if before:
            yield before
        before = SourceRow(line, raw.encode(layout.encoding, _errors(layout)), cells)
    if before:
        yield before._replace(data=before.data + rest)
    elif rest:
        yield SourceRow(first_line, rest, [])


def header(before: bytes, names: Sequence[str], layout: Layout) -> bytes:
    """Return the header: the file's own, of the bytes before its first row, after the two columns of Tally's.

    A file without a header gets one of ``names``, one of JSON lines none. A byte order mark stays in front.
    """
    length = marked(before)[1]
    mark, head = before[:length], before[length:]
    if layout.format is Format.JSONL:
        return mark
    text = head.decode(layout.encoding, _errors(layout))
    place = 0
    own = ""
    for record in read_records(text, layout.delimiter):
        if record.cells and not record.unclosed:
            own = text[place : place + record.length]
            break
        place += record.length
    own = own or layout.delimiter.join(map(_quoted, names))
    ours = layout.delimiter.join((LINE_COLUMN, REASON_COLUMN))
    return mark + ended(f"{ours}{layout.delimiter}{own}".encode(layout.encoding, _errors(layout)), layout)


def lead(line: int | None, reason: str, layout: Layout) -> bytes:
    """Return the text before a row's own bytes: its line, and why it did not succeed."""
    if layout.format is Format.JSONL:
        return b""
    text = f"{line or ''}{layout.delimiter}{_quoted(harmless(reason))}{layout.delimiter}"
    return text.encode(layout.encoding, "backslashreplace")


def harmless(reason: str) -> str:
    """Return a reason that starts no formula, also where a spreadsheet parts cells by another delimiter."""
    text = _CELL_INSIDE.sub(r"\1'", _CONTROLS.sub(" ", reason).strip())
    return f"'{text}" if text[:1] and text[0] in _FORMULA else text


def has_formula(cells: Sequence[str]) -> bool:
    """Tell whether a spreadsheet would take a cell of a row for a formula; a number with a sign is none."""
    return any(cell[:1] and cell[0] in _FORMULA and not _is_number(cell) for cell in cells)


def ended(row: bytes, layout: Layout) -> bytes:
    """Return a row with a line end: the last one of a file may have none. Of half a character nothing is an end."""
    feed, back = ("\n".encode(layout.encoding), "\r".encode(layout.encoding))
    return row if row.endswith((feed, back)) or len(row) % len(feed) else row + feed


def _csv_rows(text: str, line: int, layout: Layout) -> Iterator[tuple[int, str, Sequence[str]]]:
    place = 0
    for record in read_range(text, layout.delimiter):
        if record.cells:
            yield line, text[place : place + record.length], record.cells
        place += record.length
        line += record.lines


def _json_rows(text: str, line: int) -> Iterator[tuple[int, str, Sequence[str]]]:
    for place, raw in enumerate(text.split("\n"), start=line):
        if raw.strip(_WHITE):
            yield place, raw + "\n", [raw]


def _errors(layout: Layout) -> str:
    """Return how bytes that are no characters are kept, so that they are written as they were read."""
    return "surrogatepass" if is_wide(layout.encoding) else "surrogateescape"


def _is_number(cell: str) -> bool:
    with suppress(InvalidOperation):
        return Decimal(cell.replace(",", ".")).is_finite()
    return False


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
