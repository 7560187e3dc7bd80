"""The sample of a file that a job is drafted from: all of a small file, pieces spread over a large one."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chalicelib.files.kinds import kind_of, unmarked
from tally.errors import ExitCode, OperatorError

WHOLE_BYTES = 50 * 1024 * 1024
"""A file up to this size is read from end to end."""
_HEAD_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024
_PIECES = 8
_MAX_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
"""The most bytes read of a gzip file, which can only be read from its beginning: some ten seconds."""
_GZIP = b"\x1f\x8b"
_LOOKED_AT = 4096
_TEXT = bytes([*range(0x07, 0x0E), 0x1B, *range(0x20, 0x100)])
_MAX_ODD = 0.05
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a file: ``first`` if they include its beginning, ``last`` if they include its end."""

    data: bytes
    first: bool
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Pieces of a file in order; ``whole`` if they are all of it."""

    path: Path
    pieces: tuple[Piece, ...]
    whole: bool

    @property
    def head(self) -> bytes:
        """Return the first piece."""
        return self.pieces[0].data


def take(path: Path, *, whole_bytes: int = WHOLE_BYTES) -> Sample:
    """Return a sample of a file, plain or gzip; raises OperatorError if it is empty, unreadable or not text."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            pieces = tuple(_unpacked(file, whole_bytes) if packed else _spread(file, whole_bytes))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _refused(path, f"its gzip data are damaged or cut off ({error})") from error
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror or error}") from error
    if not any(piece.data.strip() for piece in pieces):
        raise _refused(path, "it is empty: a job is drafted from a header or some rows")
    kind = kind_of(pieces[0].data) or _binary(pieces[0].data)
    if kind:
        raise _refused(path, f"it is {kind}: save it as CSV or as JSON lines, as it is or with gzip")
    return Sample(path=path, pieces=pieces, whole=len(pieces) == 1 and pieces[0].last)


def lines_of(text: str, *, first: bool, last: bool) -> str:
    """Return the whole lines of a piece; the parts before its first line end and after its last are left out."""
    begin = 0
    if not first:
        found = _LINE_END.search(text)
        begin = found.end() if found else len(text)
    end = len(text) if last else max(text.rfind("\n"), text.rfind("\r")) + 1
    return text[begin:end]


def _spread(file: IO[bytes], whole_bytes: int) -> Iterator[Piece]:
    size = file.seek(0, 2)
    file.seek(0)
    if size <= whole_bytes:
        yield Piece(data=file.read(), first=True, last=True)
        return
    head = min(_HEAD_BYTES, whole_bytes)
    length = min(_PIECE_BYTES, whole_bytes)
    yield Piece(data=file.read(head), first=True, last=False)
    # The offsets are even, so that no character of UTF-16 is cut in half. The last piece ends with the file.
    for number in range(1, _PIECES + 1):
        offset = max(size * number // _PIECES - length, head) // 2 * 2
        file.seek(offset)
        last = number == _PIECES
        yield Piece(data=file.read() if last else file.read(length), first=False, last=last)


def _unpacked(file: IO[bytes], whole_bytes: int) -> Iterator[Piece]:
    """Yield the head of a gzip file's content, a piece each time that it grew by half, and the tail."""
    with gzip.GzipFile(fileobj=file) as unpacked:
        head = unpacked.read(whole_bytes)
        read, next_piece = len(head), len(head) * 3 // 2
        block = unpacked.read(_PIECE_BYTES)
        yield Piece(data=head, first=True, last=not block)
        while block and read < _MAX_UNPACKED_BYTES:
            read += len(block)
            following = unpacked.read(_PIECE_BYTES)
            if read >= next_piece or not following:
                next_piece = read * 3 // 2
                yield Piece(data=block, first=False, last=not following)
            block = following


def _binary(head: bytes) -> str:
    """Tell whether bytes are not text, by their control characters, which UTF-16 has too."""
    if unmarked(head):
        return ""
    start = head[:_LOOKED_AT]
    odd = len(start.translate(None, _TEXT))
    return "no text, by its first bytes" if odd > len(start) * _MAX_ODD and not start.startswith(_MARKS) else ""


def _refused(path: Path, why: str) -> OperatorError:
    return OperatorError(f"No job can be drafted from {path}: {why}.", code=ExitCode.USAGE)
