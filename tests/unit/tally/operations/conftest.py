"""The commands of these tests run over the whole pipeline in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib import services as library
from chalicelib.metrics import Metrics
from tally.commands import batches as batch_commands
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.operating import JOB, planned


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Iterator[Pipeline]:
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        pipeline = Pipeline(monkeypatch)
        vars(stage)["dynamodb"] = pipeline.dynamodb
        vars(stage)["s3"] = pipeline.s3
        patched = library.Services.of(None)
        monkeypatch.setattr(batch_commands, "services", lambda _workspace, _stage: patched)
        yield pipeline


@pytest.fixture
def batch(pipeline: Pipeline) -> str:
    """Return a batch that has ended with three failures."""
    batch_id = planned(pipeline)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.failed == 3
    return batch_id


@pytest.fixture(autouse=True)
def _metrics_go_to_the_functions_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence them: here the handlers share the command's stdout."""
    monkeypatch.setattr(Metrics, "flush", lambda _self, _stage: None)
