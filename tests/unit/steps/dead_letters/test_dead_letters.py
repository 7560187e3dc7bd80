"""A dead letter gives its rows an outcome once, so that their batch ends."""

import pytest

from chalicelib.errors import NotFoundError
from chalicelib.steps.dead_letters import HandledDeadLetter
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import ChunkKey, Counts
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import WorkMessage, decode, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import count_rows, failed, plant_deaths, succeeded
from tests.support.dead_letters import (
    FINISHED_DLQ,
    HEAVY_DLQ,
    INGEST_DLQ,
    WORK_DLQ,
    dead_letter_of,
    failed_rows,
    handle,
)
from tests.support.plain import AFTER, READ, redrive, upload


def test_the_row_of_a_work_dead_letter_fails_once_and_the_batch_ends(pipeline: Pipeline) -> None:
    """Two times dead-letters is once counted."""
    batch_id = upload(pipeline, *READ)
    dead_letter = dead_letter_of(pipeline, "work")
    assert handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=1)
    assert handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=0)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 6)
    assert batch.counts == Counts(succeeded=4, failed=1, rejected=1)
    failed = failed_rows(pipeline, batch_id)
    assert list(failed) == [(0, 0)]
    assert {(found.code, found.reason) for found in failed.values()} == {
        (
            ReasonCode.DEAD_LETTERED,
            "dead-lettered: its worker died, timed out or failed each time; see the logs of process",
        )
    }


def test_a_dead_letter_about_all_rows_gives_up_those_that_are_neither_done_nor_heavy(pipeline: Pipeline) -> None:
    """By what the chunk says now: the dead letter names none of them."""
    batch_id = upload(pipeline, *READ)
    dead_letter = pipeline.waiting("work").pop(0)
    plant_deaths(pipeline.dynamodb, dead_letter)
    assert decode(dead_letter, WorkMessage).rows is None
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), succeeded(1))
    assert handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=1)
    assert list(failed_rows(pipeline, batch_id)) == [(0, 0)]


def test_what_a_row_had_raised_before_its_worker_died_is_in_its_reason(pipeline: Pipeline) -> None:
    """It may say what the worker died of; the others have raised nothing."""
    batch_id = upload(pipeline, *READ)
    body = decode(dead_letter_of(pipeline, "work"), WorkMessage)
    for row, raised in [(0, {}), (1, {1: "MemoryError: 5 GB"})]:
        again = WorkMessage(batch=body.batch, chunk=0, generation=1, rows=[row], attempt=2, raised=raised)
        handle(encode(again), WORK_DLQ)
    first, second = failed_rows(pipeline, batch_id).values()
    assert (first.tries, second.tries) == (2, 2)
    assert "raised" not in first.reason
    assert second.reason.endswith("; the try before raised MemoryError: 5 GB")


def test_a_dead_letter_that_a_redrive_has_overtaken_fails_nothing(pipeline: Pipeline) -> None:
    """Its rows were sent again with the redrive's generation, and may be running."""
    batch_id = upload(pipeline, *READ)
    dead_letter = dead_letter_of(pipeline, "work")
    handle(dead_letter, WORK_DLQ)
    assert redrive(pipeline, batch_id) == 1
    assert handle(dead_letter, WORK_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_that_is_overtaken_while_it_is_handled_fails_nothing(pipeline: Pipeline) -> None:
    """A redrive comes between its reading of the chunk and its transaction."""
    batch_id = upload(pipeline, *READ)
    key = ChunkKey(batch_id, 0)
    dead_letter = dead_letter_of(pipeline, "work")
    redriven = [False]

    def redrive_before_the_transaction(operation: str) -> Fault:
        if operation == "transact_write_items" and not redriven[0]:
            redriven[0] = True
            count_rows(pipeline.dynamodb, key, failed(0))
            assert redrive(pipeline, batch_id) == 1
        return Fault.NONE

    pipeline.faults = redrive_before_the_transaction
    assert handle(dead_letter, WORK_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_the_row_of_a_heavy_dead_letter_fails_alone(pipeline: Pipeline) -> None:
    """Its worker died each time; nobody has it any more."""
    batch_id = upload(pipeline, *READ)
    assert handle(dead_letter_of(pipeline, "heavy"), HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=1)
    pipeline.drain()
    assert list(failed_rows(pipeline, batch_id)) == [(0, 2)]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=1, rejected=1)


def test_the_rows_of_an_ingest_dead_letter_fail_although_nobody_has_read_them(pipeline: Pipeline) -> None:
    """The planner has counted them: each has an outcome that says where it stands."""
    batch_id = upload(pipeline, "upload", "dispatch")
    assert handle(dead_letter_of(pipeline, "ingest"), INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, batch.counts) == (
        BatchStatus.COMPLETED_WITH_FAILURES,
        6,
        Counts(succeeded=2, failed=4),
    )
    reason = failed_rows(pipeline, batch_id)[0, 3].reason
    assert reason.startswith("row 4 from line 2: dead-lettered: its chunk could not be read")


def test_an_ingest_dead_letter_that_a_redrive_has_overtaken_gives_nothing_up(pipeline: Pipeline) -> None:
    """The redrive asks for the chunk again: a second delivery of the old dead letter says nothing about that."""
    batch_id = upload(pipeline, "upload", "dispatch")
    dead_letter = dead_letter_of(pipeline, "ingest")
    assert handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    assert redrive(pipeline, batch_id) == 4
    assert handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=0, counted=0)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_rows_that_an_ingest_has_written_before_it_died_are_given_up_with_their_chunk(pipeline: Pipeline) -> None:
    """Nobody was told of them yet: their totals are the chunk's, and they are set once."""
    batch_id = upload(pipeline, "upload", "dispatch")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if "transact" in operation else Fault.NONE
    assert not pipeline.deliver("ingest", most=1)
    pipeline.faults = lambda _: Fault.NONE
    assert handle(dead_letter_of(pipeline, "ingest"), INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2, failed=4)


def test_a_dead_letter_of_a_chunk_that_was_read_fails_none_of_its_rows(pipeline: Pipeline) -> None:
    """It is a second delivery that came to nothing: every row is durable, and on its way."""
    batch_id = upload(pipeline, "upload", "dispatch")
    dead_letter = pipeline.waiting("ingest")[0]
    assert pipeline.deliver("ingest", most=1000)
    assert handle(dead_letter, INGEST_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_of_a_chunk_that_was_closed_changes_nothing(pipeline: Pipeline) -> None:
    """A late one, after the batch has ended."""
    batch_id = upload(pipeline, "upload", "dispatch")
    dead_letter = pipeline.waiting("ingest")[0]
    pipeline.drain()
    before = pipeline.batch(batch_id)
    assert handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=0, counted=0)
    assert pipeline.batch(batch_id) == before


def test_the_outcomes_of_a_finished_dead_letter_are_counted_as_they_are(pipeline: Pipeline) -> None:
    """Nothing failed but their counting."""
    batch_id = upload(pipeline, *READ, "work", "work")
    dead_letter = dead_letter_of(pipeline, "finished")
    assert handle(dead_letter, FINISHED_DLQ) == HandledDeadLetter(rows=2, counted=2)
    assert handle(dead_letter, FINISHED_DLQ) == HandledDeadLetter(rows=2, counted=0)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_outcomes_that_still_cannot_be_counted_stay_where_they_are(pipeline: Pipeline) -> None:
    """Their batch was deleted: an operator decides."""
    upload(pipeline, *READ, "work")
    dead_letter = dead_letter_of(pipeline, "finished")
    pipeline.dynamodb.items.clear()
    with pytest.raises(NotFoundError, match="which no plan has made"):
        handle(dead_letter, FINISHED_DLQ)
    assert not pipeline.waiting("dead-letters")
