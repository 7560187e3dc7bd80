"""The pictures of states: every state is drawn, and exactly the moves that batches and chunks make."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import Outcome
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.redriving import JOB, deliver, ended, redrive, repair_job, upload
from tools import pictures
from tools.generated import stale

NEVER_SEEN_HERE = {(BatchStatus.PLANNING, BatchStatus.REJECTED)}
"""A plan that failed until it was given up: tests/unit/steps/test_failed_plans.py."""


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def moves(pipeline: Pipeline, sk: str, attribute: str) -> set[tuple[str, str]]:
    """Return the moves between states that the stream has seen."""
    changes = [record["dynamodb"] for record in pipeline.dynamodb.stream if record["eventName"] == "MODIFY"]
    found = {
        (change["OldImage"][attribute]["S"], change["NewImage"][attribute]["S"])
        for change in changes
        if change["Keys"]["sk"]["S"] == sk
    }
    return {(old, new) for old, new in found if old != new}


def drawn(picture: pictures.Picture) -> set[tuple[str, str]]:
    return {(arrow.start, arrow.end) for arrow in picture.arrows}


def test_the_pictures_are_current() -> None:
    assert stale(pictures.files()) == []


@pytest.mark.parametrize(("picture", "states"), [(pictures.BATCH, BatchStatus), (pictures.CHUNK, ChunkState)])
def test_every_state_is_drawn_once(picture: pictures.Picture, states: type[BatchStatus | ChunkState]) -> None:
    assert sorted(box.name for box in picture.boxes) == sorted(states)


def test_the_moves_of_a_chunk_are_the_arrows_of_its_picture(pipeline: Pipeline) -> None:
    """Chunks with failed rows, with rejected rows only, and one that is redriven while a heavy row is on its way."""
    batch_id = ended(pipeline, "a", "fine", "fine", "fine", *["too,many"] * 4)
    redrive(pipeline, batch_id, outcome=Outcome.REJECTED)
    pipeline.drain()
    open_one = pipeline.upload("inbox/flaky/next.csv", b"kind\na\nheavy\n", "v2")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    repair_job()
    for each in (open_one, batch_id):
        redrive(pipeline, each)
    pipeline.drain()
    assert moves(pipeline, "chunk", "state") == drawn(pictures.CHUNK)


def test_the_moves_of_a_batch_are_the_arrows_of_its_picture(pipeline: Pipeline) -> None:
    """A batch that fails and is redriven, one that completes, gzip uploads, and one that is rejected."""
    batch_id = ended(pipeline)
    repair_job()
    redrive(pipeline, batch_id)
    pipeline.upload("inbox/flaky/day.csv.gz", gzip.compress(b"kind\nfine\n"), "v2")
    pipeline.upload("inbox/flaky/bad.csv.gz", gzip.compress(b"kind\nfine\n")[:-9], "v3")
    upload(pipeline, "fine")
    pipeline.drain()
    assert moves(pipeline, "batch", "status") == drawn(pictures.BATCH) - NEVER_SEEN_HERE
