"""Dispatch: what was written to the table is what gets sent, packed, and by batch."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import ThrottledError
from chalicelib.steps.dispatch import Dispatched, Dispatcher
from chalicelib.store.items import Chunk, ChunkKey, Marker, Outcome, Record
from chalicelib.transport.messages import MAX_MESSAGE_BYTES, ChunkMessage, WorkMessage, decode
from chalicelib.transport.streams import Change, changes
from tests.support.builders import NOW, RETRY, at_call, faulty, killed, table
from tests.support.faults import Fault
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemorySQS

INGEST, WORK, HEAVY = "http://127.0.0.1/ingest", "http://127.0.0.1/work", "http://127.0.0.1/heavy"


def _dispatcher(
    sqs: MemorySQS,
    *,
    dynamodb: MemoryDynamoDB | None = None,
    faults: Callable[[str], Fault] = lambda _: Fault.NONE,
    most: int = 3,
) -> Dispatcher:
    client: Any = faulty(sqs, faults)
    return Dispatcher(
        table=table(faulty(dynamodb or MemoryDynamoDB(), faults)),
        sqs=client,
        ingest_queue_url=INGEST,
        work_queue_url=WORK,
        heavy_queue_url=HEAVY,
        pack_rows=most,
        retry=RETRY,
    )


def _dispatch(sqs: MemorySQS, changes: Iterable[Change], **settings: Any) -> Dispatched:
    return _dispatcher(sqs, **settings).dispatch(changes)


def _send(sqs: MemorySQS, rows: Iterable[Change], **settings: Any) -> int:
    return _dispatcher(sqs, **settings).send_records(Record.from_item(row.new) for row in rows)


def _row(row: int, *, data: str = '{"a":1}', batch: str = "offices-1", chunk: int = 0, heavy: bool = False) -> Change:
    record = Record(chunk=ChunkKey(batch, chunk), row=row, line=2, data=data, heavy=heavy)
    return Change(inserted=True, old={}, new=record.to_item(expires_at=1))


def _chunk(number: int, *, inserted: bool = True) -> Change:
    item = Chunk(key=ChunkKey("offices-1", number), start=0, end=1, first_line=2, expected_rows=1).to_item()
    return Change(inserted=inserted, old={} if inserted else item, new=item)


def _work(sqs: MemorySQS, queue: str = WORK) -> list[WorkMessage]:
    return [decode(body, WorkMessage) for body in sqs.bodies[queue]]


def _taken_back(*rows: int, chunk: int = 0, outcome: Outcome = Outcome.FAILED, **record: Any) -> list[Change]:
    """Return what the stream says of markers that were deleted; ``record`` is what is beside the images."""
    markers = [Marker(chunk=ChunkKey("offices-1", chunk), row=row, outcome=outcome) for row in rows]
    images = [{"OldImage": marker.to_item(at=NOW, expires_at=1)} for marker in markers]
    return list(changes({"Records": [{"eventName": "REMOVE", "dynamodb": image, **record} for image in images]}))


def _recorded(*rows: Change) -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    table(made).write_all(row.new for row in rows)
    return made


def test_a_new_chunk_is_sent_to_ingest() -> None:
    """One message each: a chunk is the unit of ingest."""
    sqs = MemorySQS()
    assert _dispatch(sqs, [_chunk(0), _chunk(7)]) == Dispatched(chunks=2)
    assert [decode(body, ChunkMessage) for body in sqs.bodies[INGEST]] == [
        ChunkMessage("offices-1", 0),
        ChunkMessage("offices-1", 7),
    ]
    assert not sqs.bodies[WORK]


def test_new_rows_are_packed_in_order_to_the_most_that_a_message_takes() -> None:
    """With their content, so that the worker reads nothing."""
    sqs = MemorySQS()
    rows = [_row(row, data=f'{{"a":{row}}}', chunk=row // 4) for row in range(7)]
    assert _send(sqs, rows) == 7
    messages = _work(sqs)
    assert [[row.row for row in message.rows] for message in messages] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [row.chunk for message in messages for row in message.rows] == [0, 0, 0, 0, 1, 1, 1]
    assert msgspec.json.decode(messages[2].rows[0].data) == {"a": 6}


@given(sizes=st.lists(st.integers(2, 150_000), min_size=1, max_size=12))
def test_no_message_is_longer_than_the_queue_takes(sizes: list[int]) -> None:
    """However the rows fall, and whatever characters they have; none is lost, none changes places."""
    sqs = MemorySQS()
    rows = [_row(position, data=f'"{"é" * (size // 2)}"') for position, size in enumerate(sizes)]
    _send(sqs, rows, most=100)
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in sqs.bodies[WORK])
    sent = [row for message in _work(sqs) for row in message.rows]
    assert [row.row for row in sent] == list(range(len(sizes)))
    assert [bytes(row.data).decode() for row in sent] == [row.new["data"]["S"] for row in rows]


def test_a_row_too_large_for_a_message_travels_by_its_key() -> None:
    """And leaves the rows around it as they are."""
    sqs = MemorySQS()
    _send(sqs, [_row(0), _row(1, data=f'"{"x" * MAX_MESSAGE_BYTES}"'), _row(2)])
    (message,) = _work(sqs)
    assert [(row.row, bytes(row.data)) for row in message.rows] == [(0, b'{"a":1}'), (1, b""), (2, b'{"a":1}')]


def test_a_row_that_escapes_make_too_large_travels_by_its_key() -> None:
    """U+FFFF has three bytes in the table and six in the message."""
    sqs = MemorySQS()
    data = '"' + "\uffff" * (MAX_MESSAGE_BYTES // 5) + '"'
    assert len(data.encode()) < MAX_MESSAGE_BYTES
    _send(sqs, [_row(0, data=data)])
    (body,) = sqs.bodies[WORK]
    assert len(body.encode()) <= MAX_MESSAGE_BYTES
    assert bytes(_work(sqs)[0].rows[0].data) == b""


def test_batches_do_not_share_messages() -> None:
    """A message names its batch once."""
    sqs = MemorySQS()
    rows = [_row(row, batch=f"offices-{row % 2}") for row in range(4)]
    assert _send(sqs, rows) == 4
    assert [(message.batch, [row.row for row in message.rows]) for message in _work(sqs)] == [
        ("offices-0", [0, 2]),
        ("offices-1", [1, 3]),
    ]


def test_changes_of_what_is_there_are_none_of_its_business() -> None:
    """A counter that moves would send its chunk to ingest for every transaction."""
    sqs = MemorySQS()
    row = _row(0)
    changed = [_chunk(0, inserted=False), Change(inserted=False, old=row.new, new=row.new)]
    assert _dispatch(sqs, changed) == Dispatched()
    assert not sqs.bodies


def test_rows_markers_batches_and_deletions_are_not_sent() -> None:
    """New rows are sent by ingest, all of a chunk together; a deletion has no image."""
    sqs = MemorySQS()
    marker = Marker(chunk=ChunkKey("offices-1", 0), row=0, outcome=Outcome.FAILED).to_item(at=NOW, expires_at=1)
    batch = {"pk": {"S": "batch#offices-1"}, "sk": {"S": "batch"}}
    changed = [
        Change(inserted=True, old={}, new=marker),
        Change(inserted=True, old={}, new=batch),
        _row(0),
        Change(inserted=False, old=_row(0).new, new={}, removed=True),
    ]
    assert _dispatch(sqs, changed) == Dispatched()
    assert not sqs.bodies


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_what_a_worker_that_died_did_not_send_is_sent_by_the_next(fault: Fault, position: int) -> None:
    """The stream delivers all of it again; some messages come twice, none is missing."""
    sqs = MemorySQS()
    changed = [_chunk(0), *_taken_back(0, 1)]
    dynamodb = _recorded(_row(0), _row(1))
    assert killed(lambda: _dispatch(sqs, changed, dynamodb=dynamodb, faults=at_call(position, fault)))
    _dispatch(sqs, changed, dynamodb=dynamodb)
    assert set(sqs.bodies[INGEST]) == {'{"batch":"offices-1","chunk":0}'}
    assert {row.row for message in _work(sqs) for row in message.rows} == {0, 1}


def test_a_queue_that_does_not_take_them_raises() -> None:
    """A stream handler that returned would have lost them."""
    with pytest.raises(ThrottledError):
        _dispatch(MemorySQS(), [_chunk(0)], faults=lambda _: Fault.THROTTLED)


def test_heavy_rows_go_to_their_own_queue_one_a_message() -> None:
    """So that one that takes minutes, or kills its worker, holds up no other."""
    sqs = MemorySQS()
    rows = [_row(0), _row(1, heavy=True), _row(2), _row(3, heavy=True)]
    assert _send(sqs, rows, most=100) == 4
    assert [[row.row for row in message.rows] for message in _work(sqs)] == [[0, 2]]
    assert [[row.row for row in message.rows] for message in _work(sqs, HEAVY)] == [[1], [3]]


def test_a_heavy_row_too_large_for_a_message_travels_by_its_key() -> None:
    """As any other does."""
    sqs = MemorySQS()
    _send(sqs, [_row(0, data=f'"{"x" * MAX_MESSAGE_BYTES}"', heavy=True)])
    (message,) = _work(sqs, HEAVY)
    assert [bytes(row.data) for row in message.rows] == [b""]


def test_a_row_whose_failure_was_taken_back_is_sent_again() -> None:
    """Its marker's deletion is the outbox of a redrive: with its content, and as its first attempt."""
    sqs = MemorySQS()
    dynamodb = _recorded(_row(0), _row(1, data='{"a":2}'), _row(2, heavy=True))
    assert _dispatch(sqs, _taken_back(1, 2), dynamodb=dynamodb) == Dispatched(rows=2)
    (light,), (heavy,) = _work(sqs), _work(sqs, HEAVY)
    assert [(row.chunk, row.row, bytes(row.data), row.attempt) for row in light.rows] == [(0, 1, b'{"a":2}', 1)]
    assert [row.row for row in heavy.rows] == [2]
    assert not sqs.bodies[INGEST]


def test_a_failure_that_time_has_deleted_is_not_run_again() -> None:
    """TTL removes markers by the thousand, as a service: their batches ended long ago."""
    sqs = MemorySQS()
    by_time: dict[str, Any] = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
    assert _dispatch(sqs, _taken_back(0, 1, **by_time), dynamodb=_recorded(_row(0), _row(1))) == Dispatched()
    assert not sqs.bodies


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.REJECTED])
def test_a_marker_that_is_no_failure_is_not_run_again_when_it_is_deleted(outcome: Outcome) -> None:
    """No redrive takes it back, so whoever deleted it wants it gone."""
    sqs = MemorySQS()
    assert _dispatch(sqs, _taken_back(0, outcome=outcome), dynamodb=_recorded(_row(0))) == Dispatched()
    assert not sqs.bodies


def test_rows_that_have_no_record_are_asked_for_chunk_by_chunk() -> None:
    """Ingest could not read their chunk: it tries again, or says once more why not. One message a chunk."""
    sqs = MemorySQS()
    taken = [*_taken_back(0, 1, 2, chunk=4), *_taken_back(0, chunk=3)]
    assert _dispatch(sqs, taken, dynamodb=_recorded(_row(1, chunk=4))) == Dispatched(chunks=2, rows=1)
    assert [decode(body, ChunkMessage).chunk for body in sqs.bodies[INGEST]] == [3, 4]
    assert [row.row for message in _work(sqs) for row in message.rows] == [1]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_redriven_row_is_not_lost_with_the_worker(fault: Fault, position: int) -> None:
    """The deletion is in the stream until it was dealt with."""
    sqs = MemorySQS()
    dynamodb = _recorded(_row(0), _row(1, heavy=True))
    assert killed(lambda: _dispatch(sqs, _taken_back(0, 1), dynamodb=dynamodb, faults=at_call(position, fault)))
    _dispatch(sqs, _taken_back(0, 1), dynamodb=dynamodb)
    assert {row.row for message in [*_work(sqs), *_work(sqs, HEAVY)] for row in message.rows} == {0, 1}
