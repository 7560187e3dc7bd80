"""A redrive that takes nothing back writes nothing; one that cannot take anything back says why."""

import re
from datetime import UTC, datetime
from functools import partial

import pytest

from chalicelib.steps.redrive import NotRedrivableError, Redriven, Redriver
from chalicelib.store.batch import Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Counts, batch_pk, text
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests, calls_of, table
from tests.support.redriving import (
    AFTER,
    KINDS,
    check,
    deliver,
    ended,
    job_module,
    meanwhile,
    redrive,
    redriven,
    redriver,
    repair_job,
    upload,
)


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
