"""The job of these tests fails until it is repaired."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import deployed_job
from tests.support.redriving import JOB


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose failures can be repaired."""
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield
