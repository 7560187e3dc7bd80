"""From the text of a chunk to rows and rejections."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import rows
from chalicelib.files import cells
from chalicelib.rows import HeaderError, RejectedRow, Schema, ValidRow


class Row(rows.Row, kw_only=True):
    """A row with one column of each kind."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    note: str | None
    share: float | None = None


SCHEMA = Schema.of(Row)
HEADER = ("name", "size", "note", "share")


def _read(text: str | bytes, first_line: int = 2) -> list[ValidRow | RejectedRow]:
    return list(SCHEMA.read(text.encode() if isinstance(text, str) else text, HEADER, first_line))


def _reason(text: str | bytes) -> str:
    (row,) = _read(text)
    assert isinstance(row, RejectedRow)
    return row.reason


def test_a_header_is_matched_by_name_whatever_its_case_order_and_blanks() -> None:
    """People write headers."""
    assert SCHEMA.header([" Size ", "NAME", "note"], 1) == ("size", "name", "note")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["name", "size", "note", "Name"], "line 1: column 4 repeats 'name' of column 1"),
        (["name", "size"], "line 1: the header lacks note"),
        (["name", "size", "note", "x"], "line 1: the header has unknown 'x' (column 4)"),
        (
            ["name;size;note"],
            (
                "line 1: the header lacks name, note, size and has unknown 'name;size;note' (column 1); "
                "is the delimiter a comma?"
            ),
        ),
    ],
)
def test_a_header_that_does_not_fit_says_why(cells: list[str], reason: str) -> None:
    """The message names line and column."""
    with pytest.raises(HeaderError) as raised:
        SCHEMA.header(cells, 1)
    assert str(raised.value) == reason


def test_rows_are_numbered_from_zero_and_know_their_physical_line() -> None:
    """Blank lines have no number; a quoted line end makes a record two lines long."""
    assert _read('a,1,,\n\n"b\nc",2,n,0.5\r\nd,3,,') == [
        ValidRow(0, 2, ("a", 1, None, None), Row(name="a", size=1, note=None)),
        ValidRow(1, 4, ("b c", 2, "n", 0.5), Row(name="b c", size=2, note="n", share=0.5)),
        ValidRow(2, 6, ("d", 3, None, None), Row(name="d", size=3, note=None)),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,1,n", "line 2: 3 columns, the header has 4"),
        ("a,1,n,0.5,x", "line 2: 5 columns, the header has 4"),
        (", ,\t,", "line 2: the row is empty, all 4 of its columns"),
        ("a,x,,", "line 2, column 2 'size': expected int, got 'x'"),
        ("a,-1,,", "line 2, column 2 'size': expected int >= 0, got '-1'"),
        ("a,1,,x", "line 2, column 4 'share': expected float | null, got 'x'"),
        (",1,,", "line 2, column 1 'name': empty"),
        ("Name,Size,Note,Share", "line 2: the header again"),
        (b"caf\xe9,1,,", "line 2, column 1 'name': byte 0xe9 at character 4 is not UTF-8"),
        ("a," + "9" * 60 + "x,,", f"line 2, column 2 'size': expected int, got '{'9' * 40}…'"),
    ],
)
def test_a_row_that_cannot_be_one_is_rejected_with_line_column_and_reason(text: str | bytes, reason: str) -> None:
    """The reason is enough to find and correct the row."""
    assert _reason(text) == reason


def test_bytes_that_are_not_utf8_leave_the_other_rows_of_the_chunk_alone() -> None:
    """One bad row never hurts another."""
    read = _read(b"a\xff,1,,\n\xc3\xa9,2,,\n")
    assert isinstance(read[0], RejectedRow)
    assert read[1] == ValidRow(1, 3, ("é", 2, None, None), Row(name="é", size=2, note=None))


def test_the_idempotency_key_is_no_column() -> None:
    """A file cannot say what Tally says."""
    with pytest.raises(HeaderError, match="idempotency_key"):
        SCHEMA.header([*HEADER, "idempotency_key"], 1)


CELLS = st.sampled_from(
    ["a", "7", "-1", "", " ", "0.5", '"a, b"', '"7"', '"x\ny"', '"a | b"', "e\u0301", "\x07", "  b   c ", "x"]
)
LINES = st.lists(st.lists(CELLS, min_size=1, max_size=5).map(",".join), max_size=6)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), broken=st.booleans())
def test_rows_do_not_depend_on_which_path_reads_them(lines: list[str], end: str, *, broken: bool) -> None:
    """The csv module, and a cell at a time, give the same rows, and the same reasons, as the fast paths."""
    data = end.join(lines).encode().replace(b"x", b"\xff" if broken else b"x")
    fast = list(SCHEMA.read(data, HEADER, 2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_unquoted", lambda _: None)
        assert list(SCHEMA.read(data, HEADER, 2)) == fast
