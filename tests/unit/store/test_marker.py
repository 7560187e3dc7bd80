"""The marker item: outcomes of any content are read as they were written, in items that DynamoDB takes."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.marker import (
    ABSENT,
    MAX_REASON_CHARACTERS,
    Marker,
    ReasonCode,
    RowOutcome,
    markers,
    unsuccessful,
)
from chalicelib.store.pacing import item_size

KEY = ChunkKey("offices-1", 7)
MAX_DYNAMODB_ITEM = 400 * 1024
AT = "2026-03-01T12:00:00.000000+00:00"

TEXTS = st.text(st.sampled_from('\x00\t\n\x7f"\\é\u2028\ufffe\uffff𐀀') | st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(0, 2**31)
SUCCESSES = st.builds(
    RowOutcome,
    row=st.just(0),
    outcome=st.just(Outcome.SUCCEEDED),
    result=JSON.map(lambda value: msgspec.Raw(msgspec.json.encode(value))),
    duration_ms=NUMBERS,
    tries=st.integers(1, 9),
)
OTHERS = st.builds(
    RowOutcome,
    row=st.just(0),
    outcome=st.sampled_from([Outcome.FAILED, Outcome.REJECTED]),
    code=st.sampled_from(ReasonCode),
    reason=TEXTS,
    line=NUMBERS,
    tries=st.integers(0, 9),
    duration_ms=NUMBERS,
    traceback=TEXTS,
)


def _numbered(rows: list[int], outcomes: list[RowOutcome]) -> list[RowOutcome]:
    return [msgspec.structs.replace(outcome, row=row) for row, outcome in zip(rows, outcomes, strict=False)]


OUTCOMES = st.builds(
    _numbered,
    st.lists(st.integers(0, 1_999), min_size=12, max_size=12, unique=True),
    st.lists(SUCCESSES | OTHERS, min_size=1, max_size=12),
)


def _success(row: int, result: Any = None) -> RowOutcome:
    return RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(msgspec.json.encode(result)))


def _markers(outcomes: list[RowOutcome], version: int = 3) -> list[Marker]:
    return markers(KEY, version, outcomes, counted_at=AT, expires_at=99)


def _read(made: Marker) -> Marker:
    return Marker.from_item(made.to_item())


@given(OUTCOMES)
def test_any_outcomes_are_read_as_they_were_written(outcomes: list[RowOutcome]) -> None:
    """Any JSON, any character, any order in which they came: each row has its own again."""
    (made,) = _markers(outcomes)
    read = _read(made)
    assert list(read.outcomes) == sorted(outcomes, key=lambda outcome: outcome.row)
    assert (read.chunk, read.version, read.page, read.counted_at, read.expires_at) == (KEY, 3, 0, AT, 99)


def test_outcomes_that_arrive_out_of_order_keep_their_results() -> None:
    """Messages about one chunk are counted together, and the one with its last rows may come first."""
    read = _read(_markers([_success(9, "nine"), _success(2, "two"), _success(5, "five")])[0])
    said = {found.row: msgspec.json.decode(found.result) for found in read.outcomes}
    assert said == {2: "two", 5: "five", 9: "nine"}


@given(OUTCOMES)
def test_bits_and_counts_are_those_of_the_outcomes(outcomes: list[RowOutcome]) -> None:
    """A reader of the bits alone, as an audit is, counts the same as a reader of everything."""
    item = _markers(outcomes)[0].to_item()
    bare = Marker.from_item({name: value for name, value in item.items() if name not in {"data", "size"}})
    assert bare.outcomes == ()
    for outcome in Outcome:
        assert set(bare.rows[outcome]) == {found.row for found in outcomes if found.outcome is outcome}
        assert getattr(bare.counts, outcome.value) == sum(found.outcome is outcome for found in outcomes)
    assert set(bare.every_row) == {found.row for found in outcomes}


def test_a_success_without_a_result_does_not_cost_the_others_theirs() -> None:
    """Results are kept in order: one that took no place would give each its neighbour's, or make all unreadable."""
    outcomes = [_success(0, "a"), RowOutcome(row=1, outcome=Outcome.SUCCEEDED), _success(2, "c")]
    assert outcomes[1].result == ABSENT
    read = _read(_markers(outcomes)[0])
    assert [msgspec.json.decode(found.result) for found in read.outcomes] == ["a", None, "c"]


def _large(rows: int, characters: int) -> list[RowOutcome]:
    """Return outcomes that hardly compress."""
    luck = random.Random(7)
    return [_success(row, luck.randbytes(characters // 2).hex()) for row in range(rows)]


def test_outcomes_larger_than_an_item_make_pages() -> None:
    """Each below what DynamoDB takes; together they have every row once, in one version."""
    outcomes = _large(2_000, 1_000)
    made = _markers(outcomes)
    assert len(made) > 1
    assert [marker.page for marker in made] == list(range(len(made)))
    assert {marker.version for marker in made} == {3}
    assert [outcome for marker in made for outcome in _read(marker).outcomes] == outcomes
    assert all(item_size(marker.to_item()) <= MAX_DYNAMODB_ITEM for marker in made)


def test_the_largest_outcome_of_a_message_is_an_item() -> None:
    """A result as large as a message takes."""
    (made,) = _markers(_large(1, 260_000))
    assert item_size(made.to_item()) <= MAX_DYNAMODB_ITEM
    assert len(_read(made).outcomes) == 1


def test_markers_sort_by_version_then_page() -> None:
    """A query brings them in the order in which they counted."""
    keys = [
        made.to_item()["sk"]["S"] for version in (1, 2, 10, 100_000) for made in _markers(_large(900, 1_000), version)
    ]
    assert keys == sorted(keys)
    assert keys[:3] == ["mark#000001", "mark#000001#001", "mark#000001#002"]


def test_a_marker_with_fewer_rows_stays_the_same_marker() -> None:
    """A redrive takes rows out of it; those that stay keep when they were counted and when they expire."""
    outcomes = [_success(0, 1), unsuccessful(1, Outcome.FAILED, ReasonCode.RAISED, "ValueError: x", line=3, tries=3)]
    made = _read(_markers(outcomes)[0])
    left = _read(made.with_outcomes([found for found in made.outcomes if found.outcome is Outcome.SUCCEEDED]))
    assert (left.version, left.page, left.counted_at, left.expires_at) == (3, 0, AT, 99)
    assert (left.every_row, left.counts) == (RowBits.of([0]), Counts(succeeded=1))
    assert list(left.outcomes) == [_success(0, 1)]


@pytest.mark.parametrize(("said", "kept"), [(10, 10), (MAX_REASON_CHARACTERS, 1_000), (50_000, 1_000)])
def test_a_reason_is_cut_where_it_is_too_long(said: int, kept: int) -> None:
    """A reason quotes what the user's libraries say, and they may quote a whole document."""
    assert unsuccessful(0, Outcome.FAILED, ReasonCode.RAISED, "x" * said).reason == "x" * kept


def test_what_a_row_has_not_is_not_kept() -> None:
    """A marker of successes is bits, results and durations: 500 small ones are a few write units."""
    (made,) = _markers([_success(row, {"id": f"T{row:07d}", "eur": "12.50"}) for row in range(500)])
    item = made.to_item()
    assert set(item) == {"pk", "sk", "succeeded", "data", "size", "counted_at", "expires_at"}
    assert item_size(item) < 500 * 10
