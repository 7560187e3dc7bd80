"""`tally repair` as an operator types it: the audit is exact in the end."""

import json

import pytest

from chalicelib.store.items import marker_sk
from tally.cli import run
from tally.errors import ExitCode
from tally.testing.pipeline import Pipeline
from tests.support.operating import answer, exact, planned


def test_a_repair_sends_what_was_lost_and_the_audit_is_exact_in_the_end(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = planned(pipeline)
    while not pipeline.waiting("work"):
        pipeline.deliver(pipeline.work()[0], most=1000)
    lost = json.loads(pipeline.waiting("work").pop())
    rows = pipeline.chunks(batch_id)[lost["chunk"]].expected_rows
    pipeline.drain()
    code, shown = answer(capsys, "audit", "--repair", batch_id)
    assert (code, shown["exact"], shown["pending"]) == (ExitCode.NOT_AS_HOPED, False, rows)
    assert shown["repairs"]["rows_sent"] == rows
    pipeline.drain()
    assert run(["audit", "--repair", "--watch", batch_id]) is ExitCode.OK
    said = capsys.readouterr().out
    assert "nothing to repair" in said
    assert "audit exact: 6 rows in the markers of 2 chunks" in said


def test_a_repair_corrects_a_counter_that_the_markers_prove_wrong(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = planned(pipeline)
    while not pipeline.markers(batch_id):
        pipeline.deliver(pipeline.work()[0], most=1)
    chunk = pipeline.dynamodb.items[pipeline.markers(batch_id)[0].chunk.pk, "chunk"]
    chunk["failed"] = {"N": "9"}
    assert run(["audit", "--repair", batch_id]) is ExitCode.NOT_AS_HOPED
    assert f"repaired: counters set to what the markers prove: {chunk['pk']['S']}" in capsys.readouterr().out
    pipeline.drain()
    assert exact(pipeline, batch_id)


@pytest.mark.parametrize("name", ["failed", "succeeded", "remaining"])
def test_a_repair_of_a_batch_that_has_ended_corrects_what_the_markers_prove_and_the_audit_is_exact(
    pipeline: Pipeline, batch: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counters of a closed chunk and its batch are wrong alike, as a count that went twice would leave them."""
    pk = pipeline.chunks(batch)[0].key.pk
    for key in ((pk, "chunk"), (f"batch#{batch}", "batch")):
        item = pipeline.dynamodb.items[key]
        item[name] = {"N": str(int(item[name]["N"]) + 1)}
    assert run(["audit", batch]) is ExitCode.NOT_AS_HOPED
    capsys.readouterr()
    code, shown = answer(capsys, "audit", "--repair", batch)
    assert (code, shown["exact"], shown["differences"]) == (ExitCode.OK, True, [])
    assert pk in shown["repairs"]["counters_repaired"]
    assert exact(pipeline, batch)
    assert pipeline.batch(batch).attempt == 1
    assert run(["audit", "--repair", batch]) is ExitCode.OK
    assert "nothing to repair" in capsys.readouterr().out


def test_a_repair_of_a_batch_that_has_ended_runs_rows_again_that_no_marker_proves(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A marker is gone, so nobody knows what became of its rows: they run in the next attempt."""
    marker = next(marker for marker in pipeline.markers(batch) if marker.chunk.number == 0)
    del pipeline.dynamodb.items[marker.chunk.pk, marker_sk(marker.version)]
    code, shown = answer(capsys, "audit", "--repair", batch)
    assert (code, shown["pending"]) == (ExitCode.NOT_AS_HOPED, len(marker.every_row))
    pipeline.drain()
    assert pipeline.batch(batch).attempt == 2
    assert pipeline.batch(batch).counts.failed == 3
    assert exact(pipeline, batch)


def test_a_paused_batch_is_repaired_and_not_waited_for(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch_id = planned(pipeline)
    run(["pause", batch_id])
    assert run(["audit", "--repair", "--watch", batch_id]) is ExitCode.NOT_AS_HOPED
    assert f"it does not move until `tally resume {batch_id}`" in capsys.readouterr().out
