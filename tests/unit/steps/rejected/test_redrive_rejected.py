"""A redrive of rejected rows reads them again, by the job as it is now, and runs no others."""

from chalicelib.steps.redrive import Redriven
from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, Counts
from chalicelib.transport.messages import WorkMessage, encode
from tally.testing.pipeline import Pipeline
from tests.support.builders import calls_of
from tests.support.redriving import check, events, meanwhile, redriven
from tests.support.rereading import AFTER, BEFORE, REJECTED, correct, ended, ingest, module, rejected, uploaded


def test_rejected_rows_are_read_again_by_the_job_as_it_is_now_and_no_others_run(pipeline: Pipeline) -> None:
    """The batch runs again as the next attempt and ends again, with an event of its own."""
    batch_id = ended(pipeline)
    assert pipeline.batch(batch_id).counts == BEFORE
    correct()
    assert redriven(pipeline, batch_id, outcome=REJECTED) == Redriven(rows=7)
    check(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt) == (BatchStatus.RUNNING, 2)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == AFTER
    assert sorted(size for _, size in module().ran) == ["t", "u", "v", "w", "x", "y", "z"]
    results = [bytes(found.result).decode() for _, found in pipeline.outcomes(batch_id)]
    assert results == ["1", '"x"', "3", "", '"y"', '"z"', "7", "8", '"u"', '"v"', '"w"', '"t"']
    assert events(pipeline, batch_id) == [(f"{batch_id}#1", 1), (f"{batch_id}#2", 1)]


def test_rows_that_still_do_not_fit_stay_rejected_with_the_reason_of_now(pipeline: Pipeline) -> None:
    """Without a word of the job in between, and as often as somebody asks."""
    batch_id = ended(pipeline)
    before = [(found.row, found.reason) for found in rejected(pipeline, batch_id)]
    for attempt in (2, 3):
        assert redriven(pipeline, batch_id, outcome=REJECTED).rows == 7
        pipeline.drain()
        check(pipeline, batch_id)
        assert pipeline.batch(batch_id).counts == BEFORE
        assert pipeline.batch(batch_id).attempt == attempt
    assert [(found.row, found.reason) for found in rejected(pipeline, batch_id)] == before


def test_only_rows_whose_reason_is_wanted_or_that_are_named_are_read_again(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    correct()
    assert redriven(pipeline, batch_id, outcome=REJECTED, rows={(1, 0), (2, 3)}).rows == 2
    pipeline.drain()
    assert redriven(pipeline, batch_id, outcome=REJECTED, reason=lambda reason: "'x'" in reason).rows == 1
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(size for _, size in module().ran) == ["t", "x", "y"]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=7, failed=1, rejected=4)


def test_a_row_that_is_heavy_once_it_is_read_goes_to_the_heavy_queue(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline, "a,1", "heavy,x")
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    for step in ("dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    assert (len(pipeline.waiting("heavy")), len(pipeline.waiting("work"))) == (1, 0)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2)


def test_failed_and_rejected_rows_of_a_chunk_are_redriven_side_by_side(pipeline: Pipeline) -> None:
    """The failed ones wait until the others are read: then all of them are sent at once."""
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED, rows={(0, 1)})
    redriven(pipeline, batch_id)
    assert pipeline.chunks(batch_id)[0].state is ChunkState.PLANNED
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(module().ran) == [("b", "x"), ("bad", 4)]


def test_a_row_that_is_to_be_read_is_not_run_before(pipeline: Pipeline) -> None:
    """A message that asks for all rows of the chunk may come first: what is not stored would be lost as gone."""
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    early = encode(WorkMessage(batch=batch_id, chunk=0, generation=2))
    pipeline.waiting("work").append(early)
    assert pipeline.deliver("work")
    assert module().ran == []
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_batch_that_runs_is_redriven_while_other_rows_are_counted(pipeline: Pipeline) -> None:
    """Rows that are counted between the reading and the totals move the chunk: the totals are set on the newer one."""
    batch_id = uploaded(pipeline, "a,1", "b,x", "c,3", "d,4")
    for step in ("upload", "dispatch", "ingest", "dispatch", "work"):
        assert pipeline.deliver(step, most=1000)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    body = pipeline.waiting("ingest")[0]
    calls = calls_of(lambda faults: ingest(pipeline, body, faults, keep=True))
    before_totals = max(at for at, call in enumerate(calls) if call == "transact_write_items")
    ingest(pipeline, body, meanwhile(before_totals, lambda: pipeline.deliver("finished", most=1000)))
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)


def test_rows_that_are_no_longer_in_the_table_are_read_again_too(pipeline: Pipeline) -> None:
    """Such rows have failed; running them again would find them gone again."""
    batch_id = uploaded(pipeline, "a,1", "b,2")
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "rows#000"]
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=2)
    assert redriven(pipeline, batch_id).rows == 2
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2)


def test_a_line_that_no_reading_can_take_stays_rejected(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline, "a,1", '"never closed,2' + "x" * 5000)
    before = len(rejected(pipeline, batch_id))
    assert before
    correct()
    assert redriven(pipeline, batch_id, outcome=REJECTED).rows == before
    pipeline.drain()
    check(pipeline, batch_id)
    assert len(rejected(pipeline, batch_id)) == before
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
