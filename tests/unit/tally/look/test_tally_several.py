"""A number with its noun."""

import pytest

from tally.look import several


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 chunks"), (1, "1 chunk"), (2, "2 chunks"), (1_000, "1,000 chunks"), (1.0, "1 chunk")]
)
def test_one_thing_has_no_plural(number: float, said: str) -> None:
    assert several(number, "chunk") == said
