"""The marker-item transaction counts each row once, and holds what fits into it."""

import random
from collections.abc import Sequence
from datetime import datetime

import pytest

from chalicelib.store.bits import RowBits
from chalicelib.store.items import Counts, Outcome, text
from chalicelib.store.ledger import Recorded, Seen
from chalicelib.store.pacing import item_size
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import NOW, RETENTION, Requests, chunk_of, ledger
from tests.support.counting import (
    KEY,
    READ,
    ROWS,
    both_outcomes,
    check_chunk,
    failure,
    ready_chunk,
    seen_now,
    success,
    transactions_of,
)


def test_a_row_given_twice_in_a_call_is_counted_once_and_the_first_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """Two messages of one invocation may have it."""
    twice = [failure(5, "first"), success(6), success(5, "second")]
    assert ledger(dynamodb).record(KEY, twice, READ) == Recorded(counted=2, dropped=1)
    assert check_chunk(dynamodb)[5].reason == "first"
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=1, failed=1)


def test_a_row_recorded_before_is_counted_once_and_its_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """A second delivery, whatever it says and whatever its worker had read, takes no count back."""
    ledger(dynamodb).record(KEY, [success(1, 1), failure(2)], READ)
    again = [success(0), failure(1), success(2), failure(3)]
    assert ledger(dynamodb).record(KEY, again, READ) == Recorded(counted=2, dropped=2)
    outcomes = check_chunk(dynamodb)
    assert (outcomes[1].outcome, bytes(outcomes[1].result)) == (Outcome.SUCCEEDED, b"1")
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=2, failed=2)


@pytest.mark.parametrize("rows", [range(ROWS), range(0, ROWS, 2), [7], [0, ROWS - 1]])
def test_any_part_of_what_was_counted_writes_nothing(dynamodb: MemoryDynamoDB, rows: Sequence[int]) -> None:
    """The stream stays silent, too, or each duplicate would wake the functions that read it."""
    ledger(dynamodb).record(KEY, both_outcomes(), READ)
    length = len(dynamodb.stream)
    assert ledger(dynamodb).record(KEY, both_outcomes(rows), READ) == Recorded(counted=0, dropped=len(rows))
    assert len(dynamodb.stream) == length


def test_duplicates_of_rows_that_their_worker_saw_done_are_no_request() -> None:
    """The worker has read already that nothing is left."""
    requests = Requests(MemoryDynamoDB())
    seen = Seen(4, 1, RowBits.of([1, 2]))
    assert ledger(requests).record(KEY, both_outcomes([1, 2]), seen) == Recorded(counted=0, dropped=2)
    assert ledger(requests).record(KEY, [], READ) == Recorded(counted=0, dropped=0)
    assert requests.made == []


@pytest.mark.parametrize("rows", [1, 500, 2_000])
def test_a_delivered_set_is_one_transaction_of_two_actions(rows: int) -> None:
    """The marker and the chunk: this is what a row's cost is divided by."""
    requests = Requests(ready_chunk(rows))
    assert ledger(requests).record(KEY, both_outcomes(range(rows)), READ).counted == rows
    assert [operation for operation, _ in requests.made] == ["transact_write_items"]
    assert [list(action) for action in transactions_of(requests)[0]] == [["Put"], ["Update"]]


def test_deliveries_that_come_one_after_the_other_are_a_transaction_each(dynamodb: MemoryDynamoDB) -> None:
    """As long as each worker reads after the one before was counted, nothing is refused."""
    requests = Requests(dynamodb)
    for start in range(0, ROWS, 10):
        ledger(requests).record(KEY, both_outcomes(range(start, start + 10)), seen_now(dynamodb))
    assert len(transactions_of(requests)) == 4
    assert len(check_chunk(dynamodb)) == ROWS


def test_two_thousand_rows_are_counted_as_they_are() -> None:
    """The largest chunk: every bit of it."""
    dynamodb = ready_chunk(2_000)
    ledger(dynamodb).record(KEY, both_outcomes(range(2_000)), READ)
    assert len(check_chunk(dynamodb, 2_000)) == 2_000
    assert chunk_of(dynamodb, KEY).complete


def test_outcomes_larger_than_an_item_make_pages_of_one_transaction(dynamodb: MemoryDynamoDB) -> None:
    """They are counted together: pages are no reason for a second transaction."""
    requests = Requests(dynamodb)
    luck = random.Random(7)
    finished = [success(row, luck.randbytes(50_000).hex()) for row in range(10)]
    ledger(requests).record(KEY, finished, READ)
    (actions,) = transactions_of(requests)
    assert [action["Put"]["Item"]["sk"]["S"] for action in actions[:-1]] == [
        "mark#000002",
        "mark#000002#001",
        "mark#000002#002",
        "mark#000002#003",
    ]
    assert len(check_chunk(dynamodb)) == 10


def test_outcomes_larger_than_a_transaction_make_several(dynamodb: MemoryDynamoDB) -> None:
    """Each of at most four megabytes and a hundred actions, and each a version."""
    requests = Requests(dynamodb)
    luck = random.Random(7)
    finished = [success(row, luck.randbytes(120_000).hex()) for row in range(ROWS)]
    assert ledger(requests).record(KEY, finished, READ) == Recorded(counted=ROWS)
    transactions = transactions_of(requests)
    assert len(transactions) == 3
    for actions in transactions:
        assert sum(item_size(action["Put"]["Item"]) for action in actions if "Put" in action) <= 4_000_000
        assert len(actions) <= 100
    assert chunk_of(dynamodb, KEY).version == 4
    assert {row: bytes(outcome.result) for row, outcome in check_chunk(dynamodb).items()} == {
        each.outcome.row: bytes(each.outcome.result) for each in finished
    }


def test_a_marker_says_when_and_until_when(dynamodb: MemoryDynamoDB) -> None:
    """It expires later than any queue can bring its rows back."""
    ledger(dynamodb).record(KEY, both_outcomes(), READ)
    item = dynamodb.items[KEY.pk, "mark#000002"]
    assert datetime.fromisoformat(item["counted_at"]["S"]) == NOW
    assert int(item["expires_at"]["N"]) == (NOW + RETENTION).timestamp()


def test_a_chunk_of_which_rows_were_counted_asks_dispatch_for_nothing(dynamodb: MemoryDynamoDB) -> None:
    """Its image passes the filter for chunks that are ready no more, or each count would send its rows again."""
    ledger(dynamodb).record(KEY, [success(0)], READ)
    assert dynamodb.items[KEY.pk, "chunk"]["state"] == text("counting")
