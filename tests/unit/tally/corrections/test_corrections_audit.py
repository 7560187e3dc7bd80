"""The audit knows about corrections: what a chunk says of them, and what is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, bits
from tally.batch.audit import Audit, audit
from tally.batch.reader import Reader
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job
from tests.support.correcting import HEADER, JOB, corrected, written
from tests.support.exports import exporting


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pipeline]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    with deployed_job(monkeypatch, folder, "sizes", JOB):
        yield exporting(monkeypatch)


@pytest.fixture
def batch_id(pipeline: Pipeline, tmp_path: Path) -> str:
    """Return a batch of which a row was corrected."""
    batch_id = pipeline.upload("inbox/sizes/day.csv", (HEADER + "a,1\nb,x\n").encode())
    pipeline.drain()
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    pipeline.drain()
    return batch_id


def audited(pipeline: Pipeline, batch_id: str) -> Audit:
    client: Any = pipeline.dynamodb
    reader = Reader(dynamodb=client, table="tally-test")
    return audit(reader, reader.require(batch_id), lambda: None)


def test_a_corrected_batch_is_exact(pipeline: Pipeline, batch_id: str) -> None:
    assert audited(pipeline, batch_id).exact


def test_a_correction_that_is_not_there_is_found(pipeline: Pipeline, batch_id: str) -> None:
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "correction#000002"]
    (difference,) = audited(pipeline, batch_id).differences
    assert (difference.where, difference.what) == ("chunk 0", "rows 1 corrected without a correction")


def test_a_correction_of_a_row_that_is_not_corrected_is_found(pipeline: Pipeline, batch_id: str) -> None:
    pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]["corrected"] = bits(RowBits.of([0]))
    assert [each.what for each in audited(pipeline, batch_id).differences] == [
        "rows 0 corrected without a correction",
        "rows 1 in a correction but not corrected",
    ]
