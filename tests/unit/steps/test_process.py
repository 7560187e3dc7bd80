"""Process: the job's function, row by row; what it does to one row it cannot do to another."""

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import jobs
from chalicelib.errors import FatalError, NotFoundError, RetryableError, UnknownOutcomeError
from chalicelib.retry import Retry
from chalicelib.steps.process import Processor
from chalicelib.steps.run import FLUSH_SECONDS, Processed
from chalicelib.store.batch import Hold
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import ChunkKey, Outcome, number, text
from chalicelib.store.marker import MAX_REASON_CHARACTERS, MAX_TRACEBACK_CHARACTERS, ReasonCode, RowOutcome
from chalicelib.transport.messages import MAX_MESSAGE_BYTES, FinishedMessage, WorkMessage, decode
from tally.testing.faults import Fault, Killed
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tests.support.builders import (
    RETRY,
    Requests,
    at_call,
    calls_of,
    count_rows,
    delivery,
    deployed_job,
    failed,
    faulty,
    killed,
    plant_batch,
    plant_rows,
    starts,
    succeeded,
    table,
)

FINISHED, WORK = "finished", "work"
KEY = ChunkKey("moody-1", 3)
LAST = 3
"""The attempt at which a row that raises fails; so that these tests need not say each time that it is the last."""
JOB = """
import asyncio
import sys
import msgspec
from chalicelib import rows
from chalicelib.errors import PermanentError
from tally.testing.faults import Killed

ran = []
seconds = lambda what: 0.0
ATTEMPTS = 3

class Row(rows.Row):
    what: str

class Panic(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("an error that cannot say what it is")

def process(row):
    ran.append(row.what)
    if row.what != "deep":
        seconds(row.what)
    match row.what:
        case "permanent":
            raise PermanentError("never")
        case "raise":
            raise ValueError("no good")
        case "exit":
            sys.exit(3)
        case "cancelled":
            raise asyncio.CancelledError
        case "panic":
            raise Panic("index out of bounds")
        case "raw result":
            return msgspec.Raw(b"no JSON")
        case "killed":
            raise Killed
        case "deep":
            return process(row)
        case "surrogate":
            raise OSError("no such file: \\udcff")
        case "surrogate result":
            return "\\udcff"
        case "mute":
            raise Mute
        case "long":
            raise ValueError("x" * 100_000)
        case "unencodable":
            return object()
        case "none":
            return None
    if row.what.isdigit():
        return "x" * int(row.what)
    return {"what": row.what, "key": row.idempotency_key}
"""


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job that does whatever a row says."""
    with deployed_job(monkeypatch, tmp_path, "moody", JOB):
        yield


def _module() -> Any:
    return sys.modules[jobs.require("moody").process.__module__]


class World:
    """A batch with one chunk whose rows are durable, and workers that come for it; no time passes but what rows take.

    ``seconds`` is how long the job takes for a row.
    """

    def __init__(self, *rows: str, heavy: RowBits = NO_ROWS, seconds: Callable[[str], float] = lambda _: 0.0) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.requests = Requests(self.sqs)
        self.now = 0.0
        plant_batch(self.dynamodb, KEY.batch_id)
        plant_rows(self.dynamodb, KEY, ["what"], [[what] for what in rows], heavy=heavy)

        def run(what: str) -> None:
            self.now += seconds(what)

        self.module = _module()
        self.module.seconds = run

    def worker(
        self,
        *,
        faults: Callable[[str], Fault] = lambda _: Fault.NONE,
        remaining_seconds: Callable[[], float] = RETRY.remaining_seconds,
    ) -> Processor:
        """Return a worker that meets faults at any call to either service."""
        return Processor(
            table=table(faulty(self.dynamodb, faults)),
            sqs=faulty(self.requests, faults),
            queue_url=WORK,
            finished_queue_url=FINISHED,
            retry=Retry(sleep=lambda _: None, random=lambda _, high: high, remaining_seconds=remaining_seconds),
            starts=starts(faulty(self.dynamodb, faults)),
            random=lambda _, high: high,
            clock=lambda: self.now,
        )

    def work(self, *, receive_count: int = 1, worker: Processor | None = None, **message: Any) -> Processed:
        """Process a message about the chunk, and about all of its rows unless it names them."""
        return (worker or self.worker()).work(self.message(**message), delivery(receive_count))

    def message(self, **given: Any) -> WorkMessage:
        """Return a message about the chunk."""
        return WorkMessage(batch=KEY.batch_id, chunk=KEY.number, **{"generation": 1, **given})

    def change_chunk(self, **changed: Any) -> None:
        """Change attributes of the chunk, as something that happened meanwhile."""
        self.dynamodb.items[KEY.pk, "chunk"].update(changed)

    @property
    def ran(self) -> list[str]:
        """Return the rows that the job has run on, in order."""
        return list(self.module.ran)

    @property
    def sent(self) -> list[WorkMessage]:
        """Return what went back to the work queue."""
        return [decode(body, WorkMessage) for body in self.sqs.bodies[WORK]]

    @property
    def finished(self) -> list[FinishedMessage]:
        """Return the messages to finish."""
        return [decode(body, FinishedMessage) for body in self.sqs.bodies[FINISHED]]

    @property
    def outcomes(self) -> list[RowOutcome]:
        """Return the outcomes that were sent, in order."""
        return [outcome for message in self.finished for outcome in message.outcomes]

    def delays(self) -> list[int]:
        """Return the delays of what went back to the work queue."""
        requests = [request for request in self.requests.of("send_message_batch") if request["QueueUrl"] == WORK]
        return [entry.get("DelaySeconds", 0) for request in requests for entry in request["Entries"]]


def _outcome(what: str) -> RowOutcome:
    """Return the outcome of a row alone, at its last try."""
    world = World(what)
    world.work(attempt=LAST)
    (outcome,) = world.outcomes
    assert not world.sent
    return outcome


# What becomes of a row.


def test_a_row_succeeds_with_what_the_job_returns() -> None:
    """The result travels as JSON; the row knows the name that it has for ever."""
    outcome = _outcome("fine")
    assert (outcome.row, outcome.outcome, outcome.tries) == (0, Outcome.SUCCEEDED, LAST)
    assert msgspec.json.decode(outcome.result) == {"what": "fine", "key": "moody-1#000003#000000"}


def test_a_job_that_returns_nothing_has_the_result_null() -> None:
    """It succeeded all the same."""
    outcome = _outcome("none")
    assert (outcome.outcome, bytes(outcome.result)) == (Outcome.SUCCEEDED, b"null")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "ValueError: no good"),
        ("exit", "SystemExit: 3"),
        ("deep", "RecursionError: "),
        ("unencodable", "TypeError: "),
        ("surrogate result", "UnicodeEncodeError: "),
        ("raw result", "DecodeError: JSON is malformed"),
        ("cancelled", "CancelledError: "),
        ("panic", "Panic: index out of bounds"),
        ("surrogate", "OSError: no such file: "),
        ("mute", "Mute"),
    ],
)
def test_a_row_that_the_job_chokes_on_fails_alone(what: str, reason: str) -> None:
    """Whatever it raises, returns or prints of itself: the rows before and after it succeed, and all are sent."""
    world = World("before", what, "after")
    world.work(attempt=LAST)
    before, choked, after = world.outcomes
    assert (before.outcome, after.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    assert (choked.row, choked.outcome, choked.code) == (1, Outcome.FAILED, ReasonCode.RAISED)
    assert choked.reason.startswith(reason)
    assert (choked.line, choked.tries) == (3, LAST)


def test_a_permanent_error_fails_its_row_at_once() -> None:
    """The job knows that a second try is no help."""
    world = World("permanent", "fine")
    world.work()
    first, second = world.outcomes
    assert (first.outcome, first.code, first.tries) == (Outcome.FAILED, ReasonCode.PERMANENT, 1)
    assert first.reason == "PermanentError: never"
    assert second.outcome is Outcome.SUCCEEDED
    assert not world.sent


def test_the_traceback_of_a_failure_has_the_places_in_the_jobs_code_and_nothing_of_tallys() -> None:
    """It begins where the job was called; what the job itself has called is below."""
    frames = _outcome("raise").traceback.splitlines()
    assert [frame.partition(":")[0] for frame in frames] == ["moody.py"]
    assert frames[0].endswith('in process: raise ValueError("no good")')
    assert "process.py" not in "".join(frames).replace("in process", "")


def test_a_deep_traceback_keeps_its_end() -> None:
    """The place that raised; a thousand frames above it say the same."""
    found = _outcome("deep").traceback
    assert len(found) <= MAX_TRACEBACK_CHARACTERS
    assert found.splitlines()[-1].startswith("moody.py:")


def test_an_error_outside_the_jobs_code_says_where_it_was() -> None:
    """A row that does not fit the schema any more never came to the job."""
    world = World("fine")
    world.dynamodb.items.pop((KEY.pk, "rows#000"))
    plant_rows(world.dynamodb, KEY, ["other"], [["x"]])
    world.work(attempt=LAST)
    (outcome,) = world.outcomes
    assert outcome.reason.startswith("ValidationError: ")
    assert len(outcome.traceback.splitlines()) == 1


def test_a_row_of_another_schema_does_not_hurt_those_that_fit() -> None:
    """A page says which columns it has: a job that was deployed with others does not misread it."""
    world = World("fine")
    plant_rows(world.dynamodb, KEY, ["what", "note"], [["fine", "x"], ["raise", "y"]])
    world.work(attempt=LAST)
    assert [outcome.code for outcome in world.outcomes] == [ReasonCode.RAISED] * 2
    assert world.ran == []


def test_a_long_reason_is_cut() -> None:
    """Its beginning says what is wrong; a thousand of them still fit into a transaction."""
    assert len(_outcome("long").reason) == MAX_REASON_CHARACTERS


@pytest.mark.parametrize(("length", "outcome"), [(259_000, Outcome.SUCCEEDED), (MAX_MESSAGE_BYTES, Outcome.FAILED)])
def test_a_result_larger_than_a_message_fails_its_row(length: int, outcome: Outcome) -> None:
    """The largest that fits is sent, the others are not held up."""
    world = World(str(length), "fine")
    world.work()
    first, second = sorted(world.outcomes, key=lambda found: found.row)
    assert (first.outcome, second.outcome) == (outcome, Outcome.SUCCEEDED)
    if outcome is Outcome.FAILED:
        assert (first.code, first.line) == (ReasonCode.TOO_LARGE, 2)
        assert first.reason == "the job's result is too large: 262,146 bytes of JSON"
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in world.sqs.bodies[FINISHED])


def test_a_row_that_is_not_in_the_table_any_more_fails_with_that_reason() -> None:
    """It has an outcome, and so has its batch an end."""
    world = World("fine", "fine")
    del world.dynamodb.items[KEY.pk, "rows#000"]
    world.work(rows=[1])
    (outcome,) = world.outcomes
    assert (outcome.row, outcome.outcome, outcome.code) == (1, Outcome.FAILED, ReasonCode.ROW_GONE)
    assert outcome.reason == "the row is no longer in the table"


def test_the_end_of_the_worker_is_no_outcome_of_a_row() -> None:
    """The message comes again; a row is not failed for it."""
    world = World("fine", "killed")
    with pytest.raises(Killed):
        world.work()
    assert not world.sqs.bodies


def test_a_table_that_cannot_be_read_fails_no_row() -> None:
    """It is no row's fault: the message comes again."""
    world = World("fine")
    with pytest.raises(UnknownOutcomeError):
        world.work(worker=world.worker(faults=lambda _: Fault.ERROR_BEFORE))
    assert not world.sqs.bodies


def test_a_job_that_is_not_deployed_fails_no_row() -> None:
    """Deploying it again repairs all of them."""
    world = World("fine")
    world.dynamodb.items[f"batch#{KEY.batch_id}", "batch"]["job"] = text("gone")
    with pytest.raises(FatalError, match="the job 'gone', which this deployment does not have"):
        world.work()


@pytest.mark.parametrize("sk", ["batch", "chunk"])
def test_rows_of_a_batch_that_was_deleted_are_no_failures(sk: str) -> None:
    """There is nothing that they could be counted in: the message becomes a dead letter, which alarms."""
    world = World("fine")
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] != sk}
    with pytest.raises(NotFoundError, match="was its batch deleted"):
        world.work()


def test_a_row_that_is_processed_twice_has_the_same_name_both_times() -> None:
    """By which the job's own side effects tell."""
    keys = [msgspec.json.decode(_outcome("fine").result)["key"] for _ in range(2)]
    assert len(set(keys)) == 1


# Which rows of a message run.


def test_a_message_costs_one_read_one_mark_and_one_send() -> None:
    """Batch, chunk and rows come in one request; the mark proves that the run began, should it not end."""
    world = World(*["fine"] * 500)
    calls = calls_of(lambda faults: world.work(worker=world.worker(faults=faults)))
    assert calls == ["batch_get_item", "update_item", "send_message_batch"]


def test_rows_that_took_several_items_come_in_one_request_more() -> None:
    """However many items they took."""
    world, dice = World("fine"), random.Random(1)
    plant_rows(world.dynamodb, KEY, ["what"], [[dice.randbytes(40_000).hex()] for _ in range(16)])
    assert world.dynamodb.items[KEY.pk, "chunk"]["pages"] != number(1)
    calls = calls_of(lambda faults: world.work(rows=[0, 15], worker=world.worker(faults=faults)))
    assert calls[:3] == ["batch_get_item", "update_item", "batch_get_item"]
    assert [outcome.row for outcome in world.outcomes] == [0, 15]


def test_rows_that_are_done_are_not_run_again() -> None:
    """Named or not: the message may be older than what was counted."""
    world = World("a", "b", "c", "d")
    count_rows(world.dynamodb, KEY, succeeded(0), failed(2))
    world.work()
    assert world.ran == ["b", "d"]
    world.work(rows=[0, 1, 2])
    assert world.ran == ["b", "d", "b"]


def test_heavy_rows_run_only_if_they_are_named() -> None:
    """They have a message, and a queue, of their own."""
    world = World("a", "b", "c", heavy=RowBits.of([1]))
    world.work()
    assert world.ran == ["a", "c"]
    world.work(rows=[1])
    assert world.ran == ["a", "c", "b"]


def test_a_message_of_rows_that_are_all_done_sends_nothing() -> None:
    """A second delivery, after they were counted."""
    world = World("a")
    count_rows(world.dynamodb, KEY, succeeded(0))
    assert world.work() == Processed()
    assert not world.sqs.bodies


@pytest.mark.parametrize("rows", [None, [0, 1]])
def test_a_message_of_an_older_generation_is_dropped_whole(rows: list[int] | None) -> None:
    """The redrive that has overtaken it has sent every row that was not done."""
    world = World("fine", "raise")
    world.change_chunk(generation=number(2))
    assert world.work(rows=rows, generation=1) == Processed()
    assert (world.ran, dict(world.sqs.bodies)) == ([], {})
    world.work(rows=rows, generation=2)
    assert world.ran == ["fine", "raise"]


def test_a_message_of_a_closed_chunk_is_dropped() -> None:
    """Every row of it was counted."""
    world = World("fine")
    world.change_chunk(state=text(ChunkState.CLOSED))
    assert world.work() == Processed()


def test_outcomes_say_what_the_worker_read_of_the_chunk() -> None:
    """So that mostly nobody has to read it again to count them."""
    world = World("a", "b", "c")
    count_rows(world.dynamodb, KEY, succeeded(1))
    world.work(generation=1)
    (message,) = world.finished
    assert (message.generation, message.version, RowBits.from_bytes(message.done)) == (1, 2, RowBits.of([1]))


def test_an_outcome_carries_the_generation_of_its_message_and_not_of_the_chunk() -> None:
    """A worker that slept since before a redrive sends what came of the row as it was then."""
    world = World("raise")
    worker = world.worker()
    message = world.message(attempt=LAST)
    work = worker.load(message)
    world.change_chunk(generation=number(2), version=number(9))
    worker.run(message, work, delivery())
    (sent,) = world.finished
    assert (sent.generation, sent.version) == (1, 1)


# Rows that are tried again.


def test_a_row_that_raises_is_tried_again_as_often_as_its_job_says() -> None:
    """The row goes back with its attempt counted, the others are done; the last attempt is its outcome."""
    world = World("before", "raise", "after")
    world.work()
    for attempt in (2, 3):
        again = world.sent[-1]
        assert (again.rows, again.attempt, again.raised) == ([1], attempt, {1: "ValueError: no good"})
        assert len(world.outcomes) == 2
        world.worker().work(again, delivery())
    assert len(world.sent) == 2, "no fourth attempt"
    assert [(outcome.row, outcome.tries) for outcome in world.outcomes] == [(0, 1), (2, 1), (1, 3)]
    assert world.outcomes[-1].reason == "ValueError: no good"
    assert world.ran == ["before", "raise", "after", "raise", "raise"]


def test_a_row_that_succeeds_at_a_later_try_says_at_which() -> None:
    """Beside its result."""
    world = World("fine")
    world.work(rows=[0], attempt=2, raised={0: "ValueError: not yet"})
    (outcome,) = world.outcomes
    assert (outcome.outcome, outcome.tries, outcome.reason) == (Outcome.SUCCEEDED, 2, "")


@pytest.mark.parametrize("what", ["exit", "deep", "unencodable", "mute"])
def test_whatever_a_job_raises_is_tried_again(what: str) -> None:
    """Nobody knows which of them a second try would meet."""
    world = World(what)
    assert world.work().sizes == {"finished": 0, "retried": 1, "returned": 0}
    assert [(message.rows, message.attempt) for message in world.sent] == [([0], 2)]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 4), (2, 8)])
def test_rows_that_raise_wait_together_and_longer_each_time(attempt: int, seconds: int) -> None:
    """Full jitter below 2 s * 2 ** attempt; apart, each of them would be a message of its own."""
    world = World("raise", "fine", "raise", "raise")
    world.work(attempt=attempt)
    assert [message.rows for message in world.sent] == [[0, 2, 3]]
    assert world.delays() == [seconds]


def test_a_row_that_waits_for_its_next_try_has_killed_no_worker() -> None:
    """Its message is as good as new: if it comes twice it is taken apart from the beginning."""
    world = World("raise", "raise", "raise")
    world.work(rows=[0, 1, 2], splits=1)
    assert [(message.rows, message.splits) for message in world.sent] == [([0, 1, 2], 0)]


def test_a_delay_is_one_that_sqs_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen minutes, however many attempts a job has."""
    world = World("raise")
    monkeypatch.setattr(world.module, "ATTEMPTS", 50)
    jobs.find.cache_clear()
    world.work(attempt=40)
    assert world.delays() == [900]


def test_long_reasons_of_many_rows_take_several_messages() -> None:
    """None is larger than a queue takes, none is lost."""
    world = World(*["long"] * 2_000)
    world.work()
    assert len(world.sent) > 1
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in world.sqs.bodies[WORK])
    assert [row for message in world.sent for row in message.rows or []] == list(range(2_000))
    assert all(set(message.rows or []) == set(message.raised) for message in world.sent)


# Rows of a batch that is held.


def test_rows_of_a_paused_batch_go_back_as_they_are_and_wait() -> None:
    """None runs, none has used an attempt."""
    world = World("fine", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(Hold.PAUSED))
    message = world.message(rows=[0, 1], attempt=2, raised={1: "ValueError: no good"})
    assert world.worker().work(message, delivery()).returned == 2
    assert (world.sent, world.delays(), world.ran) == ([message], [60], [])


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_rows_of_a_batch_that_was_stopped_fail_with_that_reason(hold: Hold) -> None:
    """None runs."""
    world = World("fine", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(hold))
    world.work()
    assert {(found.outcome, found.code, found.tries, found.reason) for found in world.outcomes} == {
        (Outcome.FAILED, ReasonCode(hold), 0, f"the batch was stopped ({hold}) before this row was processed")
    }
    assert (len(world.outcomes), world.sent, world.ran) == (2, [], [])


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_row_of_a_stopped_batch_that_had_raised_keeps_its_real_reason(hold: Hold) -> None:
    """That it was stopped says nothing about what is wrong with the row."""
    world = World("raise", "raise")
    plant_batch(world.dynamodb, KEY.batch_id, hold=text(hold))
    world.work(rows=[0, 1], attempt=3, raised={1: "ValueError: no good"})
    stopped, raised = world.outcomes
    assert (stopped.code, stopped.tries) == (ReasonCode(hold), 2)
    assert (raised.code, raised.tries) == (ReasonCode.RAISED, 2)
    assert raised.reason.startswith("ValueError: no good")


# A message that comes again, and a worker that dies.


def _die(world: World, **message: Any) -> None:
    """Let a worker die after it has begun a message, before its first row."""
    assert killed(lambda: world.work(worker=world.worker(faults=at_call(1, Fault.KILLED_AFTER)), **message))
    assert world.ran == []


def test_a_message_that_comes_again_after_its_worker_died_is_taken_apart_and_not_run() -> None:
    """It may have killed it; its rows keep their attempt and what they raised."""
    world = World(*["fine"] * 10)
    message: dict[str, Any] = {"attempt": 2, "raised": {4: "ValueError: no good"}}
    _die(world, **message)
    done = world.work(receive_count=2, **message)
    assert done.sizes == {"finished": 0, "retried": 0, "returned": 10}
    assert [message.rows for message in world.sent] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [message.raised for message in world.sent] == [{}, {4: "ValueError: no good"}, {}]
    assert {(message.attempt, message.splits) for message in world.sent} == {(2, 1)}
    assert world.ran == []


def test_a_piece_that_comes_again_after_its_worker_died_is_taken_apart_into_single_rows() -> None:
    """Two levels, so that one poison row makes two times the square root of messages."""
    world = World(*["fine"] * 10)
    _die(world, rows=[4, 5, 6, 7], splits=1)
    world.work(receive_count=2, rows=[4, 5, 6, 7], splits=1)
    assert [message.rows for message in world.sent] == [[4], [5], [6], [7]]


@pytest.mark.parametrize("receive_count", [2, 3, 5, 30])
def test_a_message_that_lambda_throttled_is_run_like_a_new_one(receive_count: int) -> None:
    """Its receive count went up, and no worker ever saw it."""
    world = World(*["fine"] * 10)
    world.work(receive_count=receive_count)
    assert len(world.outcomes) == len(world.ran) == 10
    assert world.sent == []


def test_a_message_that_was_throttled_after_its_worker_died_is_taken_apart() -> None:
    """The throttled deliveries prove nothing, and disprove nothing."""
    world = World(*["fine"] * 10)
    _die(world)
    world.work(receive_count=4)
    assert (len(world.sent), world.ran) == (3, [])


def test_a_second_delivery_beside_a_worker_that_lives_is_run() -> None:
    """SQS may deliver a message twice at once: each is the first, and the other's mark is of a worker that lives."""
    world = World(*["fine"] * 10)
    _die(world)
    world.work(receive_count=1)
    assert (len(world.outcomes), world.sent) == (10, [])


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_worker_that_asks_for_another_delivery_did_not_die(fault: Fault) -> None:
    """SQS was out: the worker says so and takes its mark back, or the next delivery would split a healthy chunk."""
    world = World(*["fine"] * 10)
    with pytest.raises(RetryableError):
        world.work(worker=world.worker(faults=lambda call: fault if call == "send_message_batch" else Fault.NONE))
    world.sqs.bodies.clear()
    world.work(receive_count=2)
    assert (len(world.outcomes), world.sent) == (10, [])


def test_a_run_that_no_other_delivery_can_help_stays_proof() -> None:
    """What SQS refuses for good may be one row's outcome: split, it fails alone."""
    world = World(*["fine"] * 10)

    def refuse(operation: str) -> Fault:
        if operation == "send_message_batch":
            raise client_error("InvalidMessageContents")
        return Fault.NONE

    with pytest.raises(FatalError):
        world.work(worker=world.worker(faults=refuse))
    world.work(receive_count=2)
    assert len(world.sent) == 3


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
def test_a_mark_that_was_written_and_not_heard_of_is_one_run(fault: Fault) -> None:
    """The retry writes the same run once more: counted as two, it would prove a death that nobody died."""
    world = World(*["fine"] * 10)
    world.work(worker=world.worker(faults=at_call(1, fault)), receive_count=2)
    assert (len(world.outcomes), world.sent) == (10, [])


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_while_it_takes_its_mark_back_loses_no_row(fault: Fault, cut: int) -> None:
    """SQS refuses for now, and the worker dies at any call: its message comes again and is run or split."""
    world = World(*["fine"] * 4)
    position = itertools.count()

    def meet(operation: str) -> Fault:
        if next(position) == cut:
            return fault
        return Fault.ERROR_BEFORE if operation == "send_message_batch" else Fault.NONE

    with pytest.raises((RetryableError, Killed)):
        world.work(worker=world.worker(faults=meet))
    world.work(receive_count=2)
    named = {row for message in world.sent for row in message.rows or []}
    assert named | {outcome.row for outcome in world.outcomes} == set(range(4))


def test_a_message_that_was_moved_back_by_hand_is_run_like_a_new_one() -> None:
    """SQS gives it a new id: the mark of the old one says nothing about it."""
    world = World(*["fine"] * 10)
    _die(world)
    world.worker().work(world.message(), delivery(2, message_id="moved"))
    assert (len(world.outcomes), world.sent) == (10, [])


def test_an_old_message_with_its_mark_runs_nothing_after_a_redrive() -> None:
    """Its rows were sent again, with the new generation, in messages of their own."""
    world = World(*["fine"] * 10)
    _die(world)
    world.change_chunk(generation=number(2))
    assert world.work(receive_count=2) == Processed()
    world.worker().work(world.message(generation=2), delivery(message_id="of the redrive"))
    assert (len(world.outcomes), world.sent) == (10, [])


def test_a_row_alone_is_run_however_often_it_comes() -> None:
    """There is nothing to take apart; the queue's receive count ends it."""
    world = World("fine")
    world.work(receive_count=7)
    assert [outcome.outcome for outcome in world.outcomes] == [Outcome.SUCCEEDED]


def test_outcomes_are_sent_on_every_few_seconds() -> None:
    """What a crash makes to be done again is what was not sent: seconds of work, not a chunk."""
    world = World(*["fine"] * 25, seconds=lambda _: 0.4)
    world.work()
    sizes = [len(message.outcomes) for message in world.finished]
    assert len(sizes) > 1
    assert max(sizes) * 0.4 <= FLUSH_SECONDS + 0.4
    assert [outcome.row for outcome in world.outcomes] == list(range(25))
    assert {outcome.duration_ms for outcome in world.outcomes} <= {399, 400}


def test_a_crash_repeats_only_what_was_not_sent_on() -> None:
    """Counted meanwhile, the rows before it are not run again."""
    world = World(*["fine"] * 19, "killed", seconds=lambda _: 0.4)
    with pytest.raises(Killed):
        world.work()
    kept = [outcome.row for outcome in world.outcomes]
    assert kept == list(range(13))
    count_rows(world.dynamodb, KEY, *world.outcomes)
    world.work(receive_count=2)
    assert sorted(row for message in world.sent for row in message.rows or []) == list(range(13, 20))


def test_rows_that_raised_before_a_crash_wait_for_their_next_try() -> None:
    """They are sent with the outcomes of their time."""
    world = World("raise", *["fine"] * 15, "killed", seconds=lambda _: 0.4)
    with pytest.raises(Killed):
        world.work()
    assert [(message.rows, message.attempt) for message in world.sent] == [([0], 2)]


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_at_any_call_loses_no_row(fault: Fault, position: int) -> None:
    """The message was not acknowledged and comes again: each row is in a queue, whichever call was cut."""
    world = World("fine", "raise")
    assert killed(lambda: world.work(worker=world.worker(faults=at_call(position, fault))))
    world.work(receive_count=2)
    named = {row for message in world.sent for row in message.rows or []}
    assert named | {outcome.row for outcome in world.outcomes} == {0, 1}


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_fault_at_any_call_is_tried_again(fault: Fault, position: int) -> None:
    """Each row runs once; a message may be sent twice."""
    world = World("fine", "raise")
    world.work(worker=world.worker(faults=at_call(position, fault)))
    assert world.ran == ["fine", "raise"]
    assert {outcome.row for outcome in world.outcomes} == {0}
    assert {tuple(message.rows or []) for message in world.sent} == {(1,)}


# The deadline.


def test_near_the_deadline_the_rows_that_are_left_go_back_unharmed() -> None:
    """A row is begun if the longest so far would still fit; one always runs, or they would go back for ever."""
    world = World(*["fine"] * 5, seconds=lambda _: 4.0)
    done = world.work(attempt=2, worker=world.worker(remaining_seconds=lambda: 11.0 - world.now), rows=[0, 1, 2, 3, 4])
    assert [outcome.row for outcome in world.outcomes] == [0, 1]
    assert [(message.rows, message.attempt) for message in world.sent] == [([2, 3, 4], 2)]
    assert done.sizes == {"finished": 2, "retried": 0, "returned": 3}


def test_a_row_runs_although_there_is_no_time_left() -> None:
    """Otherwise a row that is longer than what its message leaves would never run."""
    world = World("fine", "fine")
    done = world.work(worker=world.worker(remaining_seconds=lambda: -1.0))
    assert (done.finished, done.returned) == (1, 1)


@given(
    rows=st.lists(st.sampled_from(["fine", "raise", "permanent", "none"]), min_size=1, max_size=12),
    attempt=st.integers(1, 4),
    left=st.integers(0, 60),
    seconds=st.integers(0, 12),
)
def test_every_row_of_a_message_has_an_outcome_or_is_in_one_message(
    rows: list[str], attempt: int, left: int, seconds: int
) -> None:
    """Whatever its attempt, however slow it is and whenever the time is up."""
    world = World(*rows, seconds=lambda _: seconds)
    done = world.work(attempt=attempt, worker=world.worker(remaining_seconds=lambda: left - world.now))
    back = [row for message in world.sent for row in message.rows or []]
    assert sorted([outcome.row for outcome in world.outcomes] + back) == list(range(len(rows)))
    assert done.finished + done.retried + done.returned == len(rows)
