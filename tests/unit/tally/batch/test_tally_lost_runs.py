"""Lost runs: a batch that stands still because a row stops its workers says so."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, number
from chalicelib.store.starts import Starts
from chalicelib.store.table import Table
from tally.batch.lost_runs import MAX_CHUNKS, LostRuns, lost_runs_of
from tally.batch.reader import Reader
from tally.batch.watch import Watch
from tally.cli import run
from tally.errors import OperatorError
from tally.output import Output
from tests.support.builders import RETRY
from tests.unit.tally import finished_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tally.stages.stage import Stage

AT = datetime(2026, 3, 1, 17, 5, tzinfo=UTC)
RUNNING = replace(finished_batch.BATCH, status=BatchStatus.RUNNING, completed_at="")


def write(dynamodb: "DynamoDBClient", *remaining: int, batch: Batch = RUNNING) -> None:
    """Write a running batch whose chunks of three rows have so many without an outcome."""
    finished_batch.put(dynamodb, batch.to_item() | {"chunks": number(len(remaining))})
    for position, left in enumerate(remaining):
        chunk = Chunk(key=ChunkKey("b", position), start=0, end=1, first_line=2, expected_rows=3)
        counted = {"rows": number(3), "remaining": number(left), "succeeded": number(3 - left)}
        finished_batch.put(dynamodb, chunk.to_item() | counted)


def begin(dynamodb: "DynamoDBClient", chunk: int, message: str, *runs: str) -> None:
    """Have runs begin over a message, and none of them end."""
    table = Table(dynamodb=dynamodb, name=finished_batch.TABLE, retry=RETRY)
    for name in runs:
        starts = Starts(table=table, run=name, clock=lambda: AT)
        starts.marked(ChunkKey("b", chunk), message).__enter__()


def lost(dynamodb: "DynamoDBClient") -> LostRuns:
    reader = Reader(dynamodb=dynamodb, table=finished_batch.TABLE)
    progress = reader.progress("b")
    assert progress is not None
    return lost_runs_of(reader, progress)


def test_every_run_over_a_message_but_the_newest_is_lost(dynamodb: "DynamoDBClient") -> None:
    """The newest may live: nothing tells a run that works from one that has just died."""
    write(dynamodb, 1, 2, 3)
    begin(dynamodb, 0, "whole", "first", "second")
    begin(dynamodb, 0, "alone", "third", "fourth", "fifth")
    begin(dynamodb, 1, "once", "sixth")
    assert lost(dynamodb) == LostRuns(runs=3, chunks=(0,), last_tried_at=AT)


def test_a_batch_without_a_lost_run_says_nothing(dynamodb: "DynamoDBClient") -> None:
    write(dynamodb, 1)
    begin(dynamodb, 0, "once", "first")
    assert (lost(dynamodb), str(lost(dynamodb))) == (LostRuns(), "")
    assert lost(dynamodb).as_json() == {"runs": 0, "chunks": [], "last_tried_at": ""}


def test_chunks_with_the_fewest_rows_left_are_read(dynamodb: "DynamoDBClient") -> None:
    """A row that stops its workers is what is left of its chunk when all others have ended."""
    write(dynamodb, *[3] * MAX_CHUNKS, 1)
    begin(dynamodb, MAX_CHUNKS, "alone", "first", "second")
    assert lost(dynamodb).chunks == (MAX_CHUNKS,)


def test_the_status_of_a_batch_says_that_a_row_stops_its_workers(
    dynamodb: "DynamoDBClient", stage: "Stage", capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["dynamodb"] = dynamodb
    write(dynamodb, 1)
    begin(dynamodb, 0, "alone", "first", "second")
    run(["status", "b"])
    said = " ".join(capsys.readouterr().out.split())
    assert "1 run over rows of chunk 0 seems to have died (crash, time limit or memory)" in said
    run(["status", "b", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["lost_runs"] == {"runs": 1, "chunks": [0], "last_tried_at": AT.isoformat()}


def test_a_standstill_is_explained_by_lost_runs(dynamodb: "DynamoDBClient", output: Output, said: StringIO) -> None:
    write(dynamodb, 1)
    begin(dynamodb, 0, "alone", "first", "second", "third")
    seconds = iter(range(0, 1_000, 10))
    clock: Any = lambda: float(next(seconds))  # noqa: E731
    watch = Watch(
        reader=Reader(dynamodb=dynamodb, table=finished_batch.TABLE),
        output=output,
        where_to_look="THE LOGS",
        come_back=lambda batch: batch,
        timeout=200,
        clock=clock,
        sleep=lambda _seconds: None,
    )
    with pytest.raises(OperatorError):
        watch.until_final("b")
    hint = " ".join(said.getvalue().split())
    assert "no progress for 60 s: 2 runs over rows of chunk 0 seem to have died" in hint
    assert "look at THE LOGS" in hint
