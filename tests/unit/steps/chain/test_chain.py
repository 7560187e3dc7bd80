"""The results of an attempt become one file of the next job, or a named reason says why not."""

import json

import pytest

from chalicelib.files import sink
from chalicelib.services import Services
from chalicelib.steps import chain
from chalicelib.steps.reconcile import Repairs
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.chains import Chained, NotChained, Parent
from chalicelib.store.hold import Holds
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.chaining import (
    CHILD,
    HEADER,
    KEY,
    PARENT,
    Jobs,
    chained_files,
    children,
    content,
    redrive,
    until_chain,
    without_next_job,
)


def test_the_results_of_a_batch_are_processed_by_the_next_job_in_order(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(11))
    pipeline.drain()
    ((key, _), body), *others = chained_files(pipeline).items()
    assert not others
    assert key == f"inbox/written/chained/{batch_id}-attempt-1.jsonl"
    assert [json.loads(line) for line in body.splitlines()] == [{"name": f"o{n}", "users": n} for n in range(11)]
    (child,) = children(pipeline, batch_id)
    assert (child.job, child.status, child.rows) == ("written", BatchStatus.COMPLETED, 11)
    assert [json.loads(bytes(outcome.result))["users"] for _, outcome in pipeline.outcomes(child.id)] == list(
        range(1, 12)
    )


def test_parent_and_child_name_each_other(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert child.parent == Parent(batch_id=batch_id, attempt=1, depth=1)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)
    assert pipeline.batch(batch_id).parent is None
    assert child.chained is None


def test_a_large_result_is_stored_part_by_part(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PART_BYTES", 50)
    pipeline.upload(KEY, content(20))
    pipeline.drain()
    (body,) = chained_files(pipeline).values()
    assert [json.loads(line)["users"] for line in body.splitlines()] == list(range(20))


def test_a_result_that_is_no_object_is_a_rejected_row_of_the_child(pipeline: Pipeline, deployed: Jobs) -> None:
    """Nothing is dropped: line n of the file is the nth row that succeeded."""
    source = PARENT.replace('return {{"name"', 'return None if row.user_count == 1 else {{"name"')
    deployed.deploy("counted", source, 'THEN = "written"')
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert [outcome.outcome for _, outcome in pipeline.outcomes(child.id)] == ["succeeded", "rejected", "succeeded"]
    assert pipeline.outcomes(child.id)[1][1].reason.startswith("line 2")


def test_a_batch_with_failures_has_no_child(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    assert not chained_files(pipeline)
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.FAILURES)


def test_a_batch_with_a_rejected_row_has_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, content(3) + b"o9,many\n")
    pipeline.drain()
    found = pipeline.batch(batch_id).chained
    assert found is not None
    assert found.not_chained is NotChained.FAILURES


def test_after_a_redrive_of_the_failures_the_child_has_every_row(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    deployed.fail()
    redrive(pipeline, batch_id)
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert (child.rows, child.parent) == (3, Parent(batch_id=batch_id, attempt=2, depth=1))
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=2, child=child.id)


def test_a_job_that_says_so_hands_on_the_rows_that_succeeded(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert [json.loads(bytes(outcome.result))["name"] for _, outcome in pipeline.outcomes(child.id)] == ["o0", "o2"]


def test_each_attempt_has_one_child_where_failures_are_handed_on(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    deployed.fail("o1")
    batch_id = pipeline.upload(KEY, content(3))
    pipeline.drain()
    deployed.fail()
    redrive(pipeline, batch_id)
    pipeline.drain()
    found = {child.parent.attempt: child.rows for child in children(pipeline, batch_id) if child.parent}
    assert found == {1: 2, 2: 3}


def test_a_cancelled_batch_has_no_child_even_where_failures_are_handed_on(pipeline: Pipeline, deployed: Jobs) -> None:
    deployed.deploy("counted", PARENT, 'THEN = "written"\nTHEN_WITH_FAILURES = True')
    batch_id = pipeline.upload(KEY, content(9))
    pipeline.drain_uploads()
    for what in ("dispatch", "ingest"):
        pipeline.deliver(what, most=1)
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.chained
    assert batch.chained.not_chained is NotChained.STOPPED
    assert not chained_files(pipeline)


def test_a_stop_that_came_too_late_to_fail_a_row_keeps_nothing_from_the_next_job(pipeline: Pipeline) -> None:
    """Its event is "Batch Completed", too."""
    batch_id = pipeline.upload(KEY, content(9))
    while not pipeline.has_batch(batch_id) or pipeline.batch(batch_id).remaining > 1:
        pipeline.deliver(pipeline.work()[0], most=1)
    while any(chunk.undone for chunk in pipeline.chunks(batch_id)):
        pipeline.deliver(pipeline.work()[0], most=1)
    assert Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.hold) == (BatchStatus.COMPLETED, Hold.CANCELLED)
    assert batch.chained
    assert batch.chained.child


def test_a_file_without_rows_has_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED
    assert batch.chained
    assert batch.chained.not_chained is NotChained.NO_RESULTS


def test_a_rejected_file_asks_for_no_child(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, b"what,is,this\n1,2,3\n")
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED
    assert pipeline.batch(batch_id).chained is None


def test_a_job_that_was_removed_since_is_a_named_reason(pipeline: Pipeline, deployed: Jobs) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.remove("written")
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.NO_JOB)


def test_a_job_that_reads_csv_by_now_is_a_named_reason(pipeline: Pipeline, deployed: Jobs) -> None:
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.deploy("written", CHILD.replace('"jsonl"', '"csv"'))
    pipeline.drain()
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=NotChained.UNFIT)


@pytest.mark.parametrize("missing", [NotChained.NO_JOB, NotChained.UNFIT])
def test_a_repair_gives_the_results_to_a_job_that_was_deployed_since(
    pipeline: Pipeline, deployed: Jobs, missing: NotChained
) -> None:
    """And changes nothing before that, or once they have become a batch."""
    batch_id = without_next_job(pipeline, deployed, missing)
    for _ in range(2):
        assert Services.of(None).reconciler.repair(batch_id, thorough=True).chain_asked
        pipeline.drain()
        assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, not_chained=missing)
    deployed.deploy("written", CHILD)
    assert Services.of(None).reconciler.repair(batch_id, thorough=True).chain_asked
    pipeline.drain()
    (child,) = children(pipeline, batch_id)
    assert child.counts.succeeded == 3
    assert pipeline.batch(batch_id).chained == Chained(then="written", attempt=1, child=child.id)
    assert Services.of(None).reconciler.repair(batch_id, thorough=True) == Repairs(batch_id)


def test_jobs_that_lead_back_stop_by_themselves(
    pipeline: Pipeline, deployed: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment that nobody checked must not run for ever."""
    monkeypatch.setattr(chain, "MAX_JOBS", 4)
    deployed.deploy("counted", CHILD, 'THEN = "written"')
    deployed.deploy("written", CHILD, 'THEN = "counted"')
    pipeline.upload("inbox/counted/day.jsonl", b'{"name": "a", "users": 0}\n')
    pipeline.drain()
    batches = [pipeline.batch(pk.removeprefix("batch#")) for pk, sk in pipeline.dynamodb.items if sk == "batch"]
    assert sorted(batch.parent.depth if batch.parent else 0 for batch in batches) == [0, 1, 2, 3]
    (last,) = [batch for batch in batches if batch.parent and batch.parent.depth == 3]
    assert last.chained
    assert last.chained.not_chained is NotChained.TOO_DEEP


def test_a_job_that_does_not_load_is_waited_for(pipeline: Pipeline, deployed: Jobs) -> None:
    """Its message comes again until the job is deployed right, and its results are not forgotten."""
    batch_id = pipeline.upload(KEY, content(3))
    until_chain(pipeline)
    deployed.deploy("counted", "raise RuntimeError('half deployed')\n")
    assert not pipeline.deliver("export") or pipeline.waiting("export")
    deployed.deploy("counted", PARENT, 'THEN = "written"')
    pipeline.drain()
    assert len(children(pipeline, batch_id)) == 1
