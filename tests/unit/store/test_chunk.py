"""The chunk item: read as it was written, told from what is none, and small enough to be one write unit."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.errors import FormatError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import Chunk, ChunkState, is_chunk
from chalicelib.store.items import ChunkKey, Counts, Outcome, bits, key, number, text
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import RowOutcome, markers
from chalicelib.store.pacing import item_size, write_units
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.metering import Meter
from tests.support.builders import changed_since, chunk_of, ledger, plant, plant_ready, table

MOST_ROWS = 2_000
"""The most that a job may ask for."""
LONGEST_ID = "a" * 64 + "-" + "0" * 20
"""The id of a batch whose job has a name of 64 characters."""
KEY = ChunkKey("offices-1", 7)
PLANNED = Chunk(key=KEY, start=10, end=99, first_line=5, expected_rows=9)
COUNTED: dict[str, Any] = {
    "rows": number(9),
    "pages": number(2),
    "state": text("counting"),
    "version": number(4),
    "generation": number(2),
    "done": bits(RowBits.of([0, 8])),
    "heavy": bits(RowBits.of([3])),
    "remaining": number(7),
    "succeeded": number(1),
    "failed": number(0),
    "rejected": number(1),
    "redriven": number(3),
}
READ = replace(
    PLANNED,
    state=ChunkState.COUNTING,
    version=4,
    generation=2,
    rows=9,
    pages=2,
    done=RowBits.of([0, 8]),
    heavy=RowBits.of([3]),
    remaining=7,
    counts=Counts(succeeded=1, rejected=1),
    redriven=3,
)


@pytest.mark.parametrize("planned", [PLANNED, replace(PLANNED, unreadable="a quote is never closed")])
def test_a_planned_chunk_is_read_as_it_was_written(planned: Chunk) -> None:
    """Its rows are unknown, and so are their bits."""
    item = planned.to_item()
    assert Chunk.from_item(item) == planned
    assert not item.keys() & {"rows", "done", "heavy", "remaining"}
    assert not planned.complete


def test_a_counted_chunk_is_read_as_it_is_in_the_table_and_as_it_is_in_the_stream() -> None:
    """Lambda brings binary attributes as base64, and the bits are the same."""
    dynamodb = MemoryDynamoDB()
    plant(dynamodb, PLANNED, **COUNTED)
    (change,) = changed_since(dynamodb)
    assert isinstance(change.new["done"]["B"], str)
    assert Chunk.from_item(change.new) == chunk_of(dynamodb, KEY) == READ


def test_the_rows_that_have_no_outcome_are_those_that_are_not_done() -> None:
    """None before they are read: there is nothing to process yet."""
    assert set(READ.undone) == {1, 2, 3, 4, 5, 6, 7}
    assert PLANNED.undone == NO_ROWS


@pytest.mark.parametrize(
    ("rows", "remaining", "complete"), [(9, 0, True), (0, 0, True), (9, 1, False), (None, 0, False)]
)
def test_a_chunk_is_complete_when_every_row_of_a_known_total_was_counted(
    rows: int | None, remaining: int, complete: bool
) -> None:
    """Nothing remains of a chunk that was never read, either: it must not be closed."""
    assert replace(READ, rows=rows, remaining=remaining).complete is complete


@pytest.mark.parametrize("state", list(ChunkState))
def test_only_a_chunk_that_says_so_is_closed(state: ChunkState) -> None:
    """Complete is what the rows are, closed is what the batch knows."""
    assert replace(READ, state=state).closed is (state is ChunkState.CLOSED)


OF_VERSION_1 = {
    name: value for name, value in PLANNED.to_item().items() if name not in {"state", "version", "generation"}
}


@pytest.mark.parametrize(
    ("item", "is_one"),
    [
        (PLANNED.to_item(), True),
        (OF_VERSION_1, False),
        ({**OF_VERSION_1, "closed": {"BOOL": True}}, False),
        ({**key(KEY.pk, "mark#000001"), "state": text("x")}, False),
        (key(KEY.pk, "rows#000"), False),
        ({}, False),
    ],
    ids=["a chunk", "of version 1", "a closed one of version 1", "a marker", "rows", "a deletion"],
)
def test_a_chunk_is_told_from_what_is_none(item: dict[str, Any], is_one: bool) -> None:
    """A stage that changes over to version 2 may have chunks of version 1 in its stream, which must not block it."""
    assert is_chunk(item) is is_one


def _full() -> MemoryDynamoDB:
    """Give a chunk with everything that a chunk can have, each as large as it becomes."""
    dynamodb = MemoryDynamoDB()
    chunk = Chunk(
        key=ChunkKey(LONGEST_ID, 999_999),
        start=49_999_999_999,
        end=49_999_999_999,
        first_line=999_999_999,
        expected_rows=MOST_ROWS,
        version=999_999,
        generation=999_999,
    )
    numbers = {"rows": 2_000, "pages": 999, "remaining": 1_999, "succeeded": 1_999, "failed": 1_999, "rejected": 1_999}
    plant(
        dynamodb,
        chunk,
        **{name: number(value) for name, value in numbers.items()},
        state=text("counting"),
        redriven=number(1_999_999),
        done=bits(RowBits.first(MOST_ROWS)),
        heavy=bits(RowBits.first(MOST_ROWS)),
    )
    return dynamodb


def test_the_largest_chunk_is_one_write_unit() -> None:
    """DynamoDB bills an update by the whole item: a byte over a kilobyte would double each count."""
    ((_, item),) = _full().items.items()
    assert item_size(item) <= 1_024
    assert write_units(item_size(item)) == 1


@pytest.mark.parametrize("rows", [1, 500, MOST_ROWS])
def test_a_count_costs_the_kilobytes_of_its_marker_and_one_for_the_chunk(rows: int) -> None:
    """Twice, as all in a transaction: whatever the number of rows, the chunk's part stays the same."""
    dynamodb, meter, where = MemoryDynamoDB(), Meter(), ChunkKey(LONGEST_ID, 999_999)
    chunk = plant_ready(dynamodb, where, MOST_ROWS, heavy=bits(RowBits.first(MOST_ROWS)))
    outcomes = [RowOutcome(row=row, outcome=Outcome.SUCCEEDED, duration_ms=row % 90) for row in range(rows)]
    ledger(meter.meters(dynamodb)).record(where, [Finished(1, outcome) for outcome in outcomes], Seen.of(chunk))
    (marker,) = markers(where, 2, outcomes, counted_at="2026-03-01T12:00:00.000000+00:00", expires_at=1_800_000_000)
    units = {"transact_write_items mark": 2 * write_units(item_size(marker.to_item())) + 2}
    assert (dict(meter.requests), dict(meter.units)) == ({"transact_write_items mark": 1}, units)


def test_a_chunk_is_found_by_its_key() -> None:
    """The name has the batch and the number, and is read back from the partition."""
    assert table(_full()).get(ChunkKey(LONGEST_ID, 999_999).pk, "chunk")
    assert ChunkKey.from_pk(KEY.pk) == KEY
    assert KEY.pk == "batch#offices-1#000007"


def test_a_chunk_of_another_version_is_a_clear_error() -> None:
    """A letter of version 1 that waits in a dead-letter queue fails with where to read on."""
    with pytest.raises(FormatError, match=r"batch#b#000000 is of another version of Tally \(docs/deploy.md"):
        Chunk.from_item({"pk": {"S": "batch#b#000000"}, "sk": {"S": "chunk"}, "start": {"N": "0"}})
