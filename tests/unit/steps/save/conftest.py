"""The job of these tests has a key."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.settings import ResultsTable as Setting
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.saving import JOB, saving


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Deploy a job with a key and return its module: rows of ``failing`` keys raise, ``texts`` has results by key."""
    with deployed_job(monkeypatch, tmp_path, "reports", JOB):
        yield sys.modules[jobs.require("reports").process.__module__]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, job: Any) -> Pipeline:
    return saving(monkeypatch, Setting(name="tally-test-results"))
