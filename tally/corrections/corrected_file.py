"""Read a corrected file: rows in the batch's own layout, each with the line that it replaces."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple, cast

from chalicelib.columns import compared
from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import NO_CHARACTER, UTF_8, is_wide, marked, shown, undecodable
from chalicelib.files.form import LINE_COLUMN, REASON_COLUMN
from chalicelib.files.json_lines import read_objects
from chalicelib.files.kinds import kind_of, unmarked
from chalicelib.files.ranges import ranges
from chalicelib.files.records import MAX_RECORD_BYTES, NEVER_CLOSED, read_range, read_records
from chalicelib.results.corrections import csv_text, json_text, kept
from chalicelib.rows import RejectedRow, Schema
from chalicelib.store.batch import Batch
from tally.corrections.problems import Kind, Problem
from tally.errors import ExitCode, OperatorError
from tally.exported.to_correct import TEXT_MEMBER

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1_048_576
_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 262_144
_OURS = (LINE_COLUMN, REASON_COLUMN)
_OUR_MEMBERS = frozenset({*_OURS, TEXT_MEMBER})


class CorrectedRow(NamedTuple):
    """A row of a corrected file: its line in that file, the line that it replaces, and its bytes to store."""

    own_line: int
    line: int
    data: bytes


class _Found(NamedTuple):
    """A row as it was read: ``text`` is in the columns of the batch."""

    own_line: int
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class _Columns:
    """The position of the line number in a corrected file, and of each column of its batch; None if left out."""

    size: int
    line_at: int
    places: Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedFile:
    """A corrected file on disk; a gzip file is read as what is in it.

    ``schema`` is the type that its rows must fit, None without the job's code.
    """

    path: Path
    batch: Batch
    schema: Schema | None

    def size(self) -> int:
        """Return its size on disk."""
        return self.path.stat().st_size

    def rows(self) -> Iterator[CorrectedRow | Problem]:
        """Yield rows and problems, in the memory of some thousand rows; raises OperatorError for an unsuitable file."""
        with _opened(self.path) as file:
            head = _read(file, MAX_RECORD_BYTES, self.path)
        kind = kind_of(head)
        if kind:
            raise self._unusable(f"it is {kind}", hint=f"save it as {self.batch.layout.format.upper()}.")
        mark, start = marked(head)
        layout = replace(self.batch.layout, encoding=mark or unmarked(head) or self._unmarked_encoding)
        columns = None
        first_line = 1
        if layout.format is Format.CSV:
            columns, length, lines = self._header(head[start:], layout)
            start, first_line = start + length, first_line + lines
        for found in _parsed(self.path, layout, start, first_line, columns):
            yield from self._checked(found)

    @property
    def _unmarked_encoding(self) -> str:
        """Return the encoding of a file without a byte order mark: the batch's, unless that is UTF-16."""
        encoding = self.batch.layout.encoding
        return UTF_8 if is_wide(encoding) else encoding

    def _header(self, head: bytes, layout: Layout) -> tuple[_Columns, int, int]:
        """Return the columns of a file, and the bytes and lines before its rows."""
        errors = "surrogatepass" if is_wide(layout.encoding) else "surrogateescape"
        text = head[: len(head) // 2 * 2 if is_wide(layout.encoding) else len(head)].decode(layout.encoding, errors)
        length = lines = 0
        for record in read_records(text, layout.delimiter):
            length += record.length
            lines += record.lines
            if record.cells and not record.unclosed:
                size = len(text[:length].encode(layout.encoding, errors))
                return self._columns([clean(cell) for cell in record.cells], layout), size, lines
        raise self._unusable("it has no header", hint=f"begin it with the header of failed.csv: {LINE_COLUMN}, ...")

    def _columns(self, cells: Sequence[str], layout: Layout) -> _Columns:
        """Match the columns of a header with the batch's; those of equal names are matched in their order."""
        names = _numbered(cells)
        if (LINE_COLUMN, 1) not in names:
            raise self._unusable(
                f"its header has no column {LINE_COLUMN}",
                hint=f"correct a copy of failed.csv, and keep {layout.delimiter!r} between the cells.",
            )
        # An uploaded failed.csv has both of ours as columns of its own, which are the second ones here.
        taken = {(name, 1): names.pop((name, 1)) for name in _OURS if (name, 1) in names}
        own = {(name, number - ((name, 1) in taken)): place for (name, number), place in names.items()}
        wanted = _numbered(self.batch.header)
        missing = [self.batch.header[at] for name, at in wanted.items() if name not in own and name[0] not in _OURS]
        unknown = [cells[at] for name, at in own.items() if name not in wanted]
        if missing or unknown:
            said = [f"lacks {', '.join(missing)}"] if missing else []
            said += [f"has {', '.join(unknown)}, which the batch lacks"] if unknown else []
            raise self._unusable(
                f"its header {' and '.join(said)}", hint=f"is it of another batch than {self.batch.id}?"
            )
        return _Columns(len(cells), taken[LINE_COLUMN, 1], [own.get(name) for name in wanted])

    def _unusable(self, what: str, *, hint: str) -> OperatorError:
        return OperatorError(f"{self.path.name} cannot correct {self.batch.id}: {what}", hint=hint, code=ExitCode.USAGE)

    def _checked(self, found: Sequence[_Found | Problem]) -> Iterator[CorrectedRow | Problem]:
        """Check rows against the job, together, and one by one only if one of them does not fit."""
        rows = [each if isinstance(each, Problem) else self._kept(each) for each in found]
        if self.schema is None:  # ingest checks it
            yield from rows
            return
        schema = self.schema.laid_out(self.batch.layout)
        pairs = [
            (each, row)
            for each, row in zip(found, rows, strict=True)
            if isinstance(each, _Found) and isinstance(row, CorrectedRow)
        ]
        texts = "".join(each.text for each, _ in pairs)
        read = list(schema.read(texts.encode(self.batch.layout.encoding), self.batch.header, 1))
        if len(read) == len(pairs) and not any(isinstance(row, RejectedRow) for row in read):
            yield from rows
            return
        yield from (row for row in rows if isinstance(row, Problem))
        yield from (self._judged(schema, each, row) for each, row in pairs)

    def _kept(self, found: _Found) -> CorrectedRow | Problem:
        layout = self.batch.layout
        try:
            return CorrectedRow(found.own_line, found.line, kept(found.line, found.text, layout))
        except UnicodeEncodeError as error:
            lone = NO_CHARACTER.search(found.text)
            what = f"{error.object[error.start]!r} is no character of {shown(layout.encoding)}, as the upload is"
            return Problem(found.own_line, Kind.UNREADABLE, undecodable(lone, layout.encoding) if lone else what)

    def _judged(self, schema: Schema, found: _Found, row: CorrectedRow) -> CorrectedRow | Problem:
        data = found.text.encode(self.batch.layout.encoding)
        read = list(schema.read(data, self.batch.header, found.own_line))
        if len(read) != 1:
            return Problem(found.own_line, Kind.UNREADABLE, "is no row")
        if isinstance(read[0], RejectedRow):
            reason = read[0].reason.removeprefix(f"line {found.own_line}").lstrip(",: ")
            return Problem(found.own_line, Kind.INVALID, f"{reason} (for line {found.line:,} of the upload)")
        return row


def _parsed(
    path: Path, layout: Layout, start: int, first_line: int, columns: _Columns | None
) -> Iterator[list[_Found | Problem]]:
    """Yield the rows of a file in groups; blank lines and rows of empty cells only are left out."""
    with _opened(path) as cut, _opened(path) as read:
        cut.seek(start)
        blocks = iter(lambda: _read(cut, _BLOCK_BYTES, path), b"")
        for each in ranges(
            blocks, layout, max_rows=_ROWS_AT_ONCE, max_bytes=_BYTES_AT_ONCE, offset=start, first_line=first_line
        ):
            if each.unreadable:
                yield [Problem(each.first_line, Kind.UNREADABLE, each.unreadable)]
                continue
            read.seek(each.start)
            data = _read(read, each.end - each.start, path)
            if columns:
                yield list(_csv_rows(data, each.first_line, layout, columns))
            else:
                yield list(_json_rows(data, each.first_line, layout))


def _csv_rows(data: bytes, own_line: int, layout: Layout, columns: _Columns) -> Iterator[_Found | Problem]:
    errors = "surrogatepass" if is_wide(layout.encoding) else "surrogateescape"
    for record in read_range(data.decode(layout.encoding, errors), layout.delimiter):
        if any(record.cells):
            yield _csv_row(record.cells, own_line, layout, columns, unclosed=record.unclosed)
        own_line += record.lines


def _csv_row(
    cells: Sequence[str], own_line: int, layout: Layout, columns: _Columns, *, unclosed: bool
) -> _Found | Problem:
    if unclosed:
        return Problem(own_line, Kind.UNREADABLE, NEVER_CLOSED)
    if len(cells) != columns.size:
        what = f"{len(cells)} columns, the header has {columns.size}"
        return Problem(own_line, Kind.UNREADABLE, what)
    line = _line_of(clean(cells[columns.line_at]))
    if line is None:
        return Problem(own_line, Kind.UNNAMED, _unnamed(cells[columns.line_at]))
    return _Found(own_line, line, csv_text(["" if at is None else cells[at] for at in columns.places], layout))


def _json_rows(data: bytes, first_line: int, layout: Layout) -> Iterator[_Found | Problem]:
    for found in read_objects(data, first_line, layout.encoding):
        if found.reason:
            yield Problem(found.line, Kind.UNREADABLE, found.reason)
            continue
        said = bytes(found.values.get(LINE_COLUMN, b"")).decode().strip('"')
        line = _line_of(said)
        if line is None:
            yield Problem(found.line, Kind.UNNAMED, _unnamed(said))
            continue
        own = {name: value for name, value in found.values.items() if name not in _OUR_MEMBERS}
        yield _Found(found.line, line, json_text(own))


def _line_of(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None  # noqa: PLR2004  sqlite's


def _unnamed(said: str) -> str:
    what = f"{LINE_COLUMN} is {said[:40]!r}" if said else f"{LINE_COLUMN} is empty"
    return f"{what}: it takes the number of the line in the upload, as failed.csv has it"


def _numbered(cells: Sequence[str]) -> dict[tuple[str, int], int]:
    """Return the place of each column by its name and its number among columns of the same name."""
    found: dict[tuple[str, int], int] = {}
    for place, cell in enumerate(cells):
        name = cell if cell in _OURS else compared(cell)
        number = 1
        while (name, number) in found:
            number += 1
        found[name, number] = place
    return found


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def _read(file: IO[bytes], size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except (EOFError, gzip.BadGzipFile) as error:
        raise OperatorError(
            f"{path.name} is not a complete gzip file: {error}",
            hint="compress it again, or give it uncompressed.",
            code=ExitCode.USAGE,
        ) from error
