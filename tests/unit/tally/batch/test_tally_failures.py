"""The top reasons of a batch: read in bounded time, again only where something moved, and shown while it runs."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.marker import ReasonCode, unsuccessful
from tally.batch import failures
from tally.batch.failures import Sampler, Top
from tally.batch.reader import Progress, Reader
from tally.batch.watch import Watch
from tally.output import Output
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, count_rows, plant_batch, plant_rows

BATCH = "mixed-1"
CHUNKS = 3


@pytest.fixture
def dynamodb() -> MemoryDynamoDB:
    """Return a table with a batch under way: of each chunk row 0 has failed."""
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, BATCH, chunks=CHUNKS)
    for at in range(CHUNKS):
        plant_rows(dynamodb, ChunkKey(BATCH, at), ["kind"], [["a"], ["b"], ["c"]])
        count(dynamodb, at, 0)
    return dynamodb


def count(dynamodb: MemoryDynamoDB, chunk: int, row: int) -> None:
    reason = f"ValueError: no rate on day {row}"
    count_rows(dynamodb, ChunkKey(BATCH, chunk), unsuccessful(row, Outcome.FAILED, ReasonCode.RAISED, reason, line=2))


def reader(client: Any) -> Reader:
    return Reader(dynamodb=client, table="tally-test", sleep=lambda _: None)


def progress(dynamodb: MemoryDynamoDB) -> Progress:
    found = reader(dynamodb).progress(BATCH)
    assert found is not None
    return found


def test_only_chunks_that_moved_are_read_again(dynamodb: MemoryDynamoDB) -> None:
    requests = Requests(dynamodb)
    sampler = Sampler(reader(requests))
    assert [group.rows for group in sampler.top(progress(dynamodb)).groups] == [3]
    assert len(requests.made) == CHUNKS
    assert [group.rows for group in sampler.top(progress(dynamodb)).groups] == [3]
    assert len(requests.made) == CHUNKS
    count(dynamodb, 1, 1)
    assert sampler.top(progress(dynamodb)).lines == ["4 failed: ValueError: no rate on day *"]
    assert len(requests.made) == CHUNKS + 1


def test_a_batch_without_failures_is_not_asked_for_reasons() -> None:
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, BATCH)
    plant_rows(dynamodb, ChunkKey(BATCH, 0), ["kind"], [["a"]])
    requests = Requests(dynamodb)
    assert Sampler(reader(requests)).top(progress(dynamodb)) == Top()
    assert requests.made == []


def test_a_summary_reads_some_of_many_chunks_and_says_so(
    dynamodb: MemoryDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_SAMPLED_CHUNKS", 2)
    assert Sampler(reader(dynamodb)).top(progress(dynamodb)).lines == [
        "2 failed: ValueError: no rate on day *",
        "(of 2 of 3 chunks with such rows: `tally failures ID` reads all)",
    ]


def test_a_look_reads_a_few_chunks_and_the_next_one_others(dynamodb: MemoryDynamoDB) -> None:
    requests = Requests(dynamodb)
    sampler = Sampler(reader(requests))
    assert [sampler.top(progress(dynamodb), 1).read for _ in range(4)] == [1, 2, 3, 3]
    assert len(requests.made) == CHUNKS
    for at in range(CHUNKS):
        count(dynamodb, at, 1)
    assert [sampler.top(progress(dynamodb), 1).groups[0].rows for _ in range(4)] == [4, 5, 6, 6]


def test_reasons_that_have_expired_are_not_no_reasons(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The markers go with the rows; the batch and its counters stay."""
    batch = Reader(dynamodb=finished, table="tally-test").require("b")
    failures.show(Output.make(as_json=False), batch, failures.read(reader(finished), []), "test")
    assert "The reasons have expired with the rows." in capsys.readouterr().out


def test_reasons_are_shown_while_a_batch_is_watched(dynamodb: MemoryDynamoDB) -> None:
    shown = StringIO()
    console = Console(file=shown, width=100, force_terminal=True, color_system=None)
    output = Output(console=console, as_json=False)
    watch = Watch(
        reader=reader(dynamodb),
        output=output,
        where_to_look="THE LOGS",
        come_back=lambda batch: f"tally status {batch} --watch --stage dev",
    )
    watch._meter.add(0.0, 0)
    console.print(watch._picture(progress(dynamodb)))
    assert "3 failed: ValueError: no rate on day *" in shown.getvalue()
