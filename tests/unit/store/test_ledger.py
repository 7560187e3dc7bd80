"""The marker-item transaction: each row is counted once, whatever is sent twice, lost or cut short."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import ConflictError, FatalError, TallyError
from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, number
from chalicelib.store.ledger import Recorded
from tests.support.builders import (
    NOW,
    RETENTION,
    Requests,
    at_call,
    calls_of,
    chunk_of,
    faulty,
    in_turn,
    killed,
    ledger,
    markers_of,
    plant,
    tallied,
)
from tests.support.faults import Fault, Killed
from tests.support.memory_dynamodb import MemoryDynamoDB

KEY = ChunkKey("offices-1", 0)
ROWS = 250  # three transactions
AMBIGUOUS = [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER]
Faults = Callable[[str], Fault]


@pytest.fixture
def dynamodb() -> MemoryDynamoDB:
    """Give a table with one planned chunk."""
    return _planned()


def _planned() -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    plant(made, Chunk(key=KEY, start=0, end=1, first_line=2, expected_rows=ROWS))
    return made


def _marker(row: int, outcome: Outcome = Outcome.SUCCEEDED, **said: Any) -> Marker:
    return Marker(chunk=KEY, row=row, outcome=outcome, **said)


def _markers(rows: Iterable[int] = range(ROWS)) -> list[Marker]:
    """Every outcome comes up, so that a count in the wrong counter shows."""
    outcomes = list(Outcome)
    return [_marker(row, outcomes[row % 7 % 3]) for row in rows]


def _check(dynamodb: MemoryDynamoDB) -> dict[int, Marker]:
    """Counters say what the markers say: neither is ever there without the other."""
    chunk, markers = chunk_of(dynamodb, KEY), markers_of(dynamodb, KEY)
    assert chunk.counts == tallied(markers)
    assert chunk.remaining == -len(markers)
    return markers


def test_a_row_given_twice_in_a_call_is_counted_once_and_the_first_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """A transaction takes no item twice, so this is settled before it."""
    given_twice = [
        _marker(5, Outcome.FAILED, error="first"),
        _marker(6),
        _marker(5, Outcome.SUCCEEDED, result='"second"'),
    ]
    assert ledger(dynamodb).record(KEY, given_twice) == Recorded(counted=2, duplicates=1)
    assert _check(dynamodb)[5].error == "first"
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=1, failed=1)


def test_a_row_recorded_before_is_counted_once_and_its_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """A second delivery, whatever it says, does not take a count back."""
    ledger(dynamodb).record(KEY, [_marker(1, result="1"), _marker(2, Outcome.REJECTED)])
    again = [_marker(0), _marker(1, Outcome.FAILED), _marker(2), _marker(3, Outcome.FAILED)]
    assert ledger(dynamodb).record(KEY, again) == Recorded(counted=2, duplicates=2)
    markers = _check(dynamodb)
    assert (markers[1].outcome, markers[1].result) == (Outcome.SUCCEEDED, "1")
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=2, failed=1, rejected=1)


def test_a_delivery_of_rows_that_were_all_counted_writes_nothing(dynamodb: MemoryDynamoDB) -> None:
    """The stream stays silent, too."""
    ledger(dynamodb).record(KEY, _markers())
    length = len(dynamodb.stream)
    assert ledger(dynamodb).record(KEY, _markers()) == Recorded(counted=0, duplicates=ROWS)
    assert len(dynamodb.stream) == length


def test_no_rows_are_no_request() -> None:
    """A chunk without rejected rows has none."""
    requests = Requests(MemoryDynamoDB())
    assert ledger(requests).record(KEY, []) == Recorded(counted=0, duplicates=0)
    assert requests.made == []


def test_99_markers_and_the_counter_fill_a_transaction(dynamodb: MemoryDynamoDB) -> None:
    """A hundred actions are all that DynamoDB takes."""
    requests = Requests(dynamodb)
    assert ledger(requests).record(KEY, _markers()).counted == ROWS
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 100, 53]
    assert len(_check(dynamodb)) == ROWS


@pytest.mark.parametrize("said", ["result", "error"])
def test_large_results_are_split_into_transactions_of_four_megabytes(dynamodb: MemoryDynamoDB, said: str) -> None:
    """In bytes, of which a character may have three; whatever is said is in the marker."""
    requests = Requests(dynamodb)
    value = f'"{"€" * 80_000}"'
    ledger(requests).record(
        KEY,
        [
            replace(_marker(row), result=value) if said == "result" else replace(_marker(row), error=value)
            for row in range(40)
        ],
    )
    sizes = [_bytes(request["TransactItems"]) for request in requests.of("transact_write_items")]
    assert len(sizes) == 3
    assert max(sizes) <= 4_000_000
    assert {getattr(marker, said) for marker in _check(dynamodb).values()} == {value}


def _bytes(actions: list[dict[str, Any]]) -> int:
    """Size items as DynamoDB does: names and values."""
    items = [action["Put"]["Item"] for action in actions if "Put" in action]
    return sum(len(name) + len(next(iter(value.values())).encode()) for item in items for name, value in item.items())


def test_a_marker_says_when_and_how_long(dynamodb: MemoryDynamoDB) -> None:
    """It expires later than any queue can bring its row back."""
    ledger(dynamodb).record(KEY, [_marker(7)])
    item = dynamodb.items[KEY.pk, "mark#000007"]
    assert datetime.fromisoformat(item["at"]["S"]) == NOW
    assert int(item["expires_at"]["N"]) == (NOW + RETENTION).timestamp()


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_500_after_the_write_is_counted_once(dynamodb: MemoryDynamoDB, fault: Fault, position: int) -> None:
    """The retry runs into its own markers."""
    ledger(faulty(dynamodb, at_call(position, fault))).record(KEY, _markers())
    assert len(_check(dynamodb)) == ROWS


def test_a_500_after_the_write_of_each_try_is_counted_once(dynamodb: MemoryDynamoDB) -> None:
    """Also where the answer of the retry, that all was there, is lost as well."""
    ledger(faulty(dynamodb, in_turn(*AMBIGUOUS, *AMBIGUOUS))).record(KEY, _markers())
    assert len(_check(dynamodb)) == ROWS


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.CONFLICT, Fault.THROTTLED])
def test_what_was_not_applied_is_sent_again(dynamodb: MemoryDynamoDB, fault: Fault) -> None:
    """Neither lost nor taken for a duplicate."""
    recorded = ledger(faulty(dynamodb, in_turn(fault, Fault.NONE, fault, fault))).record(KEY, _markers())
    assert recorded == Recorded(counted=ROWS, duplicates=0)
    assert len(_check(dynamodb)) == ROWS


def test_a_conflict_without_end_raises_and_counts_nothing(dynamodb: MemoryDynamoDB) -> None:
    """The caller delivers again; what returned without an error would be acknowledged."""
    with pytest.raises(ConflictError):
        ledger(faulty(dynamodb, lambda _: Fault.CONFLICT)).record(KEY, _markers())
    assert _check(dynamodb) == {}


def _record(dynamodb: MemoryDynamoDB, faults: Faults) -> None:
    ledger(faulty(dynamodb, faults)).record(KEY, _markers())


@pytest.mark.parametrize("position", range(len(calls_of(lambda faults: _record(_planned(), faults)))))
def test_crash_after_write_before_ack_is_not_counted_twice(dynamodb: MemoryDynamoDB, position: int) -> None:
    """Redelivery finds the markers of every transaction that was applied."""
    assert killed(lambda: _record(dynamodb, at_call(position, Fault.KILLED_AFTER)))
    assert len(_check(dynamodb)) == [99, 198, 250][position]
    assert ledger(dynamodb).record(KEY, _markers()).duplicates == [99, 198, 250][position]
    assert len(_check(dynamodb)) == ROWS


@pytest.mark.parametrize("position", range(3))
def test_crash_before_the_write_is_not_lost(dynamodb: MemoryDynamoDB, position: int) -> None:
    """Redelivery counts what was not counted."""
    assert killed(lambda: _record(dynamodb, at_call(position, Fault.KILLED_BEFORE)))
    assert len(_check(dynamodb)) == [0, 99, 198][position]
    ledger(dynamodb).record(KEY, _markers())
    assert len(_check(dynamodb)) == ROWS


def test_two_deliveries_at_the_same_time_count_each_row_once(dynamodb: MemoryDynamoDB) -> None:
    """The second one records all of it while the first one's request is under way."""
    other = ledger(dynamodb)
    calls: list[str] = []

    def overtake(operation: str) -> Fault:
        calls.append(operation)
        if len(calls) == 1:
            other.record(KEY, _markers(range(0, ROWS, 2)))
        return Fault.NONE

    recorded = ledger(faulty(dynamodb, overtake)).record(KEY, _markers())
    assert recorded == Recorded(counted=ROWS // 2, duplicates=ROWS // 2)
    assert len(_check(dynamodb)) == ROWS


def test_a_closed_chunk_takes_nothing_more_even_when_the_marker_has_expired(dynamodb: MemoryDynamoDB) -> None:
    """Every row of it was counted, so whatever comes is late: it must not be counted a second time."""
    ledger(dynamodb).record(KEY, _markers())
    dynamodb.items[KEY.pk, "chunk"]["closed"] = {"BOOL": True}
    for row in range(3):
        del dynamodb.items[KEY.pk, f"mark#{row:06d}"]
    before = dict(dynamodb.items)
    assert ledger(dynamodb).record(KEY, _markers()) == Recorded(counted=0, duplicates=ROWS)
    assert dynamodb.items == before


def test_outcomes_of_a_chunk_that_no_plan_made_raise_and_make_none() -> None:
    """A counter is never made by counting: it would be a chunk that nothing ever closes."""
    dynamodb = MemoryDynamoDB()
    with pytest.raises(FatalError, match="which no plan has made"):
        ledger(dynamodb).record(KEY, _markers(range(3)))
    assert dynamodb.items == {}


def test_counters_are_added_to_what_is_there(dynamodb: MemoryDynamoDB) -> None:
    """Ingest adds the total in its own time."""
    dynamodb.items[KEY.pk, "chunk"] |= {"remaining": number(10), "succeeded": number(4)}
    ledger(dynamodb).record(KEY, [_marker(0), _marker(1)])
    chunk = chunk_of(dynamodb, KEY)
    assert (chunk.remaining, chunk.counts.succeeded) == (8, 6)


FAULTS = st.sampled_from([Fault.NONE] * 5 + list(Fault))
CALLS = st.lists(
    st.lists(st.tuples(st.integers(0, 110), st.sampled_from(Outcome)), max_size=20)
    | st.integers(0, 60).map(lambda start: [(row, Outcome.SUCCEEDED) for row in range(start, start + 105)]),
    max_size=6,
)


@settings(max_examples=200)
@given(calls=CALLS, data=st.data())
def test_any_sequence_of_calls_and_faults_leaves_counters_equal_to_markers(
    calls: list[list[tuple[int, Outcome]]], data: st.DataObject
) -> None:
    """Rows overlap, calls fail or die anywhere; redelivered without faults, every row has its one marker."""
    dynamodb = _planned()
    client = faulty(dynamodb, lambda _: data.draw(FAULTS))
    deliveries = [[_marker(row, outcome) for row, outcome in call] for call in calls]
    for markers in deliveries:
        try:
            ledger(client).record(KEY, markers)
        except (TallyError, Killed):
            pass
        else:
            assert {marker.row for marker in markers} <= markers_of(dynamodb, KEY).keys(), "acknowledged, not counted"
        _check(dynamodb)
    for markers in deliveries:
        ledger(dynamodb).record(KEY, markers)
    assert _check(dynamodb).keys() == {row for call in calls for row, _ in call}
    written = [change for change in dynamodb.stream if change["dynamodb"]["Keys"]["sk"]["S"].startswith("mark#")]
    assert all(change["eventName"] == "INSERT" for change in written), "a marker never changes"
