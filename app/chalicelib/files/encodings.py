"""The encodings that a job may name, and how bytes of any of them become UTF-8, in which everything else is read.

In a single-byte encoding delimiters, quotes and line ends are the bytes that they are in UTF-8, so a file is cut as it
is. UTF-16 is cut as UTF-8, and each place of that text is measured in the bytes of the file.
"""

import codecs
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from chalicelib.files.cutting import Range
from chalicelib.files.records import MAX_RECORD_BYTES

UTF_8 = "utf-8"
UTF_16 = "utf-16"
"""The name in a job; a batch has one of the two below, by the file's mark."""
UTF_16_LE, UTF_16_BE = "utf-16-le", "utf-16-be"
_WIDE = (UTF_16_LE, UTF_16_BE)
_MARKS = ((codecs.BOM_UTF8, UTF_8), (codecs.BOM_UTF16_LE, UTF_16_LE), (codecs.BOM_UTF16_BE, UTF_16_BE))
_WITHOUT_TABLE = {"ascii", "iso8859-1"}
"""Single-byte codecs that Python has in C."""
_ASCII = bytes(range(128)).decode("ascii")
_FOLLOWING = bytes(range(0x80, 0xC0))
"""All bytes of a character in UTF-8 but its first."""
_FOUR = bytes(range(0xF0, 0xF8))
"""The first bytes of characters that take four bytes in UTF-8, and two units in UTF-16."""
_AT_HAND = 2 * MAX_RECORD_BYTES + 1
"""The bytes that a cut may need at hand: a whole range, and a record that begins at its end."""
NO_CHARACTER = re.compile("[\ud800-\udfff]")
"""Stands in a text for what is no character."""
_CUT_OFF = 0xDC00
"""A last byte without its other half stands behind this as a lone surrogate, which no text has."""

Cut = Callable[[Iterable[bytes]], Iterator[Range]]
"""Cuts UTF-8 into ranges that follow each other, with nothing between them but blank lines, which are ASCII."""


def named(encoding: str) -> str | None:
    """Return the one name of an encoding that files may have; None for any other.

    Those are UTF-8, UTF-16, and the single-byte encodings in which ASCII is ASCII and nothing else is.
    """
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError):
        return None
    if codec.name in {UTF_8, "utf-8-sig"}:
        return UTF_8
    if codec.name in {UTF_16, *_WIDE}:
        return codec.name
    table = getattr(sys.modules.get(getattr(codec.incrementaldecoder, "__module__", "")), "decoding_table", "")
    if codec.name in _WITHOUT_TABLE:
        return codec.name
    # Some have a second comma or quote among their upper half: cutting by bytes and reading by characters would differ.
    fits = table[: len(_ASCII)] == _ASCII and not any(character in _ASCII for character in table[len(_ASCII) :])
    return codec.name if fits else None


def marked(head: bytes) -> tuple[str, int]:
    """Return the encoding that a file's byte order mark says, and the mark's length; an empty name without a mark."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def is_wide(encoding: str) -> bool:
    """Tell whether a file is cut as another text than its bytes are."""
    return encoding in _WIDE


def to_utf_8(data: bytes, encoding: str) -> tuple[bytes, bool]:
    """Return text as UTF-8, and whether it is sound.

    If it is not, a byte that is no character is a lone surrogate, U+DC80 to U+DCFF, and half a character of UTF-16
    stays as it is.
    """
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Each a character of its own, so that none makes a good one with what comes to stand beside it.
        text = _units(data, encoding) if is_wide(encoding) else data.decode(encoding, "surrogateescape")
        return text.encode(errors="surrogatepass"), False
    return (data if encoding == UTF_8 else text.encode()), True


def undecodable(found: re.Match[str], encoding: str) -> str:
    """Say what is no character at a place of a text that is not sound."""
    place = found.start() + 1
    if is_wide(encoding):
        return f"character {place} is half of a UTF-16 character"
    return f"byte 0x{ord(found[0]) - _CUT_OFF:02x} at character {place} is not {shown(encoding)}"


def shown(encoding: str) -> str:
    """Return the name of an encoding as people write it."""
    return encoding.upper() if encoding.startswith("utf") else encoding


def cut_wide(blocks: Iterable[bytes], encoding: str, cut: Cut, *, offset: int) -> Iterator[Range]:
    """Cut UTF-16, given as blocks that begin at an offset of their file, as its text in UTF-8 is cut."""
    text = _Text(blocks, encoding, file=offset)
    end = before = offset
    for found in cut(text):
        start = end + 2 * (found.start - before)
        end, before = text.place(found.end), found.end
        unreadable = f"{found.unreadable} in UTF-8" if found.unreadable else ""
        yield found._replace(start=start, end=end, unreadable=unreadable)


def _units(data: bytes, encoding: str) -> str:
    text = data[: len(data) // 2 * 2].decode(encoding, "surrogatepass")
    return text + chr(_CUT_OFF + data[-1]) if len(data) % 2 else text


@dataclass(slots=True)
class _Text:
    """UTF-16 as blocks of UTF-8, of which it keeps those in which a range may still end."""

    blocks: Iterable[bytes]
    encoding: str
    file: int
    """The place in the file up to which the text is measured, ..."""
    measured: int = -1
    """... and that place in the text. Both begin at the same number."""
    kept: deque[bytes] = field(default_factory=deque)
    held: int = 0
    """The length of all that are kept."""
    passed: int = 0
    """The part of the first of them that is measured."""
    size: int = 0
    """The bytes of the file that were read."""

    def __iter__(self) -> Iterator[bytes]:
        self.measured = self.size = self.file
        decoder = codecs.getincrementaldecoder(self.encoding)("surrogatepass")
        for block in self.blocks:
            self.size += len(block)
            yield self._keep(decoder.decode(block).encode(errors="surrogatepass"))
        rest = decoder.getstate()[0]
        yield self._keep(_units(rest, self.encoding).encode(errors="surrogatepass"))

    def place(self, end: int) -> int:
        """Return where a place of the text, which is no character's middle, is in the file."""
        while self.kept and end - self.measured >= len(self.kept[0]) - self.passed:
            self._pass(len(self.kept[0]) - self.passed)
        self._pass(end - self.measured)
        return min(self.file, self.size)  # half a unit at the very end was measured as a whole one

    def _keep(self, text: bytes) -> bytes:
        """Keep a block, and forget those in which no range ends that is still to come: a line may be of any length."""
        while self.kept and self.held - len(self.kept[0]) >= _AT_HAND:
            self._pass(len(self.kept[0]) - self.passed)
        self.kept.append(text)
        self.held += len(text)
        return text

    def _pass(self, length: int) -> None:
        if not self.kept:
            return
        piece = self.kept[0][self.passed : self.passed + length]
        self.file += wide_size(piece)
        self.measured += length
        self.passed += length
        if self.passed == len(self.kept[0]):
            self.held -= len(self.kept.popleft())
            self.passed = 0


def wide_size(text: bytes) -> int:
    """Return how many bytes a text in UTF-8 takes in UTF-16."""
    if text.isascii():
        return 2 * len(text)
    return 2 * (len(text.translate(None, _FOLLOWING)) + len(text) - len(text.translate(None, _FOUR)))
