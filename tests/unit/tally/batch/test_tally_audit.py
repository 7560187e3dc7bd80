"""The audit finds every way in which counters and markers can disagree."""

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    ChunkKey,
    Outcome,
    batch_pk,
    bits,
    key,
    lease_sk,
    marker_sk,
    number,
    text,
    waiting_sk,
)
from chalicelib.store.marker import RowOutcome
from tally.batch.audit import Audit, audit, run
from tally.batch.reader import Reader
from tally.errors import OperatorError
from tally.output import Output
from tests.support.builders import Requests
from tests.unit.tally.finished_batch import (
    BATCH,
    COUNTED,
    FAILED,
    SUCCEEDED,
    TABLE,
    VERSION,
    change,
    put,
    put_marker,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def audited(reader: Reader) -> Audit:
    return audit(reader, reader.require("b"), lambda: None)


def with_row(outcome: RowOutcome, row: int) -> RowOutcome:
    return msgspec.structs.replace(outcome, row=row)


def found(reader: Reader) -> list[str]:
    return [f"{difference.where}: {difference.what}" for difference in audited(reader).differences]


def test_a_batch_whose_counters_and_markers_agree_is_exact(finished: "DynamoDBClient", reader: Reader) -> None:
    result = audited(reader)
    assert result.exact
    assert (result.chunks, result.counts.total) == (2, 6)


def test_a_counter_that_is_off_by_one_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "failed", number(2))
    assert found(reader) == ["chunk 1: counter failed is 2, its markers say 1"]


def test_rows_whose_marker_is_gone_are_named(finished: "DynamoDBClient", reader: Reader) -> None:
    finished.delete_item(TableName=TABLE, Key=key(ChunkKey("b", 0).pk, marker_sk(COUNTED)))
    differences = found(reader)
    assert "chunk 0: rows 0, 1 done without a marker" in differences
    assert "chunk 0: rows 0, 1 without a marker" in differences
    assert "chunk 0: remaining is 0, its rows without a marker are 2" in differences
    assert "batch: counter failed is 2, its chunks say 1" in differences


def test_a_row_in_two_markers_is_named_although_the_counters_are_right(
    finished: "DynamoDBClient", reader: Reader
) -> None:
    """The second marker took the place of another row's, so that every sum is as it should be."""
    put_marker(finished, ChunkKey("b", 0), COUNTED, FAILED)
    put_marker(finished, ChunkKey("b", 0), VERSION, with_row(SUCCEEDED, 1))
    assert found(reader) == [
        "chunk 0: remaining is 0, its rows without a marker are 1",
        "chunk 0: rows 1 in more than one marker",
        "chunk 0: rows 0 done without a marker",
        "chunk 0: rows 0 without a marker",
    ]


def test_a_marker_of_no_row_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    put_marker(finished, ChunkKey("b", 0), VERSION, with_row(FAILED, 9))
    differences = found(reader)
    assert "chunk 0: rows 9 in a marker but not of this chunk" in differences
    assert "chunk 0: rows 9 in a marker but not done" in differences


def test_a_bit_without_a_marker_is_named_although_every_counter_agrees(
    finished: "DynamoDBClient", reader: Reader
) -> None:
    change(finished, ChunkKey("b", 0).pk, CHUNK_SK, "done", bits(RowBits.of([0, 1, 5])))
    assert found(reader) == ["chunk 0: rows 5 done without a marker", "chunk 0: rows 2 in a marker but not done"]


def test_a_chunk_of_an_ended_batch_that_is_open_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "state", text(ChunkState.COUNTING))
    assert found(reader) == ["chunk 1: not closed"]


def test_of_many_rows_only_the_first_are_named(finished: "DynamoDBClient", reader: Reader) -> None:
    put_marker(finished, ChunkKey("b", 0), VERSION, *(with_row(FAILED, row) for row in range(10, 20)))
    assert "chunk 0: rows 10, 11, 12, 13, 14 and 5 more in a marker but not done" in found(reader)


def test_rows_that_are_not_those_the_planner_counted_are_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 0).pk, CHUNK_SK, "rows", number(2))
    assert found(reader) == ["chunk 0: rows is 2, the planner counted 3"]


def test_a_chunk_that_is_gone_is_noticed(finished: "DynamoDBClient", reader: Reader) -> None:
    finished.delete_item(TableName=TABLE, Key=key(ChunkKey("b", 1).pk, CHUNK_SK))
    assert "batch: chunks is 2, its chunks say 1" in found(reader)


def test_a_total_of_the_batch_that_is_off_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, batch_pk("b"), BATCH_SK, "rows", number(7))
    assert found(reader) == ["batch: rows is 7, its chunks say 6"]


def test_a_batch_that_has_not_ended_is_not_exact(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, batch_pk("b"), BATCH_SK, "status", text(BatchStatus.RUNNING))
    assert found(reader) == ["batch: not ended, its status is running"]


def test_a_batch_that_was_rejected_as_a_whole_is_exact(dynamodb: "DynamoDBClient", reader: Reader) -> None:
    put(dynamodb, replace(BATCH, status=BatchStatus.REJECTED, reason="no header").to_item())
    assert audited(reader).exact


def test_a_batch_that_is_not_there_is_said_to_be_so(reader: Reader) -> None:
    with pytest.raises(OperatorError, match="No batch b in tally-test"):
        audited(reader)


def reopen(dynamodb: "DynamoDBClient") -> None:
    """Let the batch be under way: its second chunk is open, and one of its rows has no outcome yet."""
    pk = ChunkKey("b", 1).pk
    opened: dict[str, Any] = {
        "remaining": number(1),
        "failed": number(0),
        "done": bits(RowBits.of([0, 2])),
        "state": text("counting"),
    }
    for name, value in opened.items():
        change(dynamodb, pk, CHUNK_SK, name, value)
    put_marker(dynamodb, ChunkKey("b", 1), COUNTED, SUCCEEDED)
    for name, each in (("rows", 3), ("remaining", 1), *((outcome.value, 1) for outcome in Outcome)):
        change(dynamodb, batch_pk("b"), BATCH_SK, name, number(each))
    change(dynamodb, batch_pk("b"), BATCH_SK, "status", text(BatchStatus.RUNNING))


NOT_ENDED = "batch: not ended, its status is running"


def test_of_a_batch_under_way_a_row_without_an_outcome_is_pending_and_no_difference(
    finished: "DynamoDBClient", reader: Reader, output: Output, said: StringIO
) -> None:
    reopen(finished)
    assert found(reader) == [NOT_ENDED]
    assert run(output, reader, "b").pending == 1
    counted = "5 rows in the markers of 2 chunks: 2 succeeded, 1 failed, 2 rejected"
    assert f"{counted}; 1 rows have no outcome yet" in said.getvalue()


def test_what_holds_a_batch_under_way_is_said(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    change(finished, batch_pk("b"), BATCH_SK, "hold", text(Hold.PAUSED))
    assert found(reader) == [f"{NOT_ENDED}, paused"]


def test_a_counter_that_is_wrong_is_found_before_the_end(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "succeeded", number(2))
    change(finished, batch_pk("b"), BATCH_SK, "failed", number(7))
    assert found(reader) == [
        "chunk 1: counter succeeded is 2, its markers say 1",
        NOT_ENDED,
        "batch: counter failed is 7, its closed chunks say 1",
    ]


def test_a_chunk_that_is_not_read_yet_is_all_pending(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    pk = ChunkKey("b", 1).pk
    for version in (1, COUNTED):
        finished.delete_item(TableName=TABLE, Key=key(pk, marker_sk(version)))
    finished.update_item(
        TableName=TABLE,
        Key=key(pk, CHUNK_SK),
        UpdateExpression="REMOVE #r, done, remaining, succeeded, failed, rejected",
        ExpressionAttributeNames={"#r": "rows"},
    )
    assert found(reader) == [NOT_ENDED]
    assert audited(reader).pending == 3


class Moving:
    """A client under whose reader a row is counted between a chunk's markers and the second look at the chunk."""

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self.dynamodb = dynamodb
        self.moved = False

    def __getattr__(self, operation: str) -> Any:
        return getattr(self.dynamodb, operation)

    def query(self, **request: Any) -> Any:
        answer = self.dynamodb.query(**request)
        chunk = ChunkKey("b", 1)
        if request["ExpressionAttributeValues"][":pk"]["S"] == chunk.pk and not self.moved:
            self.moved = True
            put_marker(self.dynamodb, chunk, VERSION, FAILED)
            counted: dict[str, Any] = {"remaining": number(0), "failed": number(1), "done": bits(RowBits.first(3))}
            for name, value in counted.items():
                change(self.dynamodb, chunk.pk, CHUNK_SK, name, value)
        return answer


def test_a_chunk_that_moves_while_it_is_counted_is_counted_again(finished: "DynamoDBClient") -> None:
    reopen(finished)
    moving: Any = Moving(finished)
    result = audited(Reader(dynamodb=moving, table=TABLE))
    assert [difference.what for difference in result.differences] == ["not ended, its status is running"]
    assert (result.pending, result.counts.total) == (0, 6)


def test_leases_and_notes_are_neither_rows_nor_outcomes(finished: "DynamoDBClient", reader: Reader) -> None:
    for sk in (lease_sk(0), waiting_sk(1)):
        put(finished, {**key(ChunkKey("b", 0).pk, sk), "owner": text("w"), "until": number(1)})
    assert audited(reader).exact


def test_results_are_not_read_to_count(finished: "DynamoDBClient") -> None:
    """An audit of many rows is quick, because it reads bits only."""
    client = Requests(finished)
    dynamodb: Any = client
    assert audited(Reader(dynamodb=dynamodb, table=TABLE)).exact
    asked = client.of("query")
    assert len(asked) == 2
    assert all("data" not in request["ProjectionExpression"].split(", ") for request in asked)
