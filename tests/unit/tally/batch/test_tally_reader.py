"""Reading batches: what is read, and what is not read again."""

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.clock import utc_now
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, number
from tally.batch.reader import Progress, Reader
from tally.cli import run
from tally.errors import ExitCode, OperatorError
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
            item |= {"closed": {"BOOL": True}, "succeeded": number(3)}
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
    assert [found.id for found in reader.newest(10)] == ["b3", "b2", "b1"]
    assert [found.id for found in reader.newest(2)] == ["b3", "b2"]


def test_markers_of_one_outcome_come_in_row_order(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    chunk = ChunkKey("b", 0)
    for row, outcome in ((3, Outcome.FAILED), (1, Outcome.FAILED), (2, Outcome.SUCCEEDED)):
        marker = Marker(chunk=chunk, row=row, outcome=outcome, error=f"why {row}")
        dynamodb.put_item(TableName=TABLE, Item=marker.to_item(at=utc_now(), expires_at=1))
    assert [found.error for found in reader.markers(chunk, Outcome.FAILED)] == ["why 1", "why 3"]


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
