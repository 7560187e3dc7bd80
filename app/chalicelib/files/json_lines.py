"""JSON lines: where a stream of them may be cut, and the objects in a range.

A line feed ends a line, nothing else does, and no quote keeps it from that: JSON writes it as an escape in texts. What
has nothing but white space is no row.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, count, islice, repeat
from typing import Any, ClassVar, NamedTuple

import msgspec

from chalicelib.files.cutting import Cut, Cutter, Range, cut_blocks
from chalicelib.files.encodings import NO_CHARACTER, to_utf_8, undecodable
from chalicelib.files.records import MAX_RECORD_BYTES

MAX_DEPTH = 100
"""Objects and arrays within each other: what is read is written, read and encoded again, deeper in the stack."""
_WHITE = b" \t\r"
"""JSON's white space, but for the line feed."""
_ROW = re.compile(rb"[^ \t\r\n]")
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))
_NAME = re.compile(rb'"[ \t\r]*:')
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF_BYTES = 14
"""msgspec looks for the other half of one of these behind the line, if the line ends within so many bytes."""
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class JsonLine(NamedTuple):
    """One line that is not blank: its values as they stand there, by name, or why it has none."""

    line: int
    values: dict[str, msgspec.Raw]
    reason: str = ""


def split_lines(
    blocks: Iterable[bytes], *, max_rows: int, max_bytes: int, offset: int = 0, first_line: int = 1
) -> Iterator[Range]:
    """Cut a stream into ranges as ``boundaries.split`` does; nothing but white space is between them."""
    cutter = _Cutter(
        max_rows=max_rows,
        max_bytes=min(max_bytes, MAX_RECORD_BYTES),
        max_record=MAX_RECORD_BYTES,
        offset=offset,
        line=first_line,
        likely=MAX_RECORD_BYTES,
    )
    return cut_blocks(blocks, cutter)


def read_objects(data: bytes, first_line: int, encoding: str) -> Iterator[JsonLine]:
    """Read the lines of a range."""
    text, sound = to_utf_8(data, encoding)
    for line, found in enumerate(text.split(b"\n"), start=first_line):
        stripped = found.strip(_WHITE)
        if not stripped:
            continue
        reason = "" if sound else _unsound(stripped, encoding)
        yield JsonLine(line, {}, reason) if reason else _read(line, stripped)


@dataclass(slots=True, kw_only=True)
class _Cutter(Cutter):
    line_end: ClassVar[re.Pattern[bytes]] = re.compile(rb"\n")

    def skip_blank(self, data: bytes, begin: int, *, last: bool) -> int:  # noqa: ARG002  no byte makes a line end longer
        row = _ROW.search(data, begin)
        end = row.start() if row else len(data)
        self._move(end - begin, data.count(b"\n", begin, end))
        return end

    def cut(self, data: bytes, begin: int, *, last: bool) -> Cut | None:
        size = min(self.likely, self.max_bytes)
        while True:
            window = data[begin : begin + size]
            found, is_full = self._cut_window(window, ended=last and begin + size >= len(data))
            if is_full or size == self.max_bytes:
                break
            size = min(2 * size, self.max_bytes)
        if found:
            return found
        end = data.find(b"\n", begin, begin + self.max_record) + 1 or (len(data) if last else 0)
        if 0 < end - begin <= self.max_record:
            return Cut(end - begin, 1, 1)
        return self.cut_too_long(data, begin, last=last)

    def _cut_window(self, window: bytes, *, ended: bool) -> tuple[Cut | None, bool]:
        """Cut after the last row that ends in a window, and tell whether there may be no more rows in the range."""
        most = self.max_rows
        while True:
            lines = window.split(b"\n", most)
            more = len(lines) > most
            rest = lines.pop()
            if ended and not more and rest:
                lines.append(rest)
            ends = list(islice(compress(count(1), map(bytes.strip, lines, repeat(_WHITE))), self.max_rows))
            if len(ends) == self.max_rows or not more:
                break
            most *= 4  # blank lines are among them
        if not ends:
            return None, ended
        length = min(sum(map(len, lines[: ends[-1]])) + ends[-1], len(window))  # the last line may have no end
        return Cut(length, ends[-1], len(ends)), ended or len(ends) == self.max_rows


def _unsound(text: bytes, encoding: str) -> str:
    found = NO_CHARACTER.search(text.decode(errors="surrogatepass"))
    return undecodable(found, encoding) if found else ""


def _read(line: int, text: bytes) -> JsonLine:
    try:
        values = _decode(text)
    except msgspec.ValidationError as error:  # an array, or a single value
        return JsonLine(line, {}, str(error).replace("`", "").replace("Expected", "expected an"))
    except msgspec.DecodeError as error:
        what = str(error).removeprefix("JSON is malformed: ").replace("(byte", "(near byte")
        if "surrogate" in what or _HALF.search(text, len(text) - _HALF_BYTES):
            what = "a \\u escape is half of a character"
        what = what.replace("Input data was truncated", "it breaks off")
        return JsonLine(line, {}, f"no JSON: {what}")
    except RecursionError:
        return JsonLine(line, {}, f"objects and arrays are nested over {MAX_DEPTH} deep")
    # Every name has a colon, so as many colons as names leave none for another object, or for a name's second time.
    if text.count(b":") == len(values) or len(_NAME.findall(text)) == len(values):
        is_simple = text.count(b"[") + text.count(b"{") <= MAX_DEPTH
    else:
        is_simple = False
    return JsonLine(line, values, "" if is_simple else _examined(text))


def _examined(text: bytes) -> str:
    """Say what is wrong with well-formed JSON: of a name that comes twice, each reader takes another value."""
    depth = deepest = 0
    for bracket in _TEXT.sub(b"", text).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return f"objects and arrays are nested over {MAX_DEPTH} deep"
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except _TwiceError as error:
        return f"the name '{error}' comes twice"
    return ""


class _TwiceError(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise _TwiceError(name)
        names.add(name)
