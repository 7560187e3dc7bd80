"""Files in other encodings are cut and read as their text in UTF-8 is."""

import csv
import io
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.files.boundaries import split
from chalicelib.files.cells import read_cells
from chalicelib.files.cleaning import clean
from chalicelib.files.cutting import Range
from chalicelib.files.dialect import DELIMITERS, Layout
from chalicelib.files.encodings import is_wide, marked, named, to_utf_8
from chalicelib.files.ranges import ranges
from chalicelib.files.records import MAX_RECORD_BYTES

WIDE = ("utf-16-le", "utf-16-be")
PIECES = st.text(st.sampled_from('ab,,"""\n\n\r é€😀\u0a0a\u2c2c\u2222\u0d0aक़'), max_size=60)
"""Characters whose bytes in UTF-16 look like line ends, commas and quotes."""
UNITS = st.lists(st.sampled_from([0x61, 0x2C, 0x0A, 0x0D, 0x22, 0xD83D, 0xDE00, 0xDC0A, 0x0A0A, 0xE9]), max_size=40)


def _cut(data: bytes, layout: Layout, *, max_rows: int = 3, max_bytes: int = 60, block: int = 7) -> list[Range]:
    blocks = (data[begin : begin + block] for begin in range(0, len(data), block))
    return list(ranges(blocks, layout, max_rows=max_rows, max_bytes=max_bytes))


def _read(data: bytes, found: list[Range], layout: Layout) -> Iterator[tuple[int, list[str], bool]]:
    for each in found:
        yield from read_cells(data[each.start : each.end], each.first_line, layout)


@given(
    text=PIECES,
    encoding=st.sampled_from(["utf-8", "cp1252", "iso8859-1", "koi8-r", "cp437", *WIDE]),
    delimiter=st.sampled_from(sorted(DELIMITERS)),
    max_rows=st.integers(1, 6),
    block=st.integers(1, 40),
)
@example(text="a,😀\nb,c\n", encoding="utf-16-le", delimiter=",", max_rows=1, block=5)
@example(text="\n\n\r\na\r\n\r\nb", encoding="utf-16-be", delimiter=",", max_rows=1, block=3)
def test_chunk_by_chunk_equals_the_whole_in_any_encoding(
    text: str, encoding: str, delimiter: str, max_rows: int, block: int
) -> None:
    """Compared with Python's codecs and its csv module over the whole file; seams may be anywhere."""
    layout = Layout(delimiter=delimiter, encoding=encoding)
    data = text.translate({ord(","): delimiter}).encode(encoding, "ignore")
    found = _cut(data, layout, max_rows=max_rows, block=block)
    read = [cells for _, cells, _ in _read(data, found, layout)]
    if not any(cells == [] for cells in read):  # a quote that never closes is where Tally and the csv module differ
        whole = csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter)
        assert read == [[clean(cell) for cell in cells] for cells in whole if cells]
    assert [each.rows for each in found] == [
        len(list(read_cells(data[each.start : each.end], 1, layout))) for each in found
    ]


@given(text=PIECES, encoding=st.sampled_from(WIDE), max_rows=st.integers(1, 6), block=st.integers(1, 40))
def test_utf_16_is_cut_where_its_text_in_utf_8_is(text: str, encoding: str, max_rows: int, block: int) -> None:
    """The same rows and lines; each range, and what is between two of them, has the same text."""
    data, plain = text.encode(encoding), text.encode()
    wide = _cut(data, Layout(encoding=encoding), max_rows=max_rows, block=block)
    narrow = list(split([plain], max_rows=max_rows, max_bytes=60))
    assert [(each.first_line, each.rows) for each in wide] == [(each.first_line, each.rows) for each in narrow]
    for one, other in zip(wide, narrow, strict=True):
        assert data[one.start : one.end].decode(encoding) == plain[other.start : other.end].decode()


@given(units=UNITS, odd=st.sampled_from([b"", b"\n", b"a", b"\xd8"]), block=st.integers(1, 40))
@example(units=[0x61, 0x0A, 0xD83D], odd=b"\xde", block=2)
@example(units=[0x61, 0x0A], odd=b"\n", block=3)
def test_what_is_no_utf_16_is_a_row_that_is_not_sound(units: list[int], odd: bytes, block: int) -> None:
    """Halves of characters, and an odd length: planning and reading agree on rows, and rows beside it are sound."""
    data = b"".join(unit.to_bytes(2, "little") for unit in units) + odd
    layout = Layout(encoding="utf-16-le")
    found = _cut(data, layout, max_rows=2, block=block)
    for each in found:
        rows = list(read_cells(data[each.start : each.end], each.first_line, layout))
        assert len(rows) == each.rows
        for _, cells, sound in rows:
            assert sound or to_utf_8(data[each.start : each.end], "utf-16-le")[1] is False
            assert not sound or not any("\ud800" <= character <= "\udfff" for cell in cells for character in cell)
    assert not odd or not found or found[-1].end == len(data)


def test_a_half_of_a_character_harms_its_own_row_alone() -> None:
    """The rows before and behind it are read."""
    data = "é,1\n".encode("utf-16-le") + b"\x3d\xd8,\0" + "2\nü,3\n".encode("utf-16-le") + b"x"
    layout = Layout(encoding="utf-16-le")
    read = list(_read(data, _cut(data, layout, max_rows=9, max_bytes=900, block=900), layout))
    assert [line for line, _, _ in read] == [1, 2, 3, 4]
    assert [cells for _, cells, _ in read] == [["é", "1"], ["\ud83d", "2"], ["ü", "3"], ["\udc78"]]


def test_a_line_too_long_is_measured_in_the_file_and_takes_little_memory() -> None:
    """Its text in UTF-8 is forgotten as it comes."""
    line = "é" * 1_000_000
    data = ("a\n\n" + line * 30 + "\nb\n").encode("utf-16-le")
    blocks = (data[begin : begin + 500_001] for begin in range(0, len(data), 500_001))
    tracemalloc.start()
    found = list(ranges(blocks, Layout(encoding="utf-16-le"), max_rows=5, max_bytes=60))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(each.start, each.end, each.first_line) for each in found] == [
        (0, 4, 1),
        (6, len(data) - 4, 3),
        (len(data) - 4, len(data), 4),
    ]
    assert found[1].unreadable.endswith(f"the longest record may have {MAX_RECORD_BYTES:,} in UTF-8")
    assert peak < 18 * MAX_RECORD_BYTES


def test_planning_of_utf_16_continues_anywhere() -> None:
    """The next plan continues at a range's place in the file."""
    data = "".join(f"é😀{number},x\n\n" for number in range(50)).encode("utf-16-le")
    layout = Layout(encoding="utf-16-le")
    whole = _cut(data, layout)
    for each in whole[1:]:
        rest = ranges(
            [data[each.start :]], layout, max_rows=3, max_bytes=60, offset=each.start, first_line=each.first_line
        )
        assert list(rest) == whole[whole.index(each) :]


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "cp437", "koi8-r", "ascii", "utf-8", "mac-roman", "iso-8859-15"])
def test_a_single_byte_encoding_has_ascii_where_ascii_is_and_nowhere_else(name: str) -> None:
    """So delimiters, quotes and line ends are found in the bytes."""
    known = named(name)
    assert known
    assert not is_wide(known)
    assert bytes(range(128)).decode(known) == bytes(range(128)).decode("ascii")
    upper = bytes(range(128, 256)).decode(known, "replace")
    assert not any(character.isascii() for character in upper)


@pytest.mark.parametrize("name", ["gbk", "shift_jis", "utf-7", "utf-32", "mac-farsi", "cp500", "raw_unicode_escape"])
def test_an_encoding_in_which_a_byte_of_ascii_may_be_something_else_is_none(name: str) -> None:
    """A bar may be half of a character in Shift JIS."""
    assert named(name) is None


def test_a_byte_that_an_encoding_has_no_character_for_is_kept_as_no_character() -> None:
    """cp1252 has five of them."""
    assert to_utf_8(b"caf\xe9,\x81\n", "cp1252") == ("café,\udc81\n".encode(errors="surrogatepass"), False)


def test_a_mark_says_the_encoding() -> None:
    """It is skipped."""
    heads = [text.encode("utf-8-sig") for text in "a"] + [b"\xff\xfea\0", b"\xfe\xff\0a", b"a", b""]
    assert [marked(head) for head in heads] == [("utf-8", 3), ("utf-16-le", 2), ("utf-16-be", 2), ("", 0), ("", 0)]
