"""`tally pause`, `resume` and `cancel` as an operator types them."""

import pytest

from chalicelib.store.batch import Hold
from chalicelib.store.hold import Holds
from tally.cli import run
from tally.errors import ExitCode
from tally.stages.services import table
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline
from tests.support.operating import answer, exact, planned


def test_a_paused_batch_stays_paused_and_resumes(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch_id = planned(pipeline)
    code, shown = answer(capsys, "pause", batch_id)
    assert (code, shown["changed"], shown["hold"]) == (ExitCode.OK, True, "paused")
    code, shown = answer(capsys, "pause", batch_id)
    assert (code, shown["changed"], shown["hold"]) == (ExitCode.OK, False, "paused")
    code, shown = answer(capsys, "resume", batch_id)
    assert (code, shown["changed"], shown["hold"]) == (ExitCode.OK, True, "")
    code, shown = answer(capsys, "resume", batch_id)
    assert (code, shown["changed"]) == (ExitCode.OK, False)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.failed == 3
    assert exact(pipeline, batch_id)


def test_what_follows_is_said(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch_id = planned(pipeline)
    run(["pause", batch_id])
    shown = capsys.readouterr().out
    assert f"Batch {batch_id} is paused: rows wait in their queue and are checked every 60 s" in shown
    assert f"`tally resume {batch_id}`" in shown
    run(["resume", batch_id])
    assert "runs again: rows that waited start within 60 s" in capsys.readouterr().out
    run(["resume", batch_id])
    assert "was not paused" in capsys.readouterr().out
    run(["cancel", batch_id])
    assert "is cancelled: rows without an outcome fail with that reason" in capsys.readouterr().out


def test_a_cancelled_batch_does_not_resume(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch_id = planned(pipeline)
    run(["cancel", batch_id])
    capsys.readouterr()
    assert run(["resume", batch_id]) is ExitCode.NOT_AS_HOPED
    shown = capsys.readouterr().out
    assert "was already cancelled" in shown
    assert f"`tally redrive {batch_id}`" in shown


def test_a_batch_that_has_ended_is_not_held(pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pause", batch]) is ExitCode.OK
    assert "has ended, it is completed_with_failures" in capsys.readouterr().out
    assert pipeline.batch(batch).hold is None


def test_status_and_list_show_what_holds_a_batch(
    pipeline: Pipeline, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = planned(pipeline)
    Holds(table=table(stage)).hold(batch_id, Hold.PAUSED)
    assert answer(capsys, "status", batch_id)[1]["hold"] == "paused"
    assert [listed["hold"] for listed in answer(capsys, "list")[1]] == ["paused"]
    run(["status", batch_id])
    assert "running, paused" in capsys.readouterr().out
