"""Cleaning of cells."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.files.cleaning import clean


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
        ("e\u200b\u0301", "\u00e9"),
        ("\ufeffmark and \ufffe\uffff", "mark and"),
        (" \t\u00a0 ", ""),
    ],
)
def test_a_cell_is_cleaned(cell: str, cleaned: str) -> None:
    """Each kind of dirt by itself."""
    assert clean(cell) == cleaned


def test_more_marks_than_any_text_has_are_left_in_their_order() -> None:
    """To sort them takes the square of their number: a cell of 1 MiB would take longer than ingest may."""
    pair, sorted_pair = "\u0301\u0323", "\u0323\u0301"
    assert clean("a" + pair * 500) == unicodedata.normalize("NFC", "a" + sorted_pair * 500)
    assert clean("a" + pair * 501) == "a" + pair * 501
    many = ("e" + pair * 400) * 3  # long, but no letter of it has more than text may
    assert clean(many) == unicodedata.normalize("NFC", many)


@given(st.text() | st.text(alphabet="ab \t\n\u00a0\u0301\u0338\x00\x1c\u200b<=>;\u037e\ufeff\u1100\u1161"))
def test_cleaning_is_idempotent_and_complete(cell: str) -> None:
    """Of any text: clean once is clean, in NFC, with no space at the ends, no run of it, no control character."""
    cleaned = clean(cell)
    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(character) == "Cc" for character in cleaned)
