"""What every unit test holds: no request is made that AWS would refuse."""

from collections.abc import Iterator

import pytest

from tally.testing import strict


@pytest.fixture(autouse=True)
def nothing_is_refused() -> Iterator[None]:
    """Fail a test whose requests break a limit, even where a handler took the refusal for a failure like any other."""
    strict.refused.clear()
    yield
    assert strict.refused == []
