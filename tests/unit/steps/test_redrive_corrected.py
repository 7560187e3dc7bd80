"""Corrected rows replace those that failed or were rejected, run once each, and stay in place whatever comes later."""

import importlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import jobs, services
from chalicelib.files.source import ObjectReader
from chalicelib.steps.redrive import NotRedrivableError
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, ExportMessage, FinishedMessage, WorkMessage, decode, encode
from tally.errors import OperatorError
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of, deployed_job, table
from tests.support.correcting import (
    HEADER,
    JOB,
    corrected,
    corrector,
    exported,
    outcomes,
    redriver,
    written,
)
from tests.support.exports import exporting
from tests.support.redriving import check, deliver

ROWS = ["a,1", "b,x", "broken,3", "d,4", "broken,5", "f,y", "g,7", "h,8", "i,z"]
"""Lines 2 to 10, in chunks of four: lines 3, 7 and 10 are rejected, 4 and 6 fail."""
BEFORE = Counts(succeeded=4, failed=2, rejected=3)
FIXED = ["3,,b,20", "4,why,c,30", "6,,e,50", "7,,f,60", "10,,i,90"]
RESULTS = ["1", "20", "30", "4", "50", "60", "7", "8", "90"]


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    with deployed_job(monkeypatch, folder, "sizes", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return exporting(monkeypatch)


def module() -> Any:
    """Return the job's module."""
    return importlib.import_module(jobs.require("sizes").process.__module__)


def loosen() -> None:
    """Deploy the job with a type that takes every row."""
    module().Row = module().Loose
    module().ran.clear()
    jobs.find.cache_clear()


def uploaded(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file; returns the id of its batch."""
    return pipeline.upload("inbox/sizes/day.csv", (HEADER + "\n".join(rows or ROWS)).encode())


def ended(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file and deliver everything; returns the id of its batch."""
    batch_id = uploaded(pipeline, *rows)
    pipeline.drain()
    module().ran.clear()
    return batch_id


def results_of(pipeline: Pipeline, batch_id: str) -> list[str]:
    """Return the results of rows in their order, the reasons of those that have none."""
    return [said for _, (_, said) in sorted(outcomes(pipeline, batch_id).items())]


def test_corrected_rows_run_in_place_of_others_and_no_others_run(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline)
    assert pipeline.batch(batch_id).counts == BEFORE
    done = corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    assert (done.rows, done.already, done.problems.total) == (5, 0, 0)
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(module().ran) == [("b", 20), ("c", 30), ("e", 50), ("f", 60), ("i", 90)]
    assert results_of(pipeline, batch_id) == RESULTS
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.counts) == (BatchStatus.COMPLETED, 2, Counts(succeeded=9))


def test_the_next_export_has_corrected_rows_in_their_places_and_names_their_file(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Also one that fails again: failed.csv has its corrected bytes, and the line of the upload."""
    batch_id = ended(pipeline)
    done = corrected(pipeline, batch_id, written(tmp_path, "3,,b,20", '6,,broken,"51"'))
    pipeline.drain()
    manifest, rows, failed = exported(pipeline, batch_id)
    assert done.file is not None
    (file,) = manifest["corrections"]
    assert (file["sha256"], file["key"], file["rows"]) == (done.file.sha256, done.file.source.key, 2)
    assert pipeline.s3.objects[file["key"], file["version"]] == b"tally_line,kind,size\n3,b,20\n6,broken,51\n"
    assert [row["line"] for row in rows] == list(range(2, 11))
    assert {row["line"]: row["corrected"] for row in rows if "corrected" in row} == {3: file["name"], 6: file["name"]}
    assert [row.get("result") for row in rows] == [1, 20, None, 4, None, None, 7, 8, None]
    assert [(cells[0], *cells[2:]) for cells in failed[1:]] == [
        ("4", "broken", "3"),
        ("6", "broken", "51"),
        ("7", "f", "y"),
        ("10", "i", "z"),
    ]


def test_a_manifest_that_is_written_late_names_no_corrections_of_later_attempts(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Its exporter died after the last piece, and its message comes again when the rows were corrected."""
    batch_id = ended(pipeline)
    before, _, _ = exported(pipeline, batch_id)
    prefix = f"results/sizes/{batch_id}/attempt-1/"
    del pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]["exported_at"]
    for place in [place for place in pipeline.s3.objects if place[0] == f"{prefix}manifest.json"]:
        del pipeline.s3.objects[place]
    corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    pipeline.waiting("export").append(encode(ExportMessage(batch=batch_id, attempt=1, pieces=[0, 1])))
    pipeline.drain()
    (late,) = [body for (key, _), body in pipeline.s3.objects.items() if key == f"{prefix}manifest.json"]
    assert msgspec.json.decode(late) == before
    assert len(exported(pipeline, batch_id)[0]["corrections"]) == 1


def test_a_later_redrive_runs_the_corrected_row_and_not_the_one_that_was_uploaded(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "4,,broken,31"))
    pipeline.drain()
    module().broken.clear()
    module().ran.clear()
    assert redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(module().ran) == [("broken", 5), ("broken", 31)]


def test_a_rejected_correction_is_read_again_from_the_corrections(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job rejects it where it is deployed, and takes it once that is corrected: not the bytes of the upload."""
    batch_id = ended(pipeline)
    path = written(tmp_path, "3,,b,small", "4,,c,large")
    monkeypatch.setattr("tally.corrections.run.load", _unknown)
    assert corrected(pipeline, batch_id, path).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    found = outcomes(pipeline, batch_id)
    assert found[0, 1] == ("rejected", "line 3, column 2 'size': expected int, got 'small'")
    assert found[0, 2][0] == "rejected"
    _, _, failed = exported(pipeline, batch_id)
    assert [cells[2:] for cells in failed[1:3]] == [["b", "small"], ["c", "large"]]
    loosen()
    assert (
        redriver(pipeline.dynamodb)
        .redrive(batch_id, outcome=Outcome.REJECTED, rows={(0, 1), (0, 2)}, on_chunk=lambda: None)
        .rows
        == 2
    )
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(module().ran) == [("b", "small"), ("c", "large")]
    assert results_of(pipeline, batch_id)[1:3] == ['"small"', '"large"']


def _unknown(_: str) -> Any:
    raise OperatorError("there is no such job here")


def test_the_last_of_several_corrections_of_a_row_holds(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "3,,broken,21", "4,,c,30"))
    pipeline.drain()
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,22"))
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id)[:4] == ["1", "22", "30", "4"]
    manifest, rows, _ = exported(pipeline, batch_id)
    sizes = {file["name"]: file["rows"] for file in manifest["corrections"]}
    assert [sizes.get(row.get("corrected", "")) for row in rows[:4]] == [None, 1, 2, None]


def test_the_same_file_again_takes_back_only_what_has_failed_of_it(pipeline: Pipeline, tmp_path: Path) -> None:
    """A repeated command is harmless: the object is there, and rows that run or have succeeded are left alone."""
    batch_id = ended(pipeline)
    path = written(tmp_path, "3,,b,20", "4,,broken,31")
    assert corrected(pipeline, batch_id, path).rows == 2
    again = corrected(pipeline, batch_id, path)
    assert (again.rows, again.already) == (0, 2)
    pipeline.drain()
    last = corrected(pipeline, batch_id, path)
    assert (last.rows, last.already) == (1, 1)
    pipeline.drain()
    check(pipeline, batch_id)
    assert len([key for key, _ in pipeline.s3.objects if key.startswith("corrections/")]) == 1


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


def test_a_success_that_came_of_the_uploaded_row_is_not_counted_for_the_corrected_one(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Its worker slept while the row became a dead letter and was corrected: it had other bytes."""
    batch_id, late = _with_a_sleeper(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "2,,a,100"))
    pipeline.waiting("finished").append(late)
    deliver(pipeline, "finished")
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id)[0] == "100"


def test_an_old_success_that_arrives_with_a_new_outcome_is_not_counted_for_a_corrected_row(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Both are of one chunk, in one delivery: the new one must not speak for the old one."""
    batch_id, late = _with_a_sleeper(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "2,,a,100", "3,,b,200"))
    for step in ("dispatch", "ingest", "dispatch", "work"):
        deliver(pipeline, step)
    (new,) = pipeline.waiting("finished")
    message = decode(new, FinishedMessage)
    only = [each for each in message.outcomes if each.row == 1]
    pipeline.waiting("finished")[:] = [
        late,
        encode(
            FinishedMessage(**{name: getattr(message, name) for name in message.__struct_fields__} | {"outcomes": only})
        ),
    ]
    deliver(pipeline, "finished")
    check(pipeline, batch_id)
    assert (0, 0) not in outcomes(pipeline, batch_id)
    pipeline.waiting("finished").append(new)
    pipeline.drain()
    assert results_of(pipeline, batch_id)[:2] == ["100", "200"]


def _with_a_sleeper(pipeline: Pipeline) -> tuple[str, str]:
    """Return a batch whose first chunk has failed as dead letters, and what a worker says of it that slept."""
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("work")
    deliver(pipeline, "work")
    (late,) = pipeline.waiting("finished")
    pipeline.waiting("finished").clear()
    message = decode(late, FinishedMessage)
    failed = [
        type(each)(row=each.row, outcome=Outcome.FAILED, code=ReasonCode.DEAD_LETTERED, reason="dead")
        for each in message.outcomes
    ]
    pipeline.waiting("finished").append(encode(msgspec.structs.replace(message, outcomes=failed)))
    pipeline.drain()
    assert decode(body, WorkMessage).generation == 1
    assert pipeline.batch(batch_id).counts == Counts(failed=3)
    return batch_id, late


def test_old_messages_of_before_the_correction_run_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    """Neither one that asked to read the chunk, nor one that asked to run its rows."""
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    pipeline.waiting("work").append(encode(WorkMessage(batch=batch_id, chunk=0, generation=1)))
    assert pipeline.deliver("work")
    assert module().ran == []
    pipeline.waiting("ingest").append(encode(ChunkMessage(batch_id, 0, 1)))
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == RESULTS


def test_only_the_corrected_rows_of_a_chunk_that_was_never_read_run(pipeline: Pipeline, tmp_path: Path) -> None:
    """It was given up as a dead letter: its other rows stay failed, and a redrive reads them all."""
    batch_id = _given_up(pipeline)
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
    batch_id = _given_up(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    assert redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == ["1", "20", "3"]


def test_a_first_reading_that_slept_does_not_write_over_corrected_rows(pipeline: Pipeline, tmp_path: Path) -> None:
    """Its pages are written without a guard; those with corrected rows are behind them."""
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("ingest")
    deliver(pipeline, "ingest")
    pages = {place: item for place, item in pipeline.dynamodb.items.items() if place[1].startswith("rows#")}
    chunk = (ChunkKey(batch_id, 0).pk, "chunk")
    for place in pages:
        del pipeline.dynamodb.items[place]
    pipeline.dynamodb.items[chunk] = next(  # as it was planned: the reader slept before it wrote anything
        record["dynamodb"]["NewImage"]
        for record in pipeline.dynamodb.stream
        if record["dynamodb"]["Keys"]["sk"]["S"] == "chunk"
    )
    pipeline.dynamodb.stream[:] = pipeline.dynamodb.stream[: pipeline.positions["dispatch"]]
    _give_up(pipeline, batch_id, body)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    for step in ("dispatch", "ingest"):
        deliver(pipeline, step)
    pipeline.dynamodb.items.update(pages)
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", 20)]


def test_a_reading_that_slept_through_another_correction_does_not_write_over_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """It read the whole chunk with the correction of before; by then the chunk was given up and corrected again."""
    batch_id = _given_up(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,21"))
    redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None)
    deliver(pipeline, "dispatch")
    (body,) = pipeline.waiting("ingest")

    def sleep(operation: str) -> Fault:
        if operation in {"batch_write_item", "transact_write_items"}:
            pipeline.faults = lambda _: Fault.NONE
            _give_up(pipeline, batch_id, body)
            corrected(pipeline, batch_id, written(tmp_path, "3,,b,22"))
            for step in ("dispatch", "ingest"):
                deliver(pipeline, step)
        return Fault.NONE

    pipeline.faults = sleep
    pipeline.deliver("ingest")
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", 22)]


def _given_up(pipeline: Pipeline) -> str:
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("ingest")
    _give_up(pipeline, batch_id, body)
    return batch_id


def _give_up(pipeline: Pipeline, batch_id: str, body: str) -> None:
    pipeline.waiting("ingest").clear()
    found = services.Services.of(None)
    found.ingester.give_up(decode(body, ChunkMessage), ReasonCode.DEAD_LETTERED, "its worker died")
    pipeline.drain()
    module().ran.clear()
    assert pipeline.batch(batch_id).counts == Counts(failed=3)


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


def test_a_row_that_is_no_longer_heavy_once_it_is_corrected_runs_with_the_others(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    module().broken.add("heavy")
    batch_id = ended(pipeline, "a,1", "heavy,2")
    corrected(pipeline, batch_id, written(tmp_path, "3,,light,3"))
    for step in ("dispatch", "ingest", "dispatch"):
        deliver(pipeline, step)
    assert (len(pipeline.waiting("work")), len(pipeline.waiting("heavy"))) == (1, 0)
    pipeline.drain()
    assert results_of(pipeline, batch_id) == ["1", "3"]


def test_a_line_that_was_too_long_for_a_row_is_replaced_by_one(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline, "a,1", '"' + "x" * 1_100_000, "c,3")
    before = pipeline.batch(batch_id).counts
    assert before.rejected == 1
    assert corrected(pipeline, batch_id, written(tmp_path, "3,,broken,2")).rows == 1
    pipeline.drain()
    check(pipeline, batch_id)
    assert exported(pipeline, batch_id)[2][1][2:] == ["broken", "2"]
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,2"))
    pipeline.drain()
    assert results_of(pipeline, batch_id) == ["1", "2", "3"]


def test_a_batch_whose_rows_have_expired_is_not_corrected(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = ended(pipeline)
    pipeline.dynamodb.items[f"batch#{batch_id}", "batch"]["row_expires_at"] = {"N": "1"}
    with pytest.raises(NotRedrivableError, match="expired"):
        corrected(pipeline, batch_id, written(tmp_path, *FIXED))


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
    monkeypatch.setattr("tally.corrections.run.load", _unknown)
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
