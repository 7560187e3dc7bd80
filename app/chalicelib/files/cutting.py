"""Cutting a stream of any kind of records into ranges that follow each other, in bounded memory."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)
"""An end of line that no further byte can make longer."""
_ROW = re.compile(rb"[^\r\n]")
"""The first byte of a row, after a line end."""


class Range(NamedTuple):
    """Bytes ``start`` to ``end`` (not included) that begin with a row, at physical line ``first_line`` (from 1).

    ``rows`` counts the records that are not blank. ``unreadable`` says why the only record, one line, cannot be read.
    """

    start: int
    end: int
    first_line: int
    rows: int
    unreadable: str = ""


class Cut(NamedTuple):
    """The end of a range in the bytes at hand, and its contents."""

    length: int
    lines: int
    rows: int
    unreadable: str = ""


@dataclass(slots=True, kw_only=True)
class Cutter(ABC):
    """Cuts one range after the other; the bytes at hand may be any that begin at its offset.

    What a range is depends on the file alone, not on how much of it is at hand: two plans find the same ranges.
    """

    max_rows: int
    max_bytes: int
    max_record: int
    """A longer line is no record."""
    offset: int
    line: int
    likely: int
    """The bytes that the next range may take, guessed by the last one: a cut copies no window four times too large."""
    line_end: ClassVar[re.Pattern[bytes]] = _LINE_END

    def range(self, cut: Cut) -> Range:
        """Return a cut as a range of the file, and go to its end."""
        found = Range(self.offset, self.offset + cut.length, self.line, cut.rows, cut.unreadable)
        self._move(cut.length, cut.lines)
        self.likely = cut.length + cut.length // 8
        return found

    def skip_blank(self, data: bytes, begin: int, *, last: bool) -> int:
        """Go on to the next line that is not blank; returns where it begins, or the end of what is at hand."""
        length, lines = blank_run(data, begin, last=last)
        self._move(length, lines)
        return begin + length

    @abstractmethod
    def cut(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        """Cut one range from ``begin``, where a row begins; the file ends with the data if ``last``.

        None when there is nothing to cut, or no line ends.
        """

    def too_long(self, length: int) -> Cut:
        """Return the cut of a line that is no record."""
        longest = f"the longest record may have {self.max_record:,}"
        return Cut(length, 1, 1, f"the line is {length:,} bytes long; {longest}")

    def cut_too_long(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        """Cut the first line by itself, for it is too long for a record; None if it does not end."""
        end = self.line_end.search(data, begin)
        if end is None and not (last and begin < len(data)):
            return None
        return self.too_long((end.end() if end else len(data)) - begin)

    def _move(self, length: int, lines: int) -> None:
        self.offset += length
        self.line += lines


def cut_blocks(blocks: Iterable[bytes], cutter: Cutter) -> Iterator[Range]:
    """Cut a stream, given as blocks of any size, with a cutter that stands at its beginning."""
    # What a cut may have to look at: a whole range, and a record that begins at its very end.
    enough = cutter.max_bytes + cutter.max_record + 1
    data = b""
    dropped = 0  # bytes of a line too long for a record: forgotten as they come, so that memory stays bounded
    for block in blocks:
        data += block
        begin = 0 if dropped else cutter.skip_blank(data, 0, last=False)
        while dropped or len(data) - begin >= enough:
            cut = None if dropped else cutter.cut(data, begin, last=False)
            if cut is None:
                end = cutter.line_end.search(data, begin)
                if end is None:
                    kept = 1 if data.endswith(b"\r") else 0  # a line feed may follow it in the next block
                    dropped += len(data) - begin - kept
                    begin = len(data) - kept
                    break
                cut = cutter.too_long(dropped + end.end() - begin)
                begin -= dropped
                dropped = 0
            yield cutter.range(cut)
            begin = cutter.skip_blank(data, begin + cut.length, last=False)
        data = data[begin:]
    if dropped:
        yield cutter.range(cutter.too_long(dropped + len(data)))
        return
    begin = cutter.skip_blank(data, 0, last=True)
    while cut := cutter.cut(data, begin, last=True):
        yield cutter.range(cut)
        begin = cutter.skip_blank(data, begin + cut.length, last=True)


def blank_run(data: bytes, begin: int, *, last: bool) -> tuple[int, int]:
    """Return how many bytes and lines are blank from ``begin`` on."""
    row = _ROW.search(data, begin)
    end = row.start() if row else len(data)
    if end == begin:
        return 0, 0
    if end == len(data) and data.endswith(b"\r") and not last:
        end -= 1  # a line feed may follow it
    returns = data.count(b"\r", begin, end) - data.count(b"\r\n", begin, end)
    return end - begin, data.count(b"\n", begin, end) + returns
