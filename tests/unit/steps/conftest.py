"""Fixtures that tests of several steps share; a module or a folder may have its own ``pipeline``."""

import pytest

from tally.testing.pipeline import Pipeline


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)
