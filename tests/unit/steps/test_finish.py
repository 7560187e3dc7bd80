"""Finish: outcomes of many messages, counted chunk by chunk."""

from typing import Any

import msgspec

from chalicelib.errors import FatalError
from chalicelib.steps.finish import Finisher
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.items import ChunkKey, Counts, Outcome, number
from chalicelib.store.ledger import Recorded
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.transport.messages import FinishedMessage, decode, encode
from chalicelib.transport.partial_batch_response import Failures, Message
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, chunk_of, ledger, outcomes_of, plant_ready

BATCH = "offices-1"
KEYS = [ChunkKey(BATCH, number) for number in range(3)]
ROWS = 9


def _ready() -> MemoryDynamoDB:
    dynamodb = MemoryDynamoDB()
    for key in KEYS:
        plant_ready(dynamodb, key, ROWS)
    return dynamodb


def _success(row: int, result: Any = None) -> RowOutcome:
    return RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(msgspec.json.encode(result)))


def _failure(row: int, reason: str = "ValueError: x") -> RowOutcome:
    return RowOutcome(row=row, outcome=Outcome.FAILED, code=ReasonCode.RAISED, reason=reason)


def _message(
    chunk: int,
    *outcomes: RowOutcome,
    version: int = 1,
    generation: int = 1,
    done: RowBits = NO_ROWS,
    batch: str = BATCH,
) -> FinishedMessage:
    return FinishedMessage(
        batch=batch,
        chunk=chunk,
        generation=generation,
        version=version,
        done=done.to_bytes(),
        outcomes=list(outcomes),
    )


def _finish(client: Any, *messages: FinishedMessage) -> tuple[Recorded, Failures]:
    """Count messages as they arrive: encoded, and named by their delivery."""
    failures = Failures()
    arrived = {Message(str(at), ""): decode(encode(body), FinishedMessage) for at, body in enumerate(messages)}
    return Finisher(ledger=ledger(client)).finish(arrived, failures), failures


def test_outcomes_of_a_chunk_are_counted_in_one_transaction_whatever_message_they_came_in() -> None:
    """Each transaction costs the chunk's update and a marker: one for ten messages is a tenth."""
    dynamodb = _ready()
    requests = Requests(dynamodb)
    messages = [_message(0, _success(0)), _message(1, _success(1), _failure(0)), _message(0, _success(2), _failure(1))]
    done, failures = _finish(requests, *messages)
    assert (done, failures.errors) == (Recorded(counted=5), {})
    assert [operation for operation, _ in requests.made] == ["transact_write_items"] * 2
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=2, failed=1)
    assert chunk_of(dynamodb, KEYS[1]).counts == Counts(succeeded=1, failed=1)


def test_messages_that_arrive_in_any_order_give_each_row_its_own_result() -> None:
    """A worker sends its rows in order, the queue brings them in none."""
    dynamodb = _ready()
    _finish(dynamodb, _message(0, _success(5, "five"), _success(6, "six")), _message(0, _success(0, "none")))
    said = {row: msgspec.json.decode(outcome.result) for row, outcome in outcomes_of(dynamodb, KEYS[0]).items()}
    assert said == {0: "none", 5: "five", 6: "six"}


def test_result_and_reason_are_in_the_marker() -> None:
    """The proof and the result cannot disagree."""
    dynamodb = _ready()
    _finish(dynamodb, _message(0, _success(7, {"a": "é\uffff"}), _failure(8)))
    outcomes = outcomes_of(dynamodb, KEYS[0])
    assert msgspec.json.decode(outcomes[7].result) == {"a": "é\uffff"}
    assert (outcomes[8].outcome, outcomes[8].reason) == (Outcome.FAILED, "ValueError: x")


def test_messages_that_come_twice_are_counted_once() -> None:
    """In one invocation or in two."""
    dynamodb = _ready()
    message = _message(0, _success(0), _failure(1))
    assert _finish(dynamodb, message, message)[0] == Recorded(counted=2, dropped=2)
    assert _finish(dynamodb, message)[0] == Recorded(counted=0, dropped=2)
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=1, failed=1)


def test_of_what_workers_have_read_the_newest_is_compared_with() -> None:
    """It is most likely still true, and then nothing is refused."""
    dynamodb = _ready()
    _finish(dynamodb, _message(0, _success(0)))
    requests = Requests(dynamodb)
    newest = _message(0, _success(2), version=2, done=RowBits.of([0]))
    done, _ = _finish(requests, _message(0, _success(1)), newest, _message(0, _success(0), _success(3)))
    assert done == Recorded(counted=3, dropped=1)
    assert len(requests.made) == 1
    assert set(outcomes_of(dynamodb, KEYS[0])) == {0, 1, 2, 3}


def test_a_failure_from_before_a_redrive_is_dropped_although_it_comes_with_newer_messages() -> None:
    """Each outcome is judged by the generation of its own message."""
    dynamodb = _ready()
    dynamodb.items[KEYS[0].pk, "chunk"] |= {"version": number(4), "generation": number(2)}
    messages = [_message(0, _failure(0), _success(1)), _message(0, _failure(2), version=4, generation=2)]
    done, failures = _finish(dynamodb, *messages)
    assert (done, failures.errors) == (Recorded(counted=2, dropped=1), {})
    assert set(outcomes_of(dynamodb, KEYS[0])) == {1, 2}


def test_a_chunk_that_cannot_be_counted_fails_its_own_messages_and_no_others() -> None:
    """Both of its messages come again; when it can be counted, they are."""
    dynamodb = _ready()
    gone = dynamodb.items.pop((KEYS[1].pk, "chunk"))
    messages = [_message(0, _success(0)), _message(1, _success(0)), _message(2, _success(0)), _message(1, _success(1))]
    done, failures = _finish(dynamodb, *messages)
    assert sorted(failures.errors) == ["1", "3"]
    assert all(isinstance(error, FatalError) for error in failures.errors.values())
    assert done == Recorded(counted=2)
    dynamodb.items[KEYS[1].pk, "chunk"] = gone
    done, failures = _finish(dynamodb, messages[1], messages[3])
    assert (done, failures.errors) == (Recorded(counted=2), {})


def test_chunks_with_the_same_number_of_two_batches_are_two() -> None:
    """A queue mixes batches."""
    dynamodb = _ready()
    other = ChunkKey("offices-2", 0)
    plant_ready(dynamodb, other, ROWS)
    _finish(dynamodb, _message(0, _success(0)), _message(0, _failure(0), batch="offices-2"))
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=1)
    assert chunk_of(dynamodb, other).counts == Counts(failed=1)


def test_nothing_to_count_is_no_request() -> None:
    """All messages may have failed to decode."""
    requests = Requests(MemoryDynamoDB())
    assert _finish(requests)[0] == Recorded()
    assert requests.made == []
