"""The recount of raw items: each kind of inexactness has a name."""

from typing import Any

import pytest

from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Outcome, bits, marker_sk, number, text
from chalicelib.store.marker import Marker, ReasonCode, RowOutcome, rows_by_outcome, unsuccessful
from tests.chaos.recount import recount_chunk

KEY = ChunkKey("b", 0)
ROWS = 4


def _marker(version: int, outcomes: list[RowOutcome]) -> dict[str, Any]:
    rows = rows_by_outcome(outcomes)
    return Marker(
        chunk=KEY, version=version, page=0, rows=rows, counted_at="", expires_at=0, outcomes=outcomes
    ).to_item()  # fmt: skip


def _items() -> dict[str, dict[str, Any]]:
    """Return the items of a closed chunk by sort key: three rows succeeded, one was rejected."""
    chunk = Chunk(key=KEY, start=0, end=9, first_line=2, expected_rows=ROWS).to_item() | {
        "state": text("closed"),
        "rows": number(ROWS),
        "remaining": number(0),
        "done": bits(RowBits.first(ROWS)),
        "succeeded": number(3),
        "failed": number(0),
        "rejected": number(1),
    }
    rejected = unsuccessful(3, Outcome.REJECTED, ReasonCode.INVALID, "no amount", line=5)
    succeeded = [RowOutcome(row=row, outcome=Outcome.SUCCEEDED) for row in range(3)]
    items = [chunk, _marker(1, [rejected]), _marker(2, succeeded)]
    return {item["sk"]["S"]: item for item in items}


def test_a_chunk_that_adds_up_has_no_difference() -> None:
    """Rows, markers, bits and counters say the same."""
    found = recount_chunk(0, _items().values())
    assert found.differences == ()
    assert (found.markers, found.bits, found.chunk_counters) == (ROWS, ROWS, ROWS)
    assert found.outcomes == {"succeeded": 3, "failed": 0, "rejected": 1}


@pytest.mark.parametrize(
    ("sk", "change", "said"),
    [
        ("chunk", {"done": bits(RowBits.first(3))}, "its bits have 3 rows, its markers 4"),
        ("chunk", {"succeeded": number(4)}, "'succeeded': 4"),
        ("chunk", {"remaining": number(1)}, "1 rows remain"),
        ("chunk", {"rows": number(3)}, "read with 3 rows, planned with 4"),
        ("chunk", {"state": text("counting")}, "its state is counting"),
        (marker_sk(2), {"succeeded": bits(RowBits.of([0, 1, 3]))}, "rows [3] are in more than one marker"),
        (marker_sk(2), {"succeeded": bits(RowBits.of([0, 1]))}, "packs other outcomes than its bits say"),
        (marker_sk(2), {"succeeded": bits(RowBits.of([0, 1]))}, "its markers have 3 rows of 4"),
    ],
)
def test_what_does_not_agree_is_a_difference(sk: str, change: dict[str, Any], said: str) -> None:
    """One attribute of one item is wrong at a time."""
    items = _items()
    items[sk] |= change
    assert any(said in difference for difference in recount_chunk(0, items.values()).differences)


def test_a_chunk_that_is_gone_is_a_difference() -> None:
    """A batch knows how many chunks it has."""
    assert recount_chunk(7, []).differences == ("chunk 7: is not there",)
