"""Recount: what markers prove, and writes that set counters to it and hold only for what was read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.steps.recount import Recount, recount, repair_batch, repair_chunk
from chalicelib.store.batch import Batch, BatchStatus, Listing
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, batch_pk, bits, number, text
from chalicelib.store.marker import Marker, RowOutcome
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    chunk_of,
    count_rows,
    failed,
    markers_of,
    plant_batch,
    plant_ready,
    succeeded,
    table,
)

KEY = ChunkKey("plain-1", 0)


def _marker(version: int, *outcomes: RowOutcome) -> Marker:
    marker = Marker(chunk=KEY, version=version, page=0, rows={}, counted_at="", expires_at=1)
    return marker.with_outcomes(outcomes)


def _counted(*outcomes: RowOutcome, rows: int = 4) -> MemoryDynamoDB:
    """Return a running batch with one chunk of which some rows were counted, each in a transaction of its own."""
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, KEY.batch_id)
    plant_ready(dynamodb, KEY, rows)
    for outcome in outcomes:
        count_rows(dynamodb, KEY, outcome)
    return dynamodb


def _closed(*outcomes: RowOutcome, status: BatchStatus = BatchStatus.RUNNING) -> MemoryDynamoDB:
    """Return a batch with one chunk that is closed."""
    dynamodb = _counted(*outcomes, rows=len(outcomes))
    chunk = dynamodb.items[KEY.pk, "chunk"]
    chunk["state"] = text(ChunkState.CLOSED)
    batch = dynamodb.items[batch_pk(KEY.batch_id), "batch"]
    for name in ("rows", "succeeded", "failed", "rejected"):
        batch[name] = chunk[name]
    batch |= {"remaining": number(0), "status": text(status), "version": number(7)}
    if status.final:
        batch |= {"completed_at": text("2026-03-02"), "listing": text(Listing.ENDED)}
    return dynamodb


def _batch(dynamodb: MemoryDynamoDB) -> Batch:
    return Batch.from_item(dynamodb.items[batch_pk(KEY.batch_id), "batch"])


def _found(dynamodb: MemoryDynamoDB) -> Recount:
    return recount(markers_of(dynamodb, KEY))


def _repair(dynamodb: MemoryDynamoDB) -> bool:
    """Repair the chunk; tells whether it was applied."""
    repair = repair_chunk(_batch(dynamodb), chunk_of(dynamodb, KEY), _found(dynamodb))
    return not table(dynamodb).transact(repair)


def test_markers_are_counted_by_outcome_and_row() -> None:
    """Without their data too: the bits say enough."""
    dynamodb = _counted(succeeded(0), failed(2))
    items = [marker.to_item() for marker in markers_of(dynamodb, KEY)]
    bare = [{name: value for name, value in item.items() if name != "data"} for item in items]
    for found in (_found(dynamodb), recount(map(Marker.from_item, bare))):
        assert found == Recount(done=RowBits.of([0, 2]), counts=Counts(succeeded=1, failed=1), version=3, twice=NO_ROWS)


@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(2, 6)), max_size=12))
def test_rows_in_more_than_one_marker_are_named(rows: list[tuple[int, int]]) -> None:
    """Neither of them is proven right."""
    versions = sorted({version for _, version in rows})
    found = recount(
        _marker(version, *(succeeded(row) for row in sorted({row for row, of in rows if of == version})))
        for version in versions
    )
    often = [row for row in range(10) if len({version for each, version in rows if each == row}) > 1]
    assert list(found.twice) == often
    assert set(found.done) == {row for row, _ in rows}


def test_a_chunk_that_says_what_its_markers_say_agrees() -> None:
    """In any state."""
    dynamodb = _counted(succeeded(0), failed(2))
    assert _found(dynamodb).agrees(chunk_of(dynamodb, KEY))


WRONG: list[dict[str, Any]] = [
    {"done": bits(RowBits.of([0]))},
    {"done": bits(RowBits.of([0, 2, 3]))},
    {"remaining": number(1)},
    {"remaining": number(-1)},
    {"succeeded": number(2)},
    {"failed": number(0), "succeeded": number(2)},
    {"rejected": number(1)},
    {"version": number(2)},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_open_chunk_is_set_to_what_its_markers_prove(wrong: dict[str, Any]) -> None:
    """Somebody's hand was in the table, or a bug of ours: the markers are the truth."""
    dynamodb = _counted(succeeded(0), failed(2))
    dynamodb.items[KEY.pk, "chunk"].update(wrong)
    before = chunk_of(dynamodb, KEY)
    assert not _found(dynamodb).agrees(before)
    assert _repair(dynamodb)
    chunk = chunk_of(dynamodb, KEY)
    assert (list(chunk.done), chunk.remaining, chunk.counts) == ([0, 2], 2, Counts(succeeded=1, failed=1))
    assert (chunk.state, chunk.generation) == (before.state, before.generation)
    assert chunk.version > max(before.version, 3)
    assert _found(dynamodb).agrees(chunk)


def test_a_marker_beyond_the_chunks_version_is_overtaken() -> None:
    """The next transaction would meet it for ever: the version is raised past it."""
    dynamodb = _counted(succeeded(0))
    table(dynamodb).write_all([_marker(9, failed(1)).to_item()])
    assert _repair(dynamodb)
    assert chunk_of(dynamodb, KEY).version == 10
    count_rows(dynamodb, KEY, succeeded(2))
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=2, failed=1)


def test_rows_in_two_markers_leave_the_chunk_as_it_is() -> None:
    """Nothing is proven, so nothing is set; an audit shows both."""
    dynamodb = _counted(succeeded(0))
    table(dynamodb).write_all([_marker(9, failed(0)).to_item()])
    assert list(_found(dynamodb).twice) == [0]
    assert _found(dynamodb).agrees(chunk_of(dynamodb, KEY))


@pytest.mark.parametrize("status", [BatchStatus.RUNNING, BatchStatus.COMPLETED_WITH_FAILURES])
def test_a_closed_chunk_takes_its_share_of_the_batch_with_it(status: BatchStatus) -> None:
    """Both are wrong by as much, and both are set in one transaction; nothing opens."""
    dynamodb = _closed(succeeded(0), failed(1), status=status)
    for place in ((KEY.pk, "chunk"), (batch_pk(KEY.batch_id), "batch")):
        dynamodb.items[place].update(succeeded=number(2), failed=number(0))
    assert _repair(dynamodb)
    assert chunk_of(dynamodb, KEY).counts == _batch(dynamodb).counts == Counts(succeeded=1, failed=1)
    assert (chunk_of(dynamodb, KEY).state, _batch(dynamodb).status) == (ChunkState.CLOSED, status)
    assert (_batch(dynamodb).remaining, _batch(dynamodb).version) == (0, 8)


@pytest.mark.parametrize(("status", "attempt"), [(BatchStatus.RUNNING, 1), (BatchStatus.COMPLETED_WITH_FAILURES, 2)])
def test_a_closed_chunk_that_has_lost_a_marker_opens_and_its_batch_runs_again(
    status: BatchStatus, attempt: int
) -> None:
    """Like a redrive: a new generation, ready, and the share of the chunk given back whole."""
    dynamodb = _closed(succeeded(0), failed(1), status=status)
    del dynamodb.items[KEY.pk, "mark#000002"]
    assert _found(dynamodb).lacks(chunk_of(dynamodb, KEY))
    assert _repair(dynamodb)
    chunk, batch = chunk_of(dynamodb, KEY), _batch(dynamodb)
    assert (chunk.state, chunk.generation, list(chunk.undone)) == (ChunkState.READY, 2, [0])
    assert (chunk.counts, chunk.remaining) == (Counts(failed=1), 1)
    assert (batch.counts, batch.rows, batch.remaining) == (Counts(), 0, 1)
    assert (batch.status, batch.attempt, batch.completed_at != "") == (BatchStatus.RUNNING, attempt, False)
    assert dynamodb.items[batch_pk(KEY.batch_id), "batch"]["listing"] == text(Listing.OPEN)


@pytest.mark.parametrize("moved", ["chunk", "batch"])
def test_a_repair_of_a_closed_chunk_holds_only_for_what_was_read_of_both(moved: str) -> None:
    """A version that has moved since, whatever the counters say now."""
    dynamodb = _closed(succeeded(0), failed(1))
    dynamodb.items[KEY.pk, "chunk"].update(succeeded=number(2), failed=number(0))
    repair = repair_chunk(_batch(dynamodb), chunk_of(dynamodb, KEY), _found(dynamodb))
    place = (KEY.pk, "chunk") if moved == "chunk" else (batch_pk(KEY.batch_id), "batch")
    dynamodb.items[place]["version"] = number(int(dynamodb.items[place]["version"]["N"]) + 1)
    before = dict(dynamodb.items)
    assert table(dynamodb).transact(repair)
    assert dynamodb.items == before


def test_a_repair_of_an_open_chunk_holds_only_for_the_version_that_was_read() -> None:
    """Rows that were counted meanwhile would be taken out again."""
    dynamodb = _counted(succeeded(0))
    dynamodb.items[KEY.pk, "chunk"]["failed"] = number(5)
    repair = repair_chunk(_batch(dynamodb), chunk_of(dynamodb, KEY), _found(dynamodb))
    count_rows(dynamodb, KEY, succeeded(1))
    assert table(dynamodb).transact(repair)
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=2, failed=5)


# Batches.


def _chunk(position: int, found: Counts, *, closed: bool = True) -> Chunk:
    return Chunk(
        key=ChunkKey(KEY.batch_id, position),
        start=0,
        end=1,
        first_line=2,
        expected_rows=found.total,
        rows=found.total,
        state=ChunkState.CLOSED if closed else ChunkState.COUNTING,
        counts=found,
    )


def _repaired(chunks: list[Chunk], **wrong: Any) -> Batch | None:
    """Repair a batch of which attributes are wrong; returns it as it then is, None if there was nothing to repair."""
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, KEY.batch_id, chunks=len(chunks), version=number(5), **wrong)
    repair = repair_batch(_batch(dynamodb), chunks)
    if repair is None:
        return None
    assert table(dynamodb).update(repair)
    assert repair_batch(_batch(dynamodb), chunks) is None, "once is enough"
    return _batch(dynamodb)


RIGHT: dict[str, Any] = {"remaining": number(1), "rows": number(5), "succeeded": number(3), "failed": number(2)}
CHUNKS = [
    _chunk(0, Counts(succeeded=2)),
    _chunk(1, Counts(succeeded=1, failed=2)),
    _chunk(2, Counts(succeeded=9), closed=False),
]


def test_a_batch_that_says_what_its_closed_chunks_add_up_to_is_left_alone() -> None:
    """Open chunks are not in it yet."""
    assert _repaired(CHUNKS, **RIGHT) is None


@pytest.mark.parametrize("name", ["remaining", "rows", "succeeded", "failed", "rejected"])
def test_a_running_batch_is_set_to_what_its_closed_chunks_add_up_to(name: str) -> None:
    """One counter is wrong; the batch runs on as it did."""
    batch = _repaired(CHUNKS, **{**RIGHT, name: number(4)})
    assert batch is not None
    assert (batch.remaining, batch.rows, batch.counts) == (1, 5, Counts(succeeded=3, failed=2))
    assert (batch.status, batch.attempt, batch.version) == (BatchStatus.RUNNING, 1, 6)


@pytest.mark.parametrize("wrong", [{}, {"failed": number(9)}], ids=["end alone", "counters too"])
@pytest.mark.parametrize(
    ("counts", "said", "status"),
    [
        (Counts(succeeded=3), BatchStatus.COMPLETED_WITH_FAILURES, BatchStatus.COMPLETED),
        (Counts(succeeded=2, failed=1), BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES),
        (Counts(succeeded=2, rejected=1), BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES),
    ],
)
def test_an_ended_batch_gets_the_end_that_its_counters_have(
    counts: Counts, said: BatchStatus, status: BatchStatus, wrong: dict[str, Any]
) -> None:
    """It stays ended, in the same attempt; its counters may have been set before, with a chunk's."""
    right = {name.removeprefix(":"): value for name, value in counts.values().items()}
    ended = {"remaining": number(0), "rows": number(3), "status": text(said), "completed_at": text("then")}
    batch = _repaired([_chunk(0, counts)], **{**ended, **right, **wrong})
    assert batch is not None
    assert (batch.status, batch.counts, batch.attempt) == (status, counts, 1)
    assert batch.completed_at == "then"


@pytest.mark.parametrize("remaining", [0, 1], ids=["its counters too", "its end alone"])
def test_an_ended_batch_with_an_open_chunk_runs_again(remaining: int) -> None:
    """As the next attempt, which will have an end and an event of its own."""
    ended = {"status": text(BatchStatus.COMPLETED_WITH_FAILURES), "completed_at": text("then")}
    batch = _repaired(CHUNKS, **{**RIGHT, "remaining": number(remaining)}, **ended)
    assert batch is not None
    assert (batch.status, batch.attempt, batch.completed_at) == (BatchStatus.RUNNING, 2, "")
    assert (batch.remaining, batch.counts) == (1, Counts(succeeded=3, failed=2))


def test_a_repair_of_a_batch_holds_only_for_the_version_that_was_read() -> None:
    """A chunk that closed meanwhile would be missing in what is set."""
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, KEY.batch_id, chunks=3, version=number(5))
    repair = repair_batch(_batch(dynamodb), CHUNKS)
    assert repair is not None
    dynamodb.items[batch_pk(KEY.batch_id), "batch"]["version"] = number(6)
    assert not table(dynamodb).update(repair)
    assert _batch(dynamodb).counts == Counts()
