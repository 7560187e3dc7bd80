"""Corrected rows run in place of those that failed or were rejected, and no other rows run."""

from pathlib import Path

import msgspec
import pytest

from chalicelib.steps.redrive import NotRedrivableError
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts, Outcome
from chalicelib.transport.messages import ExportMessage, encode
from tally.testing.pipeline import Pipeline
from tests.support.correcting import (
    BEFORE,
    FIXED,
    RESULTS,
    corrected,
    ended,
    exported,
    loosen,
    module,
    no_such_job,
    outcomes,
    redriver,
    results_of,
    written,
)
from tests.support.redriving import check, deliver


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
    monkeypatch.setattr("tally.corrections.run.load", no_such_job)
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
