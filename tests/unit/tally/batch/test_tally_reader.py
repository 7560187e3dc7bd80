"""Reading batches: what is read, and what is not read again."""

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, Item, bits, number, text, waiting_sk
from chalicelib.store.table import Table
from chalicelib.store.waiting import note_waiting
from tally.batch.reader import Progress, Reader
from tally.cli import run
from tally.errors import ExitCode, OperatorError
from tests.support.builders import RETRY
from tests.unit.tally import finished_batch
from tests.unit.tally.finished_batch import change

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tally.stages.stage import Stage

TABLE = "tally-test"


def batch(name: str = "b", **changes: Any) -> Batch:
    made = Batch(
        id=name,
        job="transactions",
        source=Source(bucket="inbox", key="inbox/transactions/a.csv", version_id="v", etag="e"),
        size=1,
        status=BatchStatus.RUNNING,
        created_at="2026-03-01T00:00:00.000000+00:00",
        expires_at=1,
        chunk_rows=500,
        chunk_bytes=1000,
    )
    return replace(made, **changes)


def put_batch(dynamodb: "DynamoDBClient", made: Batch, chunks: int | None = None) -> None:
    item = made.to_item()
    dynamodb.put_item(TableName=TABLE, Item=item if chunks is None else item | {"chunks": number(chunks)})


def put_chunks(dynamodb: "DynamoDBClient", numbers: range, *, closed: bool = False, batch_id: str = "b") -> None:
    for position in numbers:
        item = Chunk(key=ChunkKey(batch_id, position), start=0, end=1, first_line=2, expected_rows=3).to_item()
        if closed:
            item |= {"state": text(ChunkState.CLOSED), "succeeded": number(3)}
        dynamodb.put_item(TableName=TABLE, Item=item)


@dataclass
class Counting:
    """A client that counts the keys it is asked for, and holds some back the first time if told to."""

    dynamodb: "DynamoDBClient"
    hold_back: int = 0
    asked: list[int] = field(default_factory=list)

    def get_item(self, **request: Any) -> Any:
        return self.dynamodb.get_item(**request)

    def batch_get_item(self, **request: Any) -> Any:
        keys = request["RequestItems"][TABLE]["Keys"]
        self.asked.append(len(keys))
        held, self.hold_back = self.hold_back, 0
        answer: dict[str, Any] = {"Responses": {TABLE: []}}
        if len(keys) > held:
            served: Any = {TABLE: {"Keys": keys[held:], "ConsistentRead": True}}
            answer = {**self.dynamodb.batch_get_item(RequestItems=served)}
        answer["UnprocessedKeys"] = {TABLE: {"Keys": keys[:held]}} if held else {}
        return answer


def counting(dynamodb: "DynamoDBClient", **options: Any) -> tuple[Counting, Reader]:
    client = Counting(dynamodb, **options)
    return client, Reader(dynamodb=client, table=TABLE, sleep=lambda _seconds: None)  # type: ignore[arg-type]


def progress(reader: Reader, before: Progress | None = None) -> Progress:
    found = reader.progress("b", before)
    assert found is not None
    return found


def test_chunks_are_read_a_hundred_keys_at_a_time(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(), chunks=230)
    put_chunks(dynamodb, range(230))
    client, reader = counting(dynamodb)
    assert progress(reader).found == 690
    assert client.asked == [100, 100, 30]


def test_keys_that_dynamodb_did_not_serve_are_asked_for_again(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(), chunks=5)
    put_chunks(dynamodb, range(5))
    client, reader = counting(dynamodb, hold_back=2)
    assert len(progress(reader).chunks) == 5
    assert client.asked == [5, 2]


def test_while_planning_chunks_are_read_until_one_is_missing(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(status=BatchStatus.PLANNING))
    put_chunks(dynamodb, range(120))
    client, reader = counting(dynamodb)
    assert len(progress(reader).chunks) == 120
    assert client.asked == [100, 100]


def test_a_closed_chunk_is_not_read_again_until_a_redrive_reopens_the_batch(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(), chunks=3)
    put_chunks(dynamodb, range(2), closed=True)
    put_chunks(dynamodb, range(2, 3))
    client, reader = counting(dynamodb)
    first = progress(reader)
    second = progress(reader, first)
    put_batch(dynamodb, batch(attempt=2), chunks=3)
    third = progress(reader, second)
    assert client.asked == [3, 1, 3]
    assert first.closed == second.closed == third.closed == 2


def test_live_counts_come_from_the_chunks(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    put_batch(dynamodb, batch(), chunks=2)
    put_chunks(dynamodb, range(2), closed=True)
    assert progress(reader).batch.counts == Counts()
    assert progress(reader).counts == Counts(succeeded=6)


def test_a_batch_that_is_not_there_is_none_or_an_error(reader: Reader) -> None:
    assert reader.progress("b") is None
    with pytest.raises(OperatorError) as missing:
        reader.require("b")
    assert missing.value.code is ExitCode.USAGE


def test_the_newest_batches_come_first(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    for day in (2, 3, 1):
        put_batch(dynamodb, batch(f"b{day}", created_at=f"2026-03-0{day}T00:00:00.000000+00:00"))
    assert [found.id for found in reader.newest(10).batches] == ["b3", "b2", "b1"]
    assert [found.id for found in reader.newest(2).batches] == ["b3", "b2"]
    assert reader.newest(10).of_other_versions == 0


def test_outcomes_of_a_chunk_come_in_row_order_with_their_markers(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    """In any order of counting."""
    finished_batch.write(dynamodb)
    found = reader.outcomes(ChunkKey("b", 0))
    outcomes = [finished_batch.SUCCEEDED, finished_batch.FAILED, finished_batch.REJECTED]
    assert [outcome for _, outcome in found] == outcomes
    assert [marker.version for marker, _ in found] == [2, 2, 1]


def test_a_chunk_that_a_redrive_reopened_in_the_same_attempt_is_read_again(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(), chunks=3)
    put_chunks(dynamodb, range(2), closed=True)
    put_chunks(dynamodb, range(2, 3))
    client, reader = counting(dynamodb)
    first = progress(reader)
    put_chunks(dynamodb, range(1))
    item = batch().to_item() | {"chunks": number(3), "remaining": number(2)}
    dynamodb.put_item(TableName=TABLE, Item=item)
    assert progress(reader, first).closed == 1
    assert client.asked == [3, 3]


def test_a_batch_that_has_ended_is_known_by_its_item_alone(dynamodb: "DynamoDBClient") -> None:
    put_batch(dynamodb, batch(), chunks=2)
    put_chunks(dynamodb, range(2), closed=True)
    client, reader = counting(dynamodb)
    first = progress(reader)
    item = batch(status=BatchStatus.COMPLETED, expected_rows=6).to_item()
    ended = {"chunks": number(2), "expected_rows": number(6), "succeeded": number(6)}
    dynamodb.put_item(TableName=TABLE, Item=item | ended)
    last = progress(reader, first)
    assert client.asked == [2]
    assert (last.found, last.counts, last.closed) == (6, Counts(succeeded=6), 2)


def test_batches_under_way_share_requests_and_thousands_that_have_ended_cost_none(dynamodb: "DynamoDBClient") -> None:
    put_chunks(dynamodb, range(2), closed=True)
    put_chunks(dynamodb, range(1), closed=True, batch_id="other")
    put_chunks(dynamodb, range(4), closed=True, batch_id="planned")
    ended = [
        batch(f"e{number}", status=BatchStatus.COMPLETED, chunks=10, counts=Counts(failed=number))
        for number in range(3000)
    ]
    under_way = [
        batch("b", chunks=2), batch("other", chunks=1), batch("planned", status=BatchStatus.PLANNING),
    ]  # fmt: skip
    client, reader = counting(dynamodb)
    found = reader.progress_of([*under_way, *ended])
    assert client.asked == [3, 100]
    assert [progress.counts.succeeded for progress in found[:3]] == [6, 3, 12]
    assert [progress.batch for progress in found] == [*under_way, *ended]
    assert all(progress.counts is progress.batch.counts for progress in found[3:])


def test_the_list_counts_a_batch_under_way_as_its_status_does(
    dynamodb: "DynamoDBClient", stage: "Stage", capsys: pytest.CaptureFixture[str]
) -> None:
    """No chunk of it is closed yet, so its item still has zeros."""
    put_batch(dynamodb, batch(), chunks=2)
    put_chunks(dynamodb, range(2))
    change(dynamodb, ChunkKey("b", 1).pk, "chunk", "succeeded", number(2))
    vars(stage)["dynamodb"] = dynamodb
    assert run(["status", "b", "--json"]) is ExitCode.OK
    status = json.loads(capsys.readouterr().out)
    assert run(["list", "--json"]) is ExitCode.OK
    (listed,) = json.loads(capsys.readouterr().out)
    figures = ("rows", "succeeded", "failed", "rejected")
    assert [listed[name] for name in figures] == [status[name] for name in figures] == [6, 2, 0, 0]


def of_version_1(name: str) -> Item:
    """Return a batch item as version 1 wrote it: without a format, and its chunks without a state."""
    return {key: value for key, value in batch(name).to_item().items() if key not in {"format", "version"}}


def test_the_list_says_how_many_batches_of_another_version_it_leaves_out(
    dynamodb: "DynamoDBClient", stage: "Stage", capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["dynamodb"] = dynamodb
    put_batch(dynamodb, batch("new"), chunks=0)
    for name in ("old", "older"):
        dynamodb.put_item(TableName=TABLE, Item=of_version_1(name))
    assert run(["list"]) is ExitCode.OK
    assert "2 batches are not shown: another version of Tally made them." in capsys.readouterr().out
    assert run(["list", "--json"]) is ExitCode.OK
    shown = capsys.readouterr()
    assert [listed["id"] for listed in json.loads(shown.out)] == ["new"]
    assert "2 batches are not shown" in shown.err


@pytest.mark.parametrize(
    "arguments", [["status"], ["rows"], ["row", "--row", "0:0"], ["row", "--line", "2"], ["audit"], ["redrive"]]
)
def test_a_batch_of_another_version_is_a_wrong_id_and_one_line(
    arguments: list[str], dynamodb: "DynamoDBClient", stage: "Stage", capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage).update({"dynamodb": dynamodb, "s3": None})
    dynamodb.put_item(TableName=TABLE, Item=of_version_1("old"))
    chunk = Chunk(key=ChunkKey("old", 0), start=0, end=1, first_line=2, expected_rows=3).to_item()
    del chunk["state"]
    dynamodb.put_item(TableName=TABLE, Item=chunk)
    command, *options = arguments
    assert run([command, "old", *options]) is ExitCode.USAGE
    shown = capsys.readouterr().err
    assert "batch old has format 1, and this version of Tally knows format 2" in shown
    assert shown.count("\n") == 1


def put_waiting(dynamodb: "DynamoDBClient", position: int, rows: dict[int, str], *, generation: int = 1) -> None:
    """Note that rows of a chunk wait for their next try."""
    chunk = Chunk(
        key=ChunkKey("b", position), start=0, end=1, first_line=2, expected_rows=3, generation=generation
    )  # fmt: skip
    table = Table(dynamodb=dynamodb, name=TABLE, retry=RETRY)
    note_waiting(table, chunk, rows, attempt=2, delay_seconds=60)


def read_chunk(dynamodb: "DynamoDBClient", position: int, done: RowBits) -> None:
    """Let a chunk have three rows, of which some are done."""
    put_chunks(dynamodb, range(position, position + 1))
    for name, value in (("rows", number(3)), ("done", bits(done))):
        change(dynamodb, ChunkKey("b", position).pk, "chunk", name, value)


def test_rows_that_raised_are_counted_as_waiting_until_they_are_done(
    dynamodb: "DynamoDBClient", reader: Reader
) -> None:
    """The note keeps a row when it has its outcome; what the chunk says decides."""
    put_batch(dynamodb, batch(), chunks=2)
    read_chunk(dynamodb, 0, RowBits.of([1]))
    read_chunk(dynamodb, 1, RowBits())
    put_waiting(dynamodb, 0, {0: "ValueError: rare", 1: "ValueError: rare"})
    put_waiting(dynamodb, 1, {1: "TimeoutError: often", 2: "TimeoutError: often"})
    found = progress(reader)
    assert {number: set(noted.rows) for number, noted in found.waiting.items()} == {0: {0}, 1: {1, 2}}
    assert found.as_json()["waiting"] == {"rows": 3, "reason": "TimeoutError: often"}
    change(dynamodb, ChunkKey("b", 1).pk, "chunk", "done", bits(RowBits.first(3)))
    assert progress(reader).as_json()["waiting"] == {"rows": 1, "reason": "ValueError: rare"}


def test_what_waited_before_a_redrive_waits_no_more(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    put_batch(dynamodb, batch(), chunks=1)
    read_chunk(dynamodb, 0, RowBits())
    put_waiting(dynamodb, 0, {0: "ValueError: no"})
    assert progress(reader).rows_waiting == 1
    change(dynamodb, ChunkKey("b", 0).pk, "chunk", "generation", number(2))
    assert progress(reader).rows_waiting == 0
    assert (ChunkKey("b", 0).pk, waiting_sk(1)) in all_keys(dynamodb), "the note is there, and not looked at"


def all_keys(dynamodb: "DynamoDBClient") -> set[tuple[str, str]]:
    return {(item["pk"]["S"], item["sk"]["S"]) for item in dynamodb.scan(TableName=TABLE)["Items"]}


def test_nothing_is_asked_of_notes_while_no_row_can_wait(dynamodb: "DynamoDBClient") -> None:
    """Chunks that are planned or all done have none: watching them costs no more than before."""
    put_batch(dynamodb, batch(), chunks=2)
    put_chunks(dynamodb, range(1))
    read_chunk(dynamodb, 1, RowBits.first(3))
    client, reader = counting(dynamodb)
    progress(reader)
    assert client.asked == [2]


def test_the_status_says_how_many_rows_wait_and_why(
    dynamodb: "DynamoDBClient", stage: "Stage", capsys: pytest.CaptureFixture[str]
) -> None:
    put_batch(dynamodb, batch(), chunks=1)
    read_chunk(dynamodb, 0, RowBits())
    put_waiting(dynamodb, 0, {0: "TimeoutError: the bank is down", 2: "TimeoutError: the bank is down"})
    vars(stage)["dynamodb"] = dynamodb
    assert run(["status", "b"]) is ExitCode.OK
    assert "2 rows raised, to be tried again, for example: TimeoutError: the bank is down" in capsys.readouterr().out
