"""A redrive takes failures back, with exactly what they had counted, and runs them again."""

import re

from chalicelib import services
from chalicelib.steps.redrive import Redriven
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.transport.messages import WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests, changed_since, count_rows, failed, markers_of, plant_batch, plant_rows
from tests.support.redriving import (
    AFTER,
    BEFORE,
    check,
    deliver,
    ended,
    events,
    failures,
    job_module,
    redrive,
    redriven,
    redriver,
    repair_job,
    upload,
)


def test_the_failed_rows_of_a_batch_run_again_and_no_others(pipeline: Pipeline) -> None:
    """The batch runs again as the next attempt, and ends again with an event of its own."""
    batch_id = ended(pipeline)
    assert pipeline.batch(batch_id).counts == BEFORE
    repair_job()
    assert redriven(pipeline, batch_id) == Redriven(rows=4)
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.completed_at) == (BatchStatus.RUNNING, 2, "")
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(job_module().ran) == ["a", "a", "b", "b"]
    batch = pipeline.batch(batch_id)
    assert batch.counts == AFTER
    assert (batch.attempt, batch.published_attempt) == (2, 2)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES, "one row was rejected"
    assert events(pipeline, batch_id) == [(f"{batch_id}#1", 1), (f"{batch_id}#2", 1)]


def test_a_batch_of_which_every_row_succeeds_at_last_is_completed(pipeline: Pipeline) -> None:
    """Nothing of its first attempt sticks."""
    batch_id = ended(pipeline, "a", "b", "fine")
    repair_job()
    redrive(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_a_marker_is_rewritten_without_the_rows_that_were_taken_back(pipeline: Pipeline) -> None:
    """The others keep their results; one of which nothing stays is gone."""
    batch_id = ended(pipeline, "a", "fine", "a", "b")
    key = ChunkKey(batch_id, 0)
    (before,) = markers_of(pipeline.dynamodb, key)
    assert redrive(pipeline, batch_id, rows=[(0, 0), (0, 2)]) == 2
    (after,) = markers_of(pipeline.dynamodb, key)
    assert after.outcomes == [found for found in before.outcomes if found.row in {1, 3}]
    assert (after.version, after.counted_at, after.expires_at) == (1 + 1, before.counted_at, before.expires_at)
    assert redrive(pipeline, batch_id, rows=[(0, 3)]) == 1
    assert [list(marker.every_row) for marker in markers_of(pipeline.dynamodb, key)] == [[1]]
    check(pipeline, batch_id)


def test_a_marker_of_failures_alone_is_deleted(pipeline: Pipeline) -> None:
    """There is nothing that it would prove."""
    batch_id = ended(pipeline, "a", "b")
    redrive(pipeline, batch_id)
    assert markers_of(pipeline.dynamodb, ChunkKey(batch_id, 0)) == []
    check(pipeline, batch_id)


def test_a_redriven_chunk_has_a_new_version_and_a_new_generation(pipeline: Pipeline) -> None:
    """By the first every transaction that was decided before finds out; by the other every outcome from before."""
    batch_id = ended(pipeline)
    before = pipeline.chunks(batch_id)
    redrive(pipeline, batch_id)
    after = pipeline.chunks(batch_id)
    raised = [(b.version - a.version, b.generation - a.generation) for a, b in zip(before, after, strict=True)]
    assert raised == [(1, 1), (1, 1), (0, 0)]
    assert [chunk.state for chunk in after] == [ChunkState.READY, ChunkState.READY, ChunkState.CLOSED]
    assert [chunk.redriven for chunk in after] == [2, 2, 0]


def test_chunks_without_failures_stay_closed(pipeline: Pipeline) -> None:
    """A chunk without failures is not written."""
    batch_id = ended(pipeline)
    redrive(pipeline, batch_id)
    assert [chunk.closed for chunk in pipeline.chunks(batch_id)] == [False, False, True]
    assert pipeline.batch(batch_id).remaining == 2


def test_a_redrive_sends_every_row_of_the_chunk_that_is_not_done(pipeline: Pipeline) -> None:
    """Those too that were under way with the generation before, whose messages are dropped from now on."""
    batch_id = upload(pipeline, "a", "heavy", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    old = pipeline.waiting("work")[0]
    key = ChunkKey(batch_id, 0)
    count_rows(pipeline.dynamodb, key, failed(0))
    assert redrive(pipeline, batch_id) == 1
    pipeline.waiting("heavy").clear()
    deliver(pipeline, "dispatch")
    (again,) = [decode(body, WorkMessage) for body in pipeline.waiting("work") if body != old]
    assert again == WorkMessage(batch=batch_id, chunk=0, generation=2)
    assert [decode(body, WorkMessage).rows for body in pipeline.waiting("heavy")] == [[1]]
    repair_job()
    pipeline.drain()
    assert sorted(job_module().ran) == ["a", "fine", "heavy"], "the old message runs nothing"
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3)


def test_rows_that_fail_again_are_counted_again(pipeline: Pipeline) -> None:
    """Any number of times: the totals are the file's each time."""
    batch_id = ended(pipeline)
    for attempt in (2, 3, 4):
        assert redrive(pipeline, batch_id) == 4
        pipeline.drain()
        check(pipeline, batch_id)
        assert (pipeline.batch(batch_id).attempt, pipeline.batch(batch_id).counts) == (attempt, BEFORE)
    assert events(pipeline, batch_id) == [(f"{batch_id}#{attempt}", 1) for attempt in (1, 2, 3, 4)]


def test_a_row_that_fails_again_at_once_is_taken_back_once(pipeline: Pipeline) -> None:
    """However fast the pipeline is: a redrive that went on until there are no failures would never end."""
    batch_id = ended(pipeline)
    calls: list[str] = []

    def drain(operation: str) -> Fault:
        calls.append(operation)
        assert len(calls) < 50
        pipeline.drain()
        return Fault.NONE

    assert redrive(pipeline, batch_id, faults=drain) == 4
    check(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == BEFORE


def test_failures_are_chosen_by_their_reason(pipeline: Pipeline) -> None:
    """A regular expression, found anywhere in it."""
    batch_id = ended(pipeline)
    assert redrive(pipeline, batch_id, reason=re.compile("nowhere").search) == 0
    assert redrive(pipeline, batch_id, reason=re.compile("^ValueError: a .*en$").search) == 2
    pipeline.drain()
    assert job_module().ran[-2:] == ["a", "a"]
    check(pipeline, batch_id)


def test_failures_are_chosen_by_chunk_and_row(pipeline: Pipeline) -> None:
    """Those of them that have failed; other rows, chunks and batches are left alone."""
    batch_id = ended(pipeline)
    wanted = [(0, 2), (0, 1), (1, 2), (2, 0), (7, 0)]
    assert redrive(pipeline, batch_id, rows=wanted) == 1
    assert failures(pipeline, batch_id) == [(0, 0), (1, 0), (1, 1)]
    assert redrive(pipeline, batch_id, rows=[(0, 0), (1, 1)], reason=re.compile("b is").search) == 1
    check(pipeline, batch_id)


def test_each_chunk_is_told_of(pipeline: Pipeline) -> None:
    """Also those that have nothing to take back: somebody watches a bar."""
    told: list[None] = []
    batch_id = ended(pipeline)
    redriver(pipeline.dynamodb).redrive(batch_id, rows=[(1, 0)], on_chunk=lambda: told.append(None))
    assert len(told) == 3


MARKERS = 250


def test_failures_in_more_markers_than_a_transaction_takes_are_taken_back_in_several(pipeline: Pipeline) -> None:
    """98 markers, their chunk and their batch: the most that DynamoDB takes. Only the first has to reopen the batch."""
    key = ChunkKey("flaky-1", 0)
    plant_batch(pipeline.dynamodb, key.batch_id)
    plant_rows(pipeline.dynamodb, key, ["kind"], [["fine"]] * MARKERS)
    for row in range(MARKERS):
        count_rows(pipeline.dynamodb, key, failed(row))
    services.Services.of(None).settler.settle(changed_since(pipeline.dynamodb))
    assert pipeline.chunks(key.batch_id)[0].closed
    requests = Requests(pipeline.dynamodb)
    assert redriver(requests).redrive(key.batch_id, on_chunk=lambda: None).rows == MARKERS
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 99, 55]
    check(pipeline, key.batch_id)
    assert pipeline.batch(key.batch_id).counts == Counts()


def test_a_heavy_row_that_failed_is_redriven_at_once(pipeline: Pipeline) -> None:
    """Its first attempt keeps no lease that its redrive would have to wait for."""
    batch_id = upload(pipeline, "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "heavy", "finished")
    assert failures(pipeline, batch_id) == [(0, 0)]
    repair_job()
    assert redrive(pipeline, batch_id) == 1
    deliver(pipeline, "dispatch")
    assert pipeline.deliver("heavy"), "put back"
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=1)


def test_a_row_that_is_redriven_begins_with_its_first_try(pipeline: Pipeline) -> None:
    """The tries of its last run are used up, and in its outcome of then."""
    batch_id = ended(pipeline, "a")
    redrive(pipeline, batch_id)
    deliver(pipeline, "dispatch")
    (message,) = [decode(body, WorkMessage) for body in pipeline.waiting("work")]
    assert (message.attempt, message.raised, message.splits) == (1, {}, 0)


def test_rejected_rows_are_never_taken_back(pipeline: Pipeline) -> None:
    """Run again they would be what they were: no rows."""
    batch_id = ended(pipeline)
    before = [found for found in pipeline.outcomes(batch_id) if found[1].outcome is Outcome.REJECTED]
    assert redrive(pipeline, batch_id, rows=[(1, 2)]) == 0
    redrive(pipeline, batch_id)
    after = [found for found in pipeline.outcomes(batch_id) if found[1].outcome is Outcome.REJECTED]
    assert before == after != []
