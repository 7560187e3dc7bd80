"""The audit finds every way in which counters and markers can disagree."""

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    ChunkKey,
    Marker,
    Outcome,
    batch_pk,
    key,
    lease_sk,
    marker_sk,
    number,
    text,
)
from tally.batch.audit import Audit, audit, run
from tally.batch.reader import Reader
from tally.errors import OperatorError
from tally.output import Output
from tests.unit.tally.finished_batch import AT, BATCH, TABLE, change, put

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def audited(reader: Reader) -> Audit:
    return audit(reader, reader.require("b"), lambda: None)


def found(reader: Reader) -> list[str]:
    return [f"{difference.where}: {difference.what}" for difference in audited(reader).differences]


def test_a_batch_whose_counters_and_markers_agree_is_exact(finished: "DynamoDBClient", reader: Reader) -> None:
    result = audited(reader)
    assert result.exact
    assert (result.chunks, result.counts.total) == (2, 6)


def test_a_counter_that_is_off_by_one_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "failed", number(2))
    assert found(reader) == ["chunk 1: counter failed is 2, its markers is 1"]


def test_a_row_without_a_marker_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    finished.delete_item(TableName=TABLE, Key=key(ChunkKey("b", 0).pk, marker_sk(1)))
    differences = found(reader)
    assert "chunk 0: rows 1 without a marker" in differences
    assert "chunk 0: rows 1 with a record but no marker" in differences
    assert "batch: counter failed is 2, its chunks say 1" in differences


def test_a_marker_of_no_row_is_named(finished: "DynamoDBClient", reader: Reader) -> None:
    put(finished, Marker(chunk=ChunkKey("b", 0), row=9, outcome=Outcome.FAILED).to_item(at=AT, expires_at=1))
    assert "chunk 0: rows 9 marked but not of this chunk" in found(reader)


def test_rows_that_are_not_those_the_planner_counted_are_named(finished: "DynamoDBClient", reader: Reader) -> None:
    change(finished, ChunkKey("b", 0).pk, CHUNK_SK, "rows", number(2))
    differences = found(reader)
    assert "chunk 0: rows is 2, the planner's count is 3" in differences
    assert "chunk 0: markers is 3, rows is 2" in differences


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
    for name, value in (("remaining", number(1)), ("failed", number(0))):
        change(dynamodb, pk, CHUNK_SK, name, value)
    dynamodb.update_item(TableName=TABLE, Key=key(pk, CHUNK_SK), UpdateExpression="REMOVE closed")
    dynamodb.delete_item(TableName=TABLE, Key=key(pk, marker_sk(1)))
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
    assert "5 markers in 2 chunks: 2 succeeded, 1 failed, 2 rejected; 1 rows have no outcome yet" in said.getvalue()


def test_what_holds_a_batch_under_way_is_said(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    change(finished, batch_pk("b"), BATCH_SK, "hold", text(Hold.PAUSED))
    assert found(reader) == [f"{NOT_ENDED}, paused"]


def test_a_counter_that_is_wrong_is_found_before_the_end(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    change(finished, ChunkKey("b", 1).pk, CHUNK_SK, "succeeded", number(2))
    change(finished, batch_pk("b"), BATCH_SK, "failed", number(7))
    assert found(reader) == [
        "chunk 1: counter succeeded is 2, its markers is 1",
        NOT_ENDED,
        "batch: counter failed is 7, its closed chunks say 1",
    ]


def test_a_chunk_that_is_not_read_yet_is_all_pending(finished: "DynamoDBClient", reader: Reader) -> None:
    reopen(finished)
    pk = ChunkKey("b", 1).pk
    for row in (0, 2):
        finished.delete_item(TableName=TABLE, Key=key(pk, marker_sk(row)))
    finished.update_item(
        TableName=TABLE, Key=key(pk, CHUNK_SK), UpdateExpression="REMOVE #r", ExpressionAttributeNames={"#r": "rows"}
    )
    for name in ("remaining", *Outcome):
        change(finished, pk, CHUNK_SK, name, number(0))
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
        open_chunk = request["ExpressionAttributeValues"][":pk"]["S"] == ChunkKey("b", 1).pk
        if open_chunk and request["ExpressionAttributeValues"][":prefix"]["S"] == "mark#" and not self.moved:
            self.moved = True
            marker = Marker(chunk=ChunkKey("b", 1), row=1, outcome=Outcome.FAILED)
            put(self.dynamodb, marker.to_item(at=AT, expires_at=1))
            for name, value in (("remaining", 0), ("failed", 1)):
                change(self.dynamodb, ChunkKey("b", 1).pk, CHUNK_SK, name, number(value))
        return answer


def test_a_chunk_that_moves_while_it_is_counted_is_counted_again(finished: "DynamoDBClient") -> None:
    reopen(finished)
    moving: Any = Moving(finished)
    result = audited(Reader(dynamodb=moving, table=TABLE))
    assert [difference.what for difference in result.differences] == ["not ended, its status is running"]
    assert (result.pending, result.counts.total) == (0, 6)


def test_the_lease_on_a_heavy_row_is_neither_row_nor_outcome(finished: "DynamoDBClient", reader: Reader) -> None:
    put(finished, {**key(ChunkKey("b", 0).pk, lease_sk(0)), "owner": text("w"), "until": number(1)})
    assert audited(reader).exact
