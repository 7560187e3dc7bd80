"""Packing: what goes in comes out, and never more than the item says."""

import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import FatalError
from chalicelib.store.items import binary, key, number
from chalicelib.store.packing import packed, unpacked

KEY = key("batch#offices-1#000000", "rows#000")
BOMB_BYTES = 50_000_000


def _item(data: bytes, size: int) -> dict[str, Any]:
    return {**KEY, "data": binary(data), "size": number(size)}


@given(st.binary(max_size=5_000))
def test_data_is_unpacked_as_it_was_packed(data: bytes) -> None:
    """None of it too, and any bytes."""
    assert unpacked({**KEY, **packed(data)}) == data


def test_what_repeats_becomes_small() -> None:
    """The rows of a file resemble each other: that is what makes a row cost less than its marker did."""
    data = b'["o1",1,2],' * 1_000
    assert len(packed(data)["data"]["B"]) < len(data) / 50


@pytest.mark.parametrize("size", [0, 1, 99, 101, 10**9])
def test_an_item_that_does_not_hold_what_it_says_is_refused(size: int) -> None:
    """One row less would be a row that nobody ever processes."""
    with pytest.raises(FatalError, match=r"batch#offices-1#000000 rows#000: says it holds [\d,]+ bytes and does not"):
        unpacked(_item(zlib.compress(b"x" * 100), size))


def test_an_item_that_was_cut_is_refused() -> None:
    """Half of it would look like a smaller chunk."""
    whole = zlib.compress(bytes(range(256)) * 40)
    with pytest.raises(FatalError, match="says it holds 10,240 bytes and does not"):
        unpacked(_item(whole[: len(whole) // 2], 10_240))


def test_an_item_of_something_else_is_refused_as_such() -> None:
    """An operator sees which item it is, and no error of a library."""
    with pytest.raises(FatalError, match="batch#offices-1#000000 rows#000: holds no compressed data"):
        unpacked(_item(b"not compressed", 14))


def test_a_bomb_is_inflated_to_what_the_item_says_and_no_further() -> None:
    """An item of 50 KB may hold 50 MB, more than a small function has."""
    bomb = _item(zlib.compress(bytes(BOMB_BYTES)), 1_000)
    tracemalloc.start()
    try:
        with pytest.raises(FatalError, match="says it holds 1,000 bytes and does not"):
            unpacked(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
