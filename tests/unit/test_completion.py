"""The invariants over whole histories: duplicates, any order, faults at any call, workers that die."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Outcome
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline

HEADER = "office_id,user_count,contract_count\n"
ROWS = st.lists(
    st.sampled_from(["o1,1,2", "o2,0,5", "o3,x,1", "o4,1", ",,", "", '"o\n5",2,2', "o6,-1,0"]), min_size=0, max_size=14
)
FAULTS = st.sampled_from([Fault.NONE] * 8 + list(Fault))


@settings(max_examples=300)
@given(rows=ROWS, data=st.data())
def test_any_history_ends_with_every_row_counted_once(rows: list[str], data: st.DataObject) -> None:
    """Deliveries in any order, some twice, with any fault at any call: the totals are the file's, and one event."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        pipeline = Pipeline(monkeypatch, faults=lambda _: data.draw(FAULTS))
        batch_id = pipeline.upload("inbox/offices/day.csv", (HEADER + "\n".join(rows)).encode())
        for _ in range(data.draw(st.integers(0, 40))):
            work = pipeline.work()
            if not work:
                break
            pipeline.deliver(
                data.draw(st.sampled_from(work)),
                most=data.draw(st.integers(1, 12)),
                again=data.draw(st.booleans()),
                start=data.draw(st.integers(0, 9)),
            )
            _check_never_early(pipeline, batch_id)
        for name in data.draw(st.lists(st.sampled_from(["dispatch", "settle"]), max_size=2)):
            pipeline.positions[name] = 0  # Lambda may deliver all of the stream again
        pipeline.drain()
        _check_exact(pipeline, batch_id, sum(row != "" for row in rows))


def _check_never_early(pipeline: Pipeline, batch_id: str) -> None:
    if any(change["dynamodb"]["NewImage"].get("completed_at") for change in pipeline.dynamodb.stream):
        batch = pipeline.batch(batch_id)
        assert len(pipeline.outcomes(batch_id)) == batch.rows == batch.expected_rows


def _check_exact(pipeline: Pipeline, batch_id: str, rows: int) -> None:
    batch = pipeline.batch(batch_id)
    outcomes = pipeline.outcomes(batch_id)
    by_outcome = Counter(outcome.outcome for _, outcome in outcomes)
    assert batch.rows == batch.expected_rows == rows == len(outcomes)
    assert len({(chunk, outcome.row) for chunk, outcome in outcomes}) == rows, "each row is in one marker"
    assert batch.counts.succeeded == by_outcome[Outcome.SUCCEEDED]
    assert batch.counts.failed == by_outcome[Outcome.FAILED]
    assert batch.counts.rejected == by_outcome[Outcome.REJECTED]
    flawless = by_outcome[Outcome.SUCCEEDED] == rows
    assert batch.status is (BatchStatus.COMPLETED if flawless else BatchStatus.COMPLETED_WITH_FAILURES)
    assert all(chunk.closed and chunk.remaining == 0 for chunk in pipeline.chunks(batch_id))
    images = [change["dynamodb"] for change in pipeline.dynamodb.stream]
    endings = [
        image
        for image in images
        if image["NewImage"].get("completed_at") != image.get("OldImage", {}).get("completed_at")
    ]
    assert len(endings) == 1, "the batch ends exactly once"
    assert {detail["event_id"] for detail in pipeline.events.details} == {f"{batch_id}#1"}
    assert pipeline.events.details[-1]["rows"] == rows
