"""From the text of a chunk to rows and rejections."""

import asyncio
import decimal
import sys
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import rows
from chalicelib.errors import FatalError
from chalicelib.files import cells
from chalicelib.files.dialect import Dialect, Extra, Layout
from chalicelib.headers import HeaderError
from chalicelib.rows import RejectedRow, Schema, ValidRow


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
    assert SCHEMA.header([" Size ", "NAME", "note"], 1) == ("Size", "NAME", "note")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["name", "size", "note", "Name"], "line 1: column 4 repeats 'Name' of column 1"),
        (["name", "size"], "line 1: the header lacks note"),
        (["name", "size", "note", "x"], "line 1: the header has unknown 'x' (column 4)"),
        (
            ["name", "size", "note", *(f"x{column}" for column in range(4, 10_001))],
            "line 1: the header has unknown "
            + "".join(f"'x{column}' (column {column}), " for column in range(4, 14))
            + "and 9,987 more",
        ),
        (["name", "size", "note", "\u202eeton"], "line 1: the header has unknown '\\u202eeton' (column 4)"),
        (
            ["name;size;note"],
            (
                "line 1: the file looks semicolon-separated: set DELIMITER = ';' in the job; "
                "the header lacks name, note, size and has unknown 'name;size;note' (column 1)"
            ),
        ),
    ],
)
def test_a_header_that_does_not_fit_says_why(cells: list[str], reason: str) -> None:
    """The message names line and column."""
    with pytest.raises(HeaderError) as raised:
        SCHEMA.header(cells, 1)
    assert str(raised.value) == reason


class Repeated(rows.Row, kw_only=True):
    """Columns that one name, or a mark that msgspec refuses, would hide."""

    note: str
    second: str = msgspec.field(name="note[2]")
    third: str = msgspec.field(name="note[3]")
    size: str = msgspec.field(name="size (')")
    path: str = msgspec.field(name="in/out")


def test_columns_of_one_name_and_names_with_quotes_can_be_fields() -> None:
    """The second of one name, in any case, has its number; a double quote and a backslash are other marks."""
    schema = Schema.of(Repeated)
    header = schema.header(["note", 'Size (")', "NOTE", "in\\out", "note"], 1)
    (row,) = schema.read(b"a,b,c,d,e", header, 2)
    assert isinstance(row, ValidRow)
    assert row.values == ("a", "c", "e", "b", "d")
    with pytest.raises(HeaderError, match="column 6 repeats 'note' of column 1"):
        schema.header([*header, "note"], 1)


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
        ("a,\u202e1\u200f,,", "line 2, column 2 'size': expected int, got '\\u202e1\\u200f'"),
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


class Checked(rows.Row):
    """A row with a rule of the job's own, which may go wrong in any way."""

    size: int

    def __post_init__(self) -> None:
        """Raise what the size says."""
        match self.size:
            case 0:
                raise ZeroDivisionError("division by zero")
            case 1:
                raise decimal.InvalidOperation
            case 2:
                self.__post_init__()
            case 3:
                sys.exit(1)
            case 4:
                raise ValueError("size \udcff is odd")
            case 5:
                raise ValueError
            case 6:
                raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (0, "row: ZeroDivisionError: division by zero"),
        (1, "row: InvalidOperation: "),
        (2, "row: RecursionError: maximum recursion depth exceeded"),
        (3, "row: SystemExit: 1"),
        (4, "column 1 'size': size \\udcff is odd"),
        (5, "row: refused by __post_init__, without a word"),
        (6, "row: CancelledError: "),
    ],
)
def test_whatever_a_post_init_raises_rejects_its_row_alone(size: int, reason: str) -> None:
    """Raised out of the chunk it would hurt every other row of it."""
    schema = Schema.of(Checked)
    before, bad, after = schema.read(f"7\n{size}\n8\n".encode(), schema.header(["size"], 1), 2)
    assert isinstance(before, ValidRow)
    assert isinstance(after, ValidRow)
    assert isinstance(bad, RejectedRow)
    assert bad.reason.startswith(f"line 3, {reason}")


class Measured(rows.Row, kw_only=True):
    """A row of numbers."""

    weight: float | None = None
    price: Decimal | None = None
    either: int | float = 0
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0
    most: Annotated[float, msgspec.Meta(gt=0)] = 1
    note: str = ""
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        """Divide without a look at the divisor."""
        if self.note == "infinite":
            self.weight = float("inf")


MEASURED = Schema.of(Measured)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("nan,,,,,", "column 1 'weight': not a finite number, got 'nan'"),
        ("-Infinity,,,,,", "column 1 'weight': not a finite number, got '-Infinity'"),
        (",NaN,,,,", "column 2 'price': not a finite number, got 'NaN'"),
        (",sNaN12,,,,", "column 2 'price': not a finite number, got 'sNaN12'"),
        (",,inf,,,", "column 3 'either': not a finite number, got 'inf'"),
        (",,,nan,,", "column 4 'share': expected float >= 0.0, got 'nan'"),
        (",,,,inf,", "column 5 'most': not a finite number, got 'inf'"),
        ("nan,x,,,,", "column 1 'weight': not a finite number, got 'nan'; column 2 'price': invalid decimal string"),
        (",,,,,infinite", "row: not a finite number"),
    ],
)
def test_a_number_that_is_not_finite_is_none(cells: str, reason: str) -> None:
    """JSON knows none: kept as null it would come back as another value, or as none that the schema takes."""
    (row,) = MEASURED.read(cells.encode(), MEASURED.header(MEASURED.columns[:6], 1), 2)
    assert isinstance(row, RejectedRow)
    assert row.reason.startswith(f"line 2, {reason}")


def test_a_value_that_is_none_of_the_choices_is_shown_once_and_cut() -> None:
    """However long it is; msgspec quotes all of it."""
    (row,) = MEASURED.read(b"x" * 5_000, MEASURED.header(["kind"], 1), 2)
    assert row == RejectedRow(0, 2, f"line 2, column 1 'kind': invalid enum value, got '{'x' * 40}…'")


def test_numbers_that_are_large_are_finite() -> None:
    """Decimals have exponents that floats have not; texts may say what they like."""
    (row,) = MEASURED.read(b"1e308,1e999999," + b"9" * 400 + b",1,2e-3,nan,b", MEASURED.header(MEASURED.columns, 1), 2)
    assert isinstance(row, ValidRow)
    assert row.values == (1e308, Decimal("1e999999"), int("9" * 400), 1.0, 0.002, "nan", "b")


class Flower(rows.Row, kw_only=True):
    """A row of a file that was not made for Python."""

    number: int = msgspec.field(name="")
    length: float | None = msgspec.field(name="Sepal.Length")
    weight: float | None = msgspec.field(name="weight (kg)", default=None)

    def __post_init__(self) -> None:
        """Refuse what msgspec cannot tell."""
        if self.weight == 0:
            raise ValueError("weight must not be 0")


FLOWERS = Schema.of(Flower, Dialect(layout=Layout(delimiter=";"), nulls=frozenset({"NA", "-"}), extra=Extra.IGNORE))
FLOWER_HEADER = FLOWERS.header(["", "Sepal.Length", "other", "Weight (kg)", "other"], 1)


def test_a_header_that_is_no_name_is_reached_by_the_name_of_its_field() -> None:
    """Also an unnamed first column; columns that are ignored may have the same name."""
    (row,) = FLOWERS.read(b'1;"5.1";x;2;y\n', FLOWER_HEADER, 2)
    assert row == ValidRow(0, 2, (1, 5.1, 2.0), Flower(number=1, length=5.1, weight=2.0))
    assert FLOWERS.row_of(FLOWERS.columns, row.values, "k") == Flower(
        number=1, length=5.1, weight=2.0, idempotency_key="k"
    )


def test_a_class_that_renames_its_fields_is_matched_by_the_new_names() -> None:
    """As msgspec does everywhere else; the idempotency key stays no column."""

    class Renamed(rows.Row, rename="camel"):
        user_count: int

    schema = Schema.of(Renamed)
    (row,) = schema.read(b"7\n", schema.header(["userCount"], 1), 2)
    assert row == ValidRow(0, 2, (7,), Renamed(user_count=7))
    with pytest.raises(HeaderError, match="unknown 'idempotencyKey'"):
        schema.header(["userCount", "idempotencyKey"], 1)


def test_two_fields_of_one_column_are_refused() -> None:
    """It would be chance which of them gets the column."""

    class Twice(rows.Row):
        a_b: int
        other: int = msgspec.field(name="A b")

    with pytest.raises(FatalError, match="two fields match the same column: 'a_b' and 'A b'"):
        Schema.of(Twice)


def test_cells_that_mean_nothing_are_nothing() -> None:
    """A null of the job is an empty cell: where one may not be, the reason says so."""
    read = list(FLOWERS.read(b"1;NA;x;-;y\nNA;1;;;\nNA;-;;NA;\n", FLOWER_HEADER, 2))
    assert read == [
        ValidRow(0, 2, (1, None, None), Flower(number=1, length=None)),
        RejectedRow(1, 3, "line 3, column 1 '': empty"),
        RejectedRow(2, 4, "line 4: the row is empty, all 5 of its columns"),
    ]


def test_every_bad_cell_of_a_row_is_in_its_reason_by_the_header_as_it_is_in_the_file() -> None:
    """An uploader repairs a row once."""
    (row,) = FLOWERS.read(b"a;b;x;c;y\n", FLOWER_HEADER, 2)
    assert isinstance(row, RejectedRow)
    assert row.reason == (
        "line 2, column 1 '': expected int, got 'a'; column 2 'Sepal.Length': expected float | null, got 'b'; "
        "column 4 'Weight (kg)': expected float | null, got 'c'"
    )


def test_what_a_row_says_of_itself_names_the_column_of_its_field() -> None:
    """The message begins with the attribute; the file has another name for it."""
    (row,) = FLOWERS.read(b"1;2;x;0;y\n", FLOWER_HEADER, 2)
    assert isinstance(row, RejectedRow)
    assert row.reason == "line 2, column 4 'Weight (kg)': weight must not be 0"


def test_ten_bad_cells_are_named_and_the_others_counted() -> None:
    """A reason is read by people."""
    fields = [(f"c{number}", int) for number in range(12)]
    made: Any = msgspec.defstruct("Wide", fields, bases=(rows.Row,))
    wide = Schema.of(made)
    (row,) = wide.read(b",".join([b"x"] * 12), wide.columns, 2)
    assert isinstance(row, RejectedRow)
    assert row.reason.count("expected int") == 10
    assert row.reason.endswith("column 10 'c9': expected int, got 'x'; and 2 more")


def test_a_file_without_a_header_is_told_by_its_first_line() -> None:
    """Only where a row cannot be a header."""
    with pytest.raises(HeaderError, match="line 1: the line looks like a row, so the file has no header: set HEADER"):
        SCHEMA.header(["a", "1", "", "0.5"], 1)
    with pytest.raises(HeaderError, match="line 1: the header lacks"):
        SCHEMA.header(["a", "b", "c", "d"], 1)


def test_a_header_that_no_batch_can_keep_is_refused() -> None:
    """Ten thousand columns that are ignored are still read for every chunk."""
    with pytest.raises(HeaderError, match="line 1: the header takes 100,020 bytes, at most 65,536 can be kept"):
        FLOWERS.header(["", "Sepal.Length", *["column "] * 10_000], 1)


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
        patch.setattr(cells, "_unquoted", lambda *_: None)
        assert list(SCHEMA.read(data, HEADER, 2)) == fast
