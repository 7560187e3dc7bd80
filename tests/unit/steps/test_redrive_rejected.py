"""Rejected rows are read again from the object by the job as it is now, and each is counted once."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs, services
from chalicelib.errors import RetryableError
from chalicelib.steps.redrive import Redriven
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.chunk import ChunkState
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.transport.messages import ChunkMessage, WorkMessage, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of, deployed_job, plant_deaths, table
from tests.support.redriving import check, events, meanwhile, redriven

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str
    size: int

First = Row

class Other(rows.Row):
    other: str

class Corrected(rows.Row):
    kind: str
    size: int | str

ran = []
ATTEMPTS = 1

def heavy(row):
    return row.kind == "heavy"

def process(row):
    ran.append((row.kind, row.size))
    if row.kind == "bad":
        raise ValueError("bad")
    return row.size
"""
ROWS = ["a,1", "b,x", "c,3", "bad,4", "e,y", "f,z", "g,7", "h,8", "i,u", "j,v", "k,w", "l,t"]
"""Chunks of four rows: one, two and all of them rejected."""
BEFORE = Counts(succeeded=4, failed=1, rejected=7)
AFTER = Counts(succeeded=11, failed=1)
REJECTED = Outcome.REJECTED


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with deployed_job(monkeypatch, tmp_path, "sizes", JOB):
        yield


def module() -> Any:
    """Return the job's module."""
    return importlib.import_module(jobs.require("sizes").process.__module__)


def correct() -> None:
    """Deploy the job with a type that takes every row."""
    module().Row = module().Corrected
    module().ran.clear()
    jobs.find.cache_clear()


def uploaded(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file; returns the id of its batch."""
    return pipeline.upload("inbox/sizes/day.csv", ("kind,size\n" + "\n".join(rows or ROWS)).encode())


def ended(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file and deliver everything; returns the id of its batch."""
    batch_id = uploaded(pipeline, *rows)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    return batch_id


def rejected(pipeline: Pipeline, batch_id: str) -> list[RowOutcome]:
    """Return the outcomes of the rows that are rejected now."""
    return [found for _, found in pipeline.outcomes(batch_id) if found.outcome is REJECTED]


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
    """What is counted between the reading and the totals moves the chunk: the totals are set on what it is then."""
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


def ingest(pipeline: Pipeline, body: str, faults: Callable[[str], Fault], *, keep: bool = False) -> None:
    """Deliver a message of the ingest queue, with faults; ``keep`` puts the table back afterwards."""
    before = dict(pipeline.dynamodb.items), len(pipeline.dynamodb.stream)
    pipeline.waiting("ingest")[:] = [body]
    pipeline.faults = faults
    pipeline.deliver("ingest", again=keep)
    pipeline.faults = lambda _: Fault.NONE
    if keep:
        pipeline.dynamodb.items = before[0]
        del pipeline.dynamodb.stream[before[1] :]


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


def to_be_read(monkeypatch: pytest.MonkeyPatch) -> tuple[Pipeline, str, str]:
    """Return a pipeline in which a rejected row waits to be read, its batch, and the message that asks for it."""
    module().Row = module().First
    jobs.find.cache_clear()
    pipeline = Pipeline(monkeypatch)
    batch_id = ended(pipeline, "a,1", "b,x", "c,3")
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    return pipeline, batch_id, pipeline.waiting("ingest")[0]


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


def dead_letter(pipeline: Pipeline, body: str, *, message_id: str = "letter") -> None:
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


def test_a_letter_that_killed_nobody_is_sent_again(pipeline: Pipeline) -> None:
    batch_id = ended(pipeline)
    correct()
    redriven(pipeline, batch_id, outcome=REJECTED)
    assert pipeline.deliver("dispatch", most=1000)
    body = pipeline.waiting("ingest").pop(0)
    handler = services.Services.of(None).dead_letter_handler
    handled = handler.handle(Message(id="letter", body=body), "tally-test-ingest-dlq")
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
