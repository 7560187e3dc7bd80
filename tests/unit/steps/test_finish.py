"""Finish: outcomes of many messages, counted chunk by chunk."""

from typing import Any

import msgspec

from chalicelib.errors import FatalError
from chalicelib.steps.finish import Finisher
from chalicelib.store.items import Chunk, ChunkKey, Counts, Outcome
from chalicelib.store.ledger import Recorded
from chalicelib.transport.messages import ABSENT, FinishedMessage, FinishedRow, RowOutcome
from chalicelib.transport.partial_batch_response import Failures, Message
from tests.support.builders import Requests, chunk_of, ledger, markers_of, plant
from tests.support.memory_dynamodb import MemoryDynamoDB

BATCH = "offices-1"
KEYS = [ChunkKey(BATCH, number) for number in range(3)]


def _planned() -> MemoryDynamoDB:
    dynamodb = MemoryDynamoDB()
    for key in KEYS:
        plant(dynamodb, Chunk(key=key, start=0, end=1, first_line=2, expected_rows=9))
    return dynamodb


def _finish(client: Any, *messages: list[FinishedRow], batch: str = BATCH) -> tuple[Recorded, Failures]:
    failures = Failures()
    finished = {Message(str(position), "body"): FinishedMessage(batch, rows) for position, rows in enumerate(messages)}
    return Finisher(ledger=ledger(client)).finish(finished, failures), failures


def _row(
    chunk: int, row: int, outcome: Outcome = Outcome.SUCCEEDED, *, result: str = "", error: str = ""
) -> FinishedRow:
    raw = msgspec.Raw(result.encode()) if result else ABSENT
    return FinishedRow(chunk, RowOutcome(row, outcome, raw, error))


def test_outcomes_of_a_chunk_are_counted_together_whatever_message_they_came_in() -> None:
    """Each transaction costs the counter a write: one for ten messages is a tenth."""
    dynamodb = _planned()
    requests = Requests(dynamodb)
    done, failures = _finish(requests, [_row(0, 0), _row(1, 0)], [_row(1, 1, Outcome.FAILED), _row(0, 1)], [_row(0, 2)])
    assert done == Recorded(counted=5, duplicates=0)
    assert failures.errors == {}
    assert sorted(len(request["TransactItems"]) for request in requests.of("transact_write_items")) == [3, 4]
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=3)
    assert chunk_of(dynamodb, KEYS[1]).counts == Counts(succeeded=1, failed=1)


def test_result_and_reason_are_in_the_marker() -> None:
    """The proof and the result cannot disagree."""
    dynamodb = _planned()
    _finish(dynamodb, [_row(0, 7, result='{"a":"é"}'), _row(0, 8, Outcome.FAILED, error="ValueError: x")])
    markers = markers_of(dynamodb, KEYS[0])
    assert (markers[7].outcome, markers[7].result, markers[7].error) == (Outcome.SUCCEEDED, '{"a":"é"}', "")
    assert (markers[8].outcome, markers[8].result, markers[8].error) == (Outcome.FAILED, "", "ValueError: x")


def test_messages_that_come_twice_are_counted_once() -> None:
    """In one invocation or in two."""
    dynamodb = _planned()
    rows = [_row(0, 0), _row(0, 1, Outcome.REJECTED)]
    assert _finish(dynamodb, rows, rows)[0] == Recorded(counted=2, duplicates=2)
    assert _finish(dynamodb, rows)[0] == Recorded(counted=0, duplicates=2)
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=1, rejected=1)


def test_a_chunk_that_cannot_be_counted_fails_its_own_messages_and_no_others() -> None:
    """Both messages that have rows of it come again, also the rows of theirs that were counted: that is safe."""
    dynamodb = _planned()
    del dynamodb.items[KEYS[1].pk, "chunk"]
    messages = [[_row(0, 0)], [_row(0, 1), _row(1, 0)], [_row(2, 0)], [_row(1, 1)]]
    done, failures = _finish(dynamodb, *messages)
    assert sorted(failures.errors) == ["1", "3"]
    assert all(isinstance(error, FatalError) for error in failures.errors.values())
    assert done == Recorded(counted=3, duplicates=0)
    assert chunk_of(dynamodb, KEYS[0]).counts.total == 2
    assert chunk_of(dynamodb, KEYS[2]).counts.total == 1
    plant(dynamodb, Chunk(key=KEYS[1], start=0, end=1, first_line=2, expected_rows=9))
    done, failures = _finish(dynamodb, messages[1], messages[3])
    assert (done, failures.errors) == (Recorded(counted=2, duplicates=1), {})


def test_chunks_with_the_same_number_of_two_batches_are_two() -> None:
    """A queue mixes batches."""
    dynamodb = _planned()
    other = ChunkKey("offices-2", 0)
    plant(dynamodb, Chunk(key=other, start=0, end=1, first_line=2, expected_rows=9))
    failures = Failures()
    finished = {
        Message("a", ""): FinishedMessage(BATCH, [_row(0, 0)]),
        Message("b", ""): FinishedMessage("offices-2", [_row(0, 0, Outcome.FAILED)]),
    }
    Finisher(ledger=ledger(dynamodb)).finish(finished, failures)
    assert chunk_of(dynamodb, KEYS[0]).counts == Counts(succeeded=1)
    assert chunk_of(dynamodb, other).counts == Counts(failed=1)


def test_nothing_to_count_is_no_request() -> None:
    """All messages may have failed to decode."""
    requests = Requests(MemoryDynamoDB())
    assert _finish(requests)[0] == Recorded(counted=0, duplicates=0)
    assert requests.made == []
