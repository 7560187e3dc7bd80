"""A thorough repair: what is closed, or has ended, is recounted too, and set to no more than its markers prove."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chalicelib import services
from chalicelib.errors import NotFoundError
from chalicelib.steps.reconcile import Reconciler, Repairs
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, Counts, batch_pk, number, text
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    before_call,
    calls_of,
    chunk_of,
    count_rows,
    deployed_job,
    failed,
    markers_of,
    succeeded,
    table,
)
from tests.support.redriving import BEFORE, JOB, check, deliver, ended, events, meanwhile, redrive, repair_job, upload

WRONG: list[dict[str, Any]] = [{"succeeded": number(4), "failed": number(0)}, {"failed": number(9)}]


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose failures can be repaired."""
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield


def _reconciler() -> Reconciler:
    return services.Services.of(None).reconciler


def _repair(pipeline: Pipeline, batch_id: str) -> Repairs:
    """Repair once; a second repair finds nothing more to set."""
    repairs = _reconciler().repair(batch_id, thorough=True)
    assert _reconciler().repair(batch_id, thorough=True).counters_repaired == []
    check(pipeline, batch_id)
    return repairs


def _item(pipeline: Pipeline, batch_id: str, position: int | None = None) -> dict[str, Any]:
    """Return a chunk's item, or the batch's own."""
    place = (batch_pk(batch_id), "batch") if position is None else (ChunkKey(batch_id, position).pk, "chunk")
    return pipeline.dynamodb.items[place]


def _running(pipeline: Pipeline) -> str:
    """Return a batch with a closed chunk that has two failures, while a heavy row keeps it from ending."""
    batch_id = upload(pipeline, "a", "fine", "b", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished", "settle")
    assert [chunk.closed for chunk in pipeline.chunks(batch_id)] == [True, False]
    return batch_id


def test_a_batch_that_is_right_is_read_and_not_written(pipeline: Pipeline) -> None:
    """However often somebody asks."""
    batch_id = ended(pipeline)
    length = len(pipeline.dynamodb.stream)
    calls = calls_of(lambda faults: _watched(pipeline, faults, batch_id))
    assert _repair(pipeline, batch_id) == Repairs(batch_id)
    assert len(pipeline.dynamodb.stream) == length
    assert set(calls) == {"get_item", "batch_get_item", "query"}


def _watched(pipeline: Pipeline, faults: Callable[[str], Fault], batch_id: str) -> None:
    pipeline.faults = faults
    _reconciler().repair(batch_id, thorough=True)
    pipeline.faults = lambda _: Fault.NONE


def test_without_being_asked_for_it_an_ended_batch_is_not_recounted(pipeline: Pipeline) -> None:
    """The schedule would read every marker of every batch for ever."""
    batch_id = ended(pipeline)
    _item(pipeline, batch_id, 0).update(WRONG[0])
    assert _reconciler().repair(batch_id) == Repairs(batch_id)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_closed_chunk_of_a_running_batch_is_repaired_with_its_share_of_the_batch(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """It was closed with what was wrong, so its batch is wrong by as much."""
    batch_id = _running(pipeline)
    _item(pipeline, batch_id, 0).update(wrong)
    _item(pipeline, batch_id).update(wrong)
    assert _repair(pipeline, batch_id).counters_repaired == [ChunkKey(batch_id, 0).pk]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2, failed=2)
    assert pipeline.chunks(batch_id)[0].state is ChunkState.CLOSED
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).attempt == 1


@pytest.mark.parametrize("wrong", WRONG)
def test_a_closed_chunk_of_an_ended_batch_is_repaired_and_the_batch_stays_ended(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """Its rows are all there: nothing is to run again."""
    batch_id = ended(pipeline)
    before = pipeline.batch(batch_id)
    _item(pipeline, batch_id, 0).update(wrong)
    assert ChunkKey(batch_id, 0).pk in _repair(pipeline, batch_id).counters_repaired
    after = pipeline.batch(batch_id)
    assert (after.counts, after.status, after.attempt) == (BEFORE, before.status, before.attempt)
    assert after.completed_at == before.completed_at


@pytest.mark.parametrize("name", ["succeeded", "failed", "rejected", "rows", "remaining"])
def test_counters_of_an_ended_batch_are_set_to_what_its_chunks_add_up_to(pipeline: Pipeline, name: str) -> None:
    """And its end to what they say."""
    batch_id = ended(pipeline)
    before = pipeline.batch(batch_id)
    _item(pipeline, batch_id).update({name: number(3), "status": text(BatchStatus.COMPLETED)})
    assert _repair(pipeline, batch_id).counters_repaired == [batch_pk(batch_id)]
    assert pipeline.batch(batch_id) == replace(before, version=before.version + 1)


def test_an_ended_batch_whose_chunk_was_closed_with_a_failure_taken_for_a_success_gets_its_right_end(
    pipeline: Pipeline,
) -> None:
    """The chunk's repair moves the batch's counters; that they are right then says nothing about its end."""
    batch_id = ended(pipeline, "a", "fine")
    for item in (_item(pipeline, batch_id, 0), _item(pipeline, batch_id)):
        item.update(succeeded=number(2), failed=number(0))
    _item(pipeline, batch_id)["status"] = text(BatchStatus.COMPLETED)
    _repair(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED_WITH_FAILURES, Counts(succeeded=1, failed=1))


def test_an_ended_batch_with_an_open_chunk_goes_on(pipeline: Pipeline) -> None:
    """It had ended too early: the chunk's rows run, and it ends once more, as the next attempt."""
    batch_id = _running(pipeline)
    _item(pipeline, batch_id).update(
        status=text(BatchStatus.COMPLETED_WITH_FAILURES), completed_at=text("then"), remaining=number(0)
    )
    assert _repair(pipeline, batch_id).counters_repaired == [batch_pk(batch_id)]
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.completed_at) == (BatchStatus.RUNNING, 2, "")
    repair_job()
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3, failed=2)


# Markers that are lost.


def _lose_marker(pipeline: Pipeline, batch_id: str) -> set[int]:
    """Delete the last marker of the first chunk; returns the rows that it had counted."""
    marker = markers_of(pipeline.dynamodb, ChunkKey(batch_id, 0))[-1]
    sk = f"mark#{marker.version:06d}"
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, sk]
    return set(marker.every_row)


def test_rows_of_an_ended_batch_whose_marker_is_lost_run_again_as_the_next_attempt(pipeline: Pipeline) -> None:
    """Nothing proves that they were counted; what they did before, they do once more."""
    batch_id = ended(pipeline)
    assert _lose_marker(pipeline, batch_id) == {0, 1, 2, 3}
    repairs = _reconciler().repair(batch_id, thorough=True)
    assert (repairs.counters_repaired, repairs.rows_sent) == ([ChunkKey(batch_id, 0).pk], 4)
    chunk, batch = pipeline.chunks(batch_id)[0], pipeline.batch(batch_id)
    assert (chunk.state, chunk.generation, chunk.remaining) == (ChunkState.READY, 2, 4)
    assert (batch.status, batch.attempt, batch.remaining) == (BatchStatus.RUNNING, 2, 1)
    check(pipeline, batch_id)
    repair_job("a")
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=6, failed=3, rejected=1)
    assert events(pipeline, batch_id) == [(f"{batch_id}#1", 1), (f"{batch_id}#2", 1)]


def test_rows_of_an_open_chunk_whose_marker_is_lost_run_again_in_the_same_attempt(pipeline: Pipeline) -> None:
    """The chunk stays as open as it was."""
    batch_id = upload(pipeline, "fine", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    assert _lose_marker(pipeline, batch_id) == {0, 1}
    repairs = _reconciler().repair(batch_id)
    assert (repairs.counters_repaired, repairs.rows_sent) == ([ChunkKey(batch_id, 0).pk], 3)
    repair_job()
    pipeline.drain()
    check(pipeline, batch_id)
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).attempt) == (Counts(succeeded=3), 1)


def test_an_outcome_from_before_a_marker_was_lost_does_not_fail_its_row(pipeline: Pipeline) -> None:
    """The rows were sent with a new generation: the past cannot overrule the present here either."""
    batch_id = upload(pipeline, "a", "fine", "fine", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work")
    old = list(pipeline.waiting("finished"))
    pipeline.drain()
    _lose_marker(pipeline, batch_id)
    repair_job()
    _reconciler().repair(batch_id, thorough=True)
    pipeline.waiting("finished").extend(old)
    deliver(pipeline, "finished")
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)


def test_markers_that_have_expired_prove_nothing(pipeline: Pipeline) -> None:
    """A batch of last month would run again, and its rows may be gone too."""
    batch_id = ended(pipeline)
    _lose_marker(pipeline, batch_id)
    before = dict(pipeline.dynamodb.items)
    late = datetime.fromtimestamp(pipeline.batch(batch_id).expires_at, UTC)
    repairs = replace(_reconciler(), clock=lambda: late).repair(batch_id, thorough=True)
    assert (repairs, pipeline.dynamodb.items) == (Repairs(batch_id), before)
    assert not any(pipeline.waiting(queue) for queue in ("ingest", "work", "heavy"))


def test_an_ended_batch_that_has_lost_a_chunk_stays_as_it_is(pipeline: Pipeline) -> None:
    """Chunks may expire before their batch, which would run again as one with fewer rows."""
    batch_id = ended(pipeline)
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]
    before = dict(pipeline.dynamodb.items)
    with pytest.raises(NotFoundError, match=rf"1 of {pipeline.batch(batch_id).chunks} chunks of {batch_pk(batch_id)}"):
        _reconciler().repair(batch_id, thorough=True)
    assert pipeline.dynamodb.items == before


def test_a_marker_beyond_its_chunk_counts_and_is_overtaken(pipeline: Pipeline) -> None:
    """It says that its rows were counted, although the chunk does not."""
    batch_id = upload(pipeline, "fine", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    chunk = _item(pipeline, batch_id, 0)
    before = chunk_of(pipeline.dynamodb, ChunkKey(batch_id, 0))
    chunk.update(version=number(before.version - 1), done={"B": b"\0"}, remaining=number(3), succeeded=number(0))
    assert _repair(pipeline, batch_id).counters_repaired == [ChunkKey(batch_id, 0).pk]
    after = chunk_of(pipeline.dynamodb, ChunkKey(batch_id, 0))
    assert (list(after.done), after.counts, after.version) == ([0, 1], Counts(succeeded=2), before.version + 1)
    repair_job()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3)


def test_rows_in_two_markers_are_left_as_they_are(pipeline: Pipeline) -> None:
    """Nobody can tell which of them is right: an audit shows both, and nothing is set."""
    batch_id = ended(pipeline)
    marker = markers_of(pipeline.dynamodb, ChunkKey(batch_id, 0))[-1]
    twice = replace(marker, version=9).with_outcomes([failed(1)])
    table(pipeline.dynamodb).write_all([twice.to_item()])
    before = dict(pipeline.dynamodb.items)
    assert _reconciler().repair(batch_id, thorough=True) == Repairs(batch_id)
    assert pipeline.dynamodb.items == before


# Repairs that sleep.


@pytest.mark.parametrize(("operation", "call"), [("query", 1), ("get_item", 3), ("transact_write_items", 1)])
def test_a_repair_that_slept_through_a_failure_and_its_redrive_changes_nothing(
    pipeline: Pipeline, operation: str, call: int
) -> None:
    """The hole of version 1: the chunk's counters come back to what the repair had read, its markers do not."""
    batch_id = upload(pipeline, "a", "fine", "b")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    key = ChunkKey(batch_id, 0)
    _item(pipeline, batch_id, 0)["failed"] = number(7)  # something to repair, or it would not come so far

    def fail_and_redrive() -> None:
        pipeline.faults = lambda _: Fault.NONE
        _item(pipeline, batch_id, 0)["failed"] = number(0)
        count_rows(pipeline.dynamodb, key, failed(0))
        assert redrive(pipeline, batch_id) == 1

    pipeline.faults = before_call(operation, fail_and_redrive, call=call)
    assert _reconciler().repair(batch_id).counters_repaired == []
    assert pipeline.chunks(batch_id)[0].generation == 2, "the redrive has come between"
    check(pipeline, batch_id)
    repair_job()
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3)


def test_a_repair_of_a_batch_that_slept_through_the_next_attempt_changes_nothing(pipeline: Pipeline) -> None:
    """All chunks closed again meanwhile, with other counts: what it would set is what they had."""
    batch_id = ended(pipeline)
    _item(pipeline, batch_id)["failed"] = number(9)

    def next_attempt() -> None:
        _item(pipeline, batch_id)["failed"] = number(4)
        repair_job()
        assert redrive(pipeline, batch_id) == 4
        pipeline.drain()

    pipeline.faults = before_call("update_item", next_attempt)
    assert _reconciler().repair(batch_id, thorough=True).counters_repaired == []
    pipeline.faults = lambda _: Fault.NONE
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=9, rejected=1)
    assert pipeline.batch(batch_id).attempt == 2


@pytest.mark.parametrize("position", range(14))
def test_a_repair_that_sleeps_between_any_two_calls_through_the_next_attempt_ends_exact(
    pipeline: Pipeline, position: int
) -> None:
    """The writes that still hold are right; the next repair finds the others."""
    batch_id = ended(pipeline)
    _item(pipeline, batch_id, 0).update(WRONG[0])
    _item(pipeline, batch_id)["rejected"] = number(5)

    def next_attempt() -> None:
        repair_job()
        redrive(pipeline, batch_id)
        pipeline.drain()

    pipeline.faults = meanwhile(position, next_attempt)
    _reconciler().repair(batch_id, thorough=True)
    pipeline.faults = lambda _: Fault.NONE
    for _ in range(2):
        pipeline.drain()
        _reconciler().repair(batch_id, thorough=True)
    check(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert batch.counts.total == batch.rows == 10
    assert batch.attempt == 2, "the next attempt has come between"


def test_a_repair_that_meets_a_success_on_its_way_leaves_it_counted(pipeline: Pipeline) -> None:
    """Rows that were counted after the chunk was read are in the chunk, and not in the repair."""
    batch_id = upload(pipeline, "fine", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    key = ChunkKey(batch_id, 0)
    _item(pipeline, batch_id, 0)["succeeded"] = number(1)
    pipeline.faults = before_call("transact_write_items", lambda: count_rows(pipeline.dynamodb, key, succeeded(0)))
    assert _reconciler().repair(batch_id).counters_repaired == []
    pipeline.faults = lambda _: Fault.NONE
    assert _reconciler().repair(batch_id).counters_repaired == [key.pk]
    check(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2)
