"""Redrive: failures are taken back, with exactly what they had counted, and run again."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from chalicelib import services
from chalicelib.steps.redrive import NotRedrivableError, Redriven, Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.chunk import ChunkState
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, Outcome, batch_pk, number, text
from chalicelib.transport.messages import ChunkMessage, WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    Requests,
    calls_of,
    changed_since,
    count_rows,
    deployed_job,
    failed,
    markers_of,
    plant_batch,
    plant_rows,
    table,
)
from tests.support.redriving import (
    AFTER,
    BEFORE,
    JOB,
    KINDS,
    check,
    deliver,
    ended,
    events,
    failures,
    job_module,
    meanwhile,
    redrive,
    redriven,
    redriver,
    repair_job,
    upload,
)


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose failures can be repaired."""
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


# What is taken back.


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
    """What is not taken back is not touched."""
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


# Redrives that take nothing back.


def test_a_second_redrive_of_the_same_failures_takes_nothing_back(pipeline: Pipeline) -> None:
    """It joins the attempt that the first has begun."""
    batch_id = ended(pipeline)
    assert [redrive(pipeline, batch_id) for _ in range(2)] == [4, 0]
    assert pipeline.batch(batch_id).attempt == 2
    check(pipeline, batch_id)


def test_a_batch_without_failures_is_not_reopened(pipeline: Pipeline) -> None:
    """There is nothing to run again, so there is no attempt that would end."""
    batch_id = upload(pipeline, "fine", "too,many")
    pipeline.drain()
    before, length = pipeline.batch(batch_id), len(pipeline.dynamodb.stream)
    assert redriven(pipeline, batch_id) == Redriven()
    assert (pipeline.batch(batch_id), len(pipeline.dynamodb.stream)) == (before, length)


@pytest.mark.parametrize(
    ("hold", "has_ended"),
    [
        (Hold.CANCELLED, True),
        (Hold.THRESHOLD, True),
        (Hold.CANCELLED, False),
        (Hold.THRESHOLD, False),
        (Hold.PAUSED, False),
    ],
)
def test_a_redrive_that_takes_nothing_back_writes_nothing(pipeline: Pipeline, hold: Hold, *, has_ended: bool) -> None:
    """Least of all does it lift a cancellation: a batch that nobody wants any more would run on."""
    batch_id = upload(pipeline, "a", "fine", "fine", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    pipeline.dynamodb.items[batch_pk(batch_id), "batch"]["hold"] = text(hold)
    if has_ended:
        pipeline.drain()
    before, length = dict(pipeline.dynamodb.items), len(pipeline.dynamodb.stream)
    assert redriven(pipeline, batch_id, reason=re.compile("matches nothing").search) == Redriven()
    assert (pipeline.dynamodb.items, len(pipeline.dynamodb.stream)) == (before, length)
    assert pipeline.batch(batch_id).hold is hold


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_what_had_stopped_an_ended_batch_is_lifted_with_the_first_row_that_is_taken_back(
    pipeline: Pipeline, hold: Hold
) -> None:
    """In the same transaction: the row that comes back must not fail of the old decision."""
    batch_id = upload(pipeline, *KINDS)
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, hold)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=9, rejected=1)
    repair_job()
    requests = Requests(pipeline.dynamodb)
    done = redriver(requests).redrive(batch_id, on_chunk=lambda: None)
    assert done == Redriven(rows=9, lifted=hold)
    lifts = [
        "REMOVE" in action["Update"]["UpdateExpression"] and "#hold" in action["Update"]["UpdateExpression"]
        for request in requests.of("transact_write_items")
        for action in request["TransactItems"][-1:]
    ]
    assert lifts == [True, False, False]
    pipeline.drain()
    check(pipeline, batch_id)
    assert (pipeline.batch(batch_id).hold, pipeline.batch(batch_id).counts) == (None, AFTER)


def test_what_had_stopped_a_running_batch_is_lifted_with_the_first_row_that_is_taken_back(pipeline: Pipeline) -> None:
    """Its chunks are open, so nothing but this moves the batch; the attempt is the same."""
    batch_id = upload(pipeline, "a", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    before = pipeline.batch(batch_id)
    assert redriven(pipeline, batch_id) == Redriven(rows=1, lifted=Hold.CANCELLED)
    after = pipeline.batch(batch_id)
    assert (after.hold, after.attempt, after.version) == (None, 1, before.version + 1)
    repair_job()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3)


def test_a_pause_is_not_lifted(pipeline: Pipeline) -> None:
    """Somebody wants the rows to wait: the redriven ones wait too."""
    batch_id = upload(pipeline, "a", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.PAUSED)
    assert redriven(pipeline, batch_id) == Redriven(rows=1)
    assert pipeline.batch(batch_id).hold is Hold.PAUSED


def test_a_batch_that_is_cancelled_while_it_is_redriven_keeps_what_the_last_of_them_says(pipeline: Pipeline) -> None:
    """The cancellation comes between two chunks: the rows of the second are taken back, and lift it."""
    batch_id = ended(pipeline)
    first = calls_of(lambda faults: redrive(pipeline, batch_id, rows=[(0, 0), (0, 2)], faults=faults))
    holds = Holds(table=table(pipeline.dynamodb))
    cancel = partial(holds.hold, batch_id, Hold.CANCELLED)
    assert first.count("transact_write_items") == 1
    assert redriven(pipeline, batch_id, faults=meanwhile(2, cancel)) == Redriven(rows=2, lifted=Hold.CANCELLED)
    assert pipeline.batch(batch_id).hold is None


# Redrives that are refused.


def test_a_rejected_file_is_refused_with_its_reason(pipeline: Pipeline) -> None:
    """It never had rows."""
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"wrong\na\n")
    pipeline.drain()
    with pytest.raises(NotRedrivableError, match="was rejected as a file, it has no rows: line 1: the header lacks"):
        redrive(pipeline, batch_id)


def test_a_batch_that_does_not_exist_is_refused(pipeline: Pipeline) -> None:
    """A typing error is not a redrive of nothing."""
    with pytest.raises(NotRedrivableError, match="there is no batch nowhere-1"):
        redrive(pipeline, "nowhere-1")


def test_a_batch_whose_rows_have_expired_is_refused_and_untouched(pipeline: Pipeline) -> None:
    """TTL may have taken its rows or not yet, some of them or all."""
    batch_id = ended(pipeline)
    before = dict(pipeline.dynamodb.items)
    expires_at = pipeline.batch(batch_id).expires_at

    def late(seconds: float) -> Redriver:
        moment = datetime.fromtimestamp(expires_at + seconds, UTC)
        return Redriver(table=table(pipeline.dynamodb), clock=lambda: moment)

    with pytest.raises(NotRedrivableError, match="have expired; upload the file again"):
        late(0).redrive(batch_id, on_chunk=lambda: None)
    assert pipeline.dynamodb.items == before
    assert late(-1).redrive(batch_id, on_chunk=lambda: None).rows == 4


def test_what_time_deletes_is_not_run_again(pipeline: Pipeline) -> None:
    """Weeks later TTL takes rows and markers: the batch stays as it ended."""
    batch_id = ended(pipeline)
    before = pipeline.batch(batch_id)
    repair_job()
    for pk, sk in [place for place in pipeline.dynamodb.items if place[1].startswith(("rows#", "mark#"))]:
        pipeline.dynamodb.delete_item(TableName="tally-test", Key={"pk": {"S": pk}, "sk": {"S": sk}})
    pipeline.drain()
    assert (pipeline.batch(batch_id), job_module().ran) == (before, [])
    assert redriven(pipeline, batch_id) == Redriven()


# Chunks that were never read.


def _unread(pipeline: Pipeline) -> tuple[str, dict[tuple[str, str], bytes]]:
    """Return a batch whose object was gone before its rows were read, and the object."""
    batch_id = upload(pipeline)
    deliver(pipeline, "upload", "dispatch")
    lost = dict(pipeline.s3.objects)
    pipeline.s3.objects.clear()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=10)
    return batch_id, lost


def test_a_chunk_that_was_never_read_is_read_again_as_a_whole(pipeline: Pipeline) -> None:
    """Whichever of its rows was asked for: ingest reads them all. Here somebody has put the object back."""
    batch_id, lost = _unread(pipeline)
    pipeline.s3.objects.update(lost)
    repair_job()
    assert redrive(pipeline, batch_id, rows=[(0, 1)]) == 4
    chunk = pipeline.chunks(batch_id)[0]
    assert (chunk.state, chunk.rows, chunk.generation) == (ChunkState.PLANNED, None, 2)
    assert (chunk.remaining, chunk.counts, list(chunk.done)) == (0, Counts(), [])
    assert markers_of(pipeline.dynamodb, chunk.key) == []
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=6)


def test_a_large_chunk_that_was_never_read_is_taken_back_whole_in_one_transaction(pipeline: Pipeline) -> None:
    """Half of it would be a chunk without totals of which some rows have a marker."""
    key = ChunkKey("flaky-1", 0)
    rows = 6_000
    plant_batch(pipeline.dynamodb, key.batch_id)
    plant_rows(pipeline.dynamodb, key, ["kind"], [["fine"]] * rows)
    chunk = pipeline.dynamodb.items[key.pk, "chunk"]
    chunk |= {"state": text(ChunkState.PLANNED), "version": number(0)}
    for name in ("rows", "pages", "done", "heavy", "remaining", "succeeded", "failed", "rejected"):
        del chunk[name]
    pipeline.s3.objects.clear()
    services.Services.of(None).ingester.ingest(ChunkMessage(key.batch_id, 0))
    assert len(markers_of(pipeline.dynamodb, key)) > 1
    requests = Requests(pipeline.dynamodb)
    assert redriver(requests).redrive(key.batch_id, on_chunk=lambda: None).rows == rows
    assert len(requests.of("transact_write_items")) == 1
    check(pipeline, key.batch_id)


def test_rows_that_still_cannot_be_read_fail_again(pipeline: Pipeline) -> None:
    """With the reason once more, and the batch ends."""
    batch_id, _ = _unread(pipeline)
    redrive(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert (pipeline.batch(batch_id).attempt, pipeline.batch(batch_id).counts) == (2, Counts(failed=10))


def test_rows_that_are_to_be_read_again_fail_if_their_batch_is_cancelled_meanwhile(pipeline: Pipeline) -> None:
    """Nobody else would give them an outcome."""
    batch_id, lost = _unread(pipeline)
    pipeline.s3.objects.update(lost)
    redrive(pipeline, batch_id)
    assert Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(failed=10)


# Rows of other kinds.


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
