"""Cutting a CSV stream: byte ranges that begin and end with a row, found without keeping the file.

A record ends where Python's csv module says it does, so quoted line ends are inside a record, and a quote in the
middle of a field is a character like any other. The fast paths need no csv module: where there is no quote, records
are lines, and where quotes are around whole cells, records end at the line ends outside of them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, count, islice
from operator import not_

from chalicelib.files.cutting import Cut, Cutter, Range, blank_run, cut_blocks
from chalicelib.files.records import MAX_RECORD_BYTES, CsvRecord, read_lines

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")
_BLANK = (b"", b"\r")
"""A blank line, without its line feed."""
_SPARE_LINES = 8
"""Lines that are read beyond what is needed, or the last few rows of a range would take a piece of a line each."""


def split(
    blocks: Iterable[bytes],
    *,
    max_rows: int,
    max_bytes: int,
    offset: int = 0,
    first_line: int = 1,
    delimiter: str = ",",
) -> Iterator[Range]:
    """Cut a stream, given as blocks of any size, into ranges that follow each other; only blank lines are between.

    A range has at most ``max_rows`` rows and is longer than ``max_bytes``, or than a record may be, only for a single
    record. ``offset`` and ``first_line`` say where the stream begins in its file.
    """
    cutter = _Cutter(
        max_rows=max_rows,
        max_bytes=min(max_bytes, MAX_RECORD_BYTES),
        max_record=MAX_RECORD_BYTES,
        offset=offset,
        line=first_line,
        likely=MAX_RECORD_BYTES,
        delimiter=delimiter,
    )
    return cut_blocks(blocks, cutter)


@dataclass(slots=True, kw_only=True)
class _Cutter(Cutter):
    delimiter: str
    open_until: int = 0
    """Up to here a quote that an unreadable record opened is not closed. It may be closed beyond."""

    def cut(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        found = None if self._is_open(self.offset) else self._cut_lines(data, begin, last=last)
        return found or self._cut_records(data, begin, last=last) or self.cut_too_long(data, begin, last=last)

    def _is_open(self, offset: int) -> bool:
        """Tell whether a quote that the line at ``offset`` leaves open is known not to be closed in time."""
        return self.open_until - offset > MAX_RECORD_BYTES

    def _cut_lines(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        """Cut whole lines, in windows and pieces as small as will do; None if only the csv module can tell."""
        size = min(self.likely, self.max_bytes)
        place, most = begin, self.max_rows
        window = data[begin : begin + size]
        length = lines = rows = blank_lines = 0
        while True:
            parted = window.split(b"\n", most)
            more = len(parted) > most
            if not more and size < self.max_bytes:
                size = min(2 * size, self.max_bytes)
                window = data[place : begin + size]
                continue
            ended = last and not more and begin + size >= len(data)
            piece = _cut_window(window, parted, self.max_rows - rows, delimiter=self.delimiter, more=more, ended=ended)
            if piece is None:
                return None
            if piece.rows:
                length = place - begin + piece.length
                lines += blank_lines + piece.lines
                rows += piece.rows
            if rows == self.max_rows or not more:
                return Cut(length, lines, rows) if rows else None
            if piece.rows:  # the lines were fewer rows: blank lines, or line ends in cells
                blank, blank_lines = blank_run(window, piece.length, last=False)
                place += piece.length + blank
                window = window[piece.length + blank :]
                most = self.max_rows - rows + _SPARE_LINES
            else:
                most *= 4

    def _cut_records(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        """Cut whole records as the csv module reads them; None if there is none but a line too long for one.

        A line whose quote is not closed in time ends a range that began with a good record, for the fast path cannot
        tell it from a record that ends beyond the range. In a range that began with such a line they are rows.
        """
        cut = reader = None
        length = lines = rows = 0
        harmed = False
        while rows < self.max_rows and length < self.max_bytes and begin + length < len(data):
            record: CsvRecord | None
            if self._is_open(self.offset + length):
                record = _first_line(data, begin + length, self.delimiter)
            else:
                reader = reader or read_lines(_lines(data, begin + length), self.delimiter)
                record = next(reader)
                if record.unclosed or record.length > MAX_RECORD_BYTES:
                    self.open_until = self.offset + length + record.length
                    if record.unclosed and last:
                        self.open_until += MAX_RECORD_BYTES + 1  # nothing will ever close it
                    record = _first_line(data, begin + length, self.delimiter)
                    reader = None
            if record is None:
                break
            if rows and (length + record.length > self.max_bytes or (record.unclosed and not harmed)):
                break
            harmed |= record.unclosed
            length += record.length
            lines += record.lines
            if record.cells:
                rows += 1
                cut = Cut(length, lines, rows)
        return cut


def _cut_window(
    window: bytes, lines: list[bytes], max_rows: int, *, delimiter: str, more: bool, ended: bool
) -> Cut | None:
    """Cut after the last row that ends in whole lines; every step runs at the speed of C.

    ``lines`` are those of the window, the last of them without its end: because the window cuts it off, because there
    are ``more`` lines in it, or because the file has ``ended``. None if only the csv module can tell.
    """
    rest = lines.pop()
    if ended and rest:
        lines.append(rest)
        rest = b""
    text = window[: len(window) - len(rest)]
    returns = b"\r" in text
    if returns and text.count(b"\r") != text.count(b"\r\n"):
        return None
    if b"\r" in rest and not more:
        return None  # it may end a record that fits in as well
    blank = b"" in lines or (returns and b"\r" in lines)
    if b'"' in text:
        return _cut_quoted(text, len(lines), max_rows, delimiter=delimiter, blank=blank)
    if not blank and len(lines) <= max_rows:
        return Cut(len(text), len(lines), len(lines))
    return _cut_rows(text, text, [], max_rows)


def _cut_quoted(text: bytes, lines: int, max_rows: int, *, delimiter: str, blank: bool) -> Cut | None:
    """Cut lines with quotes; None where any quote is neither an end of a cell nor half of a doubled one.

    A quote opens a cell only where a cell begins; elsewhere it is a character, and so may be all that follow it.
    """
    parts = text.split(b'"')
    unclosed = len(parts) % 2 == 0
    if unclosed:
        parts.append(b"")
    outside, inside = parts[::2], parts[1::2]  # between the halves of a doubled quote nothing is outside
    if not {before[-1:] for before in outside[:-1]} <= {delimiter.encode(), b"\n", b""}:
        return None
    if not unclosed and not blank:
        rows = lines - b"".join(inside).count(b"\n")
        if rows <= max_rows:
            return Cut(len(text), lines, rows)
    records = b'"'.join(outside)  # a quote where a quoted cell was
    if unclosed:
        records = records[: records.rfind(b"\n") + 1]
    return _cut_rows(text, records, inside, max_rows)


def _cut_rows(text: bytes, records: bytes, quoted: list[bytes], max_rows: int) -> Cut:
    """Cut after so many rows, or after the last one; ``records`` is the text with a quote for each quoted cell."""
    found = records.removesuffix(b"\n").split(b"\n")
    ends = list(islice(compress(count(1), map(not_, map(_BLANK.count, found))), max_rows))
    if not ends:
        return Cut(0, 0, 0)
    length = sum(map(len, found[: ends[-1]])) + ends[-1]
    cells = quoted[: records.count(b'"', 0, length)]
    length = min(length + len(cells) + sum(map(len, cells)), len(text))  # the last line of a file may have no end
    return Cut(length, text.count(b"\n", 0, length), len(ends))


def _lines(data: bytes, begin: int) -> Iterator[str]:
    """Return the lines from ``begin`` on, one character a byte, so that lengths are offsets."""
    return (line[0].decode("latin-1") for line in _LINE.finditer(data, begin) if line[0])


def _first_line(data: bytes, begin: int, delimiter: str) -> CsvRecord | None:
    """Read the first line by itself; None if it is too long for a record, as all is that does not end."""
    end = Cutter.line_end.search(data, begin)
    length = (end.end() if end else len(data)) - begin
    if length > MAX_RECORD_BYTES:
        return None
    return next(read_lines(_lines(data[begin : begin + length], 0), delimiter))
