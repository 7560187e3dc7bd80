"""Rejected rows that cannot be read again stay rejected, no matter what dies, is lost or is late."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from chalicelib import jobs, services
from chalicelib.errors import RetryableError
from chalicelib.store.batch import Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Counts
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of, plant_deaths, table
from tests.support.redriving import check, meanwhile, redriven
from tests.support.rereading import AFTER, BEFORE, REJECTED, correct, ended, ingest, module, rejected, to_be_read

FAULTS = [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_redrive_that_stops_anywhere_is_finished_by_the_next(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of it is cut once; every row is counted once, whatever was taken back before."""
    calls = calls_of(lambda faults: attempt_redrive(Pipeline(monkeypatch), faults))
    assert "transact_write_items" in calls
    for position in range(len(calls)):
        pipeline = Pipeline(monkeypatch)
        batch_id = attempt_redrive(pipeline, at_call(position, fault))
        check(pipeline, batch_id)
        pipeline.drain()
        redriven(pipeline, batch_id, outcome=REJECTED)
        pipeline.drain()
        check(pipeline, batch_id)
        assert pipeline.batch(batch_id).counts == Counts(succeeded=2, rejected=2)


def attempt_redrive(pipeline: Pipeline, faults: Callable[[str], Fault]) -> str:
    """Redrive the rejected rows of a small batch until it ends or dies; returns the batch's id."""
    batch_id = ended(pipeline, "a,1", "b,x", "c,3", "d,y")
    with suppress(Killed, RetryableError):
        redriven(pipeline, batch_id, outcome=REJECTED, faults=faults)
    return batch_id


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_stops_anywhere_while_it_reads_again_harms_nothing(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message comes again, and what was applied is not asked for any more."""
    pipeline, batch_id, body = to_be_read(monkeypatch)
    calls = calls_of(lambda faults: ingest(pipeline, body, faults))
    assert "transact_write_items" in calls
    for position in range(len(calls)):
        pipeline, batch_id, body = to_be_read(monkeypatch)
        correct()
        ingest(pipeline, body, at_call(position, fault), keep=False)
        check(pipeline, batch_id)
        pipeline.waiting("ingest").append(body)  # the queue delivers again, perhaps for nothing
        pipeline.drain()
        check(pipeline, batch_id)
        assert pipeline.batch(batch_id).counts == Counts(succeeded=3)
        assert module().ran.count(("b", "x")) >= 1


def test_a_message_that_is_lost_is_sent_again_by_a_repair(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    pipeline.waiting("ingest").clear()
    repairs = services.Services.of(None).reconciler.repair(batch_id)
    assert (repairs.chunks_sent, repairs.counters_repaired) == (3, [])
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def dead_letter(pipeline: Pipeline, body: str, *, message_id: str = "dead letter") -> None:
    """Let a message of the ingest queue be a dead letter whose workers died."""
    plant_deaths(pipeline.dynamodb, body, message_id=message_id)
    handler = services.Services.of(None).dead_letter_handler
    handler.handle(Message(id=message_id, body=body), "tally-test-ingest-dlq")


def test_rows_that_cannot_be_read_again_stay_rejected(pipeline: Pipeline) -> None:
    """They are not stored: were they failed, a redrive would run rows that are not there."""
    batch_id = ended(pipeline)
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    bodies = list(pipeline.waiting("ingest"))
    pipeline.waiting("ingest").clear()
    for body in bodies:
        dead_letter(pipeline, body)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == BEFORE
    assert {found.code for found in rejected(pipeline, batch_id)} == {ReasonCode.DEAD_LETTERED}
    correct()
    assert redriven(pipeline, batch_id, outcome=REJECTED).rows == 7
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_of_before_the_redrive_says_nothing_of_what_is_read_again(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    dead_letter(pipeline, encode(ChunkMessage(batch_id, 0, 1)))
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_that_killed_nobody_is_sent_again(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    body = pipeline.waiting("ingest").pop(0)
    handler = services.Services.of(None).dead_letter_handler
    handled = handler.handle(Message(id="dead letter", body=body), "tally-test-ingest-dlq")
    assert (handled.rows, handled.returned) == (1, 1)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_an_object_that_is_deleted_meanwhile_leaves_its_rows_rejected(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    redriven(pipeline, batch_id, outcome=REJECTED)
    pipeline.s3.objects.clear()
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == BEFORE
    assert {found.code for found in rejected(pipeline, batch_id)} == {ReasonCode.SOURCE_GONE}


def test_a_job_that_takes_other_columns_now_leaves_the_rows_rejected_and_says_why(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    redriven(pipeline, batch_id, outcome=REJECTED)
    module().Row = module().Other
    jobs.find.cache_clear()
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == BEFORE
    (reason, *_) = [found.reason for found in rejected(pipeline, batch_id)]
    assert "missing required field `other`" in reason


def test_a_batch_that_is_cancelled_before_its_rows_are_read_again_leaves_them_rejected(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    redriven(pipeline, batch_id, outcome=REJECTED)
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED, attempt=2)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == BEFORE
    assert {found.code for found in rejected(pipeline, batch_id)} == {ReasonCode.CANCELLED}


def test_a_second_redrive_that_comes_while_rows_are_read_loses_none(pipeline: Pipeline) -> None:
    """It raises the generation: the first reading sets nothing, and the message of the second reads all of them."""
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED, rows={(2, 0)})
    assert pipeline.deliver("dispatch", most=1000)
    (body,) = pipeline.waiting("ingest")
    ingest(pipeline, body, meanwhile(3, lambda: redriven(pipeline, batch_id, outcome=REJECTED, rows={(2, 1)})))
    check(pipeline, batch_id)
    assert list(pipeline.chunks(batch_id)[2].rereads) == [0, 1]
    pipeline.drain()
    check(pipeline, batch_id)
    assert sorted(size for _, size in module().ran) == ["u", "v"]


def test_a_reader_that_slept_through_a_deployment_does_not_write_over_what_was_read_since(pipeline: Pipeline) -> None:
    """It had read the row by the job of before, which rejects it; meanwhile the row was read, and is to be run."""
    batch_id = ended(pipeline)
    redriven(pipeline, batch_id, outcome=REJECTED, rows={(0, 1)})
    assert pipeline.deliver("dispatch", most=1000)
    (body,) = pipeline.waiting("ingest")
    calls = calls_of(lambda faults: ingest(pipeline, body, faults, keep=True))

    def deployed() -> None:
        correct()
        pipeline.waiting("ingest").append(body)
        pipeline.deliver("ingest", start=1)

    ingest(pipeline, body, meanwhile(len(calls) - 1, deployed))
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", "x")]
    assert pipeline.batch(batch_id).counts == BEFORE + Counts(succeeded=1, rejected=-1)
