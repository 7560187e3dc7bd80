"""Sets of rows, one bit a row: as Python's own sets have it, in bytes that never change their meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.bits import NO_ROWS, RowBits

ROWS = st.sets(st.integers(0, 2_500), max_size=60)


@given(ROWS)
def test_a_set_has_the_rows_it_was_made_of_in_order(rows: set[int]) -> None:
    """Each once, however often it was given."""
    made = RowBits.of([*rows, *rows])
    assert list(made) == sorted(rows)
    assert (len(made), bool(made)) == (len(rows), bool(rows))
    assert [row for row in range(2_502) if row in made] == sorted(rows)


@given(ROWS, ROWS)
def test_sets_are_joined_cut_and_subtracted_as_python_does(first: set[int], second: set[int]) -> None:
    """Rows that are pending, done and left are such sets."""
    one, other = RowBits.of(first), RowBits.of(second)
    assert set(one | other) == first | second
    assert set(one & other) == first & second
    assert set(one - other) == first - second
    assert (one == other) is (first == second)


@given(ROWS)
def test_a_set_is_read_as_it_was_written(rows: set[int]) -> None:
    """In as few bytes as hold its highest row, at least one: an empty attribute is not to be told from none."""
    made = RowBits.of(rows)
    written = made.to_bytes()
    assert RowBits.from_bytes(written) == made
    assert len(written) == max(rows, default=0) // 8 + 1


@pytest.mark.parametrize(
    ("rows", "written"),
    [([], b"\x00"), ([0], b"\x01"), ([7], b"\x80"), ([8], b"\x00\x01"), ([0, 1, 9], b"\x03\x02")],
)
def test_row_0_is_the_lowest_bit_of_the_first_byte(rows: list[int], written: bytes) -> None:
    """Written so in every table that there is: another order would give each outcome to another row."""
    assert RowBits.of(rows).to_bytes() == written
    assert list(RowBits.from_bytes(written + b"\x00")) == rows


@pytest.mark.parametrize("rows", [0, 1, 8, 500, 2_000])
def test_the_first_rows_are_those_before_a_number(rows: int) -> None:
    """All rows of a chunk; none of an empty one."""
    assert list(RowBits.first(rows)) == list(range(rows))


def test_no_bytes_are_no_rows() -> None:
    """A chunk that was planned has no bits at all."""
    assert RowBits.from_bytes(b"") == NO_ROWS == RowBits()
    assert not NO_ROWS


def test_two_thousand_rows_are_250_bytes() -> None:
    """Two such sets leave the chunk item below the kilobyte that a write unit is."""
    assert len(RowBits.first(2_000).to_bytes()) == 250
