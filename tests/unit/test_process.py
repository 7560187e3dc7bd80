"""Process: the job's function, row by row; what it does to one row it cannot do to another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib.errors import FixItError, UnknownOutcomeError
from chalicelib.items import ChunkKey, Outcome, Record
from chalicelib.messages import MAX_MESSAGE_BYTES, FinishedMessage, FinishedRow, WorkMessage, WorkRow, decode
from chalicelib.process import Processor
from tests.support.builders import RETRY, deployed_job, faulty, table
from tests.support.faults import Fault, Killed
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemorySQS

URL = "http://127.0.0.1/finished"
JOB = """
import sys
from chalicelib import rows
from tests.support.faults import Killed

class Row(rows.Row):
    what: str

class Mute(Exception):
    def __str__(self):
        raise ValueError("an error that cannot say what it is")

def process(row):
    match row.what:
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


def _processor(dynamodb: Any = None, sqs: MemorySQS | None = None) -> Processor:
    client: Any = sqs or MemorySQS()
    return Processor(table=table(dynamodb or MemoryDynamoDB()), sqs=client, finished_queue_url=URL, retry=RETRY)


def _message(*rows: str) -> WorkMessage:
    encoded = [msgspec.json.encode({"what": what}) for what in rows]
    return WorkMessage("moody-1", [WorkRow(3, row, msgspec.Raw(data)) for row, data in enumerate(encoded)])


def _process(*rows: str) -> list[FinishedRow]:
    return _processor().process(_message(*rows))


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
    finished = processor.process(_message("before", what, "after"))
    assert [row.outcome.outcome for row in finished] == [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert finished[1].outcome.error.startswith(error)
    assert processor.send("moody-1", finished) == 1
    assert [row.outcome.row for body in sqs.bodies[URL] for row in decode(body, FinishedMessage).rows] == [0, 1, 2]


def test_a_data_that_no_longer_fits_the_job_fails_the_row() -> None:
    """A deployment changed its columns meanwhile: the reason says so."""
    rows = [WorkRow(0, 0, msgspec.Raw(b'{"other":1}')), WorkRow(0, 1, msgspec.Raw(b'{"what":"fine"}'))]
    first, second = _processor().process(WorkMessage("moody-1", rows))
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
    finished = processor.process(_message(str(length), "fine"))
    assert [row.outcome.outcome for row in finished] == [outcome, Outcome.SUCCEEDED]
    assert ("the job's result is too large: 262,146 bytes" in finished[0].outcome.error) is (outcome is Outcome.FAILED)
    processor.send("moody-1", finished)
    assert all(len(body.encode()) <= MAX_MESSAGE_BYTES for body in sqs.bodies[URL])


def test_a_row_without_its_data_is_read_from_the_table() -> None:
    """It was too large for the message."""
    dynamodb = MemoryDynamoDB()
    record = Record(chunk=ChunkKey("moody-1", 3), row=5, line=2, data='{"what":"large"}')
    table(dynamodb).write_all([record.to_item(expires_at=1)])
    (finished,) = _processor(dynamodb).process(WorkMessage("moody-1", [WorkRow(3, 5)]))
    assert msgspec.json.decode(finished.outcome.result) == {"what": "large", "key": "moody-1#000003#000005"}


def test_a_row_whose_record_has_expired_fails_with_that_reason() -> None:
    """It has an outcome, and so has its batch an end."""
    (finished,) = _processor().process(WorkMessage("moody-1", [WorkRow(3, 5)]))
    assert (finished.outcome.outcome, finished.outcome.error) == (
        Outcome.FAILED,
        "its record is no longer in the table",
    )


def test_a_table_that_cannot_be_read_fails_no_row() -> None:
    """It is no row's fault: the message comes again."""
    broken = faulty(MemoryDynamoDB(), lambda _: Fault.ERROR_BEFORE)
    with pytest.raises(UnknownOutcomeError):
        _processor(broken).process(WorkMessage("moody-1", [WorkRow(3, 5)]))


def test_a_job_that_is_not_deployed_fails_no_row() -> None:
    """Deploying it again mends all of them."""
    with pytest.raises(FixItError, match="the job 'gone', which this deployment does not have"):
        _processor().process(WorkMessage("gone-1", _message("fine").rows))


def test_the_end_of_the_worker_is_no_outcome_of_a_row() -> None:
    """The message comes again; a row is not failed for it."""
    with pytest.raises(Killed):
        _process("killed")


def test_outcomes_are_packed_a_thousand_to_a_message() -> None:
    """Ten transactions of the ledger are seconds of work at the worst."""
    sqs = MemorySQS()
    finished = _processor().process(_message(*["fine"] * 2_001))
    assert _processor(sqs=sqs).send("moody-1", finished) == 3
    messages = [decode(body, FinishedMessage) for body in sqs.bodies[URL]]
    assert {message.batch for message in messages} == {"moody-1"}
    assert [len(message.rows) for message in messages] == [1_000, 1_000, 1]
    assert [row.outcome.row for message in messages for row in message.rows] == list(range(2_001))


def test_a_row_that_is_processed_twice_has_the_same_name_both_times() -> None:
    """By which the job's own side effects tell."""
    keys = [msgspec.json.decode(_process("fine")[0].outcome.result)["key"] for _ in range(2)]
    assert len(set(keys)) == 1
