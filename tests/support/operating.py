"""A batch with failures, and the commands that an operator types about it."""

import copy
import json
from typing import Any

import pytest

from tally.batch.audit import audit
from tally.batch.reader import Reader
from tally.cli import run
from tally.testing.pipeline import Pipeline

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


def planned(pipeline: Pipeline) -> str:
    """Upload the file and plan it; returns the id of its batch."""
    batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(ROWS)).encode())
    pipeline.drain_uploads()
    return batch_id


def repair_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the job take every row; it must have been found before."""
    monkeypatch.setattr("chalicelib.jobs.flaky.broken", False)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command with --json; returns its exit status and what it printed."""
    code = run([*arguments, "--json"])
    shown = capsys.readouterr()
    assert shown.out, shown.err
    return code, json.loads(shown.out)


def exact(pipeline: Pipeline, batch_id: str) -> bool:
    """Tell whether the audit of a batch finds no difference."""
    dynamodb: Any = pipeline.dynamodb
    read = Reader(dynamodb=dynamodb, table="tally-test")
    return audit(read, read.require(batch_id), lambda: None).exact


def stored(pipeline: Pipeline) -> dict[tuple[str, str], Any]:
    """Return every item as it is."""
    return copy.deepcopy(pipeline.dynamodb.items)
