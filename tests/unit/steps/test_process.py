"""Process: the job's function, row by row; what it does to one row it cannot do to another."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import jobs
from chalicelib.errors import FatalError, UnknownOutcomeError
from chalicelib.retry import Retry
from chalicelib.steps.process import Processed, Processor
from chalicelib.store.batch import Hold
from chalicelib.store.items import ChunkKey, Outcome, Record, text
from chalicelib.transport.messages import MAX_MESSAGE_BYTES, FinishedMessage, FinishedRow, WorkMessage, WorkRow, decode
from tests.support.builders import RETRY, Requests, at_call, deployed_job, faulty, killed, plant_batch, table
from tests.support.faults import Fault, Killed
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemorySQS

URL = "http://127.0.0.1/finished"
WORK = "http://127.0.0.1/work"
BATCH = "moody-1"
LAST = 3
"""The attempt at which a row that raises fails; so that these tests need not say each time that it is the last."""
JOB = """
import sys
from chalicelib import rows
from chalicelib.errors import PermanentError
from tests.support.faults import Killed

ran = []
ATTEMPTS = 3

class Row(rows.Row):
    what: str

class Mute(Exception):
    def __str__(self):
        raise ValueError("an error that cannot say what it is")

def process(row):
    ran.append(row.what)
    match row.what:
        case "permanent":
            raise PermanentError("never")
        case "raise":
            raise ValueError("no good")
        case "exit":
            sys.exit(3)
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


def _table() -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    plant_batch(made, BATCH)
    return made


def _processor(dynamodb: Any = None, sqs: Any = None, **given: Any) -> Processor:
    return Processor(
        **{
            "table": table(dynamodb or _table()),
            "sqs": sqs or MemorySQS(),
            "queue_url": WORK,
            "finished_queue_url": URL,
            "retry": RETRY,
            "random": lambda _, high: high,
            **given,
        }
    )


def _message(*rows: str, attempt: int = 1) -> WorkMessage:
    encoded = [msgspec.json.encode({"what": what}) for what in rows]
    return WorkMessage(BATCH, [WorkRow(3, row, msgspec.Raw(data), attempt) for row, data in enumerate(encoded)])


def _process(*rows: str) -> list[FinishedRow]:
    done = _processor().process(_message(*rows, attempt=LAST))
    assert not done.again
    assert not done.rest
    return done.finished


def _ran() -> list[str]:
    """Return the rows that the job has run on, in order."""
    return list(sys.modules["chalicelib.jobs.moody"].ran) if "chalicelib.jobs.moody" in sys.modules else []


def _sent(sqs: MemorySQS) -> list[WorkMessage]:
    return [decode(body, WorkMessage) for body in sqs.bodies[WORK]]


def _outcomes(sqs: MemorySQS) -> list[FinishedRow]:
    return [row for body in sqs.bodies[URL] for row in decode(body, FinishedMessage).rows]


def test_a_row_succeeds_with_what_the_job_returns() -> None:
    """The result travels as JSON; the row knows the name that it has for ever."""
    (finished,) = _process("fine")
    assert (finished.chunk, finished.outcome.row, finished.outcome.outcome) == (3, 0, Outcome.SUCCEEDED)
    assert msgspec.json.decode(finished.outcome.result) == {"what": "fine", "key": "moody-1#000003#000000"}


def test_a_job_that_returns_nothing_has_the_result_null() -> None:
    """It succeeded all the same."""
    (finished,) = _process("none")
    assert (finished.outcome.outcome, bytes(finished.outcome.result)) == (Outcome.SUCCEEDED, b"null")


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("raise", "ValueError: no good"),
        ("exit", "SystemExit: 3"),
        ("deep", "RecursionError: "),
        ("unencodable", "TypeError: "),
        ("surrogate result", "UnicodeEncodeError: "),
        ("surrogate", "OSError: no such file: "),
        ("mute", "Mute"),
    ],
)
def test_a_row_that_the_job_chokes_on_fails_alone(what: str, error: str) -> None:
    """Whatever it raises, returns or prints of itself: the rows before and after it succeed, and all can be sent."""
    sqs = MemorySQS()
    processor = _processor(sqs=sqs)
    finished = processor.process(_message("before", what, "after", attempt=LAST)).finished
    assert [row.outcome.outcome for row in finished] == [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert finished[1].outcome.error.startswith(error)
    assert processor.send(BATCH, finished) == 1
    assert [row.outcome.row for body in sqs.bodies[URL] for row in decode(body, FinishedMessage).rows] == [0, 1, 2]


def test_a_data_that_no_longer_fits_the_job_fails_the_row() -> None:
    """A deployment changed its columns meanwhile: the reason says so."""
    rows = [WorkRow(0, 0, msgspec.Raw(b'{"other":1}'), LAST), WorkRow(0, 1, msgspec.Raw(b'{"what":"fine"}'))]
    first, second = _processor().process(WorkMessage(BATCH, rows)).finished
    assert first.outcome.outcome is Outcome.FAILED
    assert first.outcome.error.startswith("ValidationError: ")
    assert second.outcome.outcome is Outcome.SUCCEEDED


def test_a_long_error_is_cut() -> None:
    """Its beginning says what is wrong; a thousand of them still fit into a transaction."""
    (finished,) = _process("long")
    assert len(finished.outcome.error) == 1_000


@pytest.mark.parametrize(("length", "outcome"), [(261_000, Outcome.SUCCEEDED), (MAX_MESSAGE_BYTES, Outcome.FAILED)])
def test_a_result_larger_than_a_message_fails_its_row(length: int, outcome: Outcome) -> None:
    """The largest that fits is sent, the others are not held up."""
    sqs = MemorySQS()
    processor = _processor(sqs=sqs)
    finished = processor.process(_message(str(length), "fine")).finished
    assert [row.outcome.outcome for row in finished] == [outcome, Outcome.SUCCEEDED]
    assert ("the job's result is too large: 262,146 bytes" in finished[0].outcome.error) is (outcome is Outcome.FAILED)
    processor.send(BATCH, finished)
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in sqs.bodies[URL])


def test_a_row_without_its_data_is_read_from_the_table() -> None:
    """It was too large for the message."""
    dynamodb = _table()
    record = Record(chunk=ChunkKey(BATCH, 3), row=5, line=2, data='{"what":"large"}')
    table(dynamodb).write_all([record.to_item(expires_at=1)])
    (finished,) = _processor(dynamodb).process(WorkMessage(BATCH, [WorkRow(3, 5)])).finished
    assert msgspec.json.decode(finished.outcome.result) == {"what": "large", "key": "moody-1#000003#000005"}


def test_a_row_whose_record_has_expired_fails_with_that_reason() -> None:
    """It has an outcome, and so has its batch an end."""
    (finished,) = _processor().process(WorkMessage(BATCH, [WorkRow(3, 5)])).finished
    assert (finished.outcome.outcome, finished.outcome.error) == (
        Outcome.FAILED,
        "its record is no longer in the table",
    )


def test_a_table_that_cannot_be_read_fails_no_row() -> None:
    """It is no row's fault: the message comes again."""
    calls = iter([Fault.NONE])  # the batch is read, the row is not
    broken = faulty(_table(), lambda _: next(calls, Fault.ERROR_BEFORE))
    with pytest.raises(UnknownOutcomeError):
        _processor(broken).process(WorkMessage(BATCH, [WorkRow(3, 5)]))


def test_a_job_that_is_not_deployed_fails_no_row() -> None:
    """Deploying it again mends all of them."""
    with pytest.raises(FatalError, match="the job 'gone', which this deployment does not have"):
        _processor().process(WorkMessage("gone-1", _message("fine").rows))


def test_the_end_of_the_worker_is_no_outcome_of_a_row() -> None:
    """The message comes again; a row is not failed for it."""
    with pytest.raises(Killed):
        _process("killed")


def test_outcomes_are_packed_a_thousand_to_a_message() -> None:
    """Ten transactions of the ledger are seconds of work at the worst."""
    sqs = MemorySQS()
    finished = _process(*["fine"] * 2_001)
    assert _processor(sqs=sqs).send(BATCH, finished) == 3
    messages = [decode(body, FinishedMessage) for body in sqs.bodies[URL]]
    assert {message.batch for message in messages} == {"moody-1"}
    assert [len(message.rows) for message in messages] == [1_000, 1_000, 1]
    assert [row.outcome.row for message in messages for row in message.rows] == list(range(2_001))


def test_a_row_that_is_processed_twice_has_the_same_name_both_times() -> None:
    """By which the job's own side effects tell."""
    keys = [msgspec.json.decode(_process("fine")[0].outcome.result)["key"] for _ in range(2)]
    assert len(set(keys)) == 1


def test_a_row_that_raises_is_tried_again_as_often_as_its_job_says() -> None:
    """The row goes back with its attempt counted, the others are done; the last attempt is its outcome."""
    sqs = MemorySQS()
    processor = _processor(sqs=sqs)
    message = _message("before", "raise", "after")
    for attempt in (2, 3):
        processor.work(message, receive_count=1)
        message = _sent(sqs)[-1]
        assert [(row.row, row.attempt) for row in message.rows] == [(1, attempt)]
    assert [row.outcome.row for row in _outcomes(sqs)] == [0, 2]
    processor.work(message, receive_count=1)
    assert len(_sent(sqs)) == 2, "no fourth attempt"
    assert (_outcomes(sqs)[-1].outcome.row, _outcomes(sqs)[-1].outcome.outcome) == (1, Outcome.FAILED)
    assert _outcomes(sqs)[-1].outcome.error == "ValueError: no good"
    assert _ran() == ["before", "raise", "after", "raise", "raise"]


@pytest.mark.parametrize("what", ["exit", "deep", "unencodable", "mute"])
def test_whatever_a_job_raises_is_tried_again(what: str) -> None:
    """Nobody knows which of them a second try would meet."""
    done = _processor().process(_message(what))
    assert [(row.row, row.attempt) for row in done.again] == [(0, 2)]
    assert done.finished == []


def test_a_permanent_error_fails_its_row_at_once() -> None:
    """The job knows that a second try is no help."""
    sqs = MemorySQS()
    _processor(sqs=sqs).work(_message("permanent", "fine"), receive_count=1)
    first, second = _outcomes(sqs)
    assert (first.outcome.outcome, first.outcome.error) == (Outcome.FAILED, "PermanentError: never")
    assert second.outcome.outcome is Outcome.SUCCEEDED
    assert not sqs.bodies[WORK]


def test_rows_that_raise_wait_together_longer_each_time_and_never_longer_than_sqs_delays() -> None:
    """Full jitter below 2 s * 2 ** attempt, at most 900 s; one message for all rows of an attempt."""
    requests = Requests(MemorySQS())
    mixed = [*_message("raise", "raise").rows, *_message("raise", attempt=2).rows]
    _processor(sqs=requests).work(WorkMessage(BATCH, mixed), receive_count=1)
    entries = [entry for request in requests.of("send_message_batch") for entry in request["Entries"]]
    rows = [[row.attempt for row in decode(entry["MessageBody"], WorkMessage).rows] for entry in entries]
    assert [(entry["DelaySeconds"], attempts) for entry, attempts in zip(entries, rows, strict=True)] == [
        (8, [2, 2]),
        (16, [3]),
    ]


def test_a_delay_is_one_that_sqs_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen minutes, however many attempts a job has."""
    module = sys.modules[jobs.require("moody").process.__module__]
    monkeypatch.setattr(module, "ATTEMPTS", 50)
    jobs.find.cache_clear()
    requests = Requests(MemorySQS())
    _processor(sqs=requests).work(_message("raise", attempt=40), receive_count=1)
    (request,) = requests.of("send_message_batch")
    assert request["Entries"][0]["DelaySeconds"] == 900


def test_a_pack_that_comes_a_second_time_is_taken_apart_and_not_run() -> None:
    """It may have killed its worker: each row goes in a message of its own, its attempt as it was."""
    sqs = MemorySQS()
    done = _processor(sqs=sqs).work(_message("fine", "killed", "fine", attempt=2), receive_count=2)
    assert done.sizes == {"finished": 0, "again": 0, "rest": 3}
    assert [[(row.row, row.attempt) for row in message.rows] for message in _sent(sqs)] == [
        [(0, 2)],
        [(1, 2)],
        [(2, 2)],
    ]
    assert not sqs.bodies[URL]
    assert _ran() == []


def test_a_row_alone_is_run_however_often_it_comes() -> None:
    """There is nothing to take apart; the queue's receive count ends it."""
    sqs = MemorySQS()
    _processor(sqs=sqs).work(_message("fine"), receive_count=7)
    assert [row.outcome.outcome for row in _outcomes(sqs)] == [Outcome.SUCCEEDED]


def test_near_the_deadline_the_rows_that_are_left_go_back_unharmed() -> None:
    """One row always runs, or they would go back for ever; a row is begun if the longest so far would still fit."""
    now = [0.0]

    def clock() -> float:
        now[0] += 5  # each row takes 5 s: the clock is read before and after it
        return now[0]

    sqs = MemorySQS()
    hurried = Retry(sleep=lambda _: None, remaining_seconds=lambda: 24 - now[0])
    processor = _processor(sqs=sqs, retry=hurried, clock=clock)
    done = processor.work(_message(*["fine"] * 5, attempt=2), receive_count=1)
    assert [row.outcome.row for row in done.finished] == [0, 1]
    assert [(row.row, row.attempt) for row in done.rest] == [(2, 2), (3, 2), (4, 2)]
    (message,) = _sent(sqs)
    assert message.rows == done.rest
    assert [row.outcome.ms for row in done.finished] == [5_000, 5_000]


def test_a_row_runs_although_there_is_no_time_left() -> None:
    """Otherwise a row that is longer than what its pack leaves would never run."""
    late = Retry(sleep=lambda _: None, remaining_seconds=lambda: -1.0)
    done = _processor(retry=late).process(_message("fine", "fine"))
    assert (len(done.finished), len(done.rest)) == (1, 1)


def test_rows_of_a_paused_batch_go_back_and_wait() -> None:
    """None runs, none has used an attempt."""
    dynamodb, requests = _table(), Requests(MemorySQS())
    plant_batch(dynamodb, BATCH, hold=text(Hold.PAUSED))
    done = _processor(dynamodb, requests).work(_message("fine", "raise", attempt=2), receive_count=1)
    assert [(row.row, row.attempt) for row in done.rest] == [(0, 2), (1, 2)]
    (request,) = requests.of("send_message_batch")
    assert (request["QueueUrl"], request["Entries"][0]["DelaySeconds"]) == (WORK, 60)
    assert _ran() == []


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_rows_of_a_batch_that_was_stopped_fail_with_that_reason(hold: Hold) -> None:
    """None runs."""
    dynamodb, sqs = _table(), MemorySQS()
    plant_batch(dynamodb, BATCH, hold=text(hold))
    _processor(dynamodb, sqs).work(_message("fine", "raise"), receive_count=1)
    assert {(row.outcome.outcome, row.outcome.error) for row in _outcomes(sqs)} == {
        (Outcome.FAILED, f"{hold}: the batch was stopped before this row was processed")
    }
    assert len(_outcomes(sqs)) == 2
    assert not sqs.bodies[WORK]
    assert _ran() == []


def test_rows_of_a_batch_that_was_deleted_are_no_failures() -> None:
    """There is nothing that they could be counted in: the message becomes a dead letter, which alarms."""
    with pytest.raises(FatalError, match="moody-1 is not in the table"):
        _processor(MemoryDynamoDB()).process(_message("fine"))


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_while_it_sends_loses_no_row(fault: Fault, position: int) -> None:
    """The message was not acknowledged and comes again: each row is in a queue, whichever send was cut."""
    sqs = MemorySQS()
    message = _message("fine", "raise")
    dying = _processor(sqs=faulty(sqs, at_call(position, fault)))
    assert killed(lambda: dying.work(message, receive_count=1))
    _processor(sqs=sqs).work(message, receive_count=2)
    assert {row.row for sent in _sent(sqs) for row in sent.rows} == {0, 1}


@given(rows=st.lists(st.sampled_from(["fine", "raise", "permanent", "none"]), min_size=1, max_size=12), data=st.data())
def test_every_row_of_a_message_is_in_exactly_one_list(rows: list[str], data: st.DataObject) -> None:
    """Whatever its attempt and whenever the time is up."""
    attempts = [data.draw(st.integers(1, 4)) for _ in rows]
    left = data.draw(st.integers(0, 12))
    seconds = iter(range(1_000))
    hurried = Retry(sleep=lambda _: None, remaining_seconds=lambda: left - next(seconds) * 2)
    made = [msgspec.structs.replace(row, attempt=n) for row, n in zip(_message(*rows).rows, attempts, strict=True)]
    done = _processor(retry=hurried, clock=lambda: next(seconds)).process(WorkMessage(BATCH, made))
    assert sorted(_rows_of(done)) == list(range(len(rows)))


def _rows_of(done: Processed) -> list[int]:
    return [row.outcome.row for row in done.finished] + [row.row for row in [*done.again, *done.rest]]
