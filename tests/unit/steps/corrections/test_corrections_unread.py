"""Corrected rows of a chunk that cannot be read, or of a batch that is held or running."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.files.source import ObjectReader
from chalicelib.store.batch import Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Counts, Outcome
from chalicelib.store.marker import ReasonCode
from tally.errors import OperatorError
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.correcting import (
    BEFORE,
    FIXED,
    RESULTS,
    corrected,
    ended,
    exported,
    given_up,
    module,
    redriver,
    results_of,
    uploaded,
    written,
)
from tests.support.redriving import check, deliver


def test_only_the_corrected_rows_of_a_chunk_that_was_never_read_run(pipeline: Pipeline, tmp_path: Path) -> None:
    """It was given up as a dead letter: its other rows stay failed, and a redrive reads them all."""
    batch_id = given_up(pipeline)
    assert corrected(pipeline, batch_id, written(tmp_path, "3,,b,20")).rows == 1
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", 20)]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=1, failed=2)
    _, rows, failed = exported(pipeline, batch_id)
    assert [row["line"] for row in rows] == [2, 3, 4]
    assert [cells[0] for cells in failed[1:]] == ["2", "4"]
    assert redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == ["1", "20", "3"]


def test_a_chunk_that_is_read_as_a_whole_after_a_correction_keeps_the_corrected_row(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """The correction came to nothing, and then everything is redriven."""
    batch_id = given_up(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    assert redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == ["1", "20", "3"]


def test_corrected_rows_need_no_upload_and_the_others_say_that_it_is_gone(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED[:2]))
    for place in [place for place in pipeline.s3.objects if place[0].startswith("inbox/")]:
        del pipeline.s3.objects[place]
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id)[:4] == RESULTS[:4]


def test_corrections_that_are_deleted_before_they_are_read_leave_their_rows_rejected(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED[:2]))
    gone = {place: body for place, body in pipeline.s3.objects.items() if place[0].startswith("corrections/")}
    for place in gone:
        del pipeline.s3.objects[place]
    monkeypatch.setattr("chalicelib.steps.chunk_reader.ChunkReader._reader", _settled)
    pipeline.drain()
    check(pipeline, batch_id)
    _, each = pipeline.outcomes(batch_id)[1]
    assert (each.outcome, each.code) == (Outcome.REJECTED, ReasonCode.SOURCE_GONE)
    pipeline.s3.objects.update(gone)
    redriver(pipeline.dynamodb).redrive(batch_id, outcome=Outcome.REJECTED, on_chunk=lambda: None)
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id)[:4] == RESULTS[:4]


def _settled(reader: Any, source: Any, _: str) -> Any:
    return ObjectReader(s3=reader.s3, source=source, retry=reader.retry)


def test_a_cancelled_batch_runs_the_corrected_rows_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = uploaded(pipeline)
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        deliver(pipeline, step)
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED, attempt=1)
    pipeline.drain()
    module().ran.clear()
    before = pipeline.batch(batch_id).counts
    assert corrected(pipeline, batch_id, written(tmp_path, "2,,a,100")).lifted is Hold.CANCELLED
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("a", 100)]
    assert pipeline.batch(batch_id).counts == replace(before, succeeded=before.succeeded + 1, failed=before.failed - 1)


def test_a_batch_that_is_cancelled_before_its_corrections_are_read_leaves_them_rejected(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED, attempt=2)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, rejected=5)
    redriver(pipeline.dynamodb).redrive(batch_id, outcome=Outcome.REJECTED, on_chunk=lambda: None)
    pipeline.drain()
    assert results_of(pipeline, batch_id) == RESULTS


def test_rows_of_a_running_batch_are_corrected_while_others_run(pipeline: Pipeline, tmp_path: Path) -> None:
    """Rejected rows are known as soon as their chunk is read; those without an outcome are not to be replaced."""
    batch_id = uploaded(pipeline)
    for step in ("upload", "dispatch", "ingest"):
        deliver(pipeline, step)
    with pytest.raises(OperatorError, match="1 line of corrected") as refused:
        corrected(pipeline, batch_id, written(tmp_path, "3,,b,20", "4,,c,30"))
    assert "the row at line 4 has no outcome yet" in refused.value.detail
    assert corrected(pipeline, batch_id, written(tmp_path, "3,,b,20")).rows == 1
    pipeline.drain()
    check(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert (batch.attempt, batch.counts) == (1, replace(BEFORE, succeeded=5, rejected=2))
    assert exported(pipeline, batch_id)[0]["corrections"]
