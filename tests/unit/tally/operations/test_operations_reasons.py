"""`tally reasons` groups failures, and the command of a group redrives exactly its rows."""

import importlib
import shlex
from typing import Any

import msgspec
import pytest

from chalicelib import jobs, rows
from chalicelib.store.batch import BatchStatus
from tally.cli import run
from tally.errors import ExitCode
from tally.testing.pipeline import Pipeline
from tests.support.operating import answer, exact, repair_job, stored


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
