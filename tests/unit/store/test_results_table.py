"""The results table: the newest row of a key stays, in whatever order rows arrive and however often."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import FatalError
from chalicelib.keys import Unsaved, UnsavedError
from chalicelib.store.pacing import item_size
from chalicelib.store.results_table import MAX_ITEM_BYTES, KeyedResult, ResultsTable
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tests.support.builders import table

OLD, NEW = "2026-03-01T00:00:00.000000+00:00", "2026-03-02T00:00:00.000000+00:00"
RESULT = KeyedResult(
    key="o1", job="reports", batch_id="reports-b", batch_created_at=OLD, attempt=1, line=5, result={"figure": 2.5}
)
NEWER = {
    "batch": {"batch_created_at": NEW, "batch_id": "reports-a", "line": 2},
    "batch of the same moment": {"batch_id": "reports-c", "line": 2},
    "attempt": {"attempt": 2, "line": 2},
    "line": {"line": 6},
}


def results(client: Any) -> ResultsTable:
    """Return a results table over any client."""
    return ResultsTable(table=table(client))


@pytest.mark.parametrize("changed", NEWER.values(), ids=NEWER)
def test_a_newer_row_takes_the_place_of_an_older_one_and_not_the_other_way(changed: dict[str, Any]) -> None:
    newer = replace(RESULT, result={"figure": 3}, **changed)
    for order in itertools.permutations([RESULT, newer]):
        found = results(MemoryDynamoDB())
        puts = [found.put(each.to_item()) for each in order]
        assert puts == [True, order[1] is newer]
        assert found.find("reports", "o1") == newer


def test_the_same_row_once_more_changes_nothing_and_says_that_it_is_there() -> None:
    dynamodb = MemoryDynamoDB()
    assert [results(dynamodb).put(RESULT.to_item()) for _ in range(3)] == [True, True, True]
    assert list(dynamodb.results.values()) == [RESULT.to_item()]


@given(
    st.permutations(
        [
            replace(RESULT, batch_created_at=at, batch_id=batch, attempt=attempt, line=line)
            for at, batch in [(OLD, "reports-b"), (OLD, "reports-c"), (NEW, "reports-a")]
            for attempt in (1, 2)
            for line in (2, 10)
        ]
    )
)
def test_the_newest_row_stays_in_whatever_order_they_come(order: list[KeyedResult]) -> None:
    found = results(MemoryDynamoDB())
    for each in order:
        found.put(each.to_item())
    assert found.find("reports", "o1") == replace(
        RESULT, batch_created_at=NEW, batch_id="reports-a", attempt=2, line=10
    )


def test_two_jobs_may_have_the_same_key() -> None:
    found = results(MemoryDynamoDB())
    other = replace(RESULT, job="others", result=[1])
    for each in (RESULT, other):
        assert found.put(each.to_item())
    assert (found.find("reports", "o1"), found.find("others", "o1")) == (RESULT, other)
    assert found.find("reports", "o2") is None


def test_the_largest_item_is_taken_and_one_byte_more_is_named() -> None:
    room = MAX_ITEM_BYTES - item_size(replace(RESULT, result="").to_item())
    found = results(MemoryDynamoDB())
    assert found.put(replace(RESULT, result="x" * room).to_item())
    with pytest.raises(UnsavedError) as raised:
        replace(RESULT, result="x" * (room + 1)).to_item()
    assert raised.value.code is Unsaved.TOO_LARGE


def test_what_dynamodb_refuses_for_its_content_is_named_and_other_refusals_are_not() -> None:
    class Refusing(MemoryDynamoDB):
        def __init__(self, code: str) -> None:
            super().__init__()
            self.code = code

        def put_item(self, **_: Any) -> Any:
            raise client_error(self.code)

    with pytest.raises(UnsavedError) as raised:
        results(Refusing("ValidationException")).put(RESULT.to_item())
    assert raised.value.code is Unsaved.NOT_STORABLE
    with pytest.raises(FatalError):
        results(Refusing("AccessDeniedException")).put(RESULT.to_item())
