"""Ingest: every row of a chunk becomes durable, as a record or as a marker, and only then is the total known."""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.errors import FatalError, MessageError, UnknownOutcomeError
from chalicelib.steps.ingest import MAX_RECORD_BYTES, Ingested, Ingester
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, Record, number
from chalicelib.transport.messages import ChunkMessage, WorkMessage, decode
from tests.support.builders import (
    NOW,
    RETENTION,
    RETRY,
    at_call,
    calls_of,
    chunk_of,
    dispatcher,
    faulty,
    killed,
    ledger,
    markers_of,
    planner,
    table,
    uploaded,
)
from tests.support.faults import Fault
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemoryS3, MemorySQS, Pipeline

HEADER = b"office_id,user_count,contract_count\n"
MIXED = HEADER + b"o1,1,2\n\no2,x,2\no3,0,1\n,,\no5,5,6\n"
Faults = Callable[[str], Fault]


class World:
    """A planned file, and ingesters over it; everything is in one chunk unless said otherwise."""

    def __init__(self, content: bytes = MIXED, *, chunk_rows: int = 1000) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.sqs = MemorySQS()
        self.batch = planner(self.dynamodb, self.s3, chunk_rows=chunk_rows, chunk_bytes=2**20).plan(
            uploaded(self.s3, content)
        )
        self.key = ChunkKey(self.batch.id, 0)

    def ingest(self, position: int = 0, faults: Faults = lambda _: Fault.NONE) -> Ingested:
        """Ingest a chunk, with faults at any call to either service."""
        dynamodb: Any = faulty(self.dynamodb, faults)
        s3: Any = faulty(self.s3, faults)
        ingester = Ingester(
            table=table(dynamodb),
            s3=s3,
            ledger=ledger(dynamodb),
            dispatcher=dispatcher(dynamodb, faulty(self.sqs, faults)),
            retry=RETRY,
        )
        return ingester.ingest(ChunkMessage(self.batch.id, position))

    def chunk(self) -> Chunk:
        """Return the first chunk as it stands."""
        return chunk_of(self.dynamodb, self.key)

    def markers(self) -> dict[int, Marker]:
        """Return the markers of the first chunk by row."""
        return markers_of(self.dynamodb, self.key)

    def records(self) -> dict[int, Record]:
        """Return the records of the first chunk by row."""
        found = [item for (_, sk), item in self.dynamodb.items.items() if sk.startswith("row#")]
        records = [Record.from_item(item) for item in found]
        return {record.row: record for record in records if record.chunk == self.key}

    def sent(self) -> list[int]:
        """Return the rows that were sent to be processed, in order."""
        return [row.row for body in self.sqs.bodies["work"] for row in decode(body, WorkMessage).rows]

    def close(self) -> None:
        """Close the first chunk, as settle does."""
        self.dynamodb.items[self.key.pk, "chunk"]["closed"] = {"BOOL": True}


def _many(rows: int) -> bytes:
    """Return a file of which every third row is rejected."""
    return HEADER + b"".join(b"o%d,%s,2\n" % (row, b"x" if row % 3 == 0 else b"1") for row in range(rows))


MANY = _many(120)


def test_valid_rows_become_records_and_invalid_ones_rejected_markers() -> None:
    """A blank line is neither; every row knows its physical line."""
    world = World()
    assert world.ingest() == Ingested(rows=5, rejected=2)
    assert {row: (record.line, record.data) for row, record in world.records().items()} == {
        0: (2, '{"office_id":"o1","user_count":1,"contract_count":2}'),
        2: (5, '{"office_id":"o3","user_count":0,"contract_count":1}'),
        4: (7, '{"office_id":"o5","user_count":5,"contract_count":6}'),
    }
    assert {row: (marker.outcome, marker.error) for row, marker in world.markers().items()} == {
        1: (Outcome.REJECTED, "line 4, column 2 'user_count': expected int, got 'x'"),
        3: (Outcome.REJECTED, "line 6: the row is empty, all 3 of its columns"),
    }
    chunk = world.chunk()
    assert (chunk.rows, chunk.remaining, chunk.counts) == (5, 3, Counts(rejected=2))


def test_records_expire_with_their_batch() -> None:
    """Not by the clock: the item would be another one each time, and the stream would send it again."""
    world = World()
    world.ingest()
    items = [item for (_, sk), item in world.dynamodb.items.items() if sk.startswith("row#")]
    assert {int(item["expires_at"]["N"]) for item in items} == {int((NOW + RETENTION).timestamp())}


def test_ingesting_again_writes_nothing_new() -> None:
    """No item is another one than it was; rows that have no outcome yet are sent again, and counted once."""
    world = World(MANY)
    world.ingest()
    length = len(world.dynamodb.stream)
    assert world.ingest() == Ingested(rows=120, rejected=40)
    assert len(world.dynamodb.stream) == length


def test_rows_are_sent_on_once_they_are_durable_in_full_messages() -> None:
    """One chunk's rows share messages, so that their outcomes share transactions; rejected rows are done."""
    world = World(MANY)
    world.ingest()
    messages = [decode(body, WorkMessage) for body in world.sqs.bodies["work"]]
    assert world.sent() == sorted(world.records())
    assert [len(message.rows) for message in messages] == [3] * 26 + [2]


def test_rows_that_have_an_outcome_are_not_sent_again() -> None:
    """The job would run a second time over all that a chunk's first delivery had brought to its end."""
    world = World()
    world.ingest()
    ledger(world.dynamodb).record(world.key, [Marker(chunk=world.key, row=2, outcome=Outcome.SUCCEEDED)])
    world.sqs.bodies.clear()
    world.ingest()
    assert world.sent() == [0, 4]


def test_rows_that_were_written_and_not_sent_are_sent_when_their_chunk_is_given_up() -> None:
    """The worker died between the two; their chunk's letter is dead, and they still have to come to an outcome."""
    world = World()
    sends = [
        position
        for position, name in enumerate(calls_of(lambda faults: World().ingest(faults=faults)))
        if "send" in name
    ]
    assert killed(lambda: world.ingest(faults=at_call(sends[0], Fault.KILLED_BEFORE)))
    assert world.sent() == []
    world.s3.objects.clear()
    assert world.ingest() == Ingested(rows=5, rejected=0)
    assert world.sent() == [0, 2, 4]
    assert sorted(world.markers()) == [1, 3]


def test_outcomes_that_came_before_the_total_are_in_the_balance() -> None:
    """Rows are on their way before the total is written: ``remaining`` was below zero until now."""
    world = World()
    ledger(world.dynamodb).record(world.key, [Marker(chunk=world.key, row=0, outcome=Outcome.SUCCEEDED)])
    world.ingest()
    assert (world.chunk().rows, world.chunk().remaining) == (5, 2)


def test_a_closed_chunk_is_left_alone_even_when_its_rows_have_expired() -> None:
    """A late duplicate would write rows that are worked on, and counted, a second time."""
    world = World()
    world.ingest()
    world.close()
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] in {"batch", "chunk"}}
    length = len(world.dynamodb.stream)
    assert world.ingest() == Ingested()
    assert len(world.dynamodb.stream) == length


def test_rows_of_an_object_that_is_gone_fail_with_that_reason() -> None:
    """They were announced, so each of them is accounted for."""
    world = World()
    world.s3.objects.clear()
    assert world.ingest() == Ingested(rows=5, rejected=5)
    markers = world.markers()
    assert sorted(markers) == [0, 1, 2, 3, 4]
    assert {marker.outcome for marker in markers.values()} == {Outcome.FAILED}
    assert markers[3].error == "row 4 from line 2: the object was deleted before its rows were read"
    assert world.chunk().done


def test_a_batch_whose_object_goes_after_the_plan_completes_with_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for rows that nobody can read any more."""
    pipeline = Pipeline(monkeypatch)
    batch = pipeline.upload("inbox/offices/day.csv", _many(9))
    assert pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    pipeline.drain()
    ended = pipeline.batch(batch)
    assert (ended.status, ended.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 9)
    assert ended.counts == Counts(failed=9)
    assert all("the object was deleted" in marker.error for marker in pipeline.markers(batch))


def test_rows_that_were_done_before_the_object_went_keep_their_outcome() -> None:
    """An ingest wrote them and died; what has a record is on its way, and the first outcome of each stands."""
    world = World()
    calls = calls_of(lambda faults: World().ingest(faults=faults))
    assert killed(lambda: world.ingest(faults=at_call(calls.index("update_item"), Fault.KILLED_BEFORE)))
    ledger(world.dynamodb).record(world.key, [Marker(chunk=world.key, row=0, outcome=Outcome.SUCCEEDED)])
    world.s3.objects.clear()
    world.ingest()
    assert world.chunk().counts == Counts(succeeded=1, rejected=2)
    assert world.chunk().remaining == 2


def test_a_row_that_no_item_holds_is_rejected_with_its_size() -> None:
    """And its neighbours are rows like any others."""
    name = b"o" * (MAX_RECORD_BYTES // 2)
    world = World(HEADER + b"o1,1,2\n" + name * 2 + b",1,2\n" + name + b",1,2\n")
    assert world.ingest() == Ingested(rows=3, rejected=1)
    size = MAX_RECORD_BYTES + len('{"office_id":"","user_count":1,"contract_count":2}')
    assert world.markers()[1].error == f"line 3: the row is {size:,} bytes long, at most 380,000 can be kept"
    assert sorted(world.records()) == [0, 2]


def test_the_size_of_a_row_is_in_bytes() -> None:
    """DynamoDB counts UTF-8."""
    world = World(HEADER + "é".encode() * (MAX_RECORD_BYTES // 2) + b",1,2\n")
    assert world.ingest() == Ingested(rows=1, rejected=1)


def test_the_largest_row_that_is_kept_fits_into_an_item() -> None:
    """400 KB with all names, keys and numbers."""
    spare = len('{"office_id":"","user_count":1,"contract_count":2}')
    world = World(HEADER + b"o" * (MAX_RECORD_BYTES - spare) + b",1,2\n")
    assert world.ingest() == Ingested(rows=1)
    (item,) = [item for (_, sk), item in world.dynamodb.items.items() if sk.startswith("row#")]
    assert sum(len(name) + len(next(iter(value.values())).encode()) for name, value in item.items()) < 400 * 1000


def test_a_line_that_cannot_be_read_is_rejected_and_the_next_ones_are_rows() -> None:
    """A quote that is never closed hurts the line that it stands on."""
    world = World(HEADER + b'o1,1,2\n"o2"x,"1,2\no3,1,2\n"o4"x,"1,2')
    assert [world.ingest(position) for position in range(2)] == [Ingested(rows=1), Ingested(rows=3, rejected=2)]
    markers = markers_of(world.dynamodb, ChunkKey(world.batch.id, 1))
    assert {row: (marker.outcome, marker.error) for row, marker in markers.items()} == {
        0: (Outcome.REJECTED, "line 3: a quote is opened here and not closed within 1,048,576 bytes"),
        2: (Outcome.REJECTED, "line 5: a quote is opened here and not closed within 1,048,576 bytes"),
    }


def test_a_line_too_long_for_a_record_is_rejected_and_the_next_one_is_a_row() -> None:
    """It is a chunk of its own, of which nothing is read."""
    world = World(HEADER + b"o" * 1_048_577 + b"\no2,1,2\n")
    assert [world.ingest(position) for position in range(2)] == [Ingested(rows=1, rejected=1), Ingested(rows=1)]
    marker = markers_of(world.dynamodb, ChunkKey(world.batch.id, 0))[0]
    assert marker.error == "line 2: the line is 1,048,578 bytes long; the longest record may have 1,048,576"


def test_each_chunk_reads_its_own_range() -> None:
    """Rows of a chunk are numbered from 0 in it."""
    world = World(_many(5), chunk_rows=2)
    assert [world.ingest(position).rows for position in range(3)] == [2, 2, 1]
    items = [item for (_, sk), item in world.dynamodb.items.items() if sk.startswith("row#")]
    assert sorted(Record.from_item(item).line for item in items) == [3, 4, 6]


@pytest.mark.parametrize("position", range(len(calls_of(lambda faults: World(MANY).ingest(faults=faults)))))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_anywhere_leaves_no_total_without_its_rows(fault: Fault, position: int) -> None:
    """The total is written last, and a second delivery comes to what an undisturbed one does."""
    undisturbed, world = World(MANY), World(MANY)
    undisturbed.ingest()
    assert killed(lambda: world.ingest(faults=at_call(position, fault)))
    if world.chunk().rows is not None:
        assert len(world.records()) + len(world.markers()) == 120
    if world.chunk().rows is not None:
        assert set(world.sent()) == set(world.records())
    world.ingest()
    assert world.dynamodb.items == undisturbed.dynamodb.items
    assert set(world.sent()) == set(world.records())


@pytest.mark.parametrize("position", range(len(calls_of(lambda faults: World(MANY).ingest(faults=faults)))))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_fault_at_any_call_changes_nothing_of_the_result(fault: Fault, position: int) -> None:
    """Least of all the total, which a retry must not add twice."""
    undisturbed, world = World(MANY), World(MANY)
    undisturbed.ingest()
    world.ingest(faults=at_call(position, fault))
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_two_deliveries_at_the_same_time_add_the_total_once() -> None:
    """Both have loaded the chunk before either has set it."""
    world = World()
    calls: list[str] = []

    def overtake(operation: str) -> Fault:
        calls.append(operation)
        if calls.count("update_item") == 1 and operation == "update_item":
            world.ingest()
        return Fault.NONE

    world.ingest(faults=overtake)
    assert (world.chunk().rows, world.chunk().remaining) == (5, 3)


def test_a_chunk_that_reads_otherwise_than_it_was_planned_raises_and_writes_nothing() -> None:
    """A total that is not the planner's would complete the batch with rows missing, or never."""
    world = World()
    world.dynamodb.items[world.key.pk, "chunk"]["expected_rows"] = number(6)
    length = len(world.dynamodb.stream)
    with pytest.raises(FatalError, match="planned with 6 rows, read with 5"):
        world.ingest()
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize("sk", ["batch", "chunk"])
def test_a_chunk_that_is_not_in_the_table_raises(sk: str) -> None:
    """Somebody deleted a batch while its messages were under way: the dead letters alarm."""
    world = World()
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] != sk}
    with pytest.raises(MessageError, match="is not in the table"):
        world.ingest()


def test_a_table_that_does_not_answer_raises() -> None:
    """The queue delivers again; no row is lost or rejected for it."""
    world = World()
    with pytest.raises(UnknownOutcomeError):
        world.ingest(faults=lambda operation: Fault.ERROR_BEFORE if operation == "batch_write_item" else Fault.NONE)
    assert world.chunk().rows is None
    assert world.markers() == {}
