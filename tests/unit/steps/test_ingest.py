"""Ingest: the rows of a chunk become durable, and only then, and once, the chunk knows how many there are."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from chalicelib.errors import BusyError, FatalError, NotFoundError, RetryableError, UnknownOutcomeError
from chalicelib.files.source import SETTLING
from chalicelib.steps.ingest import Ingested, Ingester
from chalicelib.steps.redrive import Redriver
from chalicelib.store import rows
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import MAX_ITEM_BYTES, ChunkKey, Counts, Outcome, number, text
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.transport.messages import ChunkMessage
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    NOW,
    RETENTION,
    RETRY,
    at_call,
    calls_of,
    chunk_of,
    delivery,
    deployed_job,
    faulty,
    killed,
    ledger,
    markers_of,
    outcomes_of,
    planner,
    starts,
    table,
    uploaded,
)

HEADER = b"office_id,user_count,contract_count\n"
MIXED = HEADER + b"o1,1,2\n\no2,x,2\no3,0,1\n,,\no5,5,6\n"
Faults = Callable[[str], Fault]


def _many(rows: int, *, valid: bool = False) -> bytes:
    """Return a file of which every third row is rejected, unless all are ``valid``."""
    counts = ("x" if row % 3 == 0 and not valid else "1" for row in range(rows))
    return HEADER + "".join(f"o{row},{count},2\n" for row, count in enumerate(counts)).encode()


VALID, MANY = _many(60, valid=True), _many(120)
"""Of the first the totals are set by an update, of the other by a transaction with a marker."""


class World:
    """A planned file, and ingesters over it; everything is in one chunk unless said otherwise."""

    def __init__(self, content: bytes = MIXED, *, chunk_rows: int = 1000, key: str = "inbox/offices/day.csv") -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.batch = planner(self.dynamodb, self.s3, chunk_rows=chunk_rows, chunk_bytes=2**20).plan(
            uploaded(self.s3, content, key=key)
        )
        self.key = ChunkKey(self.batch.id, 0)
        self.settling = timedelta()

    def ingester(self, faults: Faults = lambda _: Fault.NONE) -> Ingester:
        """Return an ingester that meets faults at any call to either service."""
        return Ingester(
            table=table(faulty(self.dynamodb, faults)),
            s3=faulty(self.s3, faults),
            retry=RETRY,
            retention=RETENTION,
            starts=starts(faulty(self.dynamodb, faults)),
            settling=self.settling,
            clock=lambda: NOW,
        )

    def ingest(self, position: int = 0, faults: Faults = lambda _: Fault.NONE, *, receive_count: int = 1) -> Ingested:
        """Ingest a chunk."""
        return self.ingester(faults).ingest(ChunkMessage(self.batch.id, position), delivery(receive_count))

    def deaths(self) -> int:
        """Return how many runs over the first chunk began and never ended, as its dead letter would see it."""
        return starts(self.dynamodb).died(self.key, "m")

    def give_up(self, faults: Faults = lambda _: Fault.NONE) -> Ingested:
        """Give the first chunk up, as its dead letter does."""
        message = ChunkMessage(self.key.batch_id, self.key.number)
        return self.ingester(faults).give_up(message, ReasonCode.DEAD_LETTERED, "it could not be read")

    def hold(self, hold: Hold) -> None:
        """Hold the batch."""
        self.dynamodb.items[f"batch#{self.batch.id}", "batch"]["hold"] = text(hold)

    def chunk(self) -> Chunk:
        """Return the first chunk as it stands."""
        return chunk_of(self.dynamodb, self.key)

    def outcomes(self) -> dict[int, RowOutcome]:
        """Return the outcomes of the first chunk by row."""
        return outcomes_of(self.dynamodb, self.key)

    def pages(self, position: int = 0) -> list[dict[str, dict[str, str]]]:
        """Return the rows items of a chunk in order."""
        pk = ChunkKey(self.batch.id, position).pk
        return [item for (at, sk), item in sorted(self.dynamodb.items.items()) if at == pk and sk.startswith("rows#")]

    def stored(self, position: int = 0) -> dict[int, tuple[int, dict[str, object]]]:
        """Return the line and the cells of the rows that are kept of a chunk, by row."""
        return {
            row.row: (row.line, dict(zip(columns, row.values, strict=True)))
            for columns, row in rows.from_items(self.pages(position))
        }

    def redrive(self) -> int:
        """Take every failure back."""
        redriver = Redriver(table=table(self.dynamodb), clock=lambda: NOW)
        return redriver.redrive(self.batch.id, on_chunk=lambda: None).rows


def _calls(content: bytes) -> list[str]:
    return calls_of(lambda faults: World(content).ingest(faults=faults))


SLEEPS = [
    pytest.param(content, call, id=f"{name}, before {call}")
    for name, content in (("valid", VALID), ("some rejected", MANY))
    for call in _calls(content)[1:]
]
"""After an ingest has read the chunk, and before any other of its calls."""


def _before(call: str, act: Callable[[], object]) -> Faults:
    """Let something happen while the first call of an operation is about to be made."""
    waiting = [act]

    def fault(operation: str) -> Fault:
        if operation == call and waiting:
            waiting.pop()()
        return Fault.NONE

    return fault


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
    assert _calls(content) == ["batch_get_item", "get_object", "batch_write_item", last]


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
    world = World(_many(5, valid=True), chunk_rows=2)
    assert [world.ingest(position).rows for position in range(3)] == [2, 2, 1]
    lines = [{row: line for row, (line, _) in world.stored(position).items()} for position in range(3)]
    assert lines == [{0: 2, 1: 3}, {0: 4, 1: 5}, {0: 6}]


# Again, and at the same time.


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
def test_a_second_ingest_reads_once_and_writes_nothing(content: bytes) -> None:
    """The message of a chunk comes at least once."""
    world = World(content)
    world.ingest()
    length, items = len(world.dynamodb.stream), dict(world.dynamodb.items)
    again: list[Ingested] = []
    assert calls_of(lambda faults: again.append(world.ingest(faults=faults))) == ["batch_get_item"]
    assert again == [Ingested()]
    assert (len(world.dynamodb.stream), world.dynamodb.items) == (length, items)


@pytest.mark.parametrize(("content", "sleeps_before"), SLEEPS)
def test_of_two_ingests_at_the_same_time_one_sets_the_totals(content: bytes, sleeps_before: str) -> None:
    """Both have read the chunk before either has set it; a row was counted in between."""
    world = World(content)
    outcome = RowOutcome(row=1, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(b"{}"))

    def overtake() -> None:
        world.ingest()
        ledger(world.dynamodb).record(world.key, [Finished(1, outcome)], Seen.of(world.chunk()))

    assert world.ingest(faults=_before(sleeps_before, overtake)) == Ingested()
    chunk = world.chunk()
    assert (chunk.state, chunk.version) == (ChunkState.COUNTING, 2)
    assert (chunk.counts.succeeded, chunk.remaining) == (1, (chunk.rows or 0) - len(chunk.done))
    assert world.outcomes()[1] == outcome


@pytest.mark.parametrize(("content", "sleeps_before"), SLEEPS)
def test_an_ingest_that_slept_since_before_a_redrive_reset_the_chunk_sets_nothing(
    content: bytes, sleeps_before: str
) -> None:
    """The chunk has no totals again, as when it was read; its version says that it is not what it was."""
    world = World(content)

    def give_up_and_redrive() -> None:
        world.give_up()
        assert world.redrive() == world.chunk().expected_rows

    assert world.ingest(faults=_before(sleeps_before, give_up_and_redrive)) == Ingested()
    assert (world.chunk().state, world.chunk().version, world.chunk().generation) == (ChunkState.PLANNED, 2, 2)
    assert world.outcomes() == {}
    assert world.ingest().rows == world.chunk().expected_rows
    assert world.chunk().version == 3


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_worker_that_dies_anywhere_leaves_no_totals_without_their_rows(
    content: bytes, fault: Fault, position: int
) -> None:
    """The totals are written last, and a second delivery comes to what an undisturbed one does."""
    undisturbed, world = World(content), World(content)
    undisturbed.ingest()
    assert killed(lambda: world.ingest(faults=at_call(position, fault)))
    if world.chunk().rows is not None:
        assert world.stored() == undisturbed.stored()
        assert world.outcomes() == undisturbed.outcomes()
    world.ingest()
    assert world.dynamodb.items == undisturbed.dynamodb.items


@pytest.mark.parametrize("content", [VALID, MANY], ids=["valid", "some rejected"])
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_fault_at_any_call_changes_nothing_of_the_result(content: bytes, fault: Fault, position: int) -> None:
    """Least of all the totals, which a retry must not set twice."""
    undisturbed, world = World(content), World(content)
    undisturbed.ingest()
    world.ingest(faults=at_call(position, fault))
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_table_that_does_not_answer_raises() -> None:
    """The queue delivers again; no row is lost or rejected for it."""
    world = World()
    with pytest.raises(UnknownOutcomeError):
        world.ingest(faults=lambda operation: Fault.ERROR_BEFORE if operation == "batch_write_item" else Fault.NONE)
    assert world.chunk().rows is None
    assert world.outcomes() == {}


# Rows that are not to be processed.


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


# Chunks that are given up.


def test_an_object_that_s3_does_not_show_yet_is_read_when_it_does() -> None:
    """For twenty minutes after the upload a 404 proves nothing: the message comes again, and no row fails."""
    world = World()
    world.settling = SETTLING
    hidden = dict(world.s3.objects)
    world.s3.objects.clear()
    with pytest.raises(BusyError, match="may not show it before 12:20:00"):
        world.ingest()
    assert world.chunk().rows is None
    world.s3.objects |= hidden
    assert world.ingest().rows == 5


def test_rows_of_an_object_that_is_gone_fail_with_that_reason() -> None:
    """They were announced, so each of them is accounted for."""
    world = World()
    world.s3.objects.clear()
    assert world.ingest() == Ingested(rows=5, failed=5)
    outcomes = world.outcomes()
    assert {(each.outcome, each.code, each.tries) for each in outcomes.values()} == {
        (Outcome.FAILED, ReasonCode.SOURCE_GONE, 0)
    }
    assert outcomes[3].reason == "row 4 from line 2: the object was deleted before its rows were read"
    assert (world.chunk().complete, world.chunk().pages) == (True, 0)


def test_a_batch_whose_object_goes_after_the_plan_completes_with_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for rows that nobody can read any more."""
    pipeline = Pipeline(monkeypatch)
    batch = pipeline.upload("inbox/offices/day.csv", _many(9))
    assert pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    pipeline.drain()
    ended = pipeline.batch(batch)
    assert (ended.status, ended.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 9)
    assert ended.counts == Counts(failed=9)


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_rows_of_a_batch_that_was_stopped_fail_unread(hold: Hold) -> None:
    """Not a byte of the object is asked for."""
    world = World()
    world.hold(hold)
    calls = calls_of(lambda faults: world.ingest(faults=faults))
    assert calls == ["batch_get_item", "transact_write_items"]
    assert {each.code for each in world.outcomes().values()} == {ReasonCode(hold)}
    assert world.chunk().counts == Counts(failed=5)


def test_rows_of_a_paused_batch_are_read() -> None:
    """They wait in the work queue, where resuming finds them."""
    world = World()
    world.hold(Hold.PAUSED)
    assert world.ingest() == Ingested(rows=5, rejected=2)


def test_a_chunk_that_was_read_is_not_given_up() -> None:
    """Its dead letter is a second delivery: every row is durable, and on its way."""
    world = World()
    world.ingest()
    before = world.chunk()
    assert world.give_up() == Ingested()
    assert world.chunk() == before


def test_a_marker_of_a_chunk_that_was_set_back_by_hand_is_never_overwritten() -> None:
    """It proves what became of its rows, although the chunk says that they were never read."""
    world = World()
    planned = dict(world.dynamodb.items[world.key.pk, "chunk"])
    world.ingest()
    world.dynamodb.items[world.key.pk, "chunk"] = planned
    before = dict(world.dynamodb.items)
    assert world.give_up() == Ingested()
    assert world.dynamodb.items == before


def test_a_chunk_that_is_read_while_it_is_given_up_has_one_outcome_a_row() -> None:
    """Whoever sets the totals first has said what becomes of the rows."""
    world = World()
    assert world.give_up(_before("transact_write_items", world.ingest)) == Ingested()
    assert world.chunk().counts == Counts(rejected=2)
    assert sorted(world.outcomes()) == [1, 3]


def test_reasons_of_a_large_chunk_that_is_given_up_take_several_markers_of_one_version() -> None:
    """All are put in one transaction; no row is in two of them."""
    world = World(_many(4_000, valid=True), chunk_rows=4_000)
    assert world.give_up() == Ingested(rows=4_000, failed=4_000)
    assert len(markers_of(world.dynamodb, world.key)) > 1
    assert {marker.version for marker in markers_of(world.dynamodb, world.key)} == {1}
    assert sorted(world.outcomes()) == list(range(4_000))


# What is refused.


def test_a_chunk_that_reads_otherwise_than_it_was_planned_raises_and_writes_nothing() -> None:
    """A total that is not the planner's would complete the batch with rows missing, or never."""
    world = World()
    world.dynamodb.items[world.key.pk, "chunk"]["expected_rows"] = number(6)
    length = len(world.dynamodb.stream)
    with pytest.raises(FatalError, match="planned with 6 rows, read with 5"):
        world.ingest()
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize("sk", ["batch", "chunk"])
def test_a_chunk_that_is_not_in_the_table_raises(sk: str) -> None:
    """Somebody deleted a batch while its messages were under way: the dead letters alarm."""
    world = World()
    world.dynamodb.items = {key: item for key, item in world.dynamodb.items.items() if key[1] != sk}
    with pytest.raises(NotFoundError, match="is not in the table"):
        world.ingest()


# What proves that a chunk kills its workers.


def test_a_first_delivery_pays_for_no_mark() -> None:
    """A chunk is never split: whether workers die of it is asked of its dead letter alone, after many deliveries."""
    world = World()
    world.ingest()
    assert not any(sk.startswith("started#") for _, sk in world.dynamodb.items)


def test_each_worker_that_dies_of_a_chunk_that_came_again_leaves_a_mark() -> None:
    """Two of them are proof enough to give the chunk up."""
    world = World()
    for deaths in (1, 2):
        assert killed(
            lambda: world.ingest(
                faults=lambda call: Fault.KILLED_BEFORE if call == "get_object" else Fault.NONE, receive_count=2
            )
        )
        assert world.deaths() == deaths


def test_a_worker_that_cannot_reach_s3_or_the_table_did_not_die_of_the_chunk() -> None:
    """It asks for another delivery: however often, no row fails for it."""
    world = World()
    for call in ("get_object", "batch_write_item"):
        with pytest.raises(RetryableError):
            world.ingest(
                faults=lambda operation, call=call: Fault.ERROR_BEFORE if operation == call else Fault.NONE,  # type: ignore[misc]
                receive_count=2,
            )
        assert world.deaths() == 0
    assert world.ingest(receive_count=2).rows == world.chunk().expected_rows
