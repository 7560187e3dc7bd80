"""Batches that were exported, and the S3 that has their files."""

import pytest

from chalicelib.steps import begin_export
from tally.testing.pipeline import Pipeline
from tests.support.exports import Downloads, exporting


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    return exporting(monkeypatch)


@pytest.fixture
def downloads(pipeline: Pipeline) -> Downloads:
    return Downloads(pipeline.s3, [])
