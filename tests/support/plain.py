"""A batch of two chunks with a heavy and a rejected row, at any step of its way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from chalicelib import services
from chalicelib.steps.reconcile import Reconciler, Repairs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import ChunkKey, Counts, batch_pk
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import Time, count_rows, failed, table

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

def heavy(row):
    return row.kind == "heavy"

def process(row):
    return row.kind
"""
KINDS = ["fine", "fine", "heavy", "too,many", "fine", "fine"]
"""Chunks of four rows."""
AFTER = Counts(succeeded=5, rejected=1)
PATIENCE = timedelta(minutes=5)
READ = ["upload", "dispatch", "ingest", "dispatch"]
COUNTED = [*READ, "work", "work", "heavy", "finished"]


def upload(pipeline: Pipeline, *steps: str, name: str = "day") -> str:
    """Upload the file and take it through these steps; returns the id of its batch."""
    batch_id = pipeline.upload(f"inbox/plain/{name}.csv", ("kind\n" + "\n".join(KINDS)).encode())
    for step in steps:
        assert pipeline.deliver(step, most=1000)
    return batch_id


def reconciler_of(time: Callable[[], Any] | None = None) -> Reconciler:
    """Return the reconciler of an invocation, with a test's clock and patience if it gives one."""
    made = services.Services.of(None).reconciler
    return replace(made, clock=time, patience=PATIENCE) if time else made


def sweep(time: Time) -> list[Repairs]:
    """Look at all open batches once."""
    reconciler = reconciler_of(time)
    return reconciler.sweep(reconciler.open_batches())


def ends_exact(pipeline: Pipeline, batch_id: str) -> None:
    """Deliver what there is and hold the end to the file."""
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, batch.counts) == (BatchStatus.COMPLETED_WITH_FAILURES, 6, AFTER)
    assert batch.published_attempt == 1
    assert len(pipeline.outcomes(batch_id)) == 6
    assert {detail["event_id"] for detail in pipeline.events.details} == {f"{batch_id}#1"}


def chunk_item(pipeline: Pipeline, batch_id: str, position: int = 0) -> dict[str, Any]:
    """Return the item of a chunk."""
    return pipeline.dynamodb.items[ChunkKey(batch_id, position).pk, "chunk"]


def batch_item(pipeline: Pipeline, batch_id: str) -> dict[str, Any]:
    """Return the item of a batch."""
    return pipeline.dynamodb.items[batch_pk(batch_id), "batch"]


def lose(pipeline: Pipeline, *names: str) -> None:
    """Lose messages, or what a stream's handler has not seen."""
    for name in names:
        if name in pipeline.positions:
            pipeline.positions[name] = len(pipeline.dynamodb.stream)
        else:
            pipeline.waiting(name).clear()


def settled(pipeline: Pipeline) -> None:
    """Let settle see everything that it has not seen, without faults."""
    faults, pipeline.faults = pipeline.faults, lambda _: Fault.NONE
    while "settle" in pipeline.work():
        assert pipeline.deliver("settle", most=1000)
    pipeline.faults = faults


def failed_and_ended(pipeline: Pipeline, name: str = "day") -> str:
    """Return a batch that has ended with two failed rows; run again they succeed."""
    batch_id = upload(pipeline, *READ, name=name)
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), failed(0), failed(1))
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3, failed=2, rejected=1)
    return batch_id


def redrive(pipeline: Pipeline, batch_id: str) -> int:
    """Take every failure back; returns how many rows."""
    return Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows
