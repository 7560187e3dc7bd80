"""Operators' commands and losses, in any order, leave the totals of the file."""

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import services
from chalicelib.steps.reconcile import Reconciler, Repairs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Outcome
from chalicelib.store.table import Table
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    kind: str

broken = True
ATTEMPTS = 2

def heavy(row):
    return row.kind == "heavy"

def process(row):
    if broken and row.kind == "permanent":
        raise PermanentError("never")
    if broken and row.kind == "raises":
        raise ValueError("not now")
    return row.kind
"""
ROWS = st.lists(st.sampled_from(["fine", "heavy", "raises", "permanent", "too,many"]), min_size=1, max_size=12)
FAULTS = st.sampled_from([Fault.NONE] * 10 + list(Fault))
ACTIONS = st.sampled_from(
    ["deliver"] * 12 + ["redrive", "redrive some", "repair", "repair all", "pause", "resume", "lose", "late", "late"]
)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Deploy a job whose failures can be repaired."""
    with deployed_job(monkeypatch, tmp_path_factory.mktemp("jobs"), "flaky", JOB):
        yield


def _table(pipeline: Pipeline) -> Table:
    return table(pipeline.clients["dynamodb"])


def _redrive(pipeline: Pipeline, batch_id: str, **which: Any) -> int:
    return Redriver(table=_table(pipeline)).redrive(batch_id, on_chunk=lambda: None, **which).rows


def _reconciler() -> Reconciler:
    return services.Services.of(None).reconciler


@settings(max_examples=100)
@given(rows=ROWS, data=st.data())
def test_any_history_of_operations_ends_exact(flaky: None, rows: list[str], data: st.DataObject) -> None:
    """Redrives, repairs and pauses between deliveries, messages lost or late, workers killed: no row lost or twice."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pipeline = Pipeline(monkeypatch, faults=lambda _: data.draw(FAULTS))
        batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(rows)).encode())
        for _ in range(data.draw(st.integers(0, 40))):
            _act(pipeline, batch_id, data)
        pipeline.faults = lambda _: Fault.NONE
        _finish(pipeline, batch_id)
        _check(pipeline, batch_id, rows, repaired=False)
        attempt = pipeline.batch(batch_id).attempt
        monkeypatch.setattr("chalicelib.jobs.flaky.broken", False)
        failed = pipeline.batch(batch_id).counts.failed
        assert _redrive(pipeline, batch_id) == failed
        for _ in range(data.draw(st.integers(0, 10))):
            _deliver(pipeline, data)
            _deliver_late(pipeline, data)
        _finish(pipeline, batch_id)
        _check(pipeline, batch_id, rows, repaired=True)
        assert pipeline.batch(batch_id).attempt == attempt + (failed > 0)
        ids = {detail["event_id"] for detail in pipeline.events.details}
        assert ids == {f"{batch_id}#{number}" for number in range(1, attempt + 1 + (failed > 0))}


def _act(pipeline: Pipeline, batch_id: str, data: st.DataObject) -> None:
    action = data.draw(ACTIONS)
    try:
        if action == "deliver":
            _deliver(pipeline, data)
        elif action == "late":
            _deliver_late(pipeline, data)
        elif action == "lose":
            waiting = [body for bodies in pipeline.sqs.bodies.values() for body in bodies]
            if waiting:
                lost = data.draw(st.sampled_from(waiting))
                for bodies in pipeline.sqs.bodies.values():
                    bodies[:] = [body for body in bodies if body != lost]
        elif pipeline.has_batch(batch_id):
            _operate(pipeline, batch_id, action)
    except (Killed, Exception):  # noqa: BLE001, S110  the operator's command met a fault, or there was nothing to redrive yet
        pass


def _deliver(pipeline: Pipeline, data: st.DataObject) -> None:
    work = pipeline.work()
    if work:
        pipeline.deliver(
            data.draw(st.sampled_from(work)),
            most=data.draw(st.integers(1, 12)),
            again=data.draw(st.booleans()),
            start=data.draw(st.integers(0, 9)),
        )


def _deliver_late(pipeline: Pipeline, data: st.DataObject) -> None:
    """Put back a message that was delivered at any time before: SQS does, and a frozen worker that sends it now."""
    known = sorted((queue, body) for queue, bodies in pipeline.received.items() for body in bodies)
    if known:
        queue, body = data.draw(st.sampled_from(known))
        pipeline.waiting(queue).insert(0, body)


def _operate(pipeline: Pipeline, batch_id: str, action: str) -> None:
    match action:
        case "redrive":
            _redrive(pipeline, batch_id)
        case "redrive some":
            _redrive(pipeline, batch_id, reason=re.compile("not now").search, rows=[(0, 0), (0, 1), (1, 2)])
        case "repair":
            _reconciler().repair(batch_id)
        case "repair all":
            _reconciler().repair(batch_id, thorough=True)
        case "pause":
            Holds(table=_table(pipeline)).hold(batch_id, Hold.PAUSED)
        case "resume":
            Holds(table=_table(pipeline)).resume(batch_id)
        case _:
            pass


def _finish(pipeline: Pipeline, batch_id: str) -> None:
    """Resume, deliver what is left, and repair until there is nothing to repair."""
    pipeline.drain_uploads()
    Holds(table=_table(pipeline)).resume(batch_id)
    for _ in range(10):
        pipeline.drain()
        if _reconciler().repair(batch_id, thorough=True) == Repairs(batch_id):
            return
    raise AssertionError("repairs never end")


def _check(pipeline: Pipeline, batch_id: str, rows: list[str], *, repaired: bool) -> None:
    batch = pipeline.batch(batch_id)
    found = pipeline.outcomes(batch_id)
    assert len({(chunk, outcome.row) for chunk, outcome in found}) == len(found) == len(rows), "each is in one marker"
    outcomes = Counter(outcome.outcome for _, outcome in found)
    rejected = rows.count("too,many")
    failed = 0 if repaired else rows.count("raises") + rows.count("permanent")
    assert outcomes[Outcome.REJECTED] == batch.counts.rejected == rejected
    assert outcomes[Outcome.FAILED] == batch.counts.failed == failed
    assert outcomes[Outcome.SUCCEEDED] == batch.counts.succeeded == len(rows) - rejected - failed
    assert batch.rows == len(rows)
    assert batch.status is (BatchStatus.COMPLETED if failed + rejected == 0 else BatchStatus.COMPLETED_WITH_FAILURES)
