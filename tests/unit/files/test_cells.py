"""The clean cells of a chunk."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.files import cells
from chalicelib.files.cells import read_cells
from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import DELIMITERS, Layout
from chalicelib.files.records import CsvRecord, read_range

# Separators and quotes, dirt that cleaning takes away, and what may come to stand together once it is gone.
QUOTED = ['"', '""', '"x"', ',"', '",', '"\n', '\n"', '"a\nb"', '"a, b"', '"a""b"']
DIRTY = [" ", "  ", "\t", "\x00", "\x01", "\x07", "\x1c", "\x7f", "\x85", "\u00a0", "\u200b", "\u0301"]
PIECES = st.lists(
    st.sampled_from(["a", "e", "\u00e9", "\u20ac", ",", "\n", "\r\n", "\r", *QUOTED, *DIRTY]), max_size=30
).map("".join)


def _exactly(data: bytes, first_line: int, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    line = first_line
    for record in read_range(data.decode(errors="surrogateescape"), delimiter):
        if record.cells:
            yield line, [] if record.unclosed else [clean(cell) for cell in record.cells]
        line += record.lines


def _read(data: bytes) -> list[tuple[int, list[str]]]:
    return [(line, found) for line, found, _ in read_cells(data, 7)]


@given(text=PIECES)
@example(text='"a\r\nb",c\r\n"d",e')
@example(text='\x07"a,b"\n')
@example(text='""\n"",""\n')
@example(text='a ,"b, c"d , ""\n')
@example(text=" \n a  ,  b \n")
@example(text="a\n\n")
@example(text='a\n""')
def test_cells_are_those_of_the_csv_module_each_cleaned(text: str) -> None:
    """With anything around quotes, separators and ends of lines: the same records, lines and cells."""
    data = text.encode()
    assert _read(data) == list(_exactly(data, 7))
    assert all(sound for _, _, sound in read_cells(data, 7))


@given(text=PIECES, delimiter=st.sampled_from(sorted(DELIMITERS)))
@example(text='"a,b",c\n', delimiter="\t")
@example(text="a , b\n,\n", delimiter="^")
def test_cells_are_those_of_the_csv_module_with_any_delimiter(text: str, delimiter: str) -> None:
    """A tab parts cells where it is the delimiter, and is white space in a quoted cell as everywhere else."""
    data = text.translate({ord(","): delimiter, ord("e"): ","}).encode()
    found = [(line, cells) for line, cells, _ in read_cells(data, 7, Layout(delimiter=delimiter))]
    assert found == list(_exactly(data, 7, delimiter))


@given(
    text=PIECES, bad=st.lists(st.tuples(st.integers(0, 60), st.sampled_from([b"\xc3", b"\xa9", b"\xff"])), min_size=1)
)
@example(text='"a, b"', bad=[(1, b"\xc3")])
@example(text='"a",b\n', bad=[(2, b"\xc3"), (4, b"\xa9")])
@example(text="a\x07b,c\n", bad=[(1, b"\xc3"), (3, b"\xa9")])
def test_bytes_that_are_not_utf8_are_told_and_change_no_other_cell(text: str, bad: list[tuple[int, bytes]]) -> None:
    """Nor do two of them make a good character where a quote or a control between them is taken away."""
    data = text.encode()
    for place, byte in bad:
        data = data[:place] + byte + data[place:]
    assert _read(data) == list(_exactly(data, 7))
    for _, found, sound in read_cells(data, 7):
        assert sound <= "".join(found).isprintable()


def test_whole_quoted_cells_and_bad_bytes_need_no_csv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path is taken where it matters."""

    def refuse(text: str, _delimiter: str) -> Iterator[CsvRecord]:
        raise AssertionError(text)

    monkeypatch.setattr(cells, "read_range", refuse)
    data = b' a ,"b, c",\r\n"d\r\ne",\xff,"f ""g"""\r\nh\x00'[:-1]
    assert _read(data) == [(7, ["a", "b, c", ""]), (8, ["d e", "\udcff", 'f "g"']), (10, ["h"])]


def test_a_bad_byte_makes_its_own_row_unsound_and_no_other() -> None:
    """Nobody looks for it cell by cell in all rows of its chunk that are not ASCII."""
    read = list(read_cells("é,1\n".encode() + b"caf\xe9,2\n" + "ü,3\na,4\n".encode(), 2))
    assert [(line, sound) for line, _, sound in read] == [(2, True), (3, False), (4, True), (5, True)]
    assert [cells[1] for _, cells, _ in read] == ["1", "2", "3", "4"]
