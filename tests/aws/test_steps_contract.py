"""What Tally's own writes come to, whoever stands behind the table: in memory, moto, and the local AWS."""

import re
from typing import Any

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from chalicelib import services
from chalicelib.errors import FatalError, NotFoundError
from chalicelib.steps.redrive import Redriven, Redriver
from chalicelib.steps.settle import Settler
from chalicelib.store.batch import Batch, BatchStatus, Hold, Source
from chalicelib.store.bits import NO_ROWS
from chalicelib.store.chunk import Chunk
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, Outcome, bits, key, number, text
from chalicelib.store.leases import Leases
from chalicelib.store.ledger import Finished, Recorded, Seen
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import Table, Update
from chalicelib.store.waiting import note_waiting
from tests.support import builders
from tests.support.builders import NOW, RETRY, Time
from tests.support.faults import Fault
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemoryEvents, MemoryS3, Pipeline

KEY = ChunkKey("offices-1", 0)
SUCCEEDED, FAILED, RAISED = Outcome.SUCCEEDED, Outcome.FAILED, ReasonCode.RAISED
BATCH = Batch(
    id="offices-1",
    job="offices",
    source=Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag="e"),
    size=9,
    status=BatchStatus.RUNNING,
    created_at="2026-03-01T00:00:00.000000+00:00",
    expires_at=1,
    chunk_rows=2,
    chunk_bytes=99,
    header=("office_id", "user_count"),
)
READ = Seen(1, 1, NO_ROWS)
"""What a worker read that came before all others."""


def _ready(table: Table, chunk: ChunkKey = KEY, rows: int = 3) -> ChunkKey:
    """Put a chunk whose rows were read, none of them done."""
    planned = Chunk(key=chunk, start=0, end=1, first_line=2, expected_rows=rows)
    read = {name: number(rows) for name in ("rows", "remaining")} | {name: number(1) for name in ("pages", "version")}
    table.write_all([{**planned.to_item(), **read, "state": text("ready"), "done": bits(NO_ROWS)}])
    return chunk


def _chunk(table: Table, chunk: ChunkKey = KEY) -> Chunk:
    return Repository(table=table).require_chunk(chunk)


def _batch(table: Table) -> Batch:
    return Repository(table=table).require_batch("offices-1")


def _finished(*outcomes: Outcome, start: int = 0) -> list[Finished]:
    return [
        Finished(
            1, RowOutcome(row=row, outcome=outcome, code=None if outcome is SUCCEEDED else RAISED, reason="é\uffff")
        )
        for row, outcome in enumerate(outcomes, start)
    ]


def test_the_ledger_counts_each_row_once(table: Table, dynamodb: Any) -> None:
    """First outcomes, duplicates among new ones, and only duplicates; whatever the worker had read."""
    _ready(table, rows=4)
    ledger = builders.ledger(dynamodb)
    assert ledger.record(KEY, _finished(SUCCEEDED, FAILED), READ) == Recorded(counted=2)
    again = _finished(FAILED, FAILED, FAILED, SUCCEEDED)
    assert ledger.record(KEY, again, READ) == Recorded(counted=2, dropped=2)
    assert ledger.record(KEY, again, READ) == Recorded(dropped=4)
    chunk = _chunk(table)
    assert (chunk.counts, chunk.remaining, chunk.version) == (Counts(succeeded=2, failed=2), 0, 3)
    first, second = Repository(table=table).markers(KEY)
    assert [(found.row, found.outcome) for found in first.outcomes] == [(0, SUCCEEDED), (1, FAILED)]
    assert [(found.row, found.outcome) for found in second.outcomes] == [(2, FAILED), (3, SUCCEEDED)]
    assert first.outcomes[1].reason == "é\uffff"


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_the_ledger_counts_each_row_once_whatever_is_heard_of_it(table: Table, dynamodb: Any, fault: Fault) -> None:
    """The retry is a new request with a new token, and learns from the chunk that its rows are done."""
    _ready(table)
    ledger = builders.ledger(builders.faulty(dynamodb, builders.in_turn(fault, fault)))
    ledger.record(KEY, _finished(SUCCEEDED, FAILED, SUCCEEDED), READ)
    assert _chunk(table).counts == Counts(succeeded=2, failed=1)


def test_the_ledger_counts_nothing_for_a_chunk_that_is_not_there(table: Table, dynamodb: Any) -> None:
    """The chunk's condition fails, and the marker with it."""
    with pytest.raises(NotFoundError, match="which no plan has made"):
        builders.ledger(dynamodb).record(KEY, _finished(SUCCEEDED), READ)
    assert Repository(table=table).markers(KEY) == []


def test_the_ledger_overwrites_no_marker(table: Table, dynamodb: Any) -> None:
    """The marker's condition fails and the chunk's does not: the two have come apart."""
    _ready(table)
    mine = {**key(KEY.pk, "mark#000002"), "proof": text("mine")}
    table.write_all([mine])
    with pytest.raises(FatalError, match="there is a marker of version 2"):
        builders.ledger(dynamodb).record(KEY, _finished(SUCCEEDED), READ)
    assert table.get(KEY.pk, "mark#000002") == mine
    assert _chunk(table).version == 1


@pytest.fixture
def settler(dynamodb: Any) -> Settler:
    """Give a settler over the table."""
    events: Any = MemoryEvents()
    return Settler(table=builders.table(dynamodb), events=events, event_bus="bus", retry=RETRY, clock=lambda: NOW)


def _counted(table: Table, dynamodb: Any, position: int) -> Chunk:
    chunk = _ready(table, ChunkKey("offices-1", position))
    builders.ledger(dynamodb).record(chunk, _finished(SUCCEEDED, FAILED, SUCCEEDED), READ)
    return _chunk(table, chunk)


def test_the_settler_closes_each_chunk_once(table: Table, dynamodb: Any, settler: Settler) -> None:
    """Stale images aside, and then the batch ends once."""
    table.write_all([{**BATCH.to_item(), "chunks": number(3), "remaining": number(3)}])
    chunks = [_counted(table, dynamodb, position) for position in range(3)]
    assert all(chunk.complete for chunk in chunks)
    assert settler.close("offices-1", chunks[:1]) == 1
    assert settler.close("offices-1", chunks[:2]) == 1
    assert settler.close("offices-1", chunks[:2]) == 0
    assert settler.complete(_batch(table)) is False
    assert settler.close("offices-1", chunks) == 1
    batch = _batch(table)
    assert (batch.remaining, batch.rows, batch.counts) == (0, 9, Counts(succeeded=6, failed=3))
    assert [settler.complete(batch) for _ in range(2)] == [True, False]
    assert _batch(table).status is BatchStatus.COMPLETED_WITH_FAILURES
    assert settler.publish([_batch(table)]) == 1
    assert _batch(table).published_attempt == 1


def test_the_settler_leaves_a_chunk_open_that_has_moved(table: Table, dynamodb: Any, settler: Settler) -> None:
    """The batch does not get the old counts."""
    table.write_all([BATCH.to_item()])
    stale, fresh = (_counted(table, dynamodb, position) for position in range(2))
    table.update(
        Update(pk=stale.key.pk, sk="chunk", expression="ADD #version :one, #failed :one", values={":one": number(1)})
    )
    assert settler.close("offices-1", [stale, fresh]) == 1
    assert not _chunk(table, stale.key).closed
    assert (_batch(table).remaining, _batch(table).rows) == (-1, 3)


def test_a_plan_is_made_once(table: Table, dynamodb: Any) -> None:
    """The same object planned twice, the second time over what the first has left."""
    s3 = MemoryS3()
    content = b"office_id,user_count,contract_count\n" + b"o1,1,2\n" * 5
    upload = builders.uploaded(s3, content)
    planner = builders.planner(dynamodb, s3)
    first = planner.plan(upload)
    item = table.get(f"batch#{first.id}", "batch")
    again = planner.plan(upload)
    assert table.get(f"batch#{first.id}", "batch") == item
    assert (first.chunks, again.chunks, again.remaining) == (3, 3, 3)
    assert Batch.from_item(item or {}).header == ("office_id", "user_count", "contract_count")


def test_a_lease_is_one_workers_at_a_time(table: Table) -> None:
    """Taken, held, extended, expired, released: on whatever stands behind the table."""
    time = Time()
    first, second = (Leases(table=table, owner=owner, seconds=60, clock=time) for owner in ("first", "second"))
    assert [first.take(KEY, 0), second.take(KEY, 0), first.take(KEY, 0)] == [True, False, True]
    second.release(KEY, 0)
    assert second.seconds_left(KEY, 0) == 60
    time.pass_by(61)
    assert [second.take(KEY, 0), first.take(KEY, 0)] == [True, False]
    second.release(KEY, 0)
    assert first.take(KEY, 0) is True


def test_a_redrive_takes_back_what_was_counted(table: Table, dynamodb: Any, settler: Settler) -> None:
    """Of a closed chunk in an ended batch, once; then both are as before those rows had failed."""
    batch = {**BATCH.to_item(), "chunks": number(2), "remaining": number(2), "row_expires_at": number(2**40)}
    table.write_all([batch])
    chunks = [_counted(table, dynamodb, position) for position in range(2)]
    settler.close("offices-1", chunks)
    assert settler.complete(_batch(table))
    redriver = Redriver(table=table)
    redriven = [redriver.redrive("offices-1", rows=[(0, 1)], on_chunk=lambda: None) for _ in range(2)]
    assert redriven == [Redriven(rows=1), Redriven()]
    reopened, chunk = _batch(table), _chunk(table)
    assert (reopened.status, reopened.attempt, reopened.remaining) == (BatchStatus.RUNNING, 2, 1)
    assert (reopened.rows, reopened.counts) == (3, Counts(succeeded=2, failed=1))
    assert (chunk.closed, chunk.remaining, chunk.counts) == (False, 1, Counts(succeeded=2))
    assert (chunk.generation, list(chunk.undone)) == (2, [1])
    (marker,) = Repository(table=table).markers(KEY)
    assert list(marker.every_row) == [0, 2]
    ledger = builders.ledger(dynamodb)
    assert ledger.record(KEY, _finished(FAILED, start=1), READ) == Recorded(dropped=1)
    assert ledger.record(KEY, _finished(SUCCEEDED, start=1), READ) == Recorded(counted=1)
    assert settler.close("offices-1", [_chunk(table)]) == 1
    assert _batch(table).counts == Counts(succeeded=5, failed=1)


def test_a_batch_is_held_and_let_go(table: Table) -> None:
    """By conditions on its status and on what holds it already."""
    table.write_all([BATCH.to_item()])
    holds = Holds(table=table)
    assert holds.resume("offices-1") is False
    assert holds.hold("offices-1", Hold.PAUSED) is True
    assert holds.resume("offices-1") is True
    assert holds.hold("offices-1", Hold.CANCELLED) is True
    assert holds.hold("offices-1", Hold.PAUSED) is False
    assert _batch(table).hold is Hold.CANCELLED
    assert holds.hold("offices-2", Hold.PAUSED) is False
    assert table.get("batch#offices-2", "batch") is None


class Strict(MemoryDynamoDB):
    """Keeps every action that has an expression."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[dict[str, Any]] = []

    def _holds(self, action: dict[str, Any]) -> bool:
        self.actions.append(action)
        return super()._holds(action)


def test_every_expression_of_a_whole_run_is_one_that_dynamodb_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reserved word stands for itself, and no name or value is given that is not used: AWS refuses both."""
    monkeypatch.setattr("tests.support.pipeline.MemoryDynamoDB", Strict)
    pipeline = Pipeline(monkeypatch)
    gone = pipeline.upload("inbox/offices/gone.csv", b"office_id,user_count,contract_count\no1,1,2\n")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    ended = pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\no1,1,2\no2,x,2\n")
    pipeline.drain()
    assert pipeline.batch(gone).status is BatchStatus.REJECTED
    assert pipeline.batch(ended).status is BatchStatus.COMPLETED_WITH_FAILURES
    _operate(pipeline, ended)
    assert isinstance(pipeline.dynamodb, Strict)
    reserved = set(ReservedKeywords.get_reserved_keywords())
    assert "ROWS" in reserved
    expressions = set()
    for action in pipeline.dynamodb.actions:
        expression = f"{action.get('UpdateExpression', '')} {action.get('ConditionExpression', '')}"
        expressions.add(expression)
        assert set(re.findall(r":\w+", expression)) == set(action.get("ExpressionAttributeValues", {}))
        assert set(re.findall(r"#\w+", expression)) == set(action.get("ExpressionAttributeNames", {}))
        words = re.findall(r"(?<![:#\w])[a-z_]\w*(?!\w*\()", expression)
        assert [word for word in words if word.upper() in reserved] == []
    assert len(expressions) >= 22


def _operate(pipeline: Pipeline, ended: str) -> None:
    """Let everything happen to batches that an operator or a loss can do to them."""
    made = services.Services.of(None)
    table = builders.table(pipeline.dynamodb)
    holds, redriver, repository = Holds(table=table), Redriver(table=table), Repository(table=table)
    leases = made.heavy_processor.leases
    leases.take(ChunkKey(ended, 0), 0)
    leases.release(ChunkKey(ended, 0), 0)
    repository.markers(ChunkKey(ended, 0), data=False)
    content = b"office_id,user_count,contract_count\no1,1,2\no2,1,2\n"
    unread, stopped = (pipeline.upload(f"inbox/offices/{name}.csv", content) for name in ("unread", "stopped"))
    pipeline.drain_uploads()
    holds.hold(unread, Hold.PAUSED)
    holds.resume(unread)
    holds.hold(unread, Hold.CANCELLED)
    for step in ("dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    note_waiting(table, pipeline.chunks(stopped)[0], {0: "ValueError: x"}, attempt=2, delay_seconds=1)
    holds.hold(stopped, Hold.CANCELLED)
    pipeline.drain()
    for batch_id in (unread, stopped):
        assert pipeline.batch(batch_id).counts == Counts(failed=2)
        redriver.redrive(batch_id, rows=[(0, 0)], on_chunk=lambda: None)
        redriver.redrive(batch_id, on_chunk=lambda: None)
    _miscount(pipeline, stopped)
    pipeline.positions["dispatch"] = len(pipeline.dynamodb.stream)
    made.reconciler.sweep(made.reconciler.open_batches())
    assert len(made.reconciler.repair(stopped).counters_repaired) == 2
    made.reconciler.repair(unread)
    pipeline.drain()
    assert [pipeline.batch(batch_id).status for batch_id in (unread, stopped)] == [BatchStatus.COMPLETED] * 2
    _miscount(pipeline, stopped)
    assert made.reconciler.repair(stopped, thorough=True).counters_repaired
    (marker,) = repository.markers(ChunkKey(stopped, 0))
    del pipeline.dynamodb.items[marker.chunk.pk, f"mark#{marker.version:06d}"]
    made.reconciler.repair(stopped, thorough=True)
    pipeline.drain()
    assert (pipeline.batch(stopped).status, pipeline.batch(stopped).attempt) == (BatchStatus.COMPLETED, 3)


def _miscount(pipeline: Pipeline, batch_id: str) -> None:
    """Break the counters of a chunk and of its batch."""
    pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]["failed"] = number(7)
    pipeline.dynamodb.items[f"batch#{batch_id}", "batch"]["failed"] = number(7)
