"""Tally's own writes have the same effect on each engine of the table: in memory, moto, the local AWS, and roto."""

from typing import Any

import pytest

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
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryEvents, MemoryS3
from tests.support import builders
from tests.support.builders import NOW, Time

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
"""The chunk as the first worker reads it."""


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
    return Settler(table=builders.table(dynamodb), bus=builders.bus_of(events), clock=lambda: NOW)


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
