"""How the characters of a file are encoded, and its lines in UTF-8."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

from chalicelib.files.kinds import kind_of
from tally.draft.sample import Piece, Sample, lines_of
from tally.errors import ExitCode, OperatorError

_SINGLE_BYTE = (
    "cp1252", "latin_1", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "mac_roman", "cp437", "cp850", "cp852", "cp866",
)  # fmt: skip
_OTHERS = ("shift_jis", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp949")
"""Encodings of several bytes a character, which no job takes."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ASKED_BYTES = 262_144
_MAX_SHOWN = 30
_UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The name for ENCODING, empty for UTF-8, and what is not sure of it."""

    name: str = ""
    doubts: tuple[str, ...] = ()

    def lines(self, piece: Piece) -> bytes:
        """Return the whole lines of a piece in UTF-8; what cannot be decoded stays as the pipeline would see it."""
        data = piece.data
        if not self.name:
            text = data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
            return lines_of(text, first=piece.first, last=piece.last).encode(errors="surrogateescape")
        codec = self.name
        if codec == "utf-16":  # the mark is in the first piece only
            codec, data = self._order, data.removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
        text = data.decode(codec, errors="replace")
        return lines_of(text, first=piece.first, last=piece.last).encode()

    big_endian: bool = False

    @property
    def _order(self) -> str:
        return "utf-16-be" if self.big_endian else "utf-16-le"


def detect(sample: Sample) -> Encoding:
    """Tell the encoding of a sample; raises OperatorError for one that no job takes."""
    head = sample.head
    mark = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    if mark == "utf-32":
        raise _unusable(sample, "UTF-32", "UTF-32")
    if mark:
        return Encoding(name=mark, big_endian=head.startswith(codecs.BOM_UTF16_BE))
    if kind_of(head):
        return Encoding(name=_order_without_mark(head), doubts=("UTF-16 has no mark here: told by its zero bytes",))
    bad, good = _not_utf_8(sample)
    if not bad:
        return Encoding()
    if good > len(bad):
        return Encoding(doubts=(f"{len(bad):,} lines are not UTF-8 and will be rejected, {good:,} others are",))
    return _guess(sample, bad)


def _order_without_mark(head: bytes) -> str:
    start = head[:4096]
    return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"


def _not_utf_8(sample: Sample) -> tuple[list[bytes], int]:
    """Return the lines that are no UTF-8, and how many lines have UTF-8 beyond ASCII."""
    bad: list[bytes] = []
    good = 0
    for piece in sample.pieces:
        if piece.data.isascii():
            continue
        for line in _whole_lines(piece):
            if line.isascii():
                continue
            try:
                line.decode()
                good += 1
            except UnicodeDecodeError:
                bad.append(line)
    return bad, good


def _whole_lines(piece: Piece) -> Iterator[bytes]:
    lines = piece.data.splitlines()
    yield from lines[0 if piece.first else 1 : len(lines) if piece.last else -1]


def _guess(sample: Sample, bad: list[bytes]) -> Encoding:
    asked = b"\n".join(bad)[:_ASKED_BYTES]
    best = from_bytes(asked, cp_isolation=[*_SINGLE_BYTE, *_OTHERS]).best()
    name = best.encoding if best else "latin_1"
    if name in _OTHERS and _is_likely(asked, name):
        raise _unusable(sample, name.upper().replace("_", "-"), name)
    if name in _OTHERS or name in {"cp1252", "latin_1", "cp1254", "cp1257"}:
        # These differ in what few files have. Windows wrote most of them.
        name = "latin_1" if _UNDEFINED_IN_CP1252.search(asked) else "cp1252"
    shown = re.search(r"\w*[^\x00-\x7f]\w*", asked.decode(name, errors="replace"))
    example = f": check that {shown[0][:_MAX_SHOWN]!r} is right" if shown else ""
    return Encoding(name={"latin_1": "latin-1"}.get(name, name), doubts=(f"ENCODING is a guess{example}",))


def _is_likely(data: bytes, name: str) -> bool:
    """Tell whether whole words are beyond ASCII, as in no language of single bytes with a Latin alphabet."""
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        return False
    return re.search(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2}", text) is not None


def _unusable(sample: Sample, shown: str, codec: str) -> OperatorError:
    return OperatorError(
        f"{sample.path} looks {shown}-encoded, which no job takes: convert it, for example with "
        f"`iconv -f {codec.replace('_', '-').upper()} -t UTF-8 {sample.path.name} > utf8.csv`.",
        code=ExitCode.USAGE,
    )
