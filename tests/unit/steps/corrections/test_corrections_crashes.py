"""A correction loses nothing when a command, a worker, a message or a marker is lost."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chalicelib import services
from chalicelib.store.items import Counts, Outcome
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, decode
from tally.errors import OperatorError
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of
from tests.support.correcting import (
    FIXED,
    RESULTS,
    corrected,
    corrector,
    ended,
    loosen,
    module,
    no_such_job,
    redriver,
    results_of,
    written,
)
from tests.support.exports import exporting
from tests.support.redriving import check, deliver


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TIMEOUT_AFTER])
def test_a_command_that_dies_anywhere_is_finished_by_the_next(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(tmp_path, *FIXED)

    def history(faults: Any) -> Pipeline:
        pipeline = exporting(monkeypatch)
        batch_id = ended(pipeline)
        with suppress(Killed):
            corrector(pipeline, faults).run(batch_id, path)
        check(pipeline, batch_id)
        return pipeline

    calls = calls_of(history)
    assert len(calls) > 10
    for position in range(len(calls)):
        pipeline = history(at_call(position, fault))
        (batch_id,) = {pk.split("#")[1] for pk, sk in pipeline.dynamodb.items if sk == "batch"}
        done = corrector(pipeline).run(batch_id, path)
        assert done.rows + done.already == 5
        pipeline.drain()
        check(pipeline, batch_id)
        assert results_of(pipeline, batch_id) == RESULTS, position


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
def test_a_worker_that_dies_anywhere_while_it_reads_corrections_harms_nothing(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = written(tmp_path, *FIXED)

    def history(faults: Any) -> tuple[Pipeline, str]:
        pipeline = exporting(monkeypatch)
        batch_id = ended(pipeline)
        corrected(pipeline, batch_id, path)
        deliver(pipeline, "dispatch")
        pipeline.faults = faults
        pipeline.deliver("ingest")
        pipeline.drain()
        return pipeline, batch_id

    for position in range(len(calls_of(history))):
        pipeline, batch_id = history(at_call(position, fault))
        check(pipeline, batch_id)
        assert results_of(pipeline, batch_id) == RESULTS, position


def test_a_redrive_between_two_calls_of_a_correction_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody else redrives everything just before each call; each row ends as one of both, counted once."""
    path = written(tmp_path, *FIXED)

    def history(position: int) -> tuple[Pipeline, str, int]:
        pipeline = exporting(monkeypatch)
        batch_id = ended(pipeline)
        calls = 0

        def meanwhile(_: str) -> Fault:
            nonlocal calls
            calls += 1
            if calls == position + 1:
                redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None)
            return Fault.NONE

        with suppress(OperatorError):  # rows that run by then are not to be replaced
            corrector(pipeline, meanwhile).run(batch_id, path)
        check(pipeline, batch_id)
        pipeline.drain()
        check(pipeline, batch_id)
        return pipeline, batch_id, calls

    for position in range(history(1_000)[2]):
        pipeline, batch_id, _ = history(position)
        assert pipeline.batch(batch_id).status.final
        found = results_of(pipeline, batch_id)
        for place in (2, 4):
            assert found[place] in {RESULTS[place], "PermanentError: broken"}
        corrected(pipeline, batch_id, path)
        pipeline.drain()
        check(pipeline, batch_id)
        assert results_of(pipeline, batch_id) == RESULTS


def test_a_lost_message_is_sent_again_by_a_repair(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    deliver(pipeline, "dispatch")
    pipeline.waiting("ingest").clear()
    services.Services.of(None).reconciler.repair(batch_id, thorough=True)
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == RESULTS


def test_a_repair_of_a_lost_marker_reads_the_corrected_row_again_and_runs_no_other(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row failed, so it is stored as it was uploaded; its correction was rejected, and that marker is gone."""
    batch_id = ended(pipeline)
    monkeypatch.setattr("tally.corrections.run.load", no_such_job)
    corrected(pipeline, batch_id, written(tmp_path, "4,,c,large"))
    pipeline.drain()
    (lost,) = [marker for marker in pipeline.markers(batch_id) if marker.chunk.number == 0 and 2 in marker.every_row]
    assert len(lost.every_row) == 1
    del pipeline.dynamodb.items[lost.chunk.pk, f"mark#{lost.version:06d}"]
    loosen()
    services.Services.of(None).reconciler.repair(batch_id, thorough=True)
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("c", "large")]


def test_a_dead_letter_of_the_reading_leaves_the_corrected_rows_rejected_and_says_why(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED[:2]))
    deliver(pipeline, "dispatch")
    (body,) = pipeline.waiting("ingest")
    pipeline.waiting("ingest").clear()
    services.Services.of(None).ingester.give_up(decode(body, ChunkMessage), ReasonCode.DEAD_LETTERED, "it died")
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=1, rejected=4)
    redriver(pipeline.dynamodb).redrive(
        batch_id, outcome=Outcome.REJECTED, rows={(0, 1), (0, 2)}, on_chunk=lambda: None
    )
    pipeline.drain()
    assert results_of(pipeline, batch_id)[:4] == RESULTS[:4]
