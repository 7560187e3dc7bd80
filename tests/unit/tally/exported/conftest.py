"""Batches that were exported, and the S3 that has their files."""

import msgspec
import pytest

from chalicelib import services
from chalicelib.steps import begin_export
from tally.testing import environment
from tally.testing.pipeline import Pipeline
from tests.support.exports import Downloads


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    environment.handlers()
    exporting = msgspec.structs.replace(services.settings(), export=True)
    monkeypatch.setattr(services, "settings", lambda: exporting)
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    return Pipeline(monkeypatch)


@pytest.fixture
def downloads(pipeline: Pipeline) -> Downloads:
    return Downloads(pipeline.s3, [])
