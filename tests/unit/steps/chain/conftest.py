"""The jobs of these tests: one takes the other's results."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.steps import chain
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.chaining import CHILD, PARENT, Jobs


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Jobs]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions of a job may have one time and size
    with (
        deployed_job(monkeypatch, tmp_path, "counted", PARENT.format(says='THEN = "written"')),
        deployed_job(monkeypatch, tmp_path, "written", CHILD.format(says="")),
    ):
        yield Jobs(monkeypatch, tmp_path)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, deployed: Jobs) -> Pipeline:
    assert deployed
    monkeypatch.setattr(chain, "READERS", 1)  # what meets a fault must not depend on luck
    return Pipeline(monkeypatch)
