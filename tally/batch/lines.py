"""Find a line of a file: its chunk, in few requests, and its row in the chunk."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from chalicelib.files.dialect import Format
from chalicelib.files.encodings import to_utf_8
from chalicelib.files.json_lines import read_objects
from chalicelib.files.records import read_range
from chalicelib.store.table import MAX_KEYS

if TYPE_CHECKING:
    from chalicelib.files.dialect import Layout
    from chalicelib.files.source import ObjectReader
    from chalicelib.store.chunk import Chunk

_DENSE = MAX_KEYS // 2
"""So many of the chunks in one read are near the expected place; the others are spread over the rest."""

Chunks = dict[int, "Chunk"]
"""Chunks by number."""


def find_chunk(known: Chunks, total: int, line: int, read: Callable[[Iterable[int]], Chunks]) -> "Chunk | None":
    """Return the last of ``total`` chunks that begins at a line or before it; None if there is none.

    ``known`` are the first ones. If lines are spread evenly over the chunks, one more request is enough; each further
    one leaves a fiftieth of the chunks in question.
    """
    while True:
        low = max((number for number, chunk in known.items() if chunk.first_line <= line), default=-1)
        high = min((number for number, chunk in known.items() if chunk.first_line > line), default=total)
        found = read(_wanted(known, low, high, line)) if high - low > 1 else {}
        if not found:
            return known.get(low)
        known = known | found


def _wanted(known: Chunks, low: int, high: int, line: int) -> set[int]:
    """Return the chunks between two that are read next: all of them, if they are few."""
    between = range(low + 1, high)
    if len(between) <= MAX_KEYS:
        return set(between)
    guess = low + _distance(known, low, high, line)
    first = max(between.start, min(guess - _DENSE // 2, between.stop - _DENSE))
    share = MAX_KEYS - _DENSE
    return {*range(first, first + _DENSE), *(between[part * len(between) // share] for part in range(share))}


def _distance(known: Chunks, low: int, high: int, line: int) -> int:
    """Return how many chunks after ``low`` the line should be, if lines are spread evenly."""
    if low not in known or low == min(known):
        return 1
    begin = known[low].first_line
    first, last = (low, high) if high in known else (min(known), low)
    lines_a_chunk = (known[last].first_line - known[first].first_line) / (last - first)
    return round((line - begin) / max(1, lines_a_chunk))


def find_row(file: "ObjectReader", chunk: "Chunk", line: int, layout: "Layout") -> tuple[int, int] | None:
    """Return the row of a chunk that a line is a part of, and the line where it begins; None for a blank line.

    Reads the chunk's part of the file: the table knows where rows begin, not where they end. Raises SourceGoneError.
    """
    if chunk.unreadable:
        return (0, line) if line == chunk.first_line else None
    if layout.format is Format.JSONL:
        objects = read_objects(file.read(chunk.start, chunk.end), chunk.first_line, layout.encoding)
        return next(((row, line) for row, found in enumerate(objects) if found.line == line), None)
    data, _ = to_utf_8(file.read(chunk.start, chunk.end), layout.encoding)
    text = data.decode(errors="surrogatepass")
    begins, row = chunk.first_line, 0
    for record in read_range(text, layout.delimiter):
        ends = begins + record.lines
        if begins <= line < ends:
            return (row, begins) if record.cells else None
        begins, row = ends, row + bool(record.cells)
    return None
