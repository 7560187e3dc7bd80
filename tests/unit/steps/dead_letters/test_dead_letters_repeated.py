"""A dead letter fails no row that a worker has, that is counted, or that it failed before."""

import pytest

from chalicelib.errors import BusyError
from chalicelib.steps.dead_letters import HandledDeadLetter
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import ChunkKey, Counts
from chalicelib.store.leases import Leases
from chalicelib.transport.messages import WorkMessage, decode, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, count_rows, killed, succeeded, table
from tests.support.dead_letters import FINISHED_DLQ, HEAVY_DLQ, INGEST_DLQ, WORK_DLQ, dead_letter_of, handle, handling
from tests.support.plain import AFTER, READ, redrive, upload


def _leased(pipeline: Pipeline, batch_id: str) -> Leases:
    leases = Leases(table=table(pipeline.dynamodb), owner="alive")
    assert leases.take(ChunkKey(batch_id, 0), 2)
    return leases


def test_a_row_whose_worker_lives_is_left_to_it(pipeline: Pipeline) -> None:
    """The dead letter is a second delivery that was put back too often; it comes again until the row has an outcome."""
    batch_id = upload(pipeline, *READ)
    dead_letter = dead_letter_of(pipeline, "heavy")
    leases = _leased(pipeline, batch_id)
    before = dict(pipeline.dynamodb.items)
    with pytest.raises(BusyError):
        handle(dead_letter, HEAVY_DLQ)
    assert pipeline.dynamodb.items == before
    assert not pipeline.waiting("dead-letters")
    leases.release(ChunkKey(batch_id, 0), 2)
    assert handle(dead_letter, HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=1)


def test_a_lease_of_a_row_that_was_counted_protects_nothing(pipeline: Pipeline) -> None:
    """It outlives its row by minutes; the dead letter is dealt with at once."""
    batch_id = upload(pipeline, *READ)
    dead_letter = dead_letter_of(pipeline, "heavy")
    _leased(pipeline, batch_id)
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), succeeded(2))
    assert handle(dead_letter, HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=0)
    assert len(pipeline.waiting("dead-letters")) == 1
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_rows_that_were_counted_keep_their_outcome(pipeline: Pipeline) -> None:
    """They were processed, and the worker died before it said so."""
    batch_id = upload(pipeline, *READ)
    dead_letter = pipeline.waiting("work")[0]
    pipeline.drain()
    assert handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=0, counted=0)
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_with_the_same_row_twice_counts_it_once(pipeline: Pipeline) -> None:
    """Nobody writes such a dead letter; it would be a transaction that DynamoDB refuses for ever."""
    upload(pipeline, *READ)
    work = decode(dead_letter_of(pipeline, "heavy"), WorkMessage)
    twice = WorkMessage(batch=work.batch, chunk=work.chunk, generation=1, rows=[2, 2])
    assert handle(encode(twice), HEAVY_DLQ).counted == 1


CUTS: dict[str, tuple[list[str], str]] = {
    "ingest": (["upload", "dispatch"], INGEST_DLQ),
    "work": (READ, WORK_DLQ),
    "finished": ([*READ, "work"], FINISHED_DLQ),
}


@pytest.mark.parametrize("queue", list(CUTS))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_dying_anywhere_loses_neither_outcome_nor_dead_letter(pipeline: Pipeline, queue: str, fault: Fault) -> None:
    """The dead letter comes again, until both are there."""
    steps, dlq = CUTS[queue]
    batch_id = upload(pipeline, *steps)
    dead_letter = dead_letter_of(pipeline, queue)
    for position in range(50):
        pipeline.faults = at_call(position, fault)
        if not killed(handling(dead_letter, dlq)):
            break
    assert position > 1
    pipeline.faults = lambda _: Fault.NONE
    assert set(pipeline.waiting("dead-letters")) == {dead_letter}
    pipeline.drain()
    assert pipeline.batch(batch_id).rows == 6
    assert pipeline.batch(batch_id).status.final


def test_rows_that_a_redrive_could_not_have_read_either_fail_again(pipeline: Pipeline) -> None:
    """The redrive asks for their chunk as a whole, and it is given up as a whole once more."""
    batch_id = upload(pipeline, "upload", "dispatch")
    dead_letter = dead_letter_of(pipeline, "ingest")
    handle(dead_letter, INGEST_DLQ)
    pipeline.drain()
    assert redrive(pipeline, batch_id) == 4
    assert pipeline.deliver("dispatch", most=1000)
    (asked,) = pipeline.waiting("ingest")
    assert asked != dead_letter, "it is of the generation that the redrive began"
    assert handle(dead_letter_of(pipeline, "ingest"), INGEST_DLQ).counted == 4
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.counts) == (
        BatchStatus.COMPLETED_WITH_FAILURES,
        2,
        Counts(succeeded=2, failed=4),
    )
