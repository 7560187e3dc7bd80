"""A file of corrected rows as it is kept: each row after the line that it replaces, in the layout of its batch.

CSV has a header, and the line as its first cell, so that the file could be given to `tally redrive --from` again. A
JSON object has the line as its first member.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import msgspec

from chalicelib.errors import FatalError, SourceGoneError
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.form import LINE_COLUMN
from chalicelib.files.source import ObjectReader
from chalicelib.results.failed import SourceRow, source_rows
from chalicelib.store.bits import RowBits
from chalicelib.store.corrections import Correction, CorrectionsFile, newest

CORRECTIONS_PREFIX = "corrections/"
"""A prefix that no S3 event is configured for."""
_MEMBER = re.compile(rf'\{{"{LINE_COLUMN}":(\d+),?')
_encode = msgspec.json.Encoder().encode


def object_key(job: str, batch_id: str, sha256: str, layout: Layout) -> str:
    """Return the key of a file: the same bytes for the same batch have the same one."""
    return f"{CORRECTIONS_PREFIX}{job}/{batch_id}/{sha256}.{layout.format}"


def header(names: Sequence[str], layout: Layout) -> bytes:
    """Return the first bytes of a file."""
    if layout.format is Format.JSONL:
        return b""
    return f"{LINE_COLUMN}{layout.delimiter}{csv_text(names, layout)}".encode(layout.encoding)


def csv_text(cells: Sequence[str], layout: Layout) -> str:
    """Return the text of a CSV record with its line end."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=layout.delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue()


def json_text(values: Mapping[str, msgspec.Raw]) -> str:
    """Return the text of a JSON object, its values as they are, with its line end."""
    return _encode(values).decode() + "\n"


def kept(line: int, text: str, layout: Layout) -> bytes:
    """Return the bytes of a row as ``csv_text`` or ``json_text`` wrote it; raises UnicodeEncodeError."""
    if layout.format is Format.JSONL:
        rest = text[1:]
        comma = "" if rest.startswith("}") else ","
        return f'{{"{LINE_COLUMN}":{line}{comma}{rest}'.encode(layout.encoding)
    return f"{line}{layout.delimiter}{text}".encode(layout.encoding)


def rows_by_line(data: bytes, layout: Layout) -> dict[int, SourceRow]:
    """Return the rows of a range by the line that each replaces, without that line; raises FatalError."""
    return {row.line: row for row in map(_bare(layout), source_rows(data, 1, layout))}


def corrected_rows(
    corrections: Iterable[Correction],
    wanted: RowBits,
    layout: Layout,
    reader: Callable[[CorrectionsFile], ObjectReader],
) -> dict[int, SourceRow]:
    """Return rows of a chunk as they were corrected last; one whose file is gone is left out.

    Raises FatalError for a file that has not what it is named for, and what the ``reader`` of a file raises, but for
    SourceGoneError.
    """
    found: dict[int, SourceRow] = {}
    for each in newest(corrections, wanted):
        try:
            rows = rows_by_line(reader(each.file).read(each.start, each.end), layout)
        except SourceGoneError:
            continue
        for row, line in each.lines.items():
            if line not in rows:
                raise FatalError(f"{each.file.source.key}: has no row for line {line}")
            found[row] = rows[line]
    return found


@cache
def _bare(layout: Layout) -> Callable[[SourceRow], SourceRow]:
    """Return a function that takes the line off a row."""

    def of_csv(row: SourceRow) -> SourceRow:
        line = row.cells[0]
        if not line.isdecimal():
            raise FatalError(f"a corrected row begins with {line[:20]!r}, which is no line")
        prefix = f"{line}{layout.delimiter}".encode(layout.encoding)
        return SourceRow(int(line), row.data[len(prefix) :], row.cells[1:])

    def of_json(row: SourceRow) -> SourceRow:
        text = row.data.decode(layout.encoding)
        found = _MEMBER.match(text)
        if found is None:
            raise FatalError(f"a corrected row begins with {text[:20]!r}, which names no line")
        bare = "{" + text[found.end() :]
        return SourceRow(int(found[1]), bare.encode(layout.encoding), [bare])

    return of_json if layout.format is Format.JSONL else of_csv
