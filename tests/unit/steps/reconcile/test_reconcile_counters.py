"""Reconcile repairs counters that the markers prove wrong, and no others."""

from typing import Any

import pytest

from chalicelib.errors import NotFoundError
from chalicelib.steps.reconcile import Repairs
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Counts, batch_pk, bits, number
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, before_call, count_rows, killed, succeeded
from tests.support.plain import (
    AFTER,
    COUNTED,
    READ,
    batch_item,
    chunk_item,
    ends_exact,
    lose,
    reconciler_of,
    settled,
    upload,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"succeeded": number(4)},
        {"succeeded": number(1), "remaining": number(1)},
        {"rejected": number(0), "failed": number(1)},
        {"remaining": number(-1)},
        {"remaining": number(2)},
        {"failed": number(7)},
        {"done": bits(RowBits.of([3]))},
        {"done": bits(RowBits.first(3))},
        {"version": number(1)},
    ],
)
def test_counters_of_a_chunk_that_its_markers_prove_wrong_are_repaired(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """Somebody's hand was in the table: the markers are the truth."""
    batch_id = upload(pipeline, *COUNTED)
    lose(pipeline, "settle")
    chunk_item(pipeline, batch_id).update(wrong)
    repairs = reconciler_of().repair(batch_id)
    assert repairs.counters_repaired == [ChunkKey(batch_id, 0).pk]
    ends_exact(pipeline, batch_id)


@pytest.mark.parametrize(
    "wrong", [{"succeeded": number(4)}, {"remaining": number(1)}, {"remaining": number(-1), "rejected": number(2)}]
)
def test_counters_of_a_batch_that_its_closed_chunks_prove_wrong_are_repaired(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """And then it ends."""
    batch_id = upload(pipeline, *COUNTED, "settle")
    lose(pipeline, "settle")
    batch_item(pipeline, batch_id).update(wrong)
    repairs = reconciler_of().repair(batch_id)
    assert (repairs.counters_repaired, repairs.completed) == ([batch_pk(batch_id)], True)
    ends_exact(pipeline, batch_id)


def test_a_running_batch_that_has_lost_a_chunk_does_not_end_without_its_rows(pipeline: Pipeline) -> None:
    """Somebody deleted the item. The batch is listed as stalled until somebody looks."""
    batch_id = upload(pipeline, *COUNTED, "settle")
    lose(pipeline, "settle")
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]
    before = dict(batch_item(pipeline, batch_id))
    with pytest.raises(NotFoundError, match="1 of 2 chunks"):
        reconciler_of().repair(batch_id)
    assert batch_item(pipeline, batch_id) == before


def test_right_counters_are_left_alone(pipeline: Pipeline) -> None:
    """Not even written: a write would wake the stream."""
    batch_id = upload(pipeline, *READ, "work", "finished")
    length = len(pipeline.dynamodb.stream)
    assert reconciler_of().repair(batch_id).counters_repaired == []
    assert len(pipeline.dynamodb.stream) == length


def test_counters_that_move_meanwhile_are_not_repaired(pipeline: Pipeline) -> None:
    """A marker that came between the two reads looks like a counter that lags: it is too early to say."""
    batch_id = upload(pipeline, *READ)
    lose(pipeline, "work", "heavy")
    key = ChunkKey(batch_id, 0)
    pipeline.faults = before_call("query", lambda: count_rows(pipeline.dynamodb, key, succeeded(0), succeeded(1)))
    assert reconciler_of().repair(batch_id).counters_repaired == []
    chunk = pipeline.chunks(batch_id)[0]
    assert (chunk.counts, chunk.remaining) == (Counts(succeeded=2, rejected=1), 1)
    pipeline.faults = lambda _: Fault.NONE
    ends_exact(pipeline, batch_id)


def test_wrong_counters_that_move_meanwhile_are_repaired_the_next_time(pipeline: Pipeline) -> None:
    """They are wrong by as much after as before; what moved stays counted."""
    batch_id = upload(pipeline, *READ)
    chunk_item(pipeline, batch_id)["failed"] = number(5)
    key = ChunkKey(batch_id, 0)
    pipeline.faults = before_call("transact_write_items", lambda: count_rows(pipeline.dynamodb, key, succeeded(0)))
    assert reconciler_of().repair(batch_id).counters_repaired == []
    pipeline.faults = lambda _: Fault.NONE
    assert reconciler_of().repair(batch_id).counters_repaired == [key.pk]
    assert pipeline.chunks(batch_id)[0].counts == Counts(succeeded=1, rejected=1)
    ends_exact(pipeline, batch_id)


def test_wrong_counters_of_a_batch_to_which_a_chunk_is_added_meanwhile_are_repaired_the_next_time(
    pipeline: Pipeline,
) -> None:
    """Setting them would lose what was added after they were read."""
    batch_id = upload(pipeline, *READ, "work", "work", "finished")
    batch_item(pipeline, batch_id)["failed"] = number(9)
    lose(pipeline, "dispatch")
    reconciler = reconciler_of()
    closing = pipeline.chunks(batch_id)[1]
    assert closing.complete
    pipeline.faults = before_call("update_item", lambda: settled(pipeline))
    repairs = Repairs(batch_id)
    reconciler._repair_batch(batch_id, repairs)
    assert repairs.counters_repaired == []
    batch = pipeline.batch(batch_id)
    assert (batch.remaining, batch.counts) == (1, Counts(succeeded=2, failed=9))
    pipeline.faults = lambda _: Fault.NONE
    assert reconciler_of().repair(batch_id).counters_repaired == [batch_pk(batch_id)]
    ends_exact(pipeline, batch_id)


def test_a_chunk_that_closes_meanwhile_is_added_up_once(pipeline: Pipeline) -> None:
    """Its batch's counters were read before; the chunk was read after."""
    for call in range(1, 4):
        batch_id = upload(pipeline, *COUNTED, name=f"day-{call}")
        pipeline.faults = before_call("batch_get_item", lambda: settled(pipeline), call=call)
        reconciler_of().repair(batch_id)
        pipeline.faults = lambda _: Fault.NONE
        pipeline.drain()
        batch = pipeline.batch(batch_id)
        assert (batch.counts, batch.remaining, batch.rows) == (AFTER, 0, 6)


@pytest.mark.parametrize("position", range(18))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.THROTTLED])
def test_a_repair_that_is_cut_or_disturbed_anywhere_is_exact(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """The next repair finds the rest."""
    batch_id = upload(pipeline, *COUNTED[:-1])
    lose(pipeline, "finished", "settle")
    chunk_item(pipeline, batch_id, 1)["failed"] = number(5)
    pipeline.faults = at_call(position, fault)
    killed(lambda: reconciler_of().repair(batch_id))
    pipeline.faults = lambda _: Fault.NONE
    pipeline.drain()
    for _ in range(3):
        reconciler_of().repair(batch_id)
        pipeline.drain()
    ends_exact(pipeline, batch_id)
