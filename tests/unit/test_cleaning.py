"""Cleaning of cells."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.cleaning import clean, clean_cells


@pytest.mark.parametrize(
    ("cell", "cleaned"),
    [
        ("plain", "plain"),
        ("", ""),
        ("  both ends ", "both ends"),
        ("inner   runs\t\tof\u00a0\u2003space", "inner runs of space"),
        ("two\r\nlines", "two lines"),
        ("contr\x00ol\x07s\x9b", "controls"),
        ("e\u0301", "\u00e9"),
        ("\ufeffmark and \ufffe\uffff", "mark and"),
        (" \t\u00a0 ", ""),
    ],
)
def test_a_cell_is_cleaned(cell: str, cleaned: str) -> None:
    """Each kind of dirt by itself."""
    assert clean(cell) == cleaned


@given(st.text())
def test_cleaning_is_idempotent_and_complete(cell: str) -> None:
    """Whatever comes: clean once is clean, with no space at the ends, no run of it, no control character."""
    cleaned = clean(cell)
    assert clean(cleaned) == cleaned
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(character) == "Cc" for character in cleaned)


@pytest.mark.parametrize("separator", [",", "|"])
@given(
    cells=st.lists(
        st.text() | st.text(alphabet="ab \t\n\u00a0\u0301\u0338\x00\x1c\u200b<=>;\u037e\ufeff\u1100\u1161"), min_size=1
    )
)
@example(cells=["a", "\u0301", " ", " b ", ""])
@example(cells=["\x00", " "])
def test_cells_are_cleaned_together_as_each_is_by_itself(separator: str, cells: list[str]) -> None:
    """Whatever stands next to a separator."""
    cells = [cell.replace(separator, "") for cell in cells]
    assert clean_cells(separator.join(cells), separator) == [clean(cell) for cell in cells]
