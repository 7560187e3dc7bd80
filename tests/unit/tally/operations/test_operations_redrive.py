"""`tally redrive` as an operator types it: failed rows run again, and what cannot run is refused."""

from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.store.batch import BatchStatus
from tally.batch.reader import Reader
from tally.batch.row_names import parse_rows
from tally.cli import run
from tally.errors import ExitCode
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
from tests.support.operating import answer, exact, planned, repair_job, stored


def test_failed_rows_run_again_as_the_next_attempt(
    pipeline: Pipeline, batch: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["redrive", batch]) is ExitCode.OK
    assert "3 rows run again, in attempt 2." in capsys.readouterr().out
    repair_job(monkeypatch)
    pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED
    assert exact(pipeline, batch)


def test_only_rows_with_such_a_reason_run_again(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = answer(capsys, "redrive", batch, "--error", "many of")
    assert (code, shown["redriven"], shown["attempt"]) == (ExitCode.OK, 1, 2)


def test_row_names_can_be_pasted_from_the_rows_command(batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, listed = answer(capsys, "rows", batch, "--outcome", "failed")
    names = [row["id"] for row in listed]
    assert names == ["0:1", "1:0", "1:1"]
    run(["rows", batch])
    assert set(names) <= set(capsys.readouterr().out.split())
    _, shown = answer(capsys, "redrive", batch, "--rows", ",".join(names[:2]))
    assert shown["redriven"] == 2


def test_a_redrive_that_matches_nothing_changes_nothing_says_so_and_is_fine(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored(pipeline)
    assert run(["redrive", batch, "--error", "never raised", "--watch"]) is ExitCode.OK
    assert f"0 rows run again: no failed row matches; `tally failures {batch}`" in capsys.readouterr().out
    assert stored(pipeline) == before


@pytest.mark.parametrize("ends", [False, True])
def test_a_redrive_that_matches_nothing_leaves_a_batch_cancelled(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], *, ends: bool
) -> None:
    """Whether it still runs or has ended: version 1 lifted the cancellation before it looked for rows."""
    batch_id = planned(pipeline)
    run(["cancel", batch_id])
    if ends:
        pipeline.drain()
    before = stored(pipeline)
    capsys.readouterr()
    code, shown = answer(capsys, "redrive", batch_id, "--error", "zzz")
    assert (code, shown) == (ExitCode.OK, {"id": batch_id, "redriven": 0, "attempt": 1, "lifted": ""})
    assert stored(pipeline) == before
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.failed == 6


def test_a_redrive_of_a_batch_whose_rows_were_rejected_names_the_option(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"kind\nfine\na,b\n")
    pipeline.drain()
    assert run(["redrive", batch_id]) is ExitCode.OK
    assert "1 was rejected: --rejected reads it again" in " ".join(capsys.readouterr().out.split())


def test_a_redrive_can_be_watched_to_its_end(
    pipeline: Pipeline, batch: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repair_job(monkeypatch)
    progress = Reader.progress

    def moving(reader: Reader, *arguments: Any) -> Any:
        found = progress(reader, *arguments)
        pipeline.drain()
        return found

    monkeypatch.setattr(Reader, "progress", moving)
    code, shown = answer(capsys, "redrive", batch, "--watch", "--interval", "0.1")
    assert (code, shown["redriven"], shown["status"], shown["succeeded"]) == (ExitCode.OK, 3, "completed", 6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--error", "("], "--error '(' is not a regular expression"),
        (["--rows", "0:1,x"], "--rows: 'x' is not a row"),
        (["--rows", "0-1"], "--rows: '0-1' is not a row"),
        (["--rows", ""], "--rows is empty"),
        (["--rows", "7:0"], "has chunks 0 to 1, so there is no 7:0"),
        (["--group", "3"], "has 2 groups: `tally failures"),
        (["--group", "1", "--reason", "x"], "--reason and --group both name a group"),
    ],
)
def test_wrong_options_of_redrive_are_2_and_one_line_and_take_nothing_back(
    pipeline: Pipeline, batch: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["redrive", batch, *options]) is ExitCode.USAGE
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert pipeline.batch(batch).attempt == 1


@pytest.mark.parametrize("command", ["redrive", "pause", "resume", "cancel", "audit", "tune"])
def test_a_batch_that_is_not_there_is_2(
    command: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"audit": ["--repair"]}
    assert run([command, "absent", *options.get(command, [])]) is ExitCode.USAGE
    assert "No batch absent" in capsys.readouterr().err


def test_nothing_can_be_redriven_of_a_rejected_file(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    rejected = pipeline.upload("inbox/flaky/empty.csv", b"")
    pipeline.drain()
    assert run(["redrive", rejected]) is ExitCode.USAGE
    assert "was rejected as a file and has no rows" in capsys.readouterr().err


def test_nothing_can_be_redriven_before_a_file_is_planned(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    item = pipeline.dynamodb.items[f"batch#{batch}", "batch"]
    del item["chunks"]
    assert run(["redrive", batch]) is ExitCode.USAGE
    assert "still being planned" in capsys.readouterr().err


def test_what_stopped_a_batch_is_lifted_with_the_first_row_that_runs_again_and_said(
    pipeline: Pipeline, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = planned(pipeline)
    repair_job(monkeypatch)
    assert run(["cancel", batch_id]) is ExitCode.OK
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.failed == 6
    capsys.readouterr()
    assert run(["redrive", batch_id, "--error", "cancelled"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert f"Batch {batch_id} was cancelled: the hold is lifted, so that its rows may run." in shown
    assert "6 rows run again, in attempt 2." in shown
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED
    assert exact(pipeline, batch_id)


def test_row_names_may_be_pasted_as_a_column() -> None:
    assert parse_rows("0:1\n1:000 2:3,") == {(0, 1), (1, 0), (2, 3)}


def test_what_they_ask_of_the_table_is_what_dynamodb_takes(
    finished: "DynamoDBClient", stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table in memory knows Tally's expressions only; this one parses them."""
    vars(stage)["dynamodb"] = finished
    assert answer(capsys, "redrive", "b", "--rows", "1:1")[1]["redriven"] == 1
    held = [answer(capsys, command, "b")[1]["hold"] for command in ("pause", "resume", "cancel")]
    assert held == ["paused", "", "cancelled"]
    assert answer(capsys, "redrive", "b")[1] == {"id": "b", "redriven": 1, "attempt": 2, "lifted": "cancelled"}
    code, shown = answer(capsys, "audit", "b")
    assert (code, shown["pending"]) == (ExitCode.NOT_AS_HOPED, 2)
    assert [found["what"] for found in shown["differences"]][-1] == "not ended, its status is running"
