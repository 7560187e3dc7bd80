"""The job of these tests fails and rejects rows that a correction makes right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.correcting import JOB
from tests.support.exports import exporting


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    with deployed_job(monkeypatch, folder, "sizes", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return exporting(monkeypatch)
