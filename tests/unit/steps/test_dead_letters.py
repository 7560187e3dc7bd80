"""Dead letters become outcomes, so that their batches end; a copy of each is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import services
from chalicelib.errors import BusyError, MessageError, NotFoundError
from chalicelib.steps.dead_letters import MAX_RETURNS, DeadLetterHandler, HandledDeadLetter
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.leases import Leases
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.transport.messages import ChunkMessage, WorkMessage, decode, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    Requests,
    at_call,
    count_rows,
    deployed_job,
    failed,
    killed,
    plant_deaths,
    succeeded,
    table,
)

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

def heavy(row):
    return row.kind == "heavy"

def process(row):
    return row.kind
"""
KINDS = ["fine", "fine", "heavy", "too,many", "fine", "fine"]
"""Chunks of four rows."""
READ = ["upload", "dispatch", "ingest", "dispatch"]
AFTER = Counts(succeeded=5, rejected=1)
INGEST_DLQ, WORK_DLQ, HEAVY_DLQ, FINISHED_DLQ = (
    f"tally-test-{name}-dlq" for name in ("ingest", "work", "heavy", "finished")
)


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job with heavy rows."""
    with deployed_job(monkeypatch, tmp_path, "plain", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def _dead_letter_handler() -> DeadLetterHandler:
    return services.Services.of(None).dead_letter_handler


def _handle(body: str, queue: str) -> HandledDeadLetter:
    """Handle a letter, whose id is ``m``."""
    return _dead_letter_handler().handle(Message("m", body), queue)


def _upload(pipeline: Pipeline, *steps: str) -> str:
    batch_id = pipeline.upload("inbox/plain/day.csv", ("kind\n" + "\n".join(KINDS)).encode())
    for step in steps:
        assert pipeline.deliver(step, most=1000)
    return batch_id


def _dead_letter(pipeline: Pipeline, queue: str) -> str:
    """Take a message out of its queue, as SQS does when it was received too often, after its workers died of it.

    By then a message of the work queue is about one row: here the first. The others are in messages of their own.
    """
    body = pipeline.waiting(queue).pop(0)
    if queue == "work":
        message = decode(body, WorkMessage)
        body = encode(msgspec.structs.replace(message, rows=[0]))
        pipeline.waiting(queue).append(encode(msgspec.structs.replace(message, rows=[1, 3])))
    if queue != "finished":
        plant_deaths(pipeline.dynamodb, body)
    return body


def _failed(pipeline: Pipeline, batch_id: str) -> dict[tuple[int, int], RowOutcome]:
    outcomes = pipeline.outcomes(batch_id)
    return {(chunk, found.row): found for chunk, found in outcomes if found.outcome is Outcome.FAILED}


def test_the_row_of_a_work_dead_letter_fails_once_and_the_batch_ends(pipeline: Pipeline) -> None:
    """Two times dead-letters is once counted."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = _dead_letter(pipeline, "work")
    assert _handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=1)
    assert _handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=0)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 6)
    assert batch.counts == Counts(succeeded=4, failed=1, rejected=1)
    failed = _failed(pipeline, batch_id)
    assert list(failed) == [(0, 0)]
    assert {(found.code, found.reason) for found in failed.values()} == {
        (
            ReasonCode.DEAD_LETTERED,
            "dead-lettered: its worker died, timed out or failed each time; see the logs of process",
        )
    }


def test_a_dead_letter_about_all_rows_gives_up_those_that_are_neither_done_nor_heavy(pipeline: Pipeline) -> None:
    """By what the chunk says now: the dead letter names none of them."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = pipeline.waiting("work").pop(0)
    plant_deaths(pipeline.dynamodb, dead_letter)
    assert decode(dead_letter, WorkMessage).rows is None
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), succeeded(1))
    assert _handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=1, counted=1)
    assert list(_failed(pipeline, batch_id)) == [(0, 0)]


def test_what_a_row_had_raised_before_its_worker_died_is_in_its_reason(pipeline: Pipeline) -> None:
    """It may say what the worker died of; the others have raised nothing."""
    batch_id = _upload(pipeline, *READ)
    body = decode(_dead_letter(pipeline, "work"), WorkMessage)
    for row, raised in [(0, {}), (1, {1: "MemoryError: 5 GB"})]:
        again = WorkMessage(batch=body.batch, chunk=0, generation=1, rows=[row], attempt=2, raised=raised)
        _handle(encode(again), WORK_DLQ)
    first, second = _failed(pipeline, batch_id).values()
    assert (first.tries, second.tries) == (2, 2)
    assert "raised" not in first.reason
    assert second.reason.endswith("; the try before raised MemoryError: 5 GB")


def test_a_dead_letter_that_a_redrive_has_overtaken_fails_nothing(pipeline: Pipeline) -> None:
    """Its rows were sent again with the redrive's generation, and may be running."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = _dead_letter(pipeline, "work")
    _handle(dead_letter, WORK_DLQ)
    assert _redrive(pipeline, batch_id) == 1
    assert _handle(dead_letter, WORK_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_that_is_overtaken_while_it_is_handled_fails_nothing(pipeline: Pipeline) -> None:
    """A redrive comes between its reading of the chunk and its transaction."""
    batch_id = _upload(pipeline, *READ)
    key = ChunkKey(batch_id, 0)
    dead_letter = _dead_letter(pipeline, "work")
    redriven = [False]

    def redrive_before_the_transaction(operation: str) -> Fault:
        if operation == "transact_write_items" and not redriven[0]:
            redriven[0] = True
            count_rows(pipeline.dynamodb, key, failed(0))
            assert _redrive(pipeline, batch_id) == 1
        return Fault.NONE

    pipeline.faults = redrive_before_the_transaction
    assert _handle(dead_letter, WORK_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def _redrive(pipeline: Pipeline, batch_id: str) -> int:
    return Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows


def test_the_row_of_a_heavy_dead_letter_fails_alone(pipeline: Pipeline) -> None:
    """Its worker died each time; nobody has it any more."""
    batch_id = _upload(pipeline, *READ)
    assert _handle(_dead_letter(pipeline, "heavy"), HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=1)
    pipeline.drain()
    assert list(_failed(pipeline, batch_id)) == [(0, 2)]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=1, rejected=1)


def test_the_rows_of_an_ingest_dead_letter_fail_although_nobody_has_read_them(pipeline: Pipeline) -> None:
    """The planner has counted them: each has an outcome that says where it stands."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    assert _handle(_dead_letter(pipeline, "ingest"), INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, batch.counts) == (
        BatchStatus.COMPLETED_WITH_FAILURES,
        6,
        Counts(succeeded=2, failed=4),
    )
    reason = _failed(pipeline, batch_id)[0, 3].reason
    assert reason.startswith("row 4 from line 2: dead-lettered: its chunk could not be read")


def test_an_ingest_dead_letter_that_a_redrive_has_overtaken_gives_nothing_up(pipeline: Pipeline) -> None:
    """The redrive asks for the chunk again: a second delivery of the old letter says nothing about that."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    dead_letter = _dead_letter(pipeline, "ingest")
    assert _handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    assert _redrive(pipeline, batch_id) == 4
    assert _handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=0, counted=0)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_rows_that_an_ingest_has_written_before_it_died_are_given_up_with_their_chunk(pipeline: Pipeline) -> None:
    """Nobody was told of them yet: their totals are the chunk's, and they are set once."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if "transact" in operation else Fault.NONE
    assert not pipeline.deliver("ingest", most=1)
    pipeline.faults = lambda _: Fault.NONE
    assert _handle(_dead_letter(pipeline, "ingest"), INGEST_DLQ) == HandledDeadLetter(rows=4, counted=4)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2, failed=4)


def test_a_dead_letter_of_a_chunk_that_was_read_fails_none_of_its_rows(pipeline: Pipeline) -> None:
    """It is a second delivery that came to nothing: every row is durable, and on its way."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    dead_letter = pipeline.waiting("ingest")[0]
    assert pipeline.deliver("ingest", most=1000)
    assert _handle(dead_letter, INGEST_DLQ).counted == 0
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_of_a_chunk_that_was_closed_changes_nothing(pipeline: Pipeline) -> None:
    """A late one, after the batch has ended."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    dead_letter = pipeline.waiting("ingest")[0]
    pipeline.drain()
    before = pipeline.batch(batch_id)
    assert _handle(dead_letter, INGEST_DLQ) == HandledDeadLetter(rows=0, counted=0)
    assert pipeline.batch(batch_id) == before


def test_the_outcomes_of_a_finished_dead_letter_are_counted_as_they_are(pipeline: Pipeline) -> None:
    """Nothing failed but their counting."""
    batch_id = _upload(pipeline, *READ, "work", "work")
    dead_letter = _dead_letter(pipeline, "finished")
    assert _handle(dead_letter, FINISHED_DLQ) == HandledDeadLetter(rows=2, counted=2)
    assert _handle(dead_letter, FINISHED_DLQ) == HandledDeadLetter(rows=2, counted=0)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_outcomes_that_still_cannot_be_counted_stay_where_they_are(pipeline: Pipeline) -> None:
    """Their batch was deleted: an operator decides."""
    _upload(pipeline, *READ, "work")
    dead_letter = _dead_letter(pipeline, "finished")
    pipeline.dynamodb.items.clear()
    with pytest.raises(NotFoundError, match="which no plan has made"):
        _handle(dead_letter, FINISHED_DLQ)
    assert not pipeline.waiting("dead-letters")


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        ("not JSON", WORK_DLQ),
        ("{}", HEAVY_DLQ),
        ('{"batch":"b"}', FINISHED_DLQ),
        ("[]", INGEST_DLQ),
        ('{"batch":"plain-1","chunk":0}', "tally-test-work"),
        ('{"batch":"plain-1","chunk":0}', "somebody-elses-dlq"),
    ],
)
def test_what_cannot_be_mapped_to_a_row_stays_in_its_queue(pipeline: Pipeline, body: str, queue: str) -> None:
    """Its alarm calls somebody; a copy in ``dead-letters`` would look dealt with."""
    with pytest.raises(MessageError):
        _handle(body, queue)
    assert not pipeline.waiting("dead-letters")
    assert not pipeline.dynamodb.items


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        ('{"batch":"gone-1","chunk":0}', INGEST_DLQ),
        ('{"batch":"gone-1","chunk":0,"generation":1}', WORK_DLQ),
        ('{"batch":"gone-1","chunk":0,"generation":1,"rows":[0]}', HEAVY_DLQ),
    ],
)
def test_a_dead_letter_of_a_batch_that_was_deleted_stays_in_its_queue(
    pipeline: Pipeline, body: str, queue: str
) -> None:
    """An operator decides whether anybody misses it."""
    with pytest.raises(NotFoundError):
        _handle(body, queue)
    assert not pipeline.waiting("dead-letters")
    assert not pipeline.dynamodb.items


@pytest.mark.parametrize(
    ("queue", "steps", "dlq"),
    [
        ("ingest", ["upload", "dispatch"], INGEST_DLQ),
        ("work", READ, WORK_DLQ),
        ("heavy", READ, HEAVY_DLQ),
        ("finished", [*READ, "work"], FINISHED_DLQ),
    ],
)
def test_the_dead_letter_is_kept_with_where_it_came_from(
    pipeline: Pipeline, queue: str, steps: list[str], dlq: str
) -> None:
    """Whoever looks at it later wants to know what it was and which queue gave it up."""
    _upload(pipeline, *steps)
    dead_letter = _dead_letter(pipeline, queue)
    requests = Requests(pipeline.sqs)
    pipeline.clients["sqs"] = requests  # type: ignore[assignment]
    _handle(dead_letter, dlq)
    assert requests.of("send_message") == [
        {
            "QueueUrl": services.settings().queues["dead-letters"].url,
            "MessageBody": dead_letter,
            "MessageAttributes": {"queue": {"DataType": "String", "StringValue": dlq}},
        }
    ]


def _leased(pipeline: Pipeline, batch_id: str) -> Leases:
    leases = Leases(table=table(pipeline.dynamodb), owner="alive")
    assert leases.take(ChunkKey(batch_id, 0), 2)
    return leases


def test_a_row_whose_worker_lives_is_left_to_it(pipeline: Pipeline) -> None:
    """The dead letter is a second delivery that was put back too often; it comes again until the row has an outcome."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = _dead_letter(pipeline, "heavy")
    leases = _leased(pipeline, batch_id)
    before = dict(pipeline.dynamodb.items)
    with pytest.raises(BusyError):
        _handle(dead_letter, HEAVY_DLQ)
    assert pipeline.dynamodb.items == before
    assert not pipeline.waiting("dead-letters")
    leases.release(ChunkKey(batch_id, 0), 2)
    assert _handle(dead_letter, HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=1)


def test_a_lease_of_a_row_that_was_counted_protects_nothing(pipeline: Pipeline) -> None:
    """It outlives its row by minutes; the dead letter is dealt with at once."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = _dead_letter(pipeline, "heavy")
    _leased(pipeline, batch_id)
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), succeeded(2))
    assert _handle(dead_letter, HEAVY_DLQ) == HandledDeadLetter(rows=1, counted=0)
    assert len(pipeline.waiting("dead-letters")) == 1
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_rows_that_were_counted_keep_their_outcome(pipeline: Pipeline) -> None:
    """They were processed, and the worker died before it said so."""
    batch_id = _upload(pipeline, *READ)
    dead_letter = pipeline.waiting("work")[0]
    pipeline.drain()
    assert _handle(dead_letter, WORK_DLQ) == HandledDeadLetter(rows=0, counted=0)
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_with_the_same_row_twice_counts_it_once(pipeline: Pipeline) -> None:
    """Nobody writes such a dead letter; it would be a transaction that DynamoDB refuses for ever."""
    _upload(pipeline, *READ)
    work = decode(_dead_letter(pipeline, "heavy"), WorkMessage)
    twice = WorkMessage(batch=work.batch, chunk=work.chunk, generation=1, rows=[2, 2])
    assert _handle(encode(twice), HEAVY_DLQ).counted == 1


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
    batch_id = _upload(pipeline, *steps)
    dead_letter = _dead_letter(pipeline, queue)
    for position in range(50):
        pipeline.faults = at_call(position, fault)
        if not killed(_handling(dead_letter, dlq)):
            break
    assert position > 1
    pipeline.faults = lambda _: Fault.NONE
    assert set(pipeline.waiting("dead-letters")) == {dead_letter}
    pipeline.drain()
    assert pipeline.batch(batch_id).rows == 6
    assert pipeline.batch(batch_id).status.final


def _handling(dead_letter: str, dlq: str) -> Callable[[], Any]:
    return lambda: _handle(dead_letter, dlq)


def test_rows_that_a_redrive_could_not_have_read_either_fail_again(pipeline: Pipeline) -> None:
    """The redrive asks for their chunk as a whole, and it is given up as a whole once more."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    dead_letter = _dead_letter(pipeline, "ingest")
    _handle(dead_letter, INGEST_DLQ)
    pipeline.drain()
    assert _redrive(pipeline, batch_id) == 4
    assert pipeline.deliver("dispatch", most=1000)
    (asked,) = pipeline.waiting("ingest")
    assert asked != dead_letter, "it is of the generation that the redrive began"
    assert _handle(_dead_letter(pipeline, "ingest"), INGEST_DLQ).counted == 4
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.counts) == (
        BatchStatus.COMPLETED_WITH_FAILURES,
        2,
        Counts(succeeded=2, failed=4),
    )


# Letters that killed no worker.

LETTERS: dict[str, tuple[list[str], str]] = {
    "ingest": (["upload", "dispatch"], INGEST_DLQ),
    "work": (READ, WORK_DLQ),
    "heavy": (READ, HEAVY_DLQ),
}


def _returns(queue: str, body: str) -> int:
    return decode(body, ChunkMessage).returns if queue == "ingest" else decode(body, WorkMessage).returns


@pytest.mark.parametrize("deaths", [0, 1])
@pytest.mark.parametrize("queue", list(LETTERS))
def test_a_letter_that_no_two_workers_died_of_is_sent_again(pipeline: Pipeline, queue: str, deaths: int) -> None:
    """Lambda throttled it; its rows are healthy, and one worker may die of anything."""
    steps, dlq = LETTERS[queue]
    batch_id = _upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    plant_deaths(pipeline.dynamodb, body, deaths=deaths)
    handled = _handle(body, dlq)
    assert (handled.counted, handled.returned) == (0, handled.rows)
    assert handled.rows > 0
    assert not pipeline.waiting("dead-letters")
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


@pytest.mark.parametrize("queue", list(LETTERS))
def test_a_letter_that_nobody_ever_begins_ends_with_that_reason(pipeline: Pipeline, queue: str) -> None:
    """It is sent again so many times, then its batch ends; a redrive asks for its rows again."""
    steps, dlq = LETTERS[queue]
    batch_id = _upload(pipeline, *steps)
    rounds = 0
    body = pipeline.waiting(queue).pop(0)
    while (handled := _handle(body, dlq)).returned:
        body = pipeline.waiting(queue).pop()
        rounds += 1
        assert _returns(queue, body) == rounds
    assert rounds == MAX_RETURNS
    assert pipeline.waiting("dead-letters") == [body]
    pipeline.drain()
    failed = _failed(pipeline, batch_id)
    assert len(failed) == handled.counted > 0
    assert {found.code for found in failed.values()} == {ReasonCode.NEVER_RAN}
    assert all("no worker began it" in found.reason for found in failed.values())
    assert _redrive(pipeline, batch_id) == handled.counted
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_letter_of_many_rows_whose_worker_died_is_split_and_kills_no_healthy_row(pipeline: Pipeline) -> None:
    """Throttled four times and then killed: nobody has split it, and it died of one of its rows at most."""
    batch_id = _upload(pipeline, *READ)
    body = pipeline.waiting("work").pop(0)
    plant_deaths(pipeline.dynamodb, body, deaths=1)
    assert _handle(body, WORK_DLQ) == HandledDeadLetter(rows=2, counted=0, returned=2)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


@pytest.mark.parametrize("queue", list(LETTERS))
def test_a_throttled_letter_that_a_redrive_has_overtaken_is_not_sent_again(pipeline: Pipeline, queue: str) -> None:
    """The redrive has asked for its rows itself."""
    steps, dlq = LETTERS[queue]
    batch_id = _upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]["generation"] = {"N": "2"}
    before = list(pipeline.waiting(queue))
    assert _handle(body, dlq).counted == 0
    assert pipeline.waiting(queue) == before


@pytest.mark.parametrize("queue", list(LETTERS))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER])
def test_dying_anywhere_while_a_letter_is_sent_again_counts_no_row_twice(
    pipeline: Pipeline, queue: str, fault: Fault
) -> None:
    """It comes again, and is sent twice at most for each time that its handler died."""
    steps, dlq = LETTERS[queue]
    batch_id = _upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    for position in range(50):
        pipeline.faults = at_call(position, fault)
        if not killed(_handling(body, dlq)) and position > 4:
            break
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER
