"""Redrive beside everything else: the past cannot overrule the present, and no history takes anything back twice."""

from collections.abc import Callable
from functools import partial

import pytest

from chalicelib import services
from chalicelib.steps.process import Processor
from chalicelib.steps.recount import recount, repair_chunk
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, Counts
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    RETRY,
    at_call,
    calls_of,
    changed_since,
    count_rows,
    delivery,
    failed,
    faulty,
    killed,
    markers_of,
    starts,
    table,
)
from tests.support.redriving import (
    AFTER,
    BEFORE,
    check,
    deliver,
    ended,
    events,
    failures,
    job_module,
    meanwhile,
    redrive,
    repair_job,
    upload,
)


def _frozen_worker(pipeline: Pipeline, batch_id: str) -> Callable[[], None]:
    """Let a worker run its rows and sleep before it sends what came of them; returns what wakes it."""
    sqs = MemorySQS()
    frozen = Processor(
        table=table(pipeline.dynamodb),
        sqs=faulty(sqs, lambda _: Fault.NONE),
        queue_url="work",
        finished_queue_url="finished",
        retry=RETRY,
        starts=starts(pipeline.dynamodb),
    )
    frozen.work(WorkMessage(batch=batch_id, chunk=0, generation=1), delivery())
    assert [decode(body, FinishedMessage).generation for body in sqs.bodies["finished"]] == [1]
    return lambda: pipeline.waiting("finished").extend(sqs.bodies["finished"])


@pytest.mark.parametrize("delivered", ["after the redrive", "after the rows ran again", "after the batch ended again"])
def test_an_old_outcome_that_is_delivered_again_after_a_redrive_does_not_fail_the_row_again(
    pipeline: Pipeline, delivered: str
) -> None:
    """SQS delivers at least once: the message that had failed the row comes once more."""
    batch_id = upload(pipeline, "a", "fine", "b", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work")
    old = list(pipeline.waiting("finished"))
    pipeline.drain()
    repair_job()
    redrive(pipeline, batch_id)
    if delivered == "after the rows ran again":
        deliver(pipeline, "dispatch", "work")
    elif delivered == "after the batch ended again":
        pipeline.drain()
    pipeline.waiting("finished")[:0] = old
    deliver(pipeline, "finished")
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_a_worker_that_wakes_up_after_a_redrive_does_not_fail_the_row_again(pipeline: Pipeline) -> None:
    """It has read the chunk, run the rows and slept through the whole attempt before it sends their failures."""
    batch_id = upload(pipeline, "a", "fine", "b", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    wake = _frozen_worker(pipeline, batch_id)
    pipeline.drain()
    repair_job()
    redrive(pipeline, batch_id)
    wake()
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)


def test_a_success_from_before_a_redrive_still_counts(pipeline: Pipeline) -> None:
    """The row was processed, whenever that was: running it again would be for nothing."""
    batch_id = upload(pipeline, "a", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    wake = _frozen_worker(pipeline, batch_id)
    key = ChunkKey(batch_id, 0)
    count_rows(pipeline.dynamodb, key, failed(0))
    redrive(pipeline, batch_id)
    wake()
    deliver(pipeline, "finished")
    chunk = pipeline.chunks(batch_id)[0]
    assert (list(chunk.done), chunk.counts) == ([1], Counts(succeeded=1))
    repair_job()
    pipeline.waiting("work").clear()
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, job_module().ran) == (Counts(succeeded=2), ["a"])


def test_a_transaction_of_the_ledger_that_slept_through_a_redrive_does_not_fail_the_row_again(
    pipeline: Pipeline,
) -> None:
    """It was decided while the row was open: another worker counted it, and a redrive took it back."""
    batch_id = upload(pipeline, "a", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work")
    key = ChunkKey(batch_id, 0)
    slept = [False]

    def sleep(operation: str) -> Fault:
        if operation == "transact_write_items" and not slept[0]:
            slept[0] = True
            count_rows(pipeline.dynamodb, key, failed(0))
            assert redrive(pipeline, batch_id) == 1
        return Fault.NONE

    pipeline.faults = sleep
    deliver(pipeline, "finished")
    chunk = pipeline.chunks(batch_id)[0]
    assert (list(chunk.done), chunk.counts) == ([1], Counts(succeeded=1))
    check(pipeline, batch_id)


def test_a_repair_that_slept_through_a_failure_and_its_redrive_changes_nothing(pipeline: Pipeline) -> None:
    """The counters are what they were when it read them, although its markers are not: its version is an old one."""
    batch_id = upload(pipeline, "a", "fine", "b")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch")
    key = ChunkKey(batch_id, 0)
    batch, before = pipeline.batch(batch_id), pipeline.chunks(batch_id)[0]
    count_rows(pipeline.dynamodb, key, failed(0))
    found = recount(markers_of(pipeline.dynamodb, key))
    assert not found.agrees(before)
    redrive(pipeline, batch_id)
    after = pipeline.chunks(batch_id)[0]
    assert (after.counts, after.remaining, after.done) == (before.counts, before.remaining, before.done)
    assert table(pipeline.dynamodb).transact(repair_chunk(batch, before, found)), "refused"
    assert pipeline.chunks(batch_id)[0] == after
    repair_job()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3)


def test_a_redrive_that_slept_through_the_next_attempt_takes_back_what_that_says(pipeline: Pipeline) -> None:
    """Its first transaction is refused, it looks again, and nothing of what it had read is written."""
    operations = calls_of(lambda faults: redrive(pipeline, ended(pipeline), faults=faults))

    def attempt(pipeline: Pipeline, batch_id: str) -> None:
        redrive(pipeline, batch_id)
        pipeline.drain()

    for position in range(1, len(operations)):
        with pytest.MonkeyPatch.context() as patch:
            other = Pipeline(patch)
            batch_id = ended(other)
            redrive(other, batch_id, faults=meanwhile(position, partial(attempt, other, batch_id)))
            check(other, batch_id)
            other.drain()
            assert other.batch(batch_id).counts == BEFORE


def test_an_image_from_before_the_redrive_does_not_say_how_the_batch_ends(pipeline: Pipeline) -> None:
    """All chunks were closed, the end was about to be written; then a redrive took the failures back."""
    batch_id = upload(pipeline, "a", "fine")
    while not (pipeline.has_batch(batch_id) and pipeline.chunks(batch_id)[0].closed):
        for what in pipeline.work():
            assert pipeline.deliver(what, most=1000)
    late = [change for change in changed_since(pipeline.dynamodb) if change.sk == "batch"][-1:]
    position = len(pipeline.dynamodb.stream)
    assert pipeline.batch(batch_id).status is BatchStatus.RUNNING
    repair_job()
    redrive(pipeline, batch_id)
    settler = services.Services.of(None).settler
    pipeline.positions["settle"] = len(pipeline.dynamodb.stream)
    deliver(pipeline, "dispatch", "work", "finished")
    chunks = [change for change in changed_since(pipeline.dynamodb, position) if change.sk == "chunk"]
    settler.settle(chunks)  # the chunk's partition is another shard, and this one is ahead
    settler.settle(late)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_an_image_of_a_complete_chunk_from_before_the_redrive_does_not_close_it(pipeline: Pipeline) -> None:
    """Settle was slow: what it would add to the batch is not what the chunk has now."""
    batch_id = upload(pipeline, "a", "fine", "fine", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    assert pipeline.chunks(batch_id)[0].complete
    redrive(pipeline, batch_id)
    deliver(pipeline, "settle")
    chunk = pipeline.chunks(batch_id)[0]
    assert (chunk.state, chunk.remaining, pipeline.batch(batch_id).counts.total) == (ChunkState.READY, 1, 0)
    check(pipeline, batch_id)


# At the same time as others, and cut anywhere.


def test_of_two_redrives_at_the_same_time_one_begins_the_attempt(pipeline: Pipeline) -> None:
    """The other comes between its read and its write, at every call, and joins it."""
    operations = calls_of(lambda faults: redrive(pipeline, ended(pipeline), faults=faults))
    for position in range(len(operations)):
        with pytest.MonkeyPatch.context() as patch:
            crowded = Pipeline(patch)
            batch_id = ended(crowded)
            redrive(crowded, batch_id, faults=meanwhile(position, partial(redrive, crowded, batch_id)))
            assert crowded.batch(batch_id).attempt == 2
            check(crowded, batch_id)
            crowded.drain()
            assert crowded.batch(batch_id).counts == BEFORE
            assert events(crowded, batch_id) == [(f"{batch_id}#{attempt}", 1) for attempt in (1, 2)]


def test_a_redrive_may_run_while_everything_else_does(pipeline: Pipeline) -> None:
    """Between any two of its calls the pipeline may count, close, and end the next attempt."""
    operations = calls_of(lambda faults: redrive(pipeline, ended(pipeline), faults=faults))
    for position in range(len(operations)):
        with pytest.MonkeyPatch.context() as patch:
            busy = Pipeline(patch)
            batch_id = ended(busy)
            redrive(busy, batch_id, faults=meanwhile(position, busy.drain))
            check(busy, batch_id)
            busy.drain()
            check(busy, batch_id)
            batch = busy.batch(batch_id)
            assert batch.counts == BEFORE
            assert events(busy, batch_id) == [(f"{batch_id}#{attempt + 1}", 1) for attempt in range(batch.attempt)]


STEPS = ["upload", "dispatch", "ingest", "dispatch", "work", "work", "work", "finished", "settle"]


@pytest.mark.parametrize("steps", range(1, len(STEPS) + 1))
def test_a_batch_may_be_redriven_while_it_runs(pipeline: Pipeline, steps: int) -> None:
    """Failures that were counted run again in the same attempt; there is one event for all of it."""
    batch_id = upload(pipeline)
    deliver(pipeline, *STEPS[:steps])
    running = not pipeline.batch(batch_id).status.final
    before = failures(pipeline, batch_id)
    assert redrive(pipeline, batch_id) == len(before)
    check(pipeline, batch_id)
    repair_job()
    pipeline.drain()
    check(pipeline, batch_id)
    attempt = 1 if running else 2
    assert pipeline.batch(batch_id).attempt == attempt
    assert events(pipeline, batch_id) == [(f"{batch_id}#{number}", 1) for number in range(1, attempt + 1)]


CALLS = 8
"""Of a redrive of two chunks with failures and one without, in an ended batch."""


def test_a_redrive_costs_three_requests_a_chunk_with_failures_and_one_any_other(pipeline: Pipeline) -> None:
    """Chunk and batch in one read, its markers, the transaction."""
    batch_id = ended(pipeline)
    calls = calls_of(lambda faults: redrive(pipeline, batch_id, faults=faults))
    chunk = ["batch_get_item", "query", "transact_write_items"]
    assert calls == ["get_item", *chunk, *chunk, "batch_get_item"]
    assert len(calls) == CALLS


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_redrive_that_is_cut_anywhere_and_repeated_is_exact(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """Rows that it took back by then run again all the same; the next redrive takes back the rest."""
    batch_id = ended(pipeline)
    repair_job()
    died = killed(lambda: redrive(pipeline, batch_id, faults=at_call(position, fault)))
    assert died
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    redrive(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert batch.counts == AFTER
    assert events(pipeline, batch_id) == [(f"{batch_id}#{attempt + 1}", 1) for attempt in range(batch.attempt)]


@pytest.mark.parametrize("position", range(CALLS))
@pytest.mark.parametrize(
    "fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT, Fault.THROTTLED]
)
def test_a_fault_at_any_call_takes_each_failure_back_once(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """The retry of a transaction that was applied unheard meets a chunk that has moved, and looks again."""
    batch_id = ended(pipeline)
    redrive(pipeline, batch_id, faults=at_call(position, fault))
    check(pipeline, batch_id)
    assert failures(pipeline, batch_id) == []
    assert pipeline.batch(batch_id).attempt == 2
    assert [chunk.redriven for chunk in pipeline.chunks(batch_id)] == [2, 2, 0]


@pytest.mark.parametrize("position", range(4))
def test_a_chunk_that_closes_while_it_is_redriven_gives_its_counts_back(pipeline: Pipeline, position: int) -> None:
    """It was open when it was read: what it adds to its batch meanwhile has to come out again."""
    batch_id = upload(pipeline, "a", "heavy", "fine")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished")
    redrive(pipeline, batch_id, faults=meanwhile(position, pipeline.drain))
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES


@pytest.mark.parametrize("position", range(CALLS))
def test_a_row_that_has_succeeded_meanwhile_is_not_taken_back(pipeline: Pipeline, position: int) -> None:
    """Another redrive, the cause repaired, and all of it counted, between any two calls of this one."""
    batch_id = ended(pipeline)

    def another() -> None:
        repair_job()
        redrive(pipeline, batch_id)
        pipeline.drain()

    redrive(pipeline, batch_id, faults=meanwhile(position, another))
    check(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


@pytest.mark.parametrize("position", range(4))
def test_a_chunk_that_has_closed_with_other_counts_meanwhile_gives_those_back(
    pipeline: Pipeline, position: int
) -> None:
    """The batch runs on in the same attempt; another row of the chunk was redriven, and has succeeded."""
    batch_id = upload(pipeline, "a", "fine", "b", "fine", "heavy")
    deliver(pipeline, "upload", "dispatch", "ingest", "dispatch", "work", "finished", "settle")
    assert [chunk.closed for chunk in pipeline.chunks(batch_id)] == [True, False]

    def another() -> None:
        repair_job("a")
        redrive(pipeline, batch_id, rows=[(0, 0)])
        deliver(pipeline, "dispatch", "work", "finished", "settle")

    assert redrive(pipeline, batch_id, rows=[(0, 2)], faults=meanwhile(position, another)) == 1
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)


@pytest.mark.parametrize("position", range(4))
def test_two_redrives_of_different_rows_of_a_chunk_both_take_theirs_back(pipeline: Pipeline, position: int) -> None:
    """Both rewrite the same marker, one after the other."""
    batch_id = ended(pipeline)
    other = partial(redrive, pipeline, batch_id, rows=[(0, 0)])
    assert redrive(pipeline, batch_id, rows=[(0, 2)], faults=meanwhile(position, other)) == 1
    check(pipeline, batch_id)
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).attempt) == (BEFORE, 2)
