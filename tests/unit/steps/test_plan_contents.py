"""A plan cuts by the rows of a file: blank lines, headers and dialects."""

from pathlib import Path

import pytest

from chalicelib.store.batch import BatchStatus
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, calls_of, deployed_job, killed
from tests.support.planning import FILE, HEADER, SPACED, World, plan_calls

NO_ROWS = [HEADER, HEADER.rstrip(b"\n"), HEADER + b"\n\r\n\n", HEADER + b"\n" * 100_000, HEADER + b"\r" * 100_000]


@pytest.mark.parametrize("content", NO_ROWS)
def test_a_file_without_rows_is_a_batch_that_waits_for_none(content: bytes) -> None:
    """It is no rejection: nothing is wrong with it. Blank lines make no chunk."""
    world = World(content)
    world.plan()
    batch = world.batch()
    assert (batch.status, batch.chunks, batch.remaining, batch.expected_rows) == (BatchStatus.RUNNING, 0, 0, 0)
    assert world.chunks() == []


@pytest.mark.parametrize("content", NO_ROWS)
def test_a_file_without_rows_completes_with_one_event(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """There is no chunk whose closing would end the batch: its own image in the stream does."""
    pipeline = Pipeline(monkeypatch)
    batch_id = pipeline.upload("inbox/offices/day.csv", content)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.chunks, batch.rows) == (BatchStatus.COMPLETED, 0, 0)
    assert [(event["event_id"], event["rows"]) for event in pipeline.events.details] == [(f"{batch_id}#1", 0)]


@pytest.mark.parametrize("position", range(len(calls_of(lambda faults: World(SPACED).plan(faults)))))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_blank_lines_cost_nothing_and_change_no_row_of_a_plan_that_died(fault: Fault, position: int) -> None:
    """As many chunks as rows need, whatever is between them; a second plan finds the same."""
    undisturbed, world = World(SPACED), World(SPACED)
    undisturbed.plan()
    assert killed(lambda: world.plan(at_call(position, fault)))
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items
    assert [SPACED[chunk.start : chunk.end] for chunk in world.chunks()] == [
        b"o1,1,2\n\no2,1,2\n",
        b"o3,1,2\r\n",
        b"o4,1,2",
    ]
    assert [(chunk.first_line, chunk.expected_rows) for chunk in world.chunks()] == [(4, 2), (7, 1), (9_008, 1)]


JOB = """
from chalicelib import rows
CHUNK_ROWS = 3
class Row(rows.Row):
    a: int
def process(row):
    return row.a
"""


def test_a_job_may_say_how_many_rows_its_chunks_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The batch keeps it: a plan that continues cuts as the first did, whatever the job says by then."""
    content = b"a\n" + b"1\n" * 7
    with deployed_job(monkeypatch, tmp_path, "small", JOB):
        world = World(content, "inbox/small/day.csv")
        assert killed(lambda: world.plan(at_call(plan_calls(FILE).index("transact_write_items"), Fault.KILLED_AFTER)))
        assert world.batch().chunk_rows == 3
    with deployed_job(monkeypatch, tmp_path, "small", JOB.replace("CHUNK_ROWS = 3", "CHUNK_ROWS = 2")):
        world.plan()
    assert [chunk.expected_rows for chunk in world.chunks()] == [3, 3, 1]


DIALECT = """
from chalicelib import rows
DELIMITER = ";"
HEADER = ["a", "b"]
class Row(rows.Row):
    a: str
    b: str
def process(row):
    return row.a
"""


def test_a_file_without_a_header_begins_with_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its chunks are cut by the delimiter of the job: a quote opens a cell behind a semicolon, none behind a comma."""
    content = b'\xef\xbb\xbfx,"y;z\nx;"y\nz"\nx;z\n'
    with deployed_job(monkeypatch, tmp_path, "semicolons", DIALECT):
        world = World(content, "inbox/semicolons/day.csv")
        world.plan()
    assert world.batch().header == ("a", "b")
    assert [content[chunk.start : chunk.end] for chunk in world.chunks()] == [b'x,"y;z\nx;"y\nz"\n', b"x;z\n"]
    assert [(chunk.first_line, chunk.expected_rows) for chunk in world.chunks()] == [(1, 2), (4, 1)]


def test_a_file_without_a_header_and_without_rows_has_no_chunks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is as empty as a file with nothing but a header."""
    with deployed_job(monkeypatch, tmp_path, "semicolons", DIALECT):
        world = World(b"", "inbox/semicolons/day.csv")
        world.plan()
    assert (world.batch().status, world.batch().chunks, world.chunks()) == (BatchStatus.RUNNING, 0, [])


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    """Spreadsheets write one; offsets count it all the same."""
    content = b"\xef\xbb\xbf" + FILE
    world = World(content)
    world.plan()
    assert world.batch().header[0] == "office_id"
    chunks = world.chunks()
    assert b"".join(content[chunk.start : chunk.end] for chunk in chunks) == FILE[len(HEADER) :]


def test_blank_lines_before_the_header_count_as_lines() -> None:
    """A rejection names the line that an editor shows."""
    world = World(b"\n\r\n" + FILE)
    world.plan()
    assert world.chunks()[0].first_line == 4


def test_a_header_may_be_quoted_and_span_lines() -> None:
    """It is a record like any other, and the rows begin behind it."""
    world = World(b'"office_id\n","user_count","contract_count"\r\no1,1,2\r\n')
    world.plan()
    assert world.batch().header == ("office_id", "user_count", "contract_count")
    assert [(chunk.start, chunk.first_line) for chunk in world.chunks()] == [(44, 3)]
