"""A job whose failures can be repaired, batches of it, and what has to hold of them at every moment."""

import importlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from chalicelib import jobs
from chalicelib.steps.redrive import Redriven, Redriver
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts, Outcome
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import NOW, faulty, markers_of, outcomes_of, table, tallied

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

ran = []
broken = {"a", "b", "heavy"}
ATTEMPTS = 1

def heavy(row):
    return row.kind == "heavy"

def process(row):
    ran.append(row.kind)
    if row.kind in broken:
        raise ValueError(f"{row.kind} is broken")
    return row.kind
"""
KINDS = ["a", "fine", "b", "fine", "a", "b", "too,many", "fine", "fine", "fine"]
"""Chunks of four rows: two with two failures each, and one without."""
BEFORE = Counts(succeeded=5, failed=4, rejected=1)
AFTER = Counts(succeeded=9, rejected=1)


def upload(pipeline: Pipeline, *kinds: str) -> str:
    """Upload a file of rows; returns the id of its batch."""
    return pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(kinds or KINDS)).encode())


def ended(pipeline: Pipeline, *kinds: str) -> str:
    """Upload a file and deliver everything; returns the id of its batch."""
    batch_id = upload(pipeline, *kinds)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    return batch_id


def deliver(pipeline: Pipeline, *steps: str) -> None:
    """Deliver what waits for each of these handlers, one after the other."""
    for step in steps:
        assert pipeline.deliver(step, most=1000)


def job_module() -> Any:
    """Return the job's module."""
    return importlib.import_module(jobs.require("flaky").process.__module__)


def repair_job(*kinds: str) -> None:
    """Let rows of these kinds, or all, succeed from now on, and forget what has run."""
    job_module().broken -= set(kinds or ("a", "b", "heavy"))
    job_module().ran.clear()


def redrive(
    pipeline: Pipeline, batch_id: str, *, faults: Callable[[str], Fault] = lambda _: Fault.NONE, **which: Any
) -> int:
    """Redrive a batch, with faults at any call; returns how many rows were taken back."""
    return redriven(pipeline, batch_id, faults=faults, **which).rows


def redriven(
    pipeline: Pipeline, batch_id: str, *, faults: Callable[[str], Fault] = lambda _: Fault.NONE, **which: Any
) -> Redriven:
    """Redrive a batch, with faults at any call."""
    return redriver(faulty(pipeline.dynamodb, faults)).redrive(batch_id, on_chunk=lambda: None, **which)


def redriver(dynamodb: Any) -> Redriver:
    """Return what redrives, at the moment that all tests are at."""
    return Redriver(table=table(dynamodb), clock=lambda: NOW)


def check(pipeline: Pipeline, batch_id: str) -> None:
    """Hold all bits and counters to the markers, also in the middle of something."""
    chunks = pipeline.chunks(batch_id)
    closed = [chunk for chunk in chunks if chunk.closed]
    for chunk in chunks:
        outcomes = outcomes_of(pipeline.dynamodb, chunk.key)  # each row in one marker
        assert set(chunk.done) == set(outcomes)
        assert chunk.counts == tallied(outcomes)
        assert chunk.remaining == (chunk.rows or 0) - len(outcomes)
        for marker in markers_of(pipeline.dynamodb, chunk.key):
            assert {outcome.row for outcome in marker.outcomes} == set(marker.every_row)
            assert marker.version <= chunk.version
    batch = pipeline.batch(batch_id)
    assert batch.counts == sum((chunk.counts for chunk in closed), Counts())
    assert batch.rows == sum(chunk.rows or 0 for chunk in closed)
    assert batch.chunks is None or batch.remaining == len(chunks) - len(closed)
    assert batch.status.final <= (len(closed) == len(chunks))


def failures(pipeline: Pipeline, batch_id: str) -> list[tuple[int, int]]:
    """Return the rows that have failed, by chunk."""
    outcomes = pipeline.outcomes(batch_id)
    return [(chunk, found.row) for chunk, found in outcomes if found.outcome is Outcome.FAILED]


def events(pipeline: Pipeline, batch_id: str) -> list[tuple[str, int]]:
    """Return the ids of the events that were put, and how often each."""
    ids = [detail["event_id"] for detail in pipeline.events.details]
    return sorted(Counter(ids).items())


def meanwhile(position: int, act: Callable[[], object]) -> Callable[[str], Fault]:
    """Let something happen just before a call, counted from 0."""
    calls: list[str] = []

    def fault(operation: str) -> Fault:
        calls.append(operation)
        if len(calls) == position + 1:
            act()
        return Fault.NONE

    return fault
