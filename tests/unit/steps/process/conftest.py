"""The job of these tests does what a row names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import deployed_job
from tests.support.processing import JOB


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job that does whatever a row says."""
    with deployed_job(monkeypatch, tmp_path, "moody", JOB):
        yield
