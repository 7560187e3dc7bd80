"""The encoding of a file, and its lines in UTF-8."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

from chalicelib.files.kinds import unmarked
from tally.draft.sample import Piece, Sample, lines_of
from tally.errors import ExitCode, OperatorError

_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257", "mac_roman", "cp850", "cp852", "cp437")
"""Encodings of languages that have most letters in ASCII; the more likely of two that fit comes first."""
_OTHER_SCRIPTS = ("cp1251", "koi8_r", "iso8859_5", "cp866", "cp1253", "iso8859_7", "cp1255", "cp1256")
_SEVERAL_BYTES = ("cp932", "euc_jp", "gb18030", "big5", "cp949")
"""No job takes these."""
_NAMES = {"cp932": "Shift-JIS", "cp949": "EUC-KR"}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LAST_OF_ASCII = 0x7F
_WRITTEN = {"latin_1": "latin-1", "koi8_r": "koi8-r", "iso8859_5": "iso8859-5", "iso8859_7": "iso8859-7"}
_ASKED_BYTES = 262_144
_MAX_SHOWN = 30
_RUN = re.compile(rb"[\x80-\xff]{3,}")
_EAST_ASIAN = re.compile("[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff5e]+")
_MOST = 0.5
_SECOND_BYTES_OF_ASCII = ("cp932", "big5")
"""Those whose characters may end in a byte of ASCII, so that no bytes beyond ASCII need to follow each other."""
_IN_WORDS = 0.9
_AS_LIKELY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The name for ENCODING, empty for UTF-8, and the doubts about it."""

    name: str = ""
    doubts: tuple[str, ...] = ()
    big_endian: bool = False
    """Of UTF-16 with a mark, which is in the first piece only."""

    def lines(self, piece: Piece) -> bytes:
        """Return the whole lines of a piece in UTF-8; undecodable bytes stay as the pipeline would see them."""
        data = piece.data
        if not self.name:
            if piece.first and piece.last:
                return data.removeprefix(codecs.BOM_UTF8)
            text = data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
            return lines_of(text, first=piece.first, last=piece.last).encode(errors="surrogateescape")
        codec = self.name
        if codec == "utf-16":  # the mark is in the first piece only
            codec, data = self._order, data.removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
        text = data.decode(codec, errors="replace")
        return lines_of(text, first=piece.first, last=piece.last).encode()

    @property
    def _order(self) -> str:
        return "utf-16-be" if self.big_endian else "utf-16-le"


def detect(sample: Sample) -> Encoding:
    """Return the encoding of a sample; raises OperatorError for one that no job takes."""
    head = sample.head
    mark = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    if mark == "utf-32":
        raise _unusable(sample, "UTF-32", "UTF-32")
    if mark:
        return Encoding(name=mark, big_endian=head.startswith(codecs.BOM_UTF16_BE))
    order = unmarked(head)
    if order:
        return Encoding(name=order, doubts=("UTF-16 has no mark here: told by its zero bytes",))
    bad, good = _not_utf_8(sample)
    if not bad:
        return Encoding()
    if good > len(bad):
        return Encoding(doubts=(f"rejected, {len(bad):,} times: a line that is not UTF-8, as {good:,} others are",))
    return _guess(sample, bad)


def _not_utf_8(sample: Sample) -> tuple[list[bytes], int]:
    """Return the lines that are not UTF-8, and the number of lines with UTF-8 beyond ASCII."""
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
    """Guess the encoding of lines that are not UTF-8: letters beyond ASCII that stand alone mean a Latin one."""
    asked = b"\n".join(bad)[:_ASKED_BYTES]
    high = sum(byte > _LAST_OF_ASCII for byte in asked)
    if sum(map(len, _RUN.findall(asked))) > high * _MOST:
        best = from_bytes(asked, cp_isolation=[*_OTHER_SCRIPTS, *_SEVERAL_BYTES]).best()
        name = best.encoding if best else "latin_1"
    else:
        name = next((name for name in _SECOND_BYTES_OF_ASCII if _is_east_asian(asked, name)), "") or _latin(asked)
    if name in _SEVERAL_BYTES:
        raise _unusable(sample, _NAMES.get(name, name.upper()), _NAMES.get(name, name.upper()))
    shown = re.search(r"\w*[^\x00-\x7f]\w*", asked.decode(name, errors="replace"))
    example = f": check that {shown[0][:_MAX_SHOWN]!r} is right" if shown else ""
    return Encoding(name=_WRITTEN.get(name, name), doubts=(f"ENCODING is a guess{example}",))


def _is_east_asian(data: bytes, name: str) -> bool:
    """Tell text of several bytes a character: ideographs and kana that stand together, where Latin letters stand alone.

    Katakana of one byte do not count: any text with accents would have them.
    """
    try:
        text = codecs.getincrementaldecoder(name)().decode(data)  # its end may be half a character
    except UnicodeDecodeError:
        return False
    words = _EAST_ASIAN.findall(text)
    beyond = sum(not character.isascii() for character in text)
    return sum(len(word) for word in words if len(word) > 1) >= beyond * _IN_WORDS


def _latin(data: bytes) -> str:
    """Return the first of the likely encodings that gives the fewest odd words."""
    found = from_bytes(data, cp_isolation=list(_LATIN))
    best = found.best()
    likely = {
        name
        for match in found
        if best and match.chaos <= best.chaos and match.coherence >= best.coherence - _AS_LIKELY
        for name in (match.encoding, *match.could_be_from_charset)
    }
    odd = {
        name: _odd_characters(data.decode(name))
        for name in _LATIN
        if name in likely | {_LATIN[0]} and _decodes(data, name)
    }
    return min(odd, key=lambda name: odd[name], default="latin_1")


def _odd_characters(text: str) -> int:
    """Count characters that make a word odd: a capital after a small letter, a sign between letters."""
    return sum(
        (here.isupper() and before.islower()) or (not here.isalpha() and before.isalpha() and after.isalpha())
        for before, here, after in zip(f" {text}", text, f"{text[1:]} ", strict=False)
        if not here.isascii() and here != "\u2019"  # an apostrophe
    )


def _decodes(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _unusable(sample: Sample, shown: str, codec: str) -> OperatorError:
    return OperatorError(
        f"{sample.path} looks {shown}-encoded, which no job takes: convert it, for example with "
        f"`iconv -f {codec} -t UTF-8 {sample.path.name} > utf8.csv`.",
        code=ExitCode.USAGE,
    )
