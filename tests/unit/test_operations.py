"""What an operator may do, and what may be lost, in any order: the totals stay the file's."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import services
from chalicelib.steps.reconcile import Reconciler
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Outcome
from chalicelib.store.table import Table
from tests.support.builders import deployed_job, table
from tests.support.faults import Fault, Killed
from tests.support.pipeline import Pipeline

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
ACTIONS = st.sampled_from(["deliver"] * 12 + ["redrive", "repair", "pause", "resume", "lose", "kill"])


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Deploy a job whose failures can be mended."""
    with deployed_job(monkeypatch, tmp_path_factory.mktemp("jobs"), "flaky", JOB):
        yield


def _table(pipeline: Pipeline) -> Table:
    return table(pipeline.clients["dynamodb"])


def _redrive(pipeline: Pipeline, batch_id: str) -> None:
    Redriver(table=_table(pipeline)).redrive(batch_id, on_chunk=lambda: None)


def _reconciler() -> Reconciler:
    return services.Services.of(None).reconciler


@settings(max_examples=100)
@given(rows=ROWS, data=st.data())
def test_any_history_of_operations_ends_exact(flaky: None, rows: list[str], data: st.DataObject) -> None:
    """Redrives, repairs and pauses between deliveries, lost messages, workers killed: nothing lost, nothing twice."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pipeline = Pipeline(monkeypatch, faults=lambda _: data.draw(FAULTS))
        batch_id = pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(rows)).encode())
        for _ in range(data.draw(st.integers(0, 40))):
            _act(pipeline, batch_id, data)
        pipeline.faults = lambda _: Fault.NONE
        _finish(pipeline, batch_id)
        _check(pipeline, batch_id, rows, mended=False)
        attempt = pipeline.batch(batch_id).attempt
        monkeypatch.setattr("chalicelib.jobs.flaky.broken", False)
        failed = pipeline.batch(batch_id).counts.failed
        _redrive(pipeline, batch_id)
        _finish(pipeline, batch_id)
        _check(pipeline, batch_id, rows, mended=True)
        assert pipeline.batch(batch_id).attempt == attempt + (failed > 0)
        ids = {detail["event_id"] for detail in pipeline.events.details}
        assert ids == {f"{batch_id}#{number}" for number in range(1, attempt + 1 + (failed > 0))}


def _act(pipeline: Pipeline, batch_id: str, data: st.DataObject) -> None:
    action = data.draw(ACTIONS)
    work = pipeline.work()
    try:
        if action == "deliver" and work:
            pipeline.deliver(
                data.draw(st.sampled_from(work)),
                most=data.draw(st.integers(1, 12)),
                again=data.draw(st.booleans()),
                start=data.draw(st.integers(0, 9)),
            )
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


def _operate(pipeline: Pipeline, batch_id: str, action: str) -> None:
    match action:
        case "redrive":
            _redrive(pipeline, batch_id)
        case "repair":
            _reconciler().repair(batch_id)
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
        if not _reconciler().repair(batch_id).any:
            return
    raise AssertionError("repairs never end")


def _check(pipeline: Pipeline, batch_id: str, rows: list[str], *, mended: bool) -> None:
    batch = pipeline.batch(batch_id)
    outcomes = Counter(outcome.outcome for _, outcome in pipeline.outcomes(batch_id))
    rejected = rows.count("too,many")
    failed = 0 if mended else rows.count("raises") + rows.count("permanent")
    assert outcomes[Outcome.REJECTED] == batch.counts.rejected == rejected
    assert outcomes[Outcome.FAILED] == batch.counts.failed == failed
    assert outcomes[Outcome.SUCCEEDED] == batch.counts.succeeded == len(rows) - rejected - failed
    assert batch.rows == len(rows)
    assert batch.status is (BatchStatus.COMPLETED if failed + rejected == 0 else BatchStatus.COMPLETED_WITH_FAILURES)
