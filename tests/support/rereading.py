"""A batch with rejected rows that a corrected job takes, and the steps that read them again."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts, Outcome
from chalicelib.store.marker import RowOutcome
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.redriving import redriven

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str
    size: int

First = Row

class Other(rows.Row):
    other: str

class Corrected(rows.Row):
    kind: str
    size: int | str

ran = []
ATTEMPTS = 1

def heavy(row):
    return row.kind == "heavy"

def process(row):
    ran.append((row.kind, row.size))
    if row.kind == "bad":
        raise ValueError("bad")
    return row.size
"""
ROWS = ["a,1", "b,x", "c,3", "bad,4", "e,y", "f,z", "g,7", "h,8", "i,u", "j,v", "k,w", "l,t"]
"""Chunks of four rows: one, two and all of them rejected."""
BEFORE = Counts(succeeded=4, failed=1, rejected=7)
AFTER = Counts(succeeded=11, failed=1)
REJECTED = Outcome.REJECTED


def module() -> Any:
    """Return the job's module."""
    return importlib.import_module(jobs.require("sizes").process.__module__)


def correct() -> None:
    """Deploy the job with a type that takes every row."""
    module().Row = module().Corrected
    module().ran.clear()
    jobs.find.cache_clear()


def uploaded(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file; returns the id of its batch."""
    return pipeline.upload("inbox/sizes/day.csv", ("kind,size\n" + "\n".join(rows or ROWS)).encode())


def ended(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file and deliver everything; returns the id of its batch."""
    batch_id = uploaded(pipeline, *rows)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    return batch_id


def rejected(pipeline: Pipeline, batch_id: str) -> list[RowOutcome]:
    """Return the outcomes of the rows that are rejected now."""
    return [found for _, found in pipeline.outcomes(batch_id) if found.outcome is REJECTED]


def ingest(pipeline: Pipeline, body: str, faults: Callable[[str], Fault], *, keep: bool = False) -> None:
    """Deliver a message of the ingest queue, with faults; ``keep`` puts the table back afterwards."""
    before = dict(pipeline.dynamodb.items), len(pipeline.dynamodb.stream)
    pipeline.waiting("ingest")[:] = [body]
    pipeline.faults = faults
    pipeline.deliver("ingest", again=keep)
    pipeline.faults = lambda _: Fault.NONE
    if keep:
        pipeline.dynamodb.items = before[0]
        del pipeline.dynamodb.stream[before[1] :]


def to_be_read(monkeypatch: pytest.MonkeyPatch) -> tuple[Pipeline, str, str]:
    """Return a pipeline in which a rejected row waits to be read, its batch, and the message that asks for it."""
    module().Row = module().First
    jobs.find.cache_clear()
    pipeline = Pipeline(monkeypatch)
    batch_id = ended(pipeline, "a,1", "b,x", "c,3")
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    return pipeline, batch_id, pipeline.waiting("ingest")[0]
