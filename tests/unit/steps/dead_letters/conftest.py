"""The job of these tests has heavy rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import deployed_job
from tests.support.plain import JOB


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job with heavy rows."""
    with deployed_job(monkeypatch, tmp_path, "plain", JOB):
        yield
