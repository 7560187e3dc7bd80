"""The job of these tests raises or dies as a row says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import deployed_job
from tests.support.weighing import JOB, World


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job that does whatever a row says."""
    with deployed_job(monkeypatch, tmp_path, "weighty", JOB):
        yield


@pytest.fixture
def world() -> World:
    """Give a batch with a heavy row that nobody works on."""
    return World()
