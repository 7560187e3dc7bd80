"""Redrive, pause, resume, cancel and repair, as an operator types them, over the whole pipeline in memory."""

import copy
import importlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chalicelib import jobs, rows
from chalicelib import services as library
from chalicelib.metrics import Metrics
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import marker_sk
from tally.batch.audit import audit
from tally.batch.reader import Reader
from tally.batch.row_names import parse_rows
from tally.cli import run
from tally.commands import batches as batch_commands
from tally.errors import ExitCode
from tally.stages.services import table
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    kind: str

broken = True

def process(row):
    if broken and row.kind != "fine":
        raise PermanentError(f"{row.kind} of them")
    return row.kind
"""
ROWS = ["fine", "some", "fine", "fine", "many", "some"]
"""Chunks are of four rows here, so that these are 0:0 to 0:3, 1:0 and 1:1."""


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Iterator[Pipeline]:
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        pipeline = Pipeline(monkeypatch)
        vars(stage)["dynamodb"] = pipeline.dynamodb
        vars(stage)["s3"] = pipeline.s3
        patched = library.Services.of(None)
        monkeypatch.setattr(batch_commands, "services", lambda _workspace, _stage: patched)
        yield pipeline


@pytest.fixture
def batch(pipeline: Pipeline) -> str:
    """Return a batch that has ended with three failures."""
    batch_id = planned(pipeline)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.failed == 3
    return batch_id


def planned(pipeline: Pipeline) -> str:
    batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(ROWS)).encode())
    pipeline.drain_uploads()
    return batch_id


@pytest.fixture(autouse=True)
def _metrics_go_to_the_functions_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence them: here the handlers share the command's stdout."""
    monkeypatch.setattr(Metrics, "flush", lambda _self, _stage: None)


def repair_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away why rows fail; the job must have been found before."""
    monkeypatch.setattr("chalicelib.jobs.flaky.broken", False)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = run([*arguments, "--json"])
    shown = capsys.readouterr()
    assert shown.out, shown.err
    return code, json.loads(shown.out)


def exact(pipeline: Pipeline, batch_id: str) -> bool:
    dynamodb: Any = pipeline.dynamodb
    read = Reader(dynamodb=dynamodb, table="tally-test")
    return audit(read, read.require(batch_id), lambda: None).exact


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


def stored(pipeline: Pipeline) -> dict[tuple[str, str], Any]:
    """Return every item as it is."""
    return copy.deepcopy(pipeline.dynamodb.items)


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


def groups(capsys: pytest.CaptureFixture[str], batch_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(capsys, "failures", batch_id)[1]["groups"]
    return found


def failed_rows(capsys: pytest.CaptureFixture[str], batch_id: str) -> list[str]:
    return [row["id"] for row in answer(capsys, "rows", batch_id, "--outcome", "failed")[1]]


def test_failures_are_grouped_with_count_share_example_and_command(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = groups(capsys, batch)
    assert first == {
        "group": 1,
        "outcome": "failed",
        "reason": "PermanentError: some of them",
        "rows": 2,
        "share": 2 / 3,
        "codes": ["permanent"],
        "example": {"id": "0:1", "line": 3, "reason": "PermanentError: some of them"},
        "redrive": f"tally redrive {batch} --reason 'PermanentError: some of them' --stage test",
    }
    assert (second["group"], second["rows"]) == (2, 1)
    run(["failures", batch])
    shown = capsys.readouterr().out
    assert "1. 2 failed (66.7%): PermanentError: some of them" in shown
    assert "for example line 3, row 0:1: PermanentError: some of them" in shown
    assert first["redrive"] in shown
    assert "3 failed, 0 rejected, for 2 reasons." in shown


@pytest.mark.parametrize("by", ["command", "number"])
def test_the_command_of_a_group_runs_exactly_its_rows_again(
    by: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values differ, quotes and blanks are in them, and one group's pattern also fits the reasons of another."""
    kinds = ["it's 1", "it's 22", "fine", "x it's 3 of them", "*", "oddly"]
    batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(kinds)).encode())
    pipeline.drain()
    before = failed_rows(capsys, batch_id)
    found = groups(capsys, batch_id)
    assert {group["reason"]: group["rows"] for group in found} == {
        "PermanentError: it's * of them": 2,
        "PermanentError: x it's * of them of them": 1,
        "PermanentError: * of them": 1,
        "PermanentError: oddly of them": 1,
    }
    repair_job(monkeypatch)
    for group in found:
        words = shlex.split(group["redrive"])[1:-2]
        if by == "number":
            words = [
                "redrive",
                batch_id,
                "--group",
                str(groups(capsys, batch_id).index(again(capsys, batch_id, group)) + 1),
            ]
        _, shown = answer(capsys, *words)
        assert shown["redriven"] == group["rows"]
        pipeline.drain()
        left = failed_rows(capsys, batch_id)
        assert len(before) - len(left) == group["rows"]
        assert group["example"]["id"] not in left
        before = left
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED
    assert exact(pipeline, batch_id)


def again(capsys: pytest.CaptureFixture[str], batch_id: str, group: dict[str, Any]) -> dict[str, Any]:
    """Return a group as it is numbered now."""
    (found,) = [each for each in groups(capsys, batch_id) if each["reason"] == group["reason"]]
    return found


def test_a_pattern_that_is_no_group_any_more_takes_the_rows_that_fit(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = answer(capsys, "redrive", batch, "--reason", "*: m* of them")
    assert shown["redriven"] == 1
    _, shown = answer(capsys, "redrive", batch, "--reason", "m* of them")
    assert shown["redriven"] == 0


def test_an_empty_reason_is_not_every_reason(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = answer(capsys, "redrive", batch, "--reason", "")
    assert shown["redriven"] == 0


@pytest.mark.parametrize("by", ["command", "number", "all"])
def test_rejected_rows_are_a_group_that_is_read_again(
    by: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the job as it is deployed now: here one that has two columns, of which the file's header names one."""
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"kind,size\nfine,1\nfine,two\nfine,three\n")
    with_sizes(monkeypatch, int)
    pipeline.drain()
    (group,) = groups(capsys, batch_id)
    command = f"tally redrive {batch_id} --rejected --reason {shlex.quote(group['reason'])} --stage test"
    assert (group["outcome"], group["rows"], group["redrive"]) == ("rejected", 2, command)
    with_sizes(monkeypatch, str)
    words = {"command": shlex.split(command)[1:], "number": ["redrive", batch_id, "--group", "1"]}
    code, shown = answer(capsys, *words.get(by, ["redrive", batch_id, "--rejected"]))
    assert (code, shown["redriven"], shown["attempt"]) == (ExitCode.OK, 2, 2)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts.succeeded == 3


def with_sizes(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """Deploy the job with another column, of some type."""
    module = importlib.import_module(jobs.require("flaky").process.__module__)
    row = msgspec.defstruct("Row", [("kind", str), ("size", kind)], bases=(rows.Row,), kw_only=True)
    monkeypatch.setattr(module, "Row", row)
    jobs.find.cache_clear()


def test_rejected_rows_whose_object_is_gone_are_left_as_they_are(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"kind\nfine\na,b\n")
    pipeline.drain()
    pipeline.s3.objects.clear()
    before = stored(pipeline)
    assert run(["redrive", batch_id, "--rejected"]) is ExitCode.USAGE
    assert "is gone: upload the file again. Nothing was changed." in capsys.readouterr().err
    assert stored(pipeline) == before


def test_a_redrive_of_a_batch_whose_rows_were_rejected_names_the_option(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"kind\nfine\na,b\n")
    pipeline.drain()
    assert run(["redrive", batch_id]) is ExitCode.OK
    assert "1 was rejected: --rejected reads it again" in " ".join(capsys.readouterr().out.split())


def test_a_batch_without_failures_says_so(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"kind\nfine\n")
    pipeline.drain()
    assert run(["failures", batch_id]) is ExitCode.OK
    assert "No row has failed or was rejected." in capsys.readouterr().out


def test_status_shows_the_top_five_reasons_of_each_outcome(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["one", "two", "three", "four", "five", "five", "a,b", "c,d,e"]
    batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(kinds)).encode())
    pipeline.drain()
    shown = answer(capsys, "status", batch_id, "--no-cost")[1]["reasons"]
    assert len(shown) == 6
    assert shown[0] == {"outcome": "failed", "reason": "PermanentError: five of them", "rows": 2}
    assert shown[5] == {"outcome": "rejected", "reason": "line *: * columns, the header has *", "rows": 2}
    run(["status", batch_id, "--no-cost"])
    assert "2 failed: PermanentError: five of them" in capsys.readouterr().out


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
    assert f"Batch {batch_id} was cancelled: that is lifted, so that its rows may run." in shown
    assert "6 rows run again, in attempt 2." in shown
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED
    assert exact(pipeline, batch_id)


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


def corrected_file(folder: Path, *rows: str) -> str:
    """Write a corrected file; returns its path."""
    path = folder / "corrected.csv"
    path.write_text("tally_line,kind\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_corrected_rows_run_again_in_place_of_the_failed_ones(
    pipeline: Pipeline, batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First without a change, then for real: what --json says of both, and what people read."""
    path = corrected_file(tmp_path, "3,fine", "6,fine")
    code, shown = answer(capsys, "redrive", batch, "--from", path, "--dry-run")
    assert (code, shown["redriven"], shown["attempt"]) == (ExitCode.OK, 0, 1)
    assert (shown["corrected"]["rows"], shown["corrected"]["dry_run"]) == (2, True)
    assert run(["redrive", batch, "--from", path]) is ExitCode.OK
    assert "2 rows run again as corrected, in attempt 2." in capsys.readouterr().out
    pipeline.drain()
    assert pipeline.batch(batch).counts.failed == 1
    assert exact(pipeline, batch)
    code, shown = answer(capsys, "redrive", batch, "--from", path)
    assert (code, shown["redriven"], shown["corrected"]["already"]) == (ExitCode.OK, 0, 2)


def test_lines_that_cannot_run_are_an_error_that_names_them(
    batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corrected_file(tmp_path, "2,fine", "3,fine", "99,fine")
    code, shown = answer(capsys, "redrive", batch, "--from", path)
    assert (code, shown["exit_status"]) == (ExitCode.USAGE, 2)
    assert shown["error"] == "2 lines of corrected.csv cannot run, 1 can: nothing was changed"
    assert shown["hint"] == "correct them, or leave them out with --skip-invalid."
    assert shown["detail"].startswith("1 succeeded, 1 unknown\nline 2: ")
    code, shown = answer(capsys, "redrive", batch, "--from", path, "--skip-invalid")
    assert (code, shown["redriven"], shown["corrected"]["left_out"]) == (ExitCode.OK, 1, 2)
    assert [each["kind"] for each in shown["corrected"]["problems"]] == ["succeeded", "unknown"]


@pytest.mark.parametrize(
    "options", [["--rejected"], ["--group", "1"], ["--rows", "0:1"], ["--error", "x"], ["--reason", ""]]
)
def test_a_corrected_file_says_by_itself_which_rows_run(
    batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert run(["redrive", batch, "--from", corrected_file(tmp_path, "3,fine"), *options]) is ExitCode.USAGE
    assert f"leave out {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--dry-run", "--skip-invalid"])
def test_options_for_a_corrected_file_are_refused_without_one(
    batch: str, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run(["redrive", batch, option]) is ExitCode.USAGE
    assert "need --from FILE" in capsys.readouterr().err
