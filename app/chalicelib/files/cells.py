"""The cells of a chunk, cleaned, record by record.

The csv module and ``clean`` define them. Where quotes stand around whole cells, as any writer of CSV
sets them, a chunk is unquoted, cleaned and parted as one text, in a few passes at the speed of C.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import PLAIN, Layout
from chalicelib.files.encodings import to_utf_8
from chalicelib.files.records import read_range

_DELIMITER, _LINE_END = b"\0", b"\1"
"""Stand for a delimiter and a line end that part nothing, for they were between quotes."""
_WHITE_SPACE = b"\t\x0b\x0c\x1c\x1d\x1e\x1f"
_CONTROLS = bytes([*range(0x02, 0x09), *range(0x0E, 0x1C), 0x7F])


@cache
def _to_spaces(delimiter: bytes) -> bytes:
    """Return the table that makes white space a space, but for the delimiter."""
    white = (_WHITE_SPACE + _LINE_END).replace(delimiter, b"")
    return bytes.maketrans(white, b" " * len(white))


@cache
def _spare_space(delimiter: bytes) -> re.Pattern[bytes]:
    """Match a space after a separator or another space, or with nothing but spaces up to the next separator."""
    separator = re.escape(delimiter) + rb"\n"
    return re.compile(rb" (?:(?<=[" + separator + rb" ] )|(?= *[" + separator + rb"]))")


def read_cells(data: bytes, first_line: int, layout: Layout = PLAIN) -> Iterator[tuple[int, list[str], bool]]:
    """Read every record that is not blank: the physical line where it begins, its clean cells, whether it is sound.

    One that is not may have bytes that are no characters: each is a lone surrogate in its cell. One without cells is a
    line on which a quote is opened and not closed in time.
    """
    delimiter = layout.delimiter
    data, sound = to_utf_8(data, layout.encoding)
    mark = delimiter.encode()
    unquoted = _unquoted(data, mark)
    lines = _clean_lines(unquoted, mark) if unquoted else [""]
    if unquoted is None or "" in lines:  # a blank line, or a single empty cell: only the csv module can tell
        for line, cells in _read_exactly(data, first_line, delimiter):
            yield line, cells, sound
        return
    escaped = _DELIMITER in unquoted
    for line, text in zip(_begins(unquoted, first_line), lines, strict=True):
        cells = text.split(delimiter)
        if escaped and "\0" in text:
            cells = [cell.replace("\0", delimiter) for cell in cells]
        ascii_only = text.isascii()
        if not ascii_only:
            cells = [cell if cell.isascii() else clean(cell) for cell in cells]
        yield line, cells, sound or ascii_only or _is_sound(text)


def _is_sound(text: str) -> bool:
    """Tell whether a text has no lone surrogate: UTF-8 has none, and to encode is faster than to look for them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_exactly(data: bytes, line: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for record in read_range(data.decode(errors="surrogatepass"), delimiter):
        if record.cells:
            yield line, [] if record.unclosed else [clean(cell) for cell in record.cells]
        line += record.lines


def _unquoted(data: bytes, delimiter: bytes) -> bytes | None:
    """Return the records without quotes, each on a line; None where a quote is neither around a cell nor doubled."""
    if _DELIMITER in data or _LINE_END in data:
        return None
    if b"\r" in data:
        if data.count(b"\r") != data.count(b"\r\n"):
            return None
        data = data.replace(b"\r\n", b"\n")
    data = data.removesuffix(b"\n")
    if b'"' in data:
        parts = data.split(b'"')  # by turns outside of quotes and inside
        if len(parts) % 2 == 0 or not {before[-1:] for before in parts[:-1:2]} <= {delimiter, b"\n", b""}:
            return None
        parts[2:-1:2] = [part or b'"' for part in parts[2:-1:2]]  # nothing is between the halves of a doubled quote
        inside = b'"'.join(parts[1::2])
        # A tab in a cell is white space, also where it parts cells.
        parts[1::2] = (
            inside.replace(delimiter, b" " if delimiter == b"\t" else _DELIMITER).replace(b"\n", _LINE_END).split(b'"')
        )
        data = b"".join(parts)
    return data


def _clean_lines(unquoted: bytes, delimiter: bytes) -> list[str]:
    """Part the records, clean but for what is not ASCII."""
    text = _spare_space(delimiter).sub(b"", unquoted.translate(_to_spaces(delimiter), _CONTROLS)).strip(b" ")
    if text.isascii():
        return text.decode().split("\n")
    return [line.decode(errors="surrogatepass") for line in text.split(b"\n")]  # most of them are ASCII: faster


def _begins(unquoted: bytes, line: int) -> Iterable[int]:
    """Return the physical line where each record begins."""
    if _LINE_END not in unquoted:
        return range(line, line + unquoted.count(b"\n") + 1)
    found = [line]
    for piece in unquoted.split(_LINE_END):
        ends = piece.count(b"\n")
        found += range(line + 1, line + ends + 1)
        line += ends + 1
    return found
