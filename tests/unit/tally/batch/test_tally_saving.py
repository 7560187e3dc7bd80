"""Results by key, as the operator sees them: one of them, and how far those of a batch are."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import jobs, pacers, services
from chalicelib.settings import ResultsTable
from chalicelib.store.items import number
from tally.cli import run
from tally.errors import ExitCode
from tally.stages.stage import Stage
from tally.testing import environment
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

JOB = """
from chalicelib import rows

KEY = "office_id"

class Row(rows.Row):
    office_id: str
    users: int

texts = {}

def process(row):
    return texts.get(row.office_id, {"users": row.users, "mean": row.users / 8, "tags": ["a", None]})
"""
RESULTS = "tally-test-results"


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with deployed_job(monkeypatch, tmp_path, "reports", JOB):
        yield sys.modules[jobs.require("reports").process.__module__]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, job: Any, stage: Stage) -> Pipeline:
    """Return a pipeline whose table every command reads."""
    environment.handlers()
    settings = msgspec.structs.replace(services.settings(), export=True, results_table=ResultsTable(name=RESULTS))
    monkeypatch.setattr(services, "settings", lambda: settings)
    monkeypatch.setattr(pacers, "_made", {})
    pipeline = Pipeline(monkeypatch)
    vars(stage)["dynamodb"] = pipeline.dynamodb
    return pipeline


def upload(pipeline: Pipeline, *keys: str) -> str:
    """Take a file with a row for each key to its end; returns its batch's id."""
    rows = "".join(f"{key},{users}\n" for users, key in enumerate(keys, start=1))
    batch = pipeline.upload("inbox/reports/day.csv", f"office_id,users\n{rows}".encode())
    pipeline.drain()
    return batch


def test_a_result_is_shown_with_its_fields_and_where_it_is_from(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = upload(pipeline, "a", "b")
    assert run(["result", "reports", "b", "--results-table", RESULTS]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "0.25" in shown
    assert '["a",null]' in shown
    assert f"From line 3 of batch {batch}, attempt 1" in shown
    assert run(["result", "reports", "b", "--results-table", RESULTS, "--json"]) is ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["result"] == {"users": 2, "mean": 0.25, "tags": ["a", None]}
    assert (found["batch"], found["line"], found["attempt"], found["key"]) == (batch, 3, 1, "b")
    assert found["age_seconds"] >= 0


def test_a_key_that_is_not_there_is_a_usage_error_that_says_where_to_look(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(pipeline, "a")
    assert run(["result", "reports", "z", "--results-table", RESULTS]) is ExitCode.USAGE
    said = capsys.readouterr().err
    assert "No result of reports has the key 'z'" in said
    assert "tally status" in said


def test_a_stage_without_a_results_table_says_how_to_get_one(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["result", "reports", "a"]) is ExitCode.USAGE
    assert "--var 'results_table={}'" in capsys.readouterr().err


def test_status_says_how_many_are_saved_and_which_are_not(
    pipeline: Pipeline, job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job.texts["deep"] = json.loads("[" * 40 + "]" * 40)
    batch = upload(pipeline, "a", "b", "a", "deep")
    assert run(["status", batch, "--no-cost"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "Results by key: saved 2 of 4 by office_id, 1 superseded by a newer row, 1 not saved" in shown
    assert "line 5: not_storable: the result has more than 32 levels" in shown
    run(["status", batch, "--no-cost", "--json"])
    saving = json.loads(capsys.readouterr().out)["saving"]
    assert (saving["saved"], saving["superseded"], saving["unsaved"], saving["rows"]) == (2, 1, 1, 4)
    assert [(row["line"], row["code"]) for row in saving["unsaved_rows"]] == [(5, "not_storable")]
    assert saving["saved_at"]


def test_status_of_a_save_under_way_says_so(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    batch = upload(pipeline, "a", "b")
    item = pipeline.dynamodb.items[f"batch#{batch}", "save#000001"]
    del item["saved_at"]
    item["saved"] = number(1)
    run(["status", batch, "--no-cost"])
    assert "Results by key: saving 1 of 2 by office_id" in capsys.readouterr().out


def test_status_of_a_job_without_a_key_says_nothing_of_keys(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\nA,1,2\n")
    pipeline.drain()
    run(["status", batch, "--no-cost"])
    assert "by key" not in capsys.readouterr().out
    run(["status", batch, "--no-cost", "--json"])
    assert json.loads(capsys.readouterr().out)["saving"] is None
