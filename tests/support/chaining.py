"""Two jobs, of which one takes the other's results."""

import sys
from pathlib import Path

import pytest

from chalicelib import jobs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch
from chalicelib.store.chains import Chained, NotChained
from tally.testing.pipeline import Pipeline
from tests.support.builders import forget_jobs, table

HEADER = b"office_id,user_count\n"
KEY = "inbox/counted/day.csv"
PARENT = """
from chalicelib import rows
from chalicelib.errors import PermanentError

{says}

class Row(rows.Row):
    office_id: str
    user_count: int

failing = set()

def process(row):
    if row.office_id in failing:
        raise PermanentError("not today")
    return {{"name": row.office_id, "users": row.user_count}}
"""
CHILD = """
from chalicelib import rows

FORMAT = "jsonl"
{says}

class Row(rows.Row):
    name: str
    users: int

def process(row):
    return {{"name": row.name, "users": row.users + 1}}
"""


class Jobs:
    """Deploys jobs over each other, as deployments one after another do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch, self._folder = monkeypatch, folder

    def deploy(self, name: str, source: str, says: str = "") -> None:
        """Deploy a job, or another version of it."""
        (self._folder / f"{name}.py").write_text(source.format(says=says), encoding="utf-8")
        forget_jobs(name)
        sys.path_importer_cache.clear()

    def remove(self, name: str) -> None:
        """Deploy without a job."""
        (self._folder / f"{name}.py").unlink()
        forget_jobs(name)
        sys.path_importer_cache.clear()

    def fail(self, *offices: str) -> None:
        """Let the rows of these offices fail, and no others."""
        module = sys.modules[jobs.require("counted").process.__module__]
        module.failing.clear()
        module.failing.update(offices)


def content(rows: int) -> bytes:
    """Return a file of so many rows."""
    return HEADER + b"".join(b"o%d,%d\n" % (row, row) for row in range(rows))


def chained_files(pipeline: Pipeline) -> dict[tuple[str, str], bytes]:
    """Return every version of every file that a chain has put, by key and version."""
    return {place: body for place, body in pipeline.s3.objects.items() if "/chained/" in place[0]}


def children(pipeline: Pipeline, parent: str) -> list[Batch]:
    """Return the batches that say they are made of the results of another."""
    batches = [pipeline.batch(pk.removeprefix("batch#")) for pk, sk in list(pipeline.dynamodb.items) if sk == "batch"]
    return [batch for batch in batches if batch.parent and batch.parent.batch_id == parent]


def until_chain(pipeline: Pipeline) -> None:
    """Deliver everything but the messages of the export queue."""
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            assert pipeline.deliver(what, most=1000)


def without_next_job(pipeline: Pipeline, deployed: Jobs, missing: NotChained) -> str:
    """Return a batch of three rows that ended while its next job was missing, or read CSV."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    if missing is NotChained.NO_JOB:
        deployed.remove("written")
    else:
        deployed.deploy("written", CHILD.replace('"jsonl"', '"csv"'))
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=missing)
    return batch_id


def redrive(pipeline: Pipeline, batch_id: str) -> None:
    """Begin the next attempt."""
    assert Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows
