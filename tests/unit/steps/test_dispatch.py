"""Dispatch: what was written to the table is what gets sent, as keys, and never more than the newest image asks for."""

from typing import Any

import msgspec
import pytest

from chalicelib.errors import ThrottledError
from chalicelib.steps.dispatch import Dispatched
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, Outcome, batch_pk, bits, number, rows_sk, text
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import RowOutcome
from chalicelib.transport.messages import ChunkMessage, WorkMessage, decode
from chalicelib.transport.streams import Change
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    at_call,
    changed_since,
    chunk_of,
    dispatcher,
    faulty,
    killed,
    ledger,
    plant,
    plant_batch,
    table,
)

BATCH = "offices-1"
LARGEST_MESSAGE = 150
"""Bytes of a message that names a batch, a chunk, a generation and one row."""


def _chunk(position: int, rows: int = 4) -> Chunk:
    return Chunk(key=ChunkKey(BATCH, position), start=0, end=1, first_line=2, expected_rows=rows)


def _read(rows: int, *, done: RowBits = NO_ROWS, heavy: RowBits = NO_ROWS, generation: int = 1) -> dict[str, Any]:
    """Return what a chunk has once its rows are durable."""
    return {
        "state": text(ChunkState.READY),
        "version": number(1),
        "generation": number(generation),
        "rows": number(rows),
        "pages": number(1),
        "done": bits(done),
        "heavy": bits(heavy),
        "remaining": number(rows - len(done)),
        **{outcome.value: number(0) for outcome in Outcome},
    }


def _planted(*chunks: Chunk, **changed: Any) -> tuple[MemoryDynamoDB, list[Change]]:
    """Return a table with chunks, and what its stream says of them."""
    dynamodb = MemoryDynamoDB()
    for chunk in chunks:
        plant(dynamodb, chunk, **changed)
    return dynamodb, changed_since(dynamodb)


def _asked(sqs: MemorySQS) -> list[int]:
    """Return the chunks that ingest was asked for."""
    return [decode(body, ChunkMessage).chunk for body in sqs.bodies["ingest"]]


def _work(sqs: MemorySQS, queue: str = "work") -> list[WorkMessage]:
    return [decode(body, WorkMessage) for body in sqs.bodies[queue]]


def test_a_planned_chunk_is_sent_to_ingest() -> None:
    """One message each: a chunk is the unit of ingest."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0), _chunk(7))
    assert dispatcher(sqs).dispatch(changed) == Dispatched(chunks=2)
    assert _asked(sqs) == [0, 7]
    assert not sqs.bodies["work"]


def test_a_ready_chunk_is_one_message_to_process_whatever_its_rows() -> None:
    """It names none of them: all that are not done are meant, whenever it comes."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(3, rows=500), **_read(500, done=RowBits.of([0, 9])))
    assert dispatcher(sqs).dispatch(changed) == Dispatched(rows=498)
    assert _work(sqs) == [WorkMessage(batch=BATCH, chunk=3, generation=1)]
    assert not sqs.bodies["ingest"]
    assert not sqs.bodies["heavy"]


def test_heavy_rows_go_to_their_own_queue_one_a_message() -> None:
    """So that one that takes minutes, or kills its worker, holds up no other; those that are done are not sent."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0, rows=6), **_read(6, done=RowBits.of([2, 5]), heavy=RowBits.of([1, 2, 4])))
    assert dispatcher(sqs).dispatch(changed) == Dispatched(rows=4)
    assert _work(sqs) == [WorkMessage(batch=BATCH, chunk=0, generation=1)]
    heavy = [WorkMessage(batch=BATCH, chunk=0, generation=1, rows=[row]) for row in (1, 4)]
    assert _work(sqs, "heavy") == heavy


def test_a_chunk_of_heavy_rows_alone_sends_nothing_to_the_work_queue() -> None:
    """The message would have nothing to do."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0, rows=2), **_read(2, heavy=RowBits.first(2)))
    dispatcher(sqs).dispatch(changed)
    assert (len(_work(sqs)), len(_work(sqs, "heavy"))) == (0, 2)


def test_a_chunk_of_rejected_rows_sends_nothing() -> None:
    """It is ready, and complete."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0, rows=2), **_read(2, done=RowBits.first(2)))
    assert dispatcher(sqs).dispatch(changed) == Dispatched()
    assert not any(sqs.bodies.values())


def test_no_message_carries_data() -> None:
    """So no row is too large for one, however large its chunk is."""
    sqs = MemorySQS()
    last = 99_999
    rows = _read(last + 1, done=RowBits.first(last - 1), heavy=RowBits.of([last]))
    _, changed = _planted(_chunk(999_999, rows=last + 1), **rows)
    dispatcher(sqs).dispatch(changed)
    bodies = [*sqs.bodies["work"], *sqs.bodies["heavy"]]
    assert len(bodies) == 2
    assert max(map(len, bodies)) < LARGEST_MESSAGE


def test_messages_carry_the_generation_of_their_image() -> None:
    """By which a worker knows one that a redrive has overtaken."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0), **_read(4, heavy=RowBits.of([1]), generation=7))
    dispatcher(sqs).dispatch(changed)
    assert {message.generation for message in [*_work(sqs), *_work(sqs, "heavy")]} == {7}


def test_the_newest_image_of_a_chunk_is_the_one_that_is_sent() -> None:
    """One invocation may bring the chunk as planned and as ready: reading it again would be for nothing."""
    sqs = MemorySQS()
    dynamodb, _ = _planted(_chunk(0))
    plant(dynamodb, _chunk(0), **_read(4))
    assert dispatcher(sqs).dispatch(changed_since(dynamodb)) == Dispatched(rows=4)
    assert _asked(sqs) == []


def test_a_chunk_that_is_being_counted_or_closed_asks_for_nothing() -> None:
    """Every transaction of the ledger would send its rows again."""
    sqs = MemorySQS()
    dynamodb, _ = _planted(_chunk(0), **_read(2))
    position = len(dynamodb.stream)
    for row in (0, 1):
        outcome = RowOutcome(row=row, outcome=Outcome.FAILED, reason="no good")
        seen = Seen.of(chunk_of(dynamodb, ChunkKey(BATCH, 0)))
        ledger(dynamodb).record(ChunkKey(BATCH, 0), [Finished(1, outcome)], seen)
    plant(dynamodb, _chunk(0), **_read(2) | {"state": text(ChunkState.CLOSED)})
    assert dispatcher(sqs).dispatch(changed_since(dynamodb, position)) == Dispatched()
    assert not any(sqs.bodies.values())


def test_a_late_success_does_not_hide_the_rows_that_a_redrive_has_just_sent() -> None:
    """Both images of the chunk come in one invocation; the rows of the first wait for nobody else's message."""
    sqs = MemorySQS()
    key = ChunkKey(BATCH, 0)
    dynamodb, _ = _planted(_chunk(0), **_read(2, generation=2))
    late = RowOutcome(row=0, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(b"1"))
    ledger(dynamodb).record(key, [Finished(1, late)], Seen.of(chunk_of(dynamodb, key)))
    assert chunk_of(dynamodb, key).state is ChunkState.COUNTING
    dispatcher(sqs).dispatch(changed_since(dynamodb))
    assert _work(sqs) == [WorkMessage(batch=BATCH, chunk=0, generation=2)]


def test_batches_rows_markers_and_deletions_are_none_of_its_business() -> None:
    """The filter of the stream keeps them away; what slips through does no harm."""
    sqs, dynamodb = MemorySQS(), MemoryDynamoDB()
    plant_batch(dynamodb, BATCH)
    pk = ChunkKey(BATCH, 0).pk
    others = (rows_sk(0), "mark#000001", "waiting#000001")
    table(dynamodb).write_all({"pk": text(pk), "sk": text(sk)} for sk in others)
    dynamodb.delete_item(TableName="tally-test", Key={"pk": text(pk), "sk": text(rows_sk(0))})
    assert (batch_pk(BATCH), "batch") in dynamodb.items
    assert dispatcher(sqs).dispatch(changed_since(dynamodb)) == Dispatched()
    assert not any(sqs.bodies.values())


def test_a_chunk_of_a_format_that_is_not_known_is_passed_over() -> None:
    """Version 1 wrote chunks without a state: one of them must not stop the stream for all others."""
    sqs = MemorySQS()
    _, changed = _planted(_chunk(0))
    old = {name: value for name, value in changed[0].new.items() if name != "state"}
    assert dispatcher(sqs).dispatch([Change(old={}, new=old), *changed]) == Dispatched(chunks=1)


def test_what_a_chunk_lacks_can_be_sent_whatever_its_state() -> None:
    """Reconcile asks for that: nobody looks at the state of what was lost."""
    sqs = MemorySQS()
    unread = _chunk(0)
    dynamodb, _ = _planted(_chunk(1), **_read(4, done=RowBits.of([0])) | {"state": text(ChunkState.COUNTING)})
    chunks = [unread, chunk_of(dynamodb, ChunkKey(BATCH, 1))]
    assert chunks[1].counts == Counts()
    assert dispatcher(sqs).send(chunks) == Dispatched(chunks=1, rows=3)
    assert (_asked(sqs), [message.chunk for message in _work(sqs)]) == ([0], [1])


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_what_a_worker_that_died_did_not_send_is_sent_by_the_next(fault: Fault, position: int) -> None:
    """The stream delivers all of it again; some messages come twice, none is missing."""
    sqs = MemorySQS()
    dynamodb, _ = _planted(_chunk(0))
    plant(dynamodb, _chunk(1), **_read(4, heavy=RowBits.of([2])))
    changed = changed_since(dynamodb)
    assert killed(lambda: dispatcher(faulty(sqs, at_call(position, fault))).dispatch(changed))
    dispatcher(sqs).dispatch(changed)
    assert {queue: len(set(bodies)) for queue, bodies in sqs.bodies.items()} == {"ingest": 1, "work": 1, "heavy": 1}


def test_a_queue_that_does_not_take_them_raises() -> None:
    """A stream handler that returned would have lost them."""
    _, changed = _planted(_chunk(0))
    with pytest.raises(ThrottledError):
        dispatcher(faulty(MemorySQS(), lambda _: Fault.THROTTLED)).dispatch(changed)
