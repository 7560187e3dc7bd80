"""The marker-item transaction counts each row once, no matter which calls fail, come twice or overlap."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import ConflictError, TallyError
from chalicelib.store.bits import NO_ROWS
from chalicelib.store.items import Outcome, number
from chalicelib.store.ledger import Recorded, Seen
from tally.testing.faults import Fault, Killed
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, at_call, calls_of, chunk_of, faulty, in_turn, killed, ledger
from tests.support.counting import (
    AMBIGUOUS,
    KEY,
    READ,
    ROWS,
    Faults,
    both_outcomes,
    check_chunk,
    failure,
    large_outcomes,
    ready_chunk,
    seen_now,
    success,
    transactions_of,
)

STALE = Seen(0, 1, NO_ROWS)
"""A chunk as it was read so long ago that the first transaction is refused."""


def _record(dynamodb: MemoryDynamoDB, faults: Faults) -> None:
    ledger(faulty(dynamodb, faults)).record(KEY, large_outcomes(), STALE)


def _large_chunk() -> MemoryDynamoDB:
    return ready_chunk(ROWS + 10)


CALLS = len(calls_of(lambda faults: _record(_large_chunk(), faults)))
"""One that is refused, and three that count."""


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.ERROR_BEFORE, Fault.CONFLICT, Fault.THROTTLED])
def test_a_fault_at_any_call_counts_each_row_once(fault: Fault, position: int) -> None:
    """A transaction that was applied is found by its bits; one that was not is sent again."""
    dynamodb = _large_chunk()
    _record(dynamodb, at_call(position, fault))
    assert len(check_chunk(dynamodb, ROWS + 10)) == ROWS


def test_every_answer_lost_but_the_last_counts_each_row_once(dynamodb: MemoryDynamoDB) -> None:
    """Also where the answer of the retry, that all was there, is lost as well."""
    ledger(faulty(dynamodb, in_turn(*AMBIGUOUS, *AMBIGUOUS))).record(KEY, both_outcomes(), READ)
    assert len(check_chunk(dynamodb)) == ROWS


def test_what_was_not_applied_is_not_taken_for_a_duplicate(dynamodb: MemoryDynamoDB) -> None:
    """The rows are counted by this call, and it says so."""
    faults = in_turn(Fault.ERROR_BEFORE, Fault.CONFLICT, Fault.THROTTLED)
    assert ledger(faulty(dynamodb, faults)).record(KEY, both_outcomes(), READ) == Recorded(counted=ROWS)


def test_a_conflict_without_end_raises_and_counts_nothing(dynamodb: MemoryDynamoDB) -> None:
    """The caller delivers again; what returned without an error would be acknowledged."""
    with pytest.raises(ConflictError):
        ledger(faulty(dynamodb, lambda _: Fault.CONFLICT)).record(KEY, both_outcomes(), READ)
    assert check_chunk(dynamodb) == {}


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_crash_after_write_before_ack_is_not_counted_twice(fault: Fault, position: int) -> None:
    """Nor is a crash before it a loss. The message comes again with what its worker had read, older now than ever."""
    dynamodb = _large_chunk()
    assert killed(lambda: _record(dynamodb, at_call(position, fault)))
    counted = len(check_chunk(dynamodb, ROWS + 10))
    again = ledger(dynamodb).record(KEY, large_outcomes(), STALE)
    assert again == Recorded(counted=ROWS - counted, dropped=counted)
    assert len(check_chunk(dynamodb, ROWS + 10)) == ROWS


@pytest.mark.parametrize("fault", [Fault.NONE, *AMBIGUOUS, Fault.CONFLICT])
def test_the_ledger_reads_nothing_whatever_it_meets(fault: Fault) -> None:
    """A condition that fails brings the chunk as it is: a read of its own could be stale again."""
    dynamodb = _large_chunk()
    requests = Requests(dynamodb)
    ledger(faulty(requests, at_call(0, fault))).record(KEY, large_outcomes(), STALE)
    assert {operation for operation, _ in requests.made} == {"transact_write_items"}
    assert all(
        actions[-1]["Update"]["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
        for actions in transactions_of(requests)
    )


def test_what_its_worker_read_long_ago_costs_one_more_transaction(dynamodb: MemoryDynamoDB) -> None:
    """Not one for each version that it missed."""
    for row in range(20):
        ledger(dynamodb).record(KEY, [success(row)], seen_now(dynamodb))
    requests = Requests(dynamodb)
    assert ledger(requests).record(KEY, both_outcomes(), READ) == Recorded(counted=20, dropped=20)
    assert len(transactions_of(requests)) == 2
    assert len(check_chunk(dynamodb)) == ROWS


class Turns:
    """Runs workers so that each request waits for its turn, in the order that ``schedule`` says while it lasts."""

    def __init__(self, client: Any, schedule: Iterable[int]) -> None:
        self._client, self._schedule = client, iter(schedule)
        self._turn: dict[int, threading.Event] = {}
        self._paused = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, *workers: Callable[[Any], object]) -> None:
        """Run all to their ends, one request at a time."""
        threads = [threading.Thread(target=self._work, args=(name, worker)) for name, worker in enumerate(workers)]
        self._turn = {name: threading.Event() for name in range(len(threads))}
        for thread in threads:
            thread.start()
        while alive := sorted(self._turn):
            self._paused.clear()
            self._turn[alive[next(self._schedule, 0) % len(alive)]].set()
            self._paused.wait()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self, name: int, worker: Callable[[Any], object]) -> None:
        self._await_turn(name)
        try:
            worker(faulty(self._client, lambda _: self._pause(name)))
        except BaseException as error:  # noqa: BLE001  it is raised where the test is
            self._errors.append(error)
        del self._turn[name]
        self._paused.set()

    def _pause(self, name: int) -> Fault:
        self._paused.set()
        self._await_turn(name)
        return Fault.NONE

    def _await_turn(self, name: int) -> None:
        self._turn[name].wait()
        self._turn[name].clear()


SETS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=2, max_size=3)


@settings(max_examples=60)
@given(sets=SETS, schedule=st.lists(st.integers(0, 5), max_size=20))
def test_workers_that_read_the_same_version_all_end_counted(sets: list[list[int]], schedule: list[int]) -> None:
    """Two or three on one chunk, in any interleaving of their requests: none waits for ever, none counts twice."""
    dynamodb = ready_chunk(10)
    Turns(dynamodb, schedule).run(
        *[lambda client, rows=rows: ledger(client).record(KEY, both_outcomes(rows), READ) for rows in sets]
    )
    assert set(check_chunk(dynamodb, 10)) == {row for rows in sets for row in rows}


FAULTS = st.sampled_from([Fault.NONE] * 5 + list(Fault))
DELIVERIES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, ROWS - 1), st.booleans(), st.integers(1, 2)), max_size=12),
        st.integers(0, 5),
    ),
    max_size=6,
)


@settings(max_examples=200)
@given(deliveries=DELIVERIES, redriven_at=st.integers(0, 6), data=st.data())
def test_any_sequence_of_calls_and_faults_leaves_chunk_and_markers_equal(
    deliveries: list[tuple[list[tuple[int, bool, int]], int]], redriven_at: int, data: st.DataObject
) -> None:
    """Rows overlap, workers read at any time, calls fail or die anywhere, a redrive comes in between.

    Delivered once more without faults, each row that is not done has only failures from before the redrive.
    """
    dynamodb = ready_chunk()
    client = faulty(dynamodb, lambda _: data.draw(FAULTS))
    read = [seen_now(dynamodb)]
    sent = [
        ([success(row, generation=at) if well else failure(row, generation=at) for row, well, at in rows], age)
        for rows, age in deliveries
    ]
    for position, (finished, age) in enumerate(sent):
        if position == redriven_at:
            version = chunk_of(dynamodb, KEY).version
            dynamodb.items[KEY.pk, "chunk"] |= {"version": number(version + 1), "generation": number(2)}
        with suppress(TallyError, Killed):
            ledger(client).record(KEY, finished, read[max(0, len(read) - 1 - age)])
        check_chunk(dynamodb)
        read.append(seen_now(dynamodb))
    for finished, _ in sent:
        ledger(dynamodb).record(KEY, finished, READ)
    generation = chunk_of(dynamodb, KEY).generation
    counts = {
        each.outcome.row
        for finished, _ in sent
        for each in finished
        if each.outcome.outcome is Outcome.SUCCEEDED or each.generation >= generation
    }
    everything = {each.outcome.row for finished, _ in sent for each in finished}
    assert counts <= check_chunk(dynamodb).keys() <= everything
    written = [change for change in dynamodb.stream if change["dynamodb"]["Keys"]["sk"]["S"].startswith("mark#")]
    assert all(change["eventName"] == "INSERT" for change in written), "a marker never changes by counting"
