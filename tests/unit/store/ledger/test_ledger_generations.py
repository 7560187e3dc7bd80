"""The ledger drops failures from before a redrive, and refuses a chunk that takes no outcomes."""

import pytest

from chalicelib.errors import FatalError, NotFoundError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.items import Counts, bits, number, text
from chalicelib.store.ledger import Recorded, Seen
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import chunk_of, ledger, plant_ready
from tests.support.counting import KEY, READ, ROWS, both_outcomes, check_chunk, failure, ready_chunk, seen_now, success


def _redriven(*done: int) -> MemoryDynamoDB:
    """Give a chunk in its second generation, with rows that are done."""
    dynamodb = ready_chunk()
    ledger(dynamodb).record(KEY, [success(row) for row in done], READ)
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
    assert ledger(dynamodb).record(KEY, [failure(1)], seen or seen_now(dynamodb)) == Recorded(counted=0, dropped=1)
    assert set(check_chunk(dynamodb)) == {0}


@pytest.mark.parametrize("seen", [READ, None], ids=["read before the redrive", "read after it"])
def test_a_success_from_before_a_redrive_counts(seen: Seen | None) -> None:
    """The job has done what it had to, no matter who asked."""
    dynamodb = _redriven(0)
    assert ledger(dynamodb).record(KEY, [success(1)], seen or seen_now(dynamodb)) == Recorded(counted=1)
    assert set(check_chunk(dynamodb)) == {0, 1}


def test_a_failure_of_the_generation_that_a_redrive_began_counts() -> None:
    """The row has failed once more."""
    dynamodb = _redriven()
    assert ledger(dynamodb).record(KEY, [failure(1, generation=2)], READ) == Recorded(counted=1)
    assert chunk_of(dynamodb, KEY).counts == Counts(failed=1)


def test_outcomes_of_two_generations_in_one_call_are_judged_one_by_one() -> None:
    """Messages that arrive together are merged, whenever they were sent."""
    dynamodb = _redriven(0)
    mixed = [failure(1), success(2), failure(3), failure(3, "again", generation=2), failure(4, generation=2)]
    assert ledger(dynamodb).record(KEY, mixed, seen_now(dynamodb)) == Recorded(counted=3, dropped=2)
    outcomes = check_chunk(dynamodb)
    assert set(outcomes) == {0, 2, 3, 4}
    assert outcomes[3].reason == "again"


def test_a_marker_that_is_there_already_is_never_overwritten(dynamodb: MemoryDynamoDB) -> None:
    """It proves what it counted, although the chunk does not say so: an operator has to look, nobody may guess."""
    ledger(dynamodb).record(KEY, [success(0, "proof")], READ)
    dynamodb.items[KEY.pk, "chunk"] |= {"version": number(1), "done": bits(NO_ROWS)}
    before = {name: dict(item) for name, item in dynamodb.items.items()}
    with pytest.raises(
        FatalError, match=r"there is a marker of version 2, and .* run `tally audit offices-1 --repair`"
    ):
        ledger(dynamodb).record(KEY, [success(1)], seen_now(dynamodb))
    assert dynamodb.items == before


def test_outcomes_of_a_chunk_that_no_plan_made_raise_and_make_none() -> None:
    """A chunk is never made by counting: nothing would ever close it."""
    dynamodb = MemoryDynamoDB()
    with pytest.raises(NotFoundError, match="which no plan has made"):
        ledger(dynamodb).record(KEY, both_outcomes(range(3)), READ)
    assert dynamodb.items == {}


def test_a_closed_chunk_takes_nothing_more_even_when_its_markers_have_expired(dynamodb: MemoryDynamoDB) -> None:
    """Every row of it was counted, so whatever comes is late: its bits say so without the markers."""
    ledger(dynamodb).record(KEY, both_outcomes(), READ)
    dynamodb.items[KEY.pk, "chunk"] |= {"state": text("closed"), "version": number(3)}
    del dynamodb.items[KEY.pk, "mark#000002"]
    before = dict(dynamodb.items)
    assert ledger(dynamodb).record(KEY, both_outcomes(), READ) == Recorded(counted=0, dropped=ROWS)
    assert dynamodb.items == before


def test_what_ingest_has_counted_stays_counted() -> None:
    """Rejected rows are done from the start, and the counters begin with them."""
    dynamodb = MemoryDynamoDB()
    rejected = RowBits.of([0, 3])
    plant_ready(dynamodb, KEY, 5, done=bits(rejected), remaining=number(3), rejected=number(2))
    ledger(dynamodb).record(KEY, [success(row) for row in range(5)], Seen(1, 1, rejected))
    chunk = chunk_of(dynamodb, KEY)
    assert (chunk.remaining, chunk.counts, set(chunk.done)) == (0, Counts(succeeded=3, rejected=2), set(range(5)))
