"""The note on rows that wait: how many, for which try, until when and why; nothing is decided by it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chalicelib.steps.process import Processor
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, number, waiting_sk
from chalicelib.store.repository import Repository
from chalicelib.store.waiting import Waiting, note_waiting
from chalicelib.transport.messages import WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    NOW,
    RETRY,
    Time,
    calls_of,
    chunk_of,
    count_rows,
    delivery,
    deployed_job,
    faulty,
    plant_batch,
    plant_rows,
    starts,
    succeeded,
    table,
)

KEY = ChunkKey("late-1", 0)
JOB = """
from chalicelib import rows

class Row(rows.Row):
    what: str

def process(row):
    raise ValueError(f"{row.what} is not there")
"""


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MemoryDynamoDB]:
    """Give a table with a chunk of three rows that all raise."""
    made = MemoryDynamoDB()
    plant_batch(made, KEY.batch_id)
    plant_rows(made, KEY, ["what"], [["a"], ["b"], ["c"]])
    with deployed_job(monkeypatch, tmp_path, "late", JOB):
        yield made


def _note(dynamodb: MemoryDynamoDB, raised: dict[int, str], *, attempt: int = 2, time: Time | None = None) -> None:
    chunk = chunk_of(dynamodb, KEY)
    note_waiting(table(dynamodb), chunk, raised, attempt=attempt, delay_seconds=8, clock=time or Time())


def _waiting(dynamodb: MemoryDynamoDB, generation: int = 1) -> Waiting:
    return Waiting.from_item(dynamodb.items[KEY.pk, waiting_sk(generation)])


def _processor(dynamodb: MemoryDynamoDB, sqs: MemorySQS) -> Processor:
    return Processor(
        table=table(dynamodb),
        sqs=faulty(sqs, lambda _: Fault.NONE),
        queue_url="work",
        finished_queue_url="finished",
        retry=RETRY,
        starts=starts(dynamodb),
        random=lambda _, high: high,
    )


def test_rows_that_raised_are_noted_with_their_try_and_reason(dynamodb: MemoryDynamoDB) -> None:
    """Otherwise a batch looks hung while some of its rows wait."""
    sqs = MemorySQS()
    message = WorkMessage(batch=KEY.batch_id, chunk=KEY.number, generation=1, rows=[0, 2])
    _processor(dynamodb, sqs).work(message, delivery())
    noted = _waiting(dynamodb)
    assert (noted.rows, noted.attempt) == (RowBits.of([0, 2]), 2)
    assert noted.reason == "ValueError: a is not there"
    (again,) = [decode(body, WorkMessage) for body in sqs.bodies["work"]]
    assert again.rows == list(noted.rows)


def test_a_note_says_when_the_next_try_is_due(dynamodb: MemoryDynamoDB) -> None:
    """In seconds since 1970, as far as the delay that SQS was asked for."""
    _note(dynamodb, {1: "no"})
    assert _waiting(dynamodb).due_at == int((NOW + timedelta(seconds=8)).timestamp())


def test_rows_of_several_messages_are_in_one_note(dynamodb: MemoryDynamoDB) -> None:
    """The latest of them says which try, when and why; no row is forgotten for it."""
    time = Time()
    _note(dynamodb, {0: "first", 1: "first"}, time=time)
    time.pass_by(100)
    _note(dynamodb, {2: "second"}, attempt=3, time=time)
    noted = _waiting(dynamodb)
    assert (noted.rows, noted.attempt, noted.reason) == (RowBits.of([0, 1, 2]), 3, "second")
    assert noted.due_at == int((NOW + timedelta(seconds=108)).timestamp())


def test_a_redrive_begins_another_note(dynamodb: MemoryDynamoDB) -> None:
    """Rows that waited before it are overtaken, and would never leave the note."""
    _note(dynamodb, {0: "before"})
    dynamodb.items[KEY.pk, "chunk"]["generation"] = number(2)
    _note(dynamodb, {1: "after"})
    assert _waiting(dynamodb, 1).rows == RowBits.of([0])
    assert _waiting(dynamodb, 2).rows == RowBits.of([1])


def test_rows_that_were_counted_meanwhile_are_told_by_the_chunk(dynamodb: MemoryDynamoDB) -> None:
    """Nobody takes them out of the note: who reads it takes away what is done."""
    _note(dynamodb, {0: "no", 1: "no"})
    count_rows(dynamodb, KEY, succeeded(0))
    assert list(_waiting(dynamodb).rows - chunk_of(dynamodb, KEY).done) == [1]


def test_a_note_touches_neither_the_chunk_nor_its_version(dynamodb: MemoryDynamoDB) -> None:
    """It never meets a transaction of the ledger, so it cannot make one wait."""
    before = chunk_of(dynamodb, KEY)
    length = len(dynamodb.stream)
    _note(dynamodb, {0: "no"})
    assert chunk_of(dynamodb, KEY) == before
    (change,) = dynamodb.stream[length:]
    assert change["dynamodb"]["Keys"]["sk"] != {"S": "chunk"}


def test_a_note_costs_one_write_whatever_its_rows(dynamodb: MemoryDynamoDB) -> None:
    """And goes with time: a day after the last row began to wait."""

    def note(faults: Callable[[str], Fault]) -> None:
        chunk = chunk_of(dynamodb, KEY)
        raised = dict.fromkeys(range(500), "no")
        note_waiting(table(faulty(dynamodb, faults)), chunk, raised, attempt=2, delay_seconds=8, clock=Time())

    assert calls_of(note) == ["update_item"]
    item = dynamodb.items[KEY.pk, waiting_sk(1)]
    assert int(item["expires_at"]["N"]) == int((NOW + timedelta(days=1)).timestamp())


def test_a_long_reason_is_cut(dynamodb: MemoryDynamoDB) -> None:
    """The note is for a line of a screen."""
    _note(dynamodb, {0: "x" * 5_000})
    assert len(_waiting(dynamodb).reason) == 200


def test_a_note_is_no_chunk_marker_or_page(dynamodb: MemoryDynamoDB) -> None:
    """It lies in the same partition, and nobody who counts comes across it."""
    _note(dynamodb, {0: "no"})
    repository = Repository(table=table(dynamodb))
    assert repository.markers(KEY) == []
    assert len(list(repository.require_work(KEY).stored())) == 3
