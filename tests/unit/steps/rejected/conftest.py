"""The job of these tests rejects rows until it is corrected."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import deployed_job
from tests.support.rereading import JOB


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with deployed_job(monkeypatch, tmp_path, "sizes", JOB):
        yield
