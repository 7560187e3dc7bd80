"""The records of a CSV text as Python's csv module reads them, and the place that each takes."""

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_RECORD_BYTES = 1_048_576
"""A record longer than this is none: more than twice what an item holds. It bounds memory, and it bounds the harm of
a quote that is opened and never closed to the line that it stands on."""
NEVER_CLOSED = f"a quote is opened here and not closed within {MAX_RECORD_BYTES:,} bytes"


class CsvRecord(NamedTuple):
    """One record of a text: its cells (none if it is blank), its length in characters and its physical lines.

    ``unclosed`` marks a record whose quote is still open when the text ends.
    """

    cells: list[str]
    length: int
    lines: int
    unclosed: bool


def read_records(text: str, delimiter: str = ",") -> Iterator[CsvRecord]:
    """Read every record of a text; only the last one may be unclosed."""
    return read_lines(
        io.StringIO(text, newline=""), delimiter
    )  # only \n, \r and \r\n end a line here, as in the csv module


def read_range(text: str, delimiter: str = ",") -> Iterator[CsvRecord]:
    """Read every record of a range; an unclosed one is a line on which a quote is opened and not closed in time.

    A range ends where a record does. So a quote that is open at its end is not closed within what a record may take,
    and neither is one that a later line leaves open: both are open at the same place.
    """
    position = 0
    for record in read_records(text, delimiter):
        if record.unclosed:
            break
        yield record
        position += record.length
    else:
        return
    for line in io.StringIO(text[position:], newline=""):
        yield from read_lines([line], delimiter)


def read_lines(lines: Iterable[str], delimiter: str = ",") -> Iterator[CsvRecord]:
    """Read every record of a text that comes line by line; reads no line before it is needed."""
    csv.field_size_limit(sys.maxsize)  # the default refuses cells over 128 KiB; MAX_RECORD_BYTES bounds them instead
    length = count = 0
    ended = False

    def feed() -> Iterator[str]:
        nonlocal length, count, ended
        for line in lines:
            length += len(line)
            count += 1
            yield line
        ended = True
        yield '"'  # closes a quote that is still open; otherwise it opens a record of its own, which is none

    length_before = count_before = 0
    for cells in csv.reader(feed(), delimiter=delimiter):
        if ended and length == length_before:
            return
        yield CsvRecord(cells, length - length_before, count - count_before, ended)
        length_before, count_before = length, count
