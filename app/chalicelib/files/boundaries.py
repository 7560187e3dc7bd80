"""Where a CSV stream may be cut: byte ranges that end where a record ends, found without keeping the file.

A record ends where Python's csv module says it does, so quoted line ends are inside a record, and a quote in the
middle of a field is a character like any other. The fast paths need no csv module: where there is no quote, records
are lines, and where quotes are around whole cells, records end at the line ends outside of them.
"""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_RECORD_BYTES = 1_048_576
"""A record longer than this is none: more than twice what an item holds. It bounds memory, and it bounds the harm of
a quote that is opened and never closed to the line that it stands on."""

_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)
"""An end of line that no further byte can make longer."""


class Range(NamedTuple):
    """Bytes ``start`` to ``end`` (not included) that begin at physical line ``first_line`` (from 1).

    ``rows`` counts the records that are not blank. ``unreadable`` says why the only record, one line, cannot be read.
    """

    start: int
    end: int
    first_line: int
    rows: int
    unreadable: str = ""


class CsvRecord(NamedTuple):
    """One record of a text: its cells (none if it is blank), its length in characters and its physical lines.

    ``unclosed`` marks a last record whose quote is still open when the text ends.
    """

    cells: list[str]
    length: int
    lines: int
    unclosed: bool


class _Cut(NamedTuple):
    """How far a range reaches into the bytes at hand, and what is in it."""

    length: int
    lines: int
    rows: int
    unreadable: str = ""


@dataclass(slots=True)
class _Position:
    offset: int
    line: int

    def range(self, cut: _Cut) -> Range:
        found = Range(self.offset, self.offset + cut.length, self.line, cut.rows, cut.unreadable)
        self.offset += cut.length
        self.line += cut.lines
        return found


def split(
    blocks: Iterable[bytes], *, max_rows: int, max_bytes: int, offset: int = 0, first_line: int = 1
) -> Iterator[Range]:
    """Cut a stream, given as blocks of any size, into ranges that follow each other without a gap.

    A range has at most ``max_rows`` lines and is longer than ``max_bytes`` only for a single record.
    ``offset`` and ``first_line`` say where the stream begins in its file.
    """
    at = _Position(offset, first_line)
    # What a cut may have to look at: a whole range, and a record that begins at its very end.
    enough = max_bytes + MAX_RECORD_BYTES + 1
    data = b""
    likely = max_bytes  # what a range takes, by the one before: no cut copies a window of which it needs a quarter
    dropped = 0  # bytes of a line too long for a record: forgotten as they come, so that memory stays bounded
    for block in blocks:
        data += block
        begin = 0
        while dropped or len(data) - begin >= enough:
            cut = None if dropped else _cut(data, begin, begin + enough, max_rows, max_bytes, likely=likely, last=False)
            if cut is None:
                end = _LINE_END.search(data, begin)
                if end is None:
                    kept = 1 if data.endswith(b"\r") else 0  # a line feed may follow it in the next block
                    dropped += len(data) - begin - kept
                    begin = len(data) - kept
                    break
                cut = _too_long(dropped + end.end() - begin)
                begin -= dropped
                dropped = 0
            likely = cut.length + cut.length // 8
            yield at.range(cut)
            begin += cut.length
        data = data[begin:]
    if dropped:
        yield at.range(_too_long(dropped + len(data)))
        return
    begin = 0
    while cut := _cut(data, begin, len(data), max_rows, max_bytes, likely=likely, last=True):
        yield at.range(cut)
        begin += cut.length


def read_records(text: str) -> Iterator[CsvRecord]:
    """Read every record of a text with the csv module, together with the place that it takes."""
    csv.field_size_limit(sys.maxsize)  # the default refuses cells over 128 KiB; MAX_RECORD_BYTES bounds them instead
    length = lines = 0
    ended = False

    def feed() -> Iterator[str]:
        nonlocal length, lines, ended
        for line in io.StringIO(text, newline=""):  # only \n, \r and \r\n end a line here, as in the csv module
            length += len(line)
            lines += 1
            yield line
        ended = True
        yield '"'  # closes a quote that is still open; otherwise it opens a record of its own, which is none

    length_before = lines_before = 0
    for cells in csv.reader(feed()):
        if ended and length == length_before:
            return
        yield CsvRecord(cells, length - length_before, lines - lines_before, ended)
        length_before, lines_before = length, lines


def _cut(data: bytes, begin: int, end: int, max_rows: int, max_bytes: int, *, likely: int, last: bool) -> _Cut | None:
    """Cut one range from ``begin``, looking no further than ``end``; the file ends there if ``last``.

    None when there is nothing to cut, or no line ends. ``likely`` bytes are tried first, and do not change the cut.
    """
    size = min(likely, max_bytes)
    while True:
        window = data[begin : begin + size]
        lines = window.split(b"\n", max_rows)
        if len(lines) > max_rows or size == max_bytes:
            break
        size = min(2 * size, max_bytes)
    cut = _cut_lines(window, lines, max_rows, last=last and begin + len(window) == end)
    return cut or _cut_records(data[begin:end], max_rows, max_bytes, last=last)


def _cut_lines(window: bytes, lines: list[bytes], max_rows: int, *, last: bool) -> _Cut | None:
    """Cut after the last record that ends in whole lines; every step runs at the speed of C.

    None if there is none, or if only the csv module can tell.
    """
    rest = lines.pop()
    if last and rest and len(lines) < max_rows:
        lines.append(rest)
        rest = b""
    text = window[: len(window) - len(rest)]
    if not text or (b"\r" in text and text.count(b"\r") != text.count(b"\r\n")):
        return None
    if b"\r" in rest and len(lines) < max_rows:
        return None  # it may end a record that fits in as well
    if len(text) > MAX_RECORD_BYTES and (b'"' in text or max(map(len, lines)) >= MAX_RECORD_BYTES):
        return None
    blank = lines.count(b"") + (lines.count(b"\r") if b"\r" in text else 0)
    if b'"' in text:
        return _cut_quoted(text, lines, may_be_blank=blank > 0)
    return _Cut(len(text), len(lines), len(lines) - blank)


def _cut_quoted(text: bytes, lines: list[bytes], *, may_be_blank: bool) -> _Cut | None:
    """Cut lines with quotes; None where any quote is neither an end of a cell nor half of a doubled one.

    A quote opens a cell only where a cell begins; elsewhere it is a character, and so may be all that follow it.
    """
    parts = text.split(b'"')
    unclosed = len(parts) % 2 == 0
    if unclosed:
        parts.append(b"")
    outside, inside = parts[::2], parts[1::2]  # between the halves of a doubled quote nothing is outside
    if not {before[-1:] for before in outside[:-1]} <= {b",", b"\n", b""}:
        return None
    if not unclosed and not may_be_blank:
        return _Cut(len(text), len(lines), len(lines) - b"".join(inside).count(b"\n"))
    records = b'"'.join(outside)  # a quote where a quoted cell was
    length, count = len(text), len(lines)
    if unclosed:
        records = records[: records.rfind(b"\n") + 1]
        cells = inside[: records.count(b'"')]
        length = len(records) + len(cells) + sum(map(len, cells))
        count = text.count(b"\n", 0, length)
    found = records.removesuffix(b"\n").split(b"\n")
    return _Cut(length, count, len(found) - found.count(b"") - found.count(b"\r")) if length else None


def _cut_records(data: bytes, max_rows: int, max_bytes: int, *, last: bool) -> _Cut | None:
    """Cut after whole records as the csv module reads them."""
    length = lines = rows = 0
    for record in read_records(data.decode("latin-1")):  # one character a byte, so that lengths are offsets
        may_go_on = length + record.length == len(data) and not last
        if record.unclosed or record.length > MAX_RECORD_BYTES or may_go_on:
            break
        if length and (lines + record.lines > max_rows or length + record.length > max_bytes):
            break
        length += record.length
        lines += record.lines
        rows += bool(record.cells)
    return _Cut(length, lines, rows) if length else _cut_unreadable(data, last=last)


def _cut_unreadable(data: bytes, *, last: bool) -> _Cut | None:
    """Cut the first line by itself, for no record that begins there ends within what a record may take."""
    end = _LINE_END.search(data)
    if end is None and not (last and data):
        return None
    length = end.end() if end else len(data)
    if length > MAX_RECORD_BYTES:
        return _too_long(length)
    return _Cut(length, 1, 1, f"a quote is opened here and not closed within {MAX_RECORD_BYTES:,} bytes")


def _too_long(length: int) -> _Cut:
    return _Cut(length, 1, 1, f"the line is {length:,} bytes long; the longest record may have {MAX_RECORD_BYTES:,}")
