"""The probe of results: it passes for what an export wrote, and for nothing else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chalicelib import services
from tally.prove.probe import DisprovedError, World
from tally.prove.probes import PROBES
from tally.testing import environment
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.exports import Downloads

JOB = "from chalicelib import rows\nclass Row(rows.Row):\n    number: int\n    text: str\ndef process(row): return 1\n"
(PROBE,) = [probe for probe in PROBES if probe.name == "results"]


class Stage(World):
    """A stage in memory, which takes an upload to its end at once."""

    def upload(self, job: str, name: str, content: bytes) -> str:
        pipeline: Pipeline = self.stage.pipeline  # type: ignore[attr-defined]
        batch = pipeline.upload(f"inbox/{job}/{name}", content)
        pipeline.drain()
        self.stage.after(pipeline)  # type: ignore[attr-defined]
        return batch


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: Any = lambda _: None, *, export: bool = True) -> str:
    """Run the probe; ``after`` does something to the stage once the results should be there."""
    environment.handlers()
    as_set = msgspec.structs.replace(services.settings(), export=export)
    monkeypatch.setattr(services, "settings", lambda: as_set)
    with deployed_job(monkeypatch, tmp_path, "prove_plain", JOB):
        pipeline = Pipeline(monkeypatch)
        stage: Any = SimpleNamespace(
            pipeline=pipeline,
            after=after,
            dynamodb=pipeline.dynamodb,
            s3=Downloads(pipeline.s3, []),
            resources=SimpleNamespace(table="tally-test", inbox_bucket="inbox"),
        )
        return PROBE.run(Stage(stage=stage, rows=10, patience=0, sleep=lambda _: None))


def test_results_that_are_whole_are_proved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "11 rows in 3 files" in run(monkeypatch, tmp_path)


def test_results_without_a_row_are_disproved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def harm(pipeline: Pipeline) -> None:
        (place,) = [place for place in pipeline.s3.objects if "/results-" in place[0]]
        pipeline.s3.objects[place] = pipeline.s3.objects[place][:-1]

    with pytest.raises(DisprovedError, match="another SHA-256"):
        run(monkeypatch, tmp_path, harm)


def test_a_stage_that_writes_no_results_is_disproved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DisprovedError, match="were not exported"):
        run(monkeypatch, tmp_path, export=False)
