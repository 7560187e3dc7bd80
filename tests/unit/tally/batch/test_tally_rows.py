"""Single rows: found by name and by line, and all that is known of each."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, number
from chalicelib.store.rows import StoredRow, to_items
from chalicelib.store.table import MAX_KEYS
from chalicelib.store.waiting import note_waiting
from tally.batch.reader import Reader
from tally.batch.rows import FoundRow, by_line, by_name, show
from tally.cli import run
from tally.errors import ExitCode, OperatorError
from tally.output import Output
from tally.stages.stage import Stage
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    NOW,
    Requests,
    count_rows,
    deployed_job,
    failed,
    plant_batch,
    plant_rows,
    table,
)

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    kind: str
    size: int

def heavy(row):
    return row.kind == "heavy"

def process(row):
    if row.kind == "bad":
        raise PermanentError(f"no {row.kind} ones")
    return {"kind": row.kind}
"""
CONTENT = b"""kind,size
a,1
"b
of two lines",2

bad,3
c,x


"d

of four

lines",4
heavy,5
e
f,6
"""
"""Chunks are of four rows here: 0:0 to 0:3 and 1:0 to 1:3."""
LINES = {
    2: "0:0",
    3: "0:1",
    4: "0:1",
    6: "0:2",
    7: "0:3",
    **dict.fromkeys(range(10, 15), "1:0"),
    15: "1:1",
    16: "1:2",
    17: "1:3",
}
NO_ROW = {
    1: "no row begins before it",
    5: "0:1, at line 3",
    8: "0:3, at line 7",
    9: "0:3, at line 7",
    18: "1:3, at line 17",
    1_000: "1:3, at line 17",
}
"""The header, blank lines and those past the end, with the message for each."""
GONE = "its file is gone: the last row known to begin before it is 1:0, at line 10"


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Iterator[Pipeline]:
    with deployed_job(monkeypatch, tmp_path, "mixed", JOB):
        pipeline = Pipeline(monkeypatch)
        vars(stage).update({"dynamodb": pipeline.dynamodb, "s3": pipeline.s3})
        yield pipeline


@pytest.fixture
def batch(pipeline: Pipeline) -> str:
    """Return a batch that has ended, of every kind of row."""
    batch_id = pipeline.upload("inbox/mixed/day.csv", CONTENT)
    pipeline.drain()
    return batch_id


def reader(client: Any) -> Reader:
    return Reader(dynamodb=client, table="tally-test", sleep=lambda _: None)


def at_line(pipeline: Pipeline, batch_id: str, line: int) -> FoundRow:
    s3: Any = pipeline.s3
    return by_line(reader(pipeline.dynamodb), s3, batch_id, line)


def named(pipeline: Pipeline, batch_id: str, name: str) -> FoundRow:
    return by_name(reader(pipeline.dynamodb), batch_id, name)


class Refusing:
    """An S3 that must not be asked."""

    def __getattr__(self, operation: str) -> Any:
        raise AssertionError(f"{operation} was called")


def even_file(dynamodb: MemoryDynamoDB, chunks: int, *read: int) -> None:
    """Put a batch whose chunks have five rows each, a line a row; the rows of some of them are in the table."""
    plant_batch(dynamodb, "mixed-1", chunks=chunks)
    planned = [
        Chunk(key=ChunkKey("mixed-1", at), start=0, end=1, first_line=2 + 5 * at, expected_rows=5)
        for at in range(chunks)
    ]
    table(dynamodb).write_all(chunk.to_item() for chunk in planned)
    for at in read:
        stored = [StoredRow(row, planned[at].first_line + row, ["a", row]) for row in range(5)]
        table(dynamodb).write_all(to_items(planned[at].key, ["kind", "size"], stored, expires_at=1))


@pytest.mark.parametrize("chunks", [1, 90, 150, 2_000, 20_000])
def test_a_row_takes_two_requests_by_name_and_at_most_three_by_line(chunks: int) -> None:
    """However large the file is, and nothing is asked of S3."""
    dynamodb = MemoryDynamoDB()
    read = sorted({0, chunks // 3, chunks // 2, chunks - 1})
    even_file(dynamodb, chunks, *read)
    for at in read:
        for row in range(5):
            requests, refusing = Requests(dynamodb), Refusing()
            s3: Any = refusing
            found = by_line(reader(requests), s3, "mixed-1", 2 + 5 * at + row)
            assert (found.name, found.cells) == (f"{at}:{row}", {"kind": "a", "size": row})
            assert len(requests.made) <= 3
            again = Requests(dynamodb)
            assert by_name(reader(again), "mixed-1", found.name) == found
            assert len(again.made) == 2


def test_every_line_of_a_file_leads_to_its_row_or_to_none(pipeline: Pipeline, batch: str) -> None:
    """Lines of a cell lead to the row that spans them; header, blank lines and those past the end to no row."""
    found = {}
    for line in range(1, 19):
        with suppress(OperatorError):
            found[line] = at_line(pipeline, batch, line).name
    assert found == LINES


def test_the_truth_about_lines_is_that_of_the_csv_module() -> None:
    """The table above, read with another reader."""
    read = csv.reader(io.StringIO(CONTENT.decode(), newline=""))
    next(read)
    rows: dict[int, str] = {}
    count, begins = 0, read.line_num + 1
    for cells in read:
        if cells:
            rows |= dict.fromkeys(range(begins, read.line_num + 1), f"{count // 4}:{count % 4}")
            count += 1
        begins = read.line_num + 1
    assert rows == LINES


@pytest.mark.parametrize(("line", "before"), NO_ROW.items())
def test_a_line_that_holds_no_row_says_so_and_what_is_before_it(
    pipeline: Pipeline, batch: str, line: int, before: str
) -> None:
    with pytest.raises(OperatorError) as none:
        at_line(pipeline, batch, line)
    assert none.value.code is ExitCode.USAGE
    assert f"has no row at line {line:,}: " in str(none.value)
    assert before in str(none.value)


def test_a_row_that_begins_at_a_line_is_found_without_the_file(pipeline: Pipeline, batch: str) -> None:
    """It may be deleted; the message says that another line may belong to a row before it."""
    pipeline.s3.objects.clear()
    assert at_line(pipeline, batch, 10).name == "1:0"
    with pytest.raises(OperatorError, match=GONE):
        at_line(pipeline, batch, 12)


def test_a_line_of_a_file_without_rows_is_no_row(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload("inbox/mixed/bare.csv", b"kind,size\n")
    pipeline.drain()
    with pytest.raises(OperatorError, match="no row begins before it"):
        at_line(pipeline, batch_id, 2)


def test_the_rows_of_a_gzip_file_are_those_of_the_lines_that_were_unpacked(pipeline: Pipeline) -> None:
    import gzip  # noqa: PLC0415

    batch_id = pipeline.upload("inbox/mixed/day.csv.gz", gzip.compress(CONTENT))
    pipeline.drain()
    assert at_line(pipeline, batch_id, 12).name == "1:0"


def test_a_line_that_is_not_planned_yet_says_so() -> None:
    """A plan that is under way has made the chunks up to some place."""
    dynamodb = MemoryDynamoDB()
    even_file(dynamodb, 3, 0, 1, 2)
    del dynamodb.items["batch#mixed-1", "batch"]["chunks"]
    s3: Any = Emptied()
    assert by_line(reader(dynamodb), s3, "mixed-1", 16).name == "2:4"
    with pytest.raises(OperatorError, match="has no row at line 99 yet, it is still being planned"):
        by_line(reader(dynamodb), s3, "mixed-1", 99)


class Emptied:
    """An S3 whose objects are of blanks."""

    def get_object(self, *, Range: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(b" " * (last + 1 - first)), "ContentRange": Range}


def test_a_row_far_in_a_plan_that_is_under_way_is_found() -> None:
    """Its cursor says how many chunks there are."""
    dynamodb = MemoryDynamoDB()
    even_file(dynamodb, 4 * MAX_KEYS, 3 * MAX_KEYS)
    item = dynamodb.items["batch#mixed-1", "batch"]
    del item["chunks"]
    item["cursor_chunks"] = number(4 * MAX_KEYS)
    s3: Any = Refusing()
    assert by_line(reader(dynamodb), s3, "mixed-1", 2 + 5 * 3 * MAX_KEYS).name == f"{3 * MAX_KEYS}:0"


def test_a_row_that_succeeded_shows_its_cells_and_result(pipeline: Pipeline, batch: str) -> None:
    shown = named(pipeline, batch, "0:1").as_json()
    assert shown["cells"] == {"kind": "b of two lines", "size": 2}
    assert shown["result"] == {"kind": "b of two lines"}
    assert (shown["line"], shown["outcome"], shown["tries"], shown["code"]) == (3, "succeeded", 1, "")
    assert shown["counted_at"]


def test_a_row_that_failed_shows_why_its_tries_and_where_the_job_raised(pipeline: Pipeline, batch: str) -> None:
    shown = named(pipeline, batch, "0:2").as_json()
    assert (shown["outcome"], shown["code"], shown["reason"]) == ("failed", "permanent", "PermanentError: no bad ones")
    assert (shown["line"], shown["tries"], shown["cells"]) == (6, 1, {"kind": "bad", "size": 3})
    assert shown["traceback"].splitlines()[-1].startswith("mixed.py:14 in process")


def test_a_row_that_was_rejected_shows_where_and_why_and_has_no_cells(pipeline: Pipeline, batch: str) -> None:
    shown = named(pipeline, batch, "0:3").as_json()
    assert (shown["outcome"], shown["code"], shown["line"], shown["cells"]) == ("rejected", "invalid", 7, {})
    assert shown["reason"].startswith("line 7, column 2 'size'")
    assert shown["tries"] == 0


def test_a_heavy_row_says_so(pipeline: Pipeline, batch: str) -> None:
    assert named(pipeline, batch, "1:1").as_json()["heavy"] is True
    assert named(pipeline, batch, "1:0").as_json()["heavy"] is False


def test_a_row_whose_chunk_is_not_read_has_no_outcome_yet(pipeline: Pipeline, output: Output, said: StringIO) -> None:
    """By line it is found in the file, for no table knows where its rows begin."""
    batch_id = pipeline.upload("inbox/mixed/day.csv", CONTENT)
    pipeline.drain_uploads()
    found = named(pipeline, batch_id, "1:2")
    assert (found.line, found.outcome, found.cells) == (None, None, {})
    spanned = at_line(pipeline, batch_id, 13)
    assert (spanned.name, spanned.line) == ("1:0", 10)
    show(output, spanned)
    assert "none yet: its chunk has not been read" in said.getvalue()


def test_a_row_of_a_chunk_that_was_given_up_unread_says_why(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload("inbox/mixed/day.csv", CONTENT)
    pipeline.drain_uploads()
    content = dict(pipeline.s3.objects)
    pipeline.s3.objects.clear()
    pipeline.drain()
    shown = named(pipeline, batch_id, "1:1").as_json()
    assert (shown["outcome"], shown["code"], shown["line"]) == ("failed", "source_gone", None)
    assert shown["reason"] == "row 2 from line 10: the object was deleted before its rows were read"
    with pytest.raises(OperatorError, match=GONE):
        at_line(pipeline, batch_id, 16)
    pipeline.s3.objects |= content
    assert at_line(pipeline, batch_id, 16).name == "1:2"


def pending(dynamodb: MemoryDynamoDB) -> Reader:
    """Return the reader of a batch of which row 0 waits for another try, and row 1 has failed after one."""
    plant_batch(dynamodb, "mixed-1")
    plant_rows(dynamodb, ChunkKey("mixed-1", 0), ["kind", "size"], [["a", 1], ["b", 2], ["c", 3]])
    chunk = Chunk.from_item(dynamodb.items[ChunkKey("mixed-1", 0).pk, "chunk"])
    raised = {0: "TimeoutError: the bank is down", 1: "TimeoutError: the bank is down"}
    note_waiting(table(dynamodb), chunk, raised, attempt=2, delay_seconds=9, clock=lambda: NOW)
    count_rows(dynamodb, chunk.key, failed(1))
    return reader(dynamodb)


def test_a_row_that_waits_for_its_next_try_says_which_and_why(output: Output, said: StringIO) -> None:
    read = pending(MemoryDynamoDB())
    found = by_name(read, "mixed-1", "0:0")
    assert found.as_json()["waiting"] == {"attempt": 2, "reason": "TimeoutError: the bank is down"}
    show(output, found)
    assert "none yet: it raised and waits for try 2, for example: TimeoutError: the bank is down" in said.getvalue()


@pytest.mark.parametrize("name", ["0:1", "0:2"])
def test_a_row_that_has_its_outcome_or_never_raised_does_not_wait(name: str) -> None:
    assert by_name(pending(MemoryDynamoDB()), "mixed-1", name).as_json()["waiting"] is None


def test_a_row_that_a_redrive_took_back_does_not_wait_for_what_was_before() -> None:
    dynamodb = MemoryDynamoDB()
    read = pending(dynamodb)
    dynamodb.items[ChunkKey("mixed-1", 0).pk, "chunk"]["generation"] = number(2)
    assert by_name(read, "mixed-1", "0:0").waiting is None


def test_a_row_that_has_expired_keeps_nothing_and_is_no_error() -> None:
    """TTL takes rows and markers before the chunk."""
    dynamodb = MemoryDynamoDB()
    read = pending(dynamodb)
    for key in [key for key in dynamodb.items if key[1].startswith(("rows#", "mark#"))]:
        del dynamodb.items[key]
    found = by_name(read, "mixed-1", "0:1")
    assert (found.cells, found.outcome, found.line) == ({}, None, None)


@pytest.mark.parametrize("name", ["0:4", "2:0", "7:7"])
def test_a_row_that_is_not_there_says_so(pipeline: Pipeline, batch: str, name: str) -> None:
    with pytest.raises(OperatorError, match=f"has no row {name}") as missing:
        named(pipeline, batch, name)
    assert missing.value.code is ExitCode.USAGE


def listing(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["rows", *arguments, "--json"]) is ExitCode.OK
    return json.loads(capsys.readouterr().out)


def test_rows_of_every_outcome_are_listed_in_the_files_order(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with the line where it begins, and its reason or its result."""
    shown = [(row["id"], row["line"], row["outcome"], row["result"]) for row in listing(capsys, batch)]
    assert shown == [
        ("0:0", 2, "succeeded", {"kind": "a"}),
        ("0:1", 3, "succeeded", {"kind": "b of two lines"}),
        ("0:2", 6, "failed", None),
        ("0:3", 7, "rejected", None),
        ("1:0", 10, "succeeded", {"kind": "d of four lines"}),
        ("1:1", 15, "succeeded", {"kind": "heavy"}),
        ("1:2", 16, "rejected", None),
        ("1:3", 17, "succeeded", {"kind": "f"}),
    ]


def test_a_listed_row_has_the_fields_that_are_documented(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (failed_row,) = listing(capsys, batch, "--outcome", "failed")
    traceback = failed_row.pop("traceback")
    assert "mixed.py:14 in process" in traceback
    assert failed_row.pop("counted_at")
    failed_row["duration_ms"] = 0  # a busy machine takes longer, which is not the claim
    assert failed_row == {
        "id": "0:2",
        "chunk": 0,
        "row": 2,
        "line": 6,
        "outcome": "failed",
        "code": "permanent",
        "reason": "PermanentError: no bad ones",
        "result": None,
        "tries": 1,
        "duration_ms": 0,
    }
    page = Path(__file__).parents[4].joinpath("docs/failures.md").read_text(encoding="utf-8")
    section = page.partition("## Rows as JSON")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert documented == {*failed_row, "traceback", "counted_at"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "8 of 8 rows"),
        (["--limit", "2"], "2 of 8 rows"),
        (["--outcome", "rejected", "--limit", "1"], "1 of 2 rows"),
    ],
)
def test_a_listing_says_how_many_rows_there_are(
    pipeline: Pipeline, batch: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rows", batch, *arguments]) is ExitCode.OK
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_listing_shows_results_and_no_none(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rows", batch]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert '{"kind":"a"}' in shown
    assert "PermanentError: no bad ones" in shown
    assert "None" not in shown


def test_the_command_shows_a_row_by_line_and_by_name(
    pipeline: Pipeline, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["row", batch, "--line", "6"]) is ExitCode.OK
    by_its_line = capsys.readouterr().out
    assert "0:2, line 6" in by_its_line
    assert "mixed.py:14 in process" in by_its_line
    assert run(["row", batch, "--row", "0:2"]) is ExitCode.OK
    assert capsys.readouterr().out == by_its_line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name the row with either --line N or --row"),
        (["--line", "2", "--row", "0:0"], "name the row with either --line N or --row"),
        (["--line", "0"], "0 is not in the range"),
        (["--row", "0:0,0:1"], "--row takes one row"),
        (["--row", "x"], "'x' is not a row"),
    ],
)
def test_a_row_that_is_not_named_right_is_2(
    pipeline: Pipeline, batch: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["row", batch, *options]) is ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_row_of_no_batch_is_2(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--line", "2"], ["--row", "0:0"]):
        assert run(["row", "absent", *options]) is ExitCode.USAGE
        assert "No batch absent" in capsys.readouterr().err
