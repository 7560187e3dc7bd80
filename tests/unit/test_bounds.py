"""Groups that keep to a limit: nothing lost, nothing moved, nothing larger than it may be."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.bounds import grouped

MAX_BYTES = 100


@given(sizes=st.lists(st.integers(0, MAX_BYTES), max_size=40), most=st.integers(1, 12))
@example(sizes=[MAX_BYTES - 1, 1, 1], most=9)
@example(sizes=[1] * 9, most=3)
@example(sizes=[0] * 9, most=9)
def test_groups_keep_the_order_lose_nothing_and_obey_both_bounds(sizes: list[int], most: int) -> None:
    """And no group is closed before the next part would have broken a bound."""
    groups = list(grouped(sizes, size=lambda part: part, max_bytes=MAX_BYTES, max_parts=most))
    assert [part for group in groups for part in group] == sizes
    for group in groups:
        assert 0 < len(group) <= most
        assert sum(group) <= MAX_BYTES
    for group, following in pairwise(groups):
        assert len(group) == most or sum(group) + following[0] > MAX_BYTES


def test_parts_are_as_many_as_their_bytes_allow_where_nothing_else_is_said() -> None:
    """A transaction of small outcomes has them all."""
    assert [len(group) for group in grouped([1] * 250, size=lambda part: part, max_bytes=MAX_BYTES)] == [100, 100, 50]


def test_a_part_that_fits_nowhere_stands_alone() -> None:
    """The caller has to refuse it; the others are not held up."""
    parts = [1, MAX_BYTES + 1, 1, 1]
    assert list(grouped(parts, size=lambda part: part, max_bytes=MAX_BYTES)) == [[1], [MAX_BYTES + 1], [1, 1]]


def test_nothing_is_no_group() -> None:
    """An empty one would be an empty request, which services refuse."""
    assert list(grouped([], size=len, max_bytes=MAX_BYTES)) == []


def test_groups_are_made_as_they_are_asked_for() -> None:
    """The ledger takes the first and looks again at what is left."""
    asked: list[int] = []

    def size(part: int) -> int:
        asked.append(part)
        return 60

    assert next(grouped(range(1_000), size=size, max_bytes=MAX_BYTES)) == [0]
    assert asked == [0, 1]
