"""Reconcile sends what was lost again, and the batch ends exact."""

import gzip
from dataclasses import replace

import pytest

from chalicelib.steps.reconcile import Repairs
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import ChunkKey, Counts, number, rows_sk, text
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import Time
from tests.support.plain import AFTER, COUNTED, KINDS, READ, batch_item, ends_exact, lose, reconciler_of, sweep, upload

LOSSES: dict[str, tuple[list[str], list[str], Repairs]] = {
    "chunk messages": (["upload", "dispatch"], ["ingest"], Repairs("", chunks_sent=2)),
    "one of the chunk messages": (["upload", "dispatch"], [], Repairs("", chunks_sent=2)),
    "the chunks, before they were dispatched": (["upload"], ["dispatch"], Repairs("", chunks_sent=2)),
    "work messages": (READ, ["work"], Repairs("", rows_sent=5)),
    "heavy messages": ([*READ, "work", "work", "finished"], ["heavy"], Repairs("", rows_sent=1, chunks_closed=1)),
    "the rows, before they were dispatched": (["upload", "dispatch", "ingest"], ["dispatch"], Repairs("", rows_sent=5)),
    "finished messages": ([*READ, "work", "work", "heavy"], ["finished"], Repairs("", rows_sent=5)),
    "that chunks were counted": (COUNTED, ["settle"], Repairs("", chunks_closed=2, completed=True, events_published=1)),
    "that the batch has no open chunk": (
        [*COUNTED, "settle"],
        ["settle"],
        Repairs("", completed=True, events_published=1),
    ),
    "that the batch has ended": ([*COUNTED, "settle", "settle"], ["settle"], Repairs("", events_published=1)),
    "everything that was under way": (
        ["upload", "dispatch", "ingest", "dispatch", "work"],
        ["ingest", "work", "heavy", "finished", "dispatch", "settle"],
        Repairs("", rows_sent=5),
    ),
}


@pytest.mark.parametrize("what", list(LOSSES))
def test_whatever_was_lost_is_found_and_the_batch_ends_exact(pipeline: Pipeline, what: str) -> None:
    """One repair, which does what was missing and nothing else, and whatever follows from it."""
    steps, lost, wanted = LOSSES[what]
    batch_id = upload(pipeline, *steps)
    lose(pipeline, *lost)
    assert reconciler_of().repair(batch_id) == replace(wanted, batch_id=batch_id)
    ends_exact(pipeline, batch_id)
    assert reconciler_of().repair(batch_id) == Repairs(batch_id)


def test_a_plan_that_died_is_made_to_the_end(pipeline: Pipeline) -> None:
    """Its event was acknowledged, or given up: the object is still there."""
    batch_id = upload(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda _: Fault.NONE
    pipeline.uploads.clear()
    assert pipeline.batch(batch_id).status is BatchStatus.PLANNING
    repairs = reconciler_of().repair(batch_id)
    assert (repairs.planned_again, repairs.chunks_sent) == (True, 2)
    ends_exact(pipeline, batch_id)


def test_a_gzip_upload_whose_plan_died_is_handed_to_another_plan(pipeline: Pipeline, time: Time) -> None:
    """Reconcile has less time than plan, and would reject what is only large; while bytes are read, it waits."""
    content = gzip.compress(("kind\n" + "\n".join(KINDS)).encode())
    batch_id = pipeline.upload("inbox/plain/day.csv.gz", content)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "put_object" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.uploads.clear()
    pipeline.faults = lambda _: Fault.NONE
    assert pipeline.batch(batch_id).status is BatchStatus.UNPACKING
    assert sweep(time) == []
    time.pass_by(300)
    batch_item(pipeline, batch_id).update({"unpack_read": number(9), "unpack_upload_id": text("u")})
    assert sweep(time) == []
    time.pass_by(300)
    assert sweep(time) == [Repairs(batch_id, planned_again=True)]
    assert len(pipeline.uploads) == 1
    ends_exact(pipeline, batch_id)


def test_a_plan_that_died_and_whose_object_is_gone_is_rejected_with_its_event(pipeline: Pipeline) -> None:
    """Nobody will ever know how many rows it had."""
    batch_id = upload(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda _: Fault.NONE
    pipeline.uploads.clear()
    pipeline.s3.objects.clear()
    assert reconciler_of().repair(batch_id) == Repairs(batch_id, planned_again=True, events_published=1)
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED


def test_rows_that_are_missing_get_an_outcome_that_says_so(pipeline: Pipeline) -> None:
    """Somebody has deleted an item: the batch does not wait for it for ever."""
    batch_id = upload(pipeline, *READ)
    lose(pipeline, "work", "heavy")
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, rows_sk(0)]
    assert reconciler_of().repair(batch_id) == Repairs(batch_id, rows_sent=5)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2, failed=3, rejected=1)


def test_a_repair_of_a_batch_that_runs_well_changes_nothing_but_sends_twice(pipeline: Pipeline) -> None:
    """At every step of its life: a duplicate is what every consumer takes."""
    for steps in range(1, len(COUNTED) + 1):
        batch_id = upload(pipeline, *COUNTED[:steps], name=f"day-{steps}")
        reconciler_of().repair(batch_id)
        pipeline.drain()
        assert pipeline.batch(batch_id).counts == AFTER
        assert reconciler_of().repair(batch_id) == Repairs(batch_id)
