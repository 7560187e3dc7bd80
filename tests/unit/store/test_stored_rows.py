"""The rows item: the rows of a chunk are read as they were kept, in items that DynamoDB takes."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import FatalError
from chalicelib.store.items import MAX_ITEM_BYTES, ChunkKey, Item, number
from chalicelib.store.pacing import item_size
from chalicelib.store.rows import StoredRow, encoded_size, from_items, to_items

KEY = ChunkKey("offices-1", 7)
COLUMNS = ("office_id", "comment")
MAX_DYNAMODB_ITEM = 400 * 1024

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('\x00\n"\\é\u2028\uffff𐀀') | st.characters(codec="utf-8"), max_size=20)
    | st.lists(st.integers(0, 9), max_size=3)
)


def _numbered(gaps: list[tuple[int, int]], values: list[Any]) -> list[StoredRow]:
    """Rows in order; those that were rejected in between are not among them."""
    rows, row, line = [], -1, 1
    for (rejected, lines), value in zip(gaps, values, strict=False):
        row, line = row + 1 + rejected, line + 1 + lines
        rows.append(StoredRow(row, line, [value, row]))
    return rows


ROWS = st.builds(
    _numbered,
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10**6)), min_size=12, max_size=12),
    st.lists(VALUES, max_size=12),
)


def _items(rows: Sequence[StoredRow], columns: Sequence[str] = COLUMNS) -> list[Item]:
    return to_items(KEY, columns, rows, expires_at=99)


def _random(rows: int, characters: int) -> list[StoredRow]:
    """Return rows that hardly compress."""
    luck = random.Random(7)
    return [StoredRow(row, row + 2, [f"o{row}", luck.randbytes(characters // 2).hex()]) for row in range(rows)]


@given(ROWS)
def test_any_rows_are_read_as_they_were_kept(rows: list[StoredRow]) -> None:
    """Any value that JSON has; each with its number, its line and the names of its columns."""
    assert list(from_items(_items(rows))) == [(list(COLUMNS), row) for row in rows]


@given(ROWS)
def test_the_same_rows_make_the_same_items(rows: list[StoredRow]) -> None:
    """Ingest may run twice, and the second must not change what somebody reads."""
    assert _items(rows) == _items(rows)


def test_no_rows_are_no_item() -> None:
    """A chunk whose rows were all rejected keeps none."""
    assert _items([]) == []


def test_rows_that_do_not_fit_into_an_item_make_pages() -> None:
    """Halved until each is one that DynamoDB takes; none is lost, none changes places."""
    rows = _random(2_000, 1_600)
    items = _items(rows)
    assert len(items) > 4
    assert [item["sk"]["S"] for item in items] == [f"rows#{page:03d}" for page in range(len(items))]
    assert all(item_size(item) <= MAX_DYNAMODB_ITEM for item in items)
    assert [row for _, row in from_items(items)] == rows


def test_rows_that_compress_stay_together_however_long_they_are() -> None:
    """A page more is a write and a read more."""
    rows = [StoredRow(row, row + 2, ["o1", "the same comment in each row " * 70]) for row in range(500)]
    assert sum(map(encoded_size, rows)) > 2 * MAX_ITEM_BYTES
    assert len(_items(rows)) == 1


def test_each_page_can_be_read_by_itself() -> None:
    """A worker reads the first with the chunk, and the others when it comes to them."""
    rows = _random(1_000, 1_600)
    items = _items(rows)
    last = list(from_items(items[-1:]))
    assert last == [(list(COLUMNS), row) for row in rows[-len(last) :]]


def test_the_largest_row_is_an_item() -> None:
    """Ingest rejects what is larger."""
    luck = random.Random(7)
    spare = MAX_ITEM_BYTES - encoded_size(StoredRow(0, 0, ["", ""]))
    text = "".join(luck.choices([chr(code) for code in range(32, 127) if chr(code) not in '"\\'], k=spare))
    row = StoredRow(1_999, 10**9, ["", text])
    assert encoded_size(row) == MAX_ITEM_BYTES
    (item,) = _items([row])
    assert item_size(item) <= MAX_DYNAMODB_ITEM
    assert list(from_items([item])) == [(list(COLUMNS), row)]


def test_a_page_names_its_columns_so_that_another_deployment_does_not_misread_it() -> None:
    """A job may be deployed with its columns in another order between ingest and process."""
    (old,), (new,) = _items([StoredRow(0, 2, [1, 2])], ["a", "b"]), _items([StoredRow(1, 3, [2, 1])], ["b", "a"])
    read = [dict(zip(columns, row.values, strict=True)) for columns, row in from_items([old, new])]
    assert read == [{"a": 1, "b": 2}, {"a": 1, "b": 2}]


def test_items_expire_with_their_batch() -> None:
    """By the batch's time, not by that of the write: written again they are the same."""
    assert [item["expires_at"] for item in _items(_random(2, 20))] == [number(99)]


def test_a_page_that_does_not_hold_what_it_says_is_refused() -> None:
    """A row fewer would never be processed, and nobody would know."""
    (item,) = _items(_random(3, 20))
    with pytest.raises(FatalError, match="rows#000"):
        list(from_items([{**item, "size": number(7)}]))


@given(VALUES)
def test_the_size_of_a_row_is_that_of_its_json(value: Any) -> None:
    """By which ingest decides whether it can be kept."""
    assert encoded_size(StoredRow(0, 0, [value])) == len(msgspec.json.encode([value]))
