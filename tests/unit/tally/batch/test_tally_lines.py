"""Finding the chunk of a line: always the right one, and in how few requests."""

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey
from chalicelib.store.table import MAX_KEYS
from tally.batch.lines import Chunks, find_chunk

FIRST = MAX_KEYS - 1
"""The number of chunks that come with the batch."""
COUNTS = [1, 90, 150, 2_000, 20_000]


class File:
    """A file whose chunks begin at these lines, and the requests that were made for them."""

    def __init__(self, first_lines: Sequence[int]) -> None:
        self.first_lines = first_lines
        self.requests = 0

    def read(self, numbers: Iterable[int]) -> Chunks:
        """Return chunks by number, those that exist."""
        asked = set(numbers)
        assert len(asked) <= MAX_KEYS, "more than a request takes"
        self.requests += 1
        return {
            number: Chunk(
                key=ChunkKey("b", number), start=0, end=1, first_line=self.first_lines[number], expected_rows=1
            )
            for number in asked
            if number < len(self.first_lines)
        }

    def find(self, line: int) -> int | None:
        """Return the number of the chunk of a line."""
        found = find_chunk(self.read(range(FIRST)), len(self.first_lines), line, self.read)
        return found.key.number if found else None

    def check(self, line: int, *, most: int) -> None:
        """Hold what is found to what a list of all chunks says, in so many requests at most."""
        self.requests = 0
        number = bisect_right(self.first_lines, line) - 1
        assert self.find(line) == (number if number >= 0 else None)
        assert self.requests <= most


@pytest.mark.parametrize("chunks", COUNTS)
def test_two_requests_find_the_chunk_where_lines_are_spread_evenly(chunks: int) -> None:
    """The third is for the chunk itself."""
    file = File(range(2, 2 + 500 * chunks, 500))
    for line in (1, 2, 501, 502, 250 * chunks, 500 * chunks, 500 * chunks + 1, 10**9):
        file.check(line, most=2)


@pytest.mark.parametrize("chunks", COUNTS)
def test_a_blank_run_in_the_middle_costs_two_more_requests_at_most(chunks: int) -> None:
    """Ten million blank lines are in no chunk, and what was learnt before them says nothing of what is behind."""
    half = chunks // 2
    file = File([*range(2, 2 + 500 * half, 500), *range(10_000_000, 10_000_000 + 500 * (chunks - half), 500)])
    for number in {0, half - 1, half, half + 1, chunks * 3 // 4, chunks - 1}:
        if 0 <= number < chunks:
            file.check(file.first_lines[number], most=4)
            file.check(file.first_lines[number] + 499, most=4)
    file.check(5_000_000, most=4)


@pytest.mark.parametrize("chunks", COUNTS)
def test_chunks_of_very_different_lines_cost_two_more_requests_at_most(chunks: int) -> None:
    """Some have a line, as cut by bytes, others thousands, in cells or blank; and the first ones are like no other."""
    dice = random.Random(chunks)
    lengths = [1] * min(chunks, FIRST) + [dice.choice([1, 1, 1, 9_999]) for _ in range(chunks - FIRST)]
    file = File(list(accumulate(lengths[:-1], initial=2)))
    for _ in range(20):
        file.check(dice.randint(1, file.first_lines[-1] + 10), most=4)


@given(lengths=st.lists(st.integers(1, 1_000), min_size=1, max_size=600), data=st.data())
def test_whatever_the_chunks_the_right_one_is_found(lengths: list[int], data: st.DataObject) -> None:
    file = File(list(accumulate(lengths[:-1], initial=2)))
    file.check(data.draw(st.integers(1, sum(lengths) + 3)), most=4)


def test_chunks_that_are_gone_end_the_search() -> None:
    """Of a batch that expires chunk by chunk; the last one that is left is as near as it gets."""
    file = File(range(2, 2 + 500 * 120, 500))
    assert find_chunk(file.read(range(FIRST)), 5_000, 2_000_000, file.read) == file.read([119])[119]
