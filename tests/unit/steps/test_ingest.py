"""Ingest makes the rows of a chunk durable, then sets the chunk's totals; a row that is not valid is rejected alone."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.steps.ingest import Ingested
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import MAX_ITEM_BYTES, ChunkKey, Counts, Outcome
from chalicelib.store.marker import ReasonCode
from tests.support.builders import NOW, RETENTION, deployed_job, markers_of, outcomes_of
from tests.support.ingesting import HEADER, MANY, VALID, World, ingest_calls, many


def test_valid_rows_are_kept_and_invalid_ones_are_rejected_with_their_reason() -> None:
    """A blank line is neither; every row knows its physical line."""
    world = World()
    assert world.ingest() == Ingested(rows=5, rejected=2)
    assert world.stored() == {
        0: (2, {"office_id": "o1", "user_count": 1, "contract_count": 2}),
        2: (5, {"office_id": "o3", "user_count": 0, "contract_count": 1}),
        4: (7, {"office_id": "o5", "user_count": 5, "contract_count": 6}),
    }
    found = {row: (each.outcome, each.code, each.line, each.reason) for row, each in world.outcomes().items()}
    rejected = (Outcome.REJECTED, ReasonCode.INVALID)
    assert found == {
        1: (*rejected, 4, "line 4, column 2 'user_count': expected int, got 'x'"),
        3: (*rejected, 6, "line 6: the row is empty, all 3 of its columns"),
    }


def test_the_totals_are_those_of_the_file_and_ask_for_the_rows_to_be_processed() -> None:
    """Rejected rows are done: nobody is asked for them."""
    world = World()
    world.ingest()
    chunk = world.chunk()
    assert (chunk.state, chunk.version, chunk.generation) == (ChunkState.READY, 1, 1)
    assert (chunk.rows, chunk.pages, chunk.remaining, chunk.counts) == (5, 1, 3, Counts(rejected=2))
    assert (list(chunk.done), list(chunk.undone), list(chunk.heavy)) == ([1, 3], [0, 2, 4], [])


def test_rejected_rows_are_counted_by_the_marker_of_the_chunks_first_version() -> None:
    """A chunk without them has no marker yet."""
    mixed, valid = World(), World(VALID)
    mixed.ingest()
    valid.ingest()
    assert [(marker.version, marker.page) for marker in markers_of(mixed.dynamodb, mixed.key)] == [(1, 0)]
    assert markers_of(valid.dynamodb, valid.key) == []


def test_a_file_of_rejected_rows_is_complete_at_once() -> None:
    """Nothing of it is kept, and nothing remains to be processed."""
    world = World(HEADER + b"o1\no2\n")
    assert world.ingest() == Ingested(rows=2, rejected=2)
    assert world.chunk().complete
    assert (world.pages(), world.chunk().pages) == ([], 0)


@pytest.mark.parametrize(
    ("content", "last"), [(VALID, "update_item"), (MANY, "transact_write_items")], ids=["valid", "some rejected"]
)
def test_a_chunk_costs_two_reads_and_two_writes(content: bytes, last: str) -> None:
    """However many rows it has."""
    assert ingest_calls(content) == ["batch_get_item", "get_object", "batch_write_item", last]


def test_rows_expire_with_their_batch() -> None:
    """Not by the clock: written again later they are the same items."""
    world = World()
    world.ingest()
    assert {int(item["expires_at"]["N"]) for item in world.pages()} == {int((NOW + RETENTION).timestamp())}


def test_rows_that_do_not_compress_take_several_pages_which_are_read_as_one() -> None:
    """Each fits into an item; none is missing and none twice."""
    dice = random.Random(1)
    names = [dice.randbytes(40_000).hex() for _ in range(12)]
    world = World(HEADER + "".join(f"{name},1,2\n" for name in names).encode())
    assert world.ingest() == Ingested(rows=12)
    assert world.chunk().pages == len(world.pages()) > 1
    assert [cells["office_id"] for _, (_, cells) in sorted(world.stored().items())] == names


def test_each_chunk_reads_its_own_range() -> None:
    """Rows of a chunk are numbered from 0 in it."""
    world = World(many(5, valid=True), chunk_rows=2)
    assert [world.ingest(position).rows for position in range(3)] == [2, 2, 1]
    lines = [{row: line for row, (line, _) in world.stored(position).items()} for position in range(3)]
    assert lines == [{0: 2, 1: 3}, {0: 4, 1: 5}, {0: 6}]


def test_a_row_that_no_item_holds_is_rejected_with_its_size() -> None:
    """And its neighbours are rows like any others."""
    name = b"o" * (MAX_ITEM_BYTES // 2)
    world = World(HEADER + b"o1,1,2\n" + name * 2 + b",1,2\n" + name + b",1,2\n")
    assert world.ingest() == Ingested(rows=3, rejected=1)
    size = MAX_ITEM_BYTES + len('["",1,2]')
    rejected = world.outcomes()[1]
    assert (rejected.code, rejected.line) == (ReasonCode.TOO_LARGE, 3)
    assert rejected.reason == f"line 3: the row is {size:,} bytes long, at most 380,000 can be kept"
    assert sorted(world.stored()) == [0, 2]


def test_the_size_of_a_row_is_in_bytes() -> None:
    """DynamoDB counts UTF-8."""
    world = World(HEADER + "é".encode() * (MAX_ITEM_BYTES // 2) + b",1,2\n")
    assert world.ingest() == Ingested(rows=1, rejected=1)


def test_the_largest_row_that_is_kept_fits_into_an_item_whatever_it_is_made_of() -> None:
    """400 KB with all names, keys and numbers; this one hardly compresses."""
    name = random.Random(1).randbytes(MAX_ITEM_BYTES // 2).hex()[: MAX_ITEM_BYTES - len('["",1,2]')]
    world = World(HEADER + f"{name},1,2\n".encode())
    assert world.ingest() == Ingested(rows=1)
    (item,) = world.pages()
    assert sum(len(name) + len(next(iter(value.values()))) for name, value in item.items()) < 400_000


def test_a_line_that_cannot_be_read_is_rejected_and_the_next_ones_are_rows() -> None:
    """A quote that is never closed hurts the line that it stands on."""
    world = World(HEADER + b'o1,1,2\n"o2"x,"1,2\no3,1,2\n"o4"x,"1,2')
    assert [world.ingest(position) for position in range(2)] == [Ingested(rows=1), Ingested(rows=3, rejected=2)]
    outcomes = outcomes_of(world.dynamodb, ChunkKey(world.batch.id, 1))
    assert {row: (each.outcome, each.line, each.reason) for row, each in outcomes.items()} == {
        0: (Outcome.REJECTED, 3, "line 3: a quote is opened here and not closed within 1,048,576 bytes"),
        2: (Outcome.REJECTED, 5, "line 5: a quote is opened here and not closed within 1,048,576 bytes"),
    }


def test_a_line_too_long_for_a_record_is_rejected_and_the_next_one_is_a_row() -> None:
    """It is a chunk of its own, of which nothing is read."""
    world = World(HEADER + b"o" * 1_048_577 + b"\no2,1,2\n")
    assert [world.ingest(position) for position in range(2)] == [Ingested(rows=1, rejected=1), Ingested(rows=1)]
    outcome = outcomes_of(world.dynamodb, ChunkKey(world.batch.id, 0))[0]
    assert outcome.reason == "line 2: the line is 1,048,578 bytes long; the longest record may have 1,048,576"


WEIGHED = """
from chalicelib import rows

class Row(rows.Row):
    size: str

def heavy(row):
    return int(row.size) > 250

def process(row):
    return row.size
"""


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """Plan a file with a light row, one that ``heavy`` raises for, a heavy one, an invalid one and a light one."""
    with deployed_job(monkeypatch, tmp_path, "weighed", WEIGHED):
        yield World(b"size\n1\nmany\n300\n3,4\n2\n", key="inbox/weighed/day.csv")


def test_heavy_rows_are_marked_in_their_chunk(weighed: World) -> None:
    """So that they go to the heavy queue each time that they are sent."""
    weighed.ingest()
    assert 2 in weighed.chunk().heavy
    assert not {0, 3, 4} & set(weighed.chunk().heavy)


def test_a_row_for_which_heavy_raises_fails_alone_and_is_kept_for_a_redrive(weighed: World) -> None:
    """It is the job's own code, asked about one row; run again it is a heavy one, which can do the others no harm."""
    assert weighed.ingest() == Ingested(rows=5, rejected=1, failed=1)
    failed = weighed.outcomes()[1]
    assert (failed.outcome, failed.code, failed.line) == (Outcome.FAILED, ReasonCode.RAISED, 3)
    assert failed.reason.startswith("line 3, heavy(): ValueError: ")
    assert list(weighed.chunk().heavy) == [1, 2]
    assert weighed.redrive() == 1
    chunk = weighed.chunk()
    assert (chunk.state, chunk.counts) == (ChunkState.READY, Counts(rejected=1))
    assert chunk.undone == RowBits.of([0, 1, 2, 4])
    assert sorted(weighed.stored()) == [0, 1, 2, 4]


@pytest.mark.parametrize("raised", ["sys.exit(1)", "f(f)", "throw(CancelledError())"])
def test_whatever_heavy_raises_fails_its_row_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: str
) -> None:
    """Also what is no Exception: raised out of ingest it would hurt every row of the chunk."""
    source = (
        "import sys\nfrom asyncio import CancelledError\nf = lambda f: f(f)\n"
        "throw = lambda error: (_ for _ in ()).throw(error)\n"
        + WEIGHED.replace("int(row.size) > 250", f"row.size == 'many' and {raised}")
    )
    with deployed_job(monkeypatch, tmp_path, "weighed", source):
        world = World(b"size\n1\nmany\n3\n", key="inbox/weighed/day.csv")
        assert world.ingest() == Ingested(rows=3, failed=1)


LEFT = """
from chalicelib import rows

class Row(rows.Row):
    size: str
    def __post_init__(self):
        if self.size.startswith("odd"):
            self.size = object()

def heavy(row):
    return row.size == "heavy" or 1 / (row.size != "broken")

def process(row):
    return None
"""


@pytest.mark.parametrize("length", [1, 200_000])
def test_a_value_that_json_has_not_rejects_its_row_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int
) -> None:
    """A rule of the job's own may leave anything in a field; the outcomes of all other rows stay as they are."""
    long = b"x" * length
    with deployed_job(monkeypatch, tmp_path, "left", LEFT):
        world = World(b"size\n1\nodd%s\nbroken\n2,2\nheavy\n" % long, key="inbox/left/day.csv")
        total = world.ingest()
    assert (total.rejected, total.failed) == (2, 1)
    assert {row: found.outcome for row, found in world.outcomes().items()} == {
        1: Outcome.REJECTED,
        2: Outcome.FAILED,
        3: Outcome.REJECTED,
    }
    assert world.outcomes()[1].reason.startswith("line 3, row: cannot be kept: TypeError: ")
