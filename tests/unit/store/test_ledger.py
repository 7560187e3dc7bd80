"""The marker-item transaction: each row is counted once, whatever is sent twice, lost, late or cut short."""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import ConflictError, FatalError, NotFoundError, TallyError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.items import ChunkKey, Counts, Outcome, bits, number, text
from chalicelib.store.ledger import Finished, Recorded, Seen
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.store.pacing import item_size
from tally.testing.faults import Fault, Killed
from tally.testing.memory_dynamodb import MemoryDynamoDB
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
    outcomes_of,
    plant_ready,
    tallied,
)

KEY = ChunkKey("offices-1", 0)
ROWS = 40
AMBIGUOUS = [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER]
READ = Seen(1, 1, NO_ROWS)
"""What a worker read that came before all others."""
Faults = Callable[[str], Fault]


@pytest.fixture
def dynamodb() -> MemoryDynamoDB:
    """Give a table with one chunk whose rows were read."""
    return _ready()


def _ready(rows: int = ROWS) -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    plant_ready(made, KEY, rows)
    return made


def _seen(dynamodb: MemoryDynamoDB) -> Seen:
    return Seen.of(chunk_of(dynamodb, KEY))


def _success(row: int, result: Any = None, *, generation: int = 1) -> Finished:
    said = msgspec.Raw(msgspec.json.encode(result))
    return Finished(generation, RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=said))


def _failure(row: int, reason: str = "ValueError: x", *, generation: int = 1) -> Finished:
    return Finished(generation, RowOutcome(row=row, outcome=Outcome.FAILED, code=ReasonCode.RAISED, reason=reason))


def _finished(rows: Iterable[int] = range(ROWS)) -> list[Finished]:
    """Both outcomes come up, so that a count in the wrong counter shows."""
    return [_failure(row) if row % 3 == 1 else _success(row, row) for row in rows]


def _large(rows: int = ROWS) -> list[Finished]:
    """Outcomes of which a transaction holds fourteen, and an item one."""
    return [_success(row, f"{row}" * 120_000) for row in range(10, 10 + rows)]


def _check(dynamodb: MemoryDynamoDB, rows: int = ROWS) -> dict[int, RowOutcome]:
    """Bits, counters and remainder say what the markers say: none is ever there without the others."""
    chunk, outcomes = chunk_of(dynamodb, KEY), outcomes_of(dynamodb, KEY)
    assert set(chunk.done) == outcomes.keys()
    assert chunk.counts == tallied(outcomes)
    assert chunk.remaining == rows - len(outcomes)
    assert all(marker.version <= chunk.version for marker in markers_of(dynamodb, KEY))
    return outcomes


def _transactions(requests: Requests) -> list[list[dict[str, Any]]]:
    return [request["TransactItems"] for request in requests.of("transact_write_items")]


def test_a_row_given_twice_in_a_call_is_counted_once_and_the_first_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """Two messages of one invocation may have it."""
    twice = [_failure(5, "first"), _success(6), _success(5, "second")]
    assert ledger(dynamodb).record(KEY, twice, READ) == Recorded(counted=2, dropped=1)
    assert _check(dynamodb)[5].reason == "first"
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=1, failed=1)


def test_a_row_recorded_before_is_counted_once_and_its_outcome_stands(dynamodb: MemoryDynamoDB) -> None:
    """A second delivery, whatever it says and whatever its worker had read, takes no count back."""
    ledger(dynamodb).record(KEY, [_success(1, 1), _failure(2)], READ)
    again = [_success(0), _failure(1), _success(2), _failure(3)]
    assert ledger(dynamodb).record(KEY, again, READ) == Recorded(counted=2, dropped=2)
    outcomes = _check(dynamodb)
    assert (outcomes[1].outcome, bytes(outcomes[1].result)) == (Outcome.SUCCEEDED, b"1")
    assert chunk_of(dynamodb, KEY).counts == Counts(succeeded=2, failed=2)


@pytest.mark.parametrize("rows", [range(ROWS), range(0, ROWS, 2), [7], [0, ROWS - 1]])
def test_any_part_of_what_was_counted_writes_nothing(dynamodb: MemoryDynamoDB, rows: Sequence[int]) -> None:
    """The stream stays silent, too, or each duplicate would wake the functions that read it."""
    ledger(dynamodb).record(KEY, _finished(), READ)
    length = len(dynamodb.stream)
    assert ledger(dynamodb).record(KEY, _finished(rows), READ) == Recorded(counted=0, dropped=len(rows))
    assert len(dynamodb.stream) == length


def test_duplicates_of_rows_that_their_worker_saw_done_are_no_request() -> None:
    """What the worker read says already that nothing is left."""
    requests = Requests(MemoryDynamoDB())
    seen = Seen(4, 1, RowBits.of([1, 2]))
    assert ledger(requests).record(KEY, _finished([1, 2]), seen) == Recorded(counted=0, dropped=2)
    assert ledger(requests).record(KEY, [], READ) == Recorded(counted=0, dropped=0)
    assert requests.made == []


@pytest.mark.parametrize("rows", [1, 500, 2_000])
def test_a_delivered_set_is_one_transaction_of_two_actions(rows: int) -> None:
    """The marker and the chunk: this is what a row's cost is divided by."""
    requests = Requests(_ready(rows))
    assert ledger(requests).record(KEY, _finished(range(rows)), READ).counted == rows
    assert [operation for operation, _ in requests.made] == ["transact_write_items"]
    assert [list(action) for action in _transactions(requests)[0]] == [["Put"], ["Update"]]


def test_deliveries_that_come_one_after_the_other_are_a_transaction_each(dynamodb: MemoryDynamoDB) -> None:
    """As long as each worker reads after the one before was counted, nothing is refused."""
    requests = Requests(dynamodb)
    for start in range(0, ROWS, 10):
        ledger(requests).record(KEY, _finished(range(start, start + 10)), _seen(dynamodb))
    assert len(_transactions(requests)) == 4
    assert len(_check(dynamodb)) == ROWS


def test_two_thousand_rows_are_counted_as_they_are() -> None:
    """The largest chunk: every bit of it."""
    dynamodb = _ready(2_000)
    ledger(dynamodb).record(KEY, _finished(range(2_000)), READ)
    assert len(_check(dynamodb, 2_000)) == 2_000
    assert chunk_of(dynamodb, KEY).complete


def test_outcomes_larger_than_an_item_make_pages_of_one_transaction(dynamodb: MemoryDynamoDB) -> None:
    """They are counted together: pages are no reason for a second transaction."""
    requests = Requests(dynamodb)
    luck = random.Random(7)
    finished = [_success(row, luck.randbytes(50_000).hex()) for row in range(10)]
    ledger(requests).record(KEY, finished, READ)
    (actions,) = _transactions(requests)
    assert [action["Put"]["Item"]["sk"]["S"] for action in actions[:-1]] == [
        "mark#000002",
        "mark#000002#001",
        "mark#000002#002",
        "mark#000002#003",
    ]
    assert len(_check(dynamodb)) == 10


def test_outcomes_larger_than_a_transaction_make_several(dynamodb: MemoryDynamoDB) -> None:
    """Each of at most four megabytes and a hundred actions, and each a version."""
    requests = Requests(dynamodb)
    luck = random.Random(7)
    finished = [_success(row, luck.randbytes(120_000).hex()) for row in range(ROWS)]
    assert ledger(requests).record(KEY, finished, READ) == Recorded(counted=ROWS)
    transactions = _transactions(requests)
    assert len(transactions) == 3
    for actions in transactions:
        assert sum(item_size(action["Put"]["Item"]) for action in actions if "Put" in action) <= 4_000_000
        assert len(actions) <= 100
    assert chunk_of(dynamodb, KEY).version == 4
    assert {row: bytes(outcome.result) for row, outcome in _check(dynamodb).items()} == {
        each.outcome.row: bytes(each.outcome.result) for each in finished
    }


def test_a_marker_says_when_and_until_when(dynamodb: MemoryDynamoDB) -> None:
    """It expires later than any queue can bring its rows back."""
    ledger(dynamodb).record(KEY, _finished(), READ)
    item = dynamodb.items[KEY.pk, "mark#000002"]
    assert datetime.fromisoformat(item["counted_at"]["S"]) == NOW
    assert int(item["expires_at"]["N"]) == (NOW + RETENTION).timestamp()


def test_a_chunk_of_which_rows_were_counted_asks_dispatch_for_nothing(dynamodb: MemoryDynamoDB) -> None:
    """Its image passes the filter for chunks that are ready no more, or each count would send its rows again."""
    ledger(dynamodb).record(KEY, [_success(0)], READ)
    assert dynamodb.items[KEY.pk, "chunk"]["state"] == text("counting")


# Answers that are not heard, and workers that die.

STALE = Seen(0, 1, NO_ROWS)
"""What is so old that the first transaction is refused."""


def _record(dynamodb: MemoryDynamoDB, faults: Faults) -> None:
    ledger(faulty(dynamodb, faults)).record(KEY, _large(), STALE)


def _large_chunk() -> MemoryDynamoDB:
    return _ready(ROWS + 10)


CALLS = len(calls_of(lambda faults: _record(_large_chunk(), faults)))
"""One that is refused, and three that count."""


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.ERROR_BEFORE, Fault.CONFLICT, Fault.THROTTLED])
def test_a_fault_at_any_call_counts_each_row_once(fault: Fault, position: int) -> None:
    """What was applied and not heard is found by its bits; what was not applied is sent again."""
    dynamodb = _large_chunk()
    _record(dynamodb, at_call(position, fault))
    assert len(_check(dynamodb, ROWS + 10)) == ROWS


def test_every_answer_lost_but_the_last_counts_each_row_once(dynamodb: MemoryDynamoDB) -> None:
    """Also where the answer of the retry, that all was there, is lost as well."""
    ledger(faulty(dynamodb, in_turn(*AMBIGUOUS, *AMBIGUOUS))).record(KEY, _finished(), READ)
    assert len(_check(dynamodb)) == ROWS


def test_what_was_not_applied_is_not_taken_for_a_duplicate(dynamodb: MemoryDynamoDB) -> None:
    """The rows are counted by this call, and it says so."""
    faults = in_turn(Fault.ERROR_BEFORE, Fault.CONFLICT, Fault.THROTTLED)
    assert ledger(faulty(dynamodb, faults)).record(KEY, _finished(), READ) == Recorded(counted=ROWS)


def test_a_conflict_without_end_raises_and_counts_nothing(dynamodb: MemoryDynamoDB) -> None:
    """The caller delivers again; what returned without an error would be acknowledged."""
    with pytest.raises(ConflictError):
        ledger(faulty(dynamodb, lambda _: Fault.CONFLICT)).record(KEY, _finished(), READ)
    assert _check(dynamodb) == {}


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_crash_after_write_before_ack_is_not_counted_twice(fault: Fault, position: int) -> None:
    """Nor is a crash before it a loss. The message comes again with what its worker had read, older now than ever."""
    dynamodb = _large_chunk()
    assert killed(lambda: _record(dynamodb, at_call(position, fault)))
    counted = len(_check(dynamodb, ROWS + 10))
    again = ledger(dynamodb).record(KEY, _large(), STALE)
    assert again == Recorded(counted=ROWS - counted, dropped=counted)
    assert len(_check(dynamodb, ROWS + 10)) == ROWS


@pytest.mark.parametrize("fault", [Fault.NONE, *AMBIGUOUS, Fault.CONFLICT])
def test_the_ledger_reads_nothing_whatever_it_meets(fault: Fault) -> None:
    """A condition that fails brings the chunk as it is: a read of its own could be stale again."""
    dynamodb = _large_chunk()
    requests = Requests(dynamodb)
    ledger(faulty(requests, at_call(0, fault))).record(KEY, _large(), STALE)
    assert {operation for operation, _ in requests.made} == {"transact_write_items"}
    assert all(
        actions[-1]["Update"]["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" for actions in _transactions(requests)
    )


def test_what_its_worker_read_long_ago_costs_one_more_transaction(dynamodb: MemoryDynamoDB) -> None:
    """Not one for each version that it missed."""
    for row in range(20):
        ledger(dynamodb).record(KEY, [_success(row)], _seen(dynamodb))
    requests = Requests(dynamodb)
    assert ledger(requests).record(KEY, _finished(), READ) == Recorded(counted=20, dropped=20)
    assert len(_transactions(requests)) == 2
    assert len(_check(dynamodb)) == ROWS


# Generations: what was produced before a redrive.


def _redriven(*done: int) -> MemoryDynamoDB:
    """Give a chunk in its second generation, with rows that are done."""
    dynamodb = _ready()
    ledger(dynamodb).record(KEY, [_success(row) for row in done], READ)
    version = chunk_of(dynamodb, KEY).version
    dynamodb.items[KEY.pk, "chunk"] |= {
        "version": number(version + 1),
        "generation": number(2),
        "state": text("ready"),
    }
    return dynamodb


@pytest.mark.parametrize("seen", [READ, None], ids=["read before the redrive", "read after it"])
def test_a_failure_from_before_a_redrive_is_dropped(seen: Seen | None) -> None:
    """The redrive has sent the row again: its own past must not fail it."""
    dynamodb = _redriven(0)
    assert ledger(dynamodb).record(KEY, [_failure(1)], seen or _seen(dynamodb)) == Recorded(counted=0, dropped=1)
    assert set(_check(dynamodb)) == {0}


@pytest.mark.parametrize("seen", [READ, None], ids=["read before the redrive", "read after it"])
def test_a_success_from_before_a_redrive_counts(seen: Seen | None) -> None:
    """The job has done what it had to, no matter who asked."""
    dynamodb = _redriven(0)
    assert ledger(dynamodb).record(KEY, [_success(1)], seen or _seen(dynamodb)) == Recorded(counted=1)
    assert set(_check(dynamodb)) == {0, 1}


def test_a_failure_of_the_generation_that_a_redrive_began_counts() -> None:
    """The row has failed once more."""
    dynamodb = _redriven()
    assert ledger(dynamodb).record(KEY, [_failure(1, generation=2)], READ) == Recorded(counted=1)
    assert chunk_of(dynamodb, KEY).counts == Counts(failed=1)


def test_outcomes_of_two_generations_in_one_call_are_judged_one_by_one() -> None:
    """Messages that arrive together are merged, whenever they were sent."""
    dynamodb = _redriven(0)
    mixed = [_failure(1), _success(2), _failure(3), _failure(3, "again", generation=2), _failure(4, generation=2)]
    assert ledger(dynamodb).record(KEY, mixed, _seen(dynamodb)) == Recorded(counted=3, dropped=2)
    outcomes = _check(dynamodb)
    assert set(outcomes) == {0, 2, 3, 4}
    assert outcomes[3].reason == "again"


# What must not be there, and what must.


def test_a_marker_that_is_there_already_is_never_overwritten(dynamodb: MemoryDynamoDB) -> None:
    """It proves what it counted, although the chunk does not say so: an operator has to look, nobody may guess."""
    ledger(dynamodb).record(KEY, [_success(0, "proof")], READ)
    dynamodb.items[KEY.pk, "chunk"] |= {"version": number(1), "done": bits(NO_ROWS)}
    before = {name: dict(item) for name, item in dynamodb.items.items()}
    with pytest.raises(
        FatalError, match=r"there is a marker of version 2, and .* run `tally audit offices-1 --repair`"
    ):
        ledger(dynamodb).record(KEY, [_success(1)], _seen(dynamodb))
    assert dynamodb.items == before


def test_outcomes_of_a_chunk_that_no_plan_made_raise_and_make_none() -> None:
    """A chunk is never made by counting: nothing would ever close it."""
    dynamodb = MemoryDynamoDB()
    with pytest.raises(NotFoundError, match="which no plan has made"):
        ledger(dynamodb).record(KEY, _finished(range(3)), READ)
    assert dynamodb.items == {}


def test_a_closed_chunk_takes_nothing_more_even_when_its_markers_have_expired(dynamodb: MemoryDynamoDB) -> None:
    """Every row of it was counted, so whatever comes is late: its bits say so without the markers."""
    ledger(dynamodb).record(KEY, _finished(), READ)
    dynamodb.items[KEY.pk, "chunk"] |= {"state": text("closed"), "version": number(3)}
    del dynamodb.items[KEY.pk, "mark#000002"]
    before = dict(dynamodb.items)
    assert ledger(dynamodb).record(KEY, _finished(), READ) == Recorded(counted=0, dropped=ROWS)
    assert dynamodb.items == before


def test_what_ingest_has_counted_stays_counted() -> None:
    """Rejected rows are done from the start, and the counters begin with them."""
    dynamodb = MemoryDynamoDB()
    rejected = RowBits.of([0, 3])
    plant_ready(dynamodb, KEY, 5, done=bits(rejected), remaining=number(3), rejected=number(2))
    ledger(dynamodb).record(KEY, [_success(row) for row in range(5)], Seen(1, 1, rejected))
    chunk = chunk_of(dynamodb, KEY)
    assert (chunk.remaining, chunk.counts, set(chunk.done)) == (0, Counts(succeeded=3, rejected=2), set(range(5)))


# Any history.


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
    dynamodb = _ready(10)
    Turns(dynamodb, schedule).run(
        *[lambda client, rows=rows: ledger(client).record(KEY, _finished(rows), READ) for rows in sets]
    )
    assert set(_check(dynamodb, 10)) == {row for rows in sets for row in rows}


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
    dynamodb = _ready()
    client = faulty(dynamodb, lambda _: data.draw(FAULTS))
    read = [_seen(dynamodb)]
    sent = [
        ([_success(row, generation=at) if well else _failure(row, generation=at) for row, well, at in rows], age)
        for rows, age in deliveries
    ]
    for position, (finished, age) in enumerate(sent):
        if position == redriven_at:
            version = chunk_of(dynamodb, KEY).version
            dynamodb.items[KEY.pk, "chunk"] |= {"version": number(version + 1), "generation": number(2)}
        with suppress(TallyError, Killed):
            ledger(client).record(KEY, finished, read[max(0, len(read) - 1 - age)])
        _check(dynamodb)
        read.append(_seen(dynamodb))
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
    assert counts <= _check(dynamodb).keys() <= everything
    written = [change for change in dynamodb.stream if change["dynamodb"]["Keys"]["sk"]["S"].startswith("mark#")]
    assert all(change["eventName"] == "INSERT" for change in written), "a marker never changes by counting"
