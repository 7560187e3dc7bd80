"""Planning: an uploaded object becomes one batch and its chunks, however often and however far a plan gets."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BusyError
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.steps.plan import batch_id, job_name
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, batch_pk, number, text
from chalicelib.store.table import Update
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    NOW,
    RETENTION,
    Requests,
    at_call,
    calls_of,
    chunk_of,
    deployed_job,
    faulty,
    killed,
    planner,
    plant,
    table,
    uploaded,
)

HEADER = b"office_id,user_count,contract_count\n"
FILE = HEADER + b"".join(b"o%d,1,2\n" % row for row in range(7))
SPACED = HEADER + b"\n\r\n" + b"o1,1,2\n\no2,1,2\n" + b"o3,1,2\r\n" + b"\n" * 9_000 + b"o4,1,2"
SOURCE = Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag="etag-of-v1")
Faults = Callable[[str], Fault]


class World:
    """A table, a bucket, and planners over both that meet the same faults."""

    def __init__(self, content: bytes = FILE, key: str = "inbox/offices/day.csv") -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.upload = uploaded(self.s3, content, key=key)

    def plan(self, faults: Faults = lambda _: Fault.NONE, *, chunk_rows: int = 2) -> Batch:
        """Plan the upload, with faults at any call to either service."""
        clients = faulty(self.dynamodb, faults), faulty(self.s3, faults)
        return planner(*clients, chunk_rows=chunk_rows).plan(self.upload)

    def batch(self) -> Batch:
        """Return the only batch as it stands."""
        (item,) = [item for (_, sk), item in self.dynamodb.items.items() if sk == "batch"]
        return Batch.from_item(item)

    def chunks(self) -> list[Chunk]:
        """Return all chunks in order."""
        found = [item for (_, sk), item in self.dynamodb.items.items() if sk == "chunk"]
        return sorted(map(Chunk.from_item, found), key=lambda chunk: chunk.key)

    def delete_object(self) -> None:
        """Delete what was uploaded."""
        self.s3.objects.clear()


def _calls(content: bytes) -> list[str]:
    return calls_of(lambda faults: World(content).plan(faults))


def test_a_file_becomes_a_running_batch_and_chunks_that_cover_its_rows() -> None:
    """Nothing of a row is parsed: ranges, lines and counts are all that there is."""
    world = World()
    returned = world.plan()
    batch = world.batch()
    assert batch == replace(returned, remaining=4, version=1)
    assert (batch.status, batch.job, batch.source) == (BatchStatus.RUNNING, "offices", SOURCE)
    assert (batch.chunks, batch.remaining, batch.expected_rows, batch.rows) == (4, 4, 7, 0)
    assert batch.header == ("office_id", "user_count", "contract_count")
    assert batch.size == len(FILE)
    assert batch.expires_at == (NOW + RETENTION).timestamp()
    chunks = world.chunks()
    assert [chunk.key for chunk in chunks] == [ChunkKey(batch.id, position) for position in range(4)]
    assert b"".join(FILE[chunk.start : chunk.end] for chunk in chunks) == FILE[len(HEADER) :]
    assert [chunk.first_line for chunk in chunks] == [2, 4, 6, 8]
    assert [chunk.expected_rows for chunk in chunks] == [2, 2, 2, 1]
    assert all(chunk.rows is None and chunk.counts == Counts() for chunk in chunks)
    assert {(chunk.state, chunk.version, chunk.generation) for chunk in chunks} == {(ChunkState.PLANNED, 0, 1)}


def test_the_same_event_twice_changes_nothing() -> None:
    """S3 delivers at least once."""
    world = World()
    first = world.plan()
    length = len(world.dynamodb.stream)
    again = world.plan()
    assert len(world.dynamodb.stream) == length
    assert (again.id, again.chunks, again.expected_rows) == (first.id, first.chunks, first.expected_rows)


def test_the_same_event_after_the_end_does_not_begin_the_batch_again() -> None:
    """A batch that has ended stays as it ended."""
    world = World()
    batch = world.plan()
    world.dynamodb.items[batch_pk(batch.id), "batch"]["status"] = {"S": "completed"}
    length = len(world.dynamodb.stream)
    assert world.plan().status is BatchStatus.COMPLETED
    assert len(world.dynamodb.stream) == length


@pytest.mark.parametrize("position", range(len(_calls(FILE))))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_plan_that_died_anywhere_and_is_made_again_is_the_plan(fault: Fault, position: int) -> None:
    """Same ids, same chunks, same totals as of a plan that was not disturbed."""
    undisturbed, world = World(), World()
    undisturbed.plan()
    assert killed(lambda: world.plan(at_call(position, fault)))
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


@pytest.mark.parametrize("position", range(len(_calls(FILE))))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_plan_with_a_fault_at_any_call_is_the_plan(fault: Fault, position: int) -> None:
    """Also where a write was applied and its answer lost."""
    undisturbed, world = World(), World()
    undisturbed.plan()
    world.plan(at_call(position, fault))
    assert world.dynamodb.items == undisturbed.dynamodb.items


@given(data=st.data(), rows=st.integers(0, 12))
def test_plans_that_die_again_and_again_end_as_one(data: st.DataObject, rows: int) -> None:
    """Any number of deliveries, each cut short somewhere, and one that gets through."""
    content = HEADER + b"".join(b"o%d,1,2\n" % row for row in range(rows))
    undisturbed, world = World(content), World(content)
    undisturbed.plan()
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 8))
        fault = data.draw(st.sampled_from([Fault.KILLED_BEFORE, Fault.KILLED_AFTER]))
        killed(partial(world.plan, at_call(position, fault)))
    world.plan()
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_second_plan_cuts_as_the_first_did_whatever_was_deployed_in_between() -> None:
    """Chunks of two sizes would overlap, and rows would be counted twice."""
    undisturbed, world = World(), World()
    undisturbed.plan(chunk_rows=2)
    assert killed(lambda: world.plan(at_call(_calls(FILE).index("transact_write_items"), Fault.KILLED_AFTER)))
    world.plan(chunk_rows=3)
    assert world.dynamodb.items == undisturbed.dynamodb.items


def test_a_second_plan_leaves_the_counters_of_a_chunk_alone() -> None:
    """Its rows may have been worked on before the first plan was done."""
    world = World()
    assert killed(lambda: world.plan(at_call(_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
    key = world.chunks()[1].key
    counted = {"state": text(ChunkState.COUNTING), "version": number(2), "rows": number(2), "remaining": number(1)}
    world.dynamodb.items[key.pk, "chunk"].update(counted | {"succeeded": number(1)})
    before = chunk_of(world.dynamodb, key)
    world.plan()
    assert chunk_of(world.dynamodb, key) == before
    assert world.batch().chunks == 4


def test_chunks_that_closed_before_the_plan_was_done_are_not_waited_for() -> None:
    """``remaining`` was below zero until the total came."""
    world = World()
    assert killed(lambda: world.plan(at_call(_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
    closing = Update(
        pk=batch_pk(world.batch().id), sk="batch", expression="ADD remaining :closed", values={":closed": number(-3)}
    )
    table(world.dynamodb).update(closing)
    world.plan()
    assert (world.batch().chunks, world.batch().remaining) == (4, 1)


def test_more_chunks_than_a_transaction_takes_are_numbered_through() -> None:
    """A hundred at a time, none missing at the seams."""
    world = World(HEADER + b"o1,1,2\n" * 250)
    requests = Requests(world.dynamodb)
    batch = planner(requests, world.s3, chunk_rows=1).plan(world.upload)
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 100, 50]
    assert (world.batch().chunks, world.batch().remaining, world.batch().expected_rows) == (250, 250, 250)
    chunks = world.chunks()
    assert [chunk.key for chunk in chunks] == [ChunkKey(batch.id, position) for position in range(250)]
    assert [chunk.first_line for chunk in chunks] == list(range(2, 252))


def test_a_chunk_that_is_there_does_not_keep_out_the_others_of_its_transaction() -> None:
    """Conditions that fail cancel the whole transaction: the rest goes again without them."""
    world = World()
    batch = batch_id("offices", SOURCE)
    plant(world.dynamodb, Chunk(key=ChunkKey(batch, 2), start=1, end=2, first_line=3, expected_rows=4))
    world.plan()
    assert [chunk.expected_rows for chunk in world.chunks()] == [2, 2, 4, 1]


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
        assert killed(lambda: world.plan(at_call(_calls(FILE).index("transact_write_items"), Fault.KILLED_AFTER)))
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
    """What a rejection names is the line that an editor shows."""
    world = World(b"\n\r\n" + FILE)
    world.plan()
    assert world.chunks()[0].first_line == 4


def test_a_header_may_be_quoted_and_span_lines() -> None:
    """It is a record like any other, and the rows begin behind it."""
    world = World(b'"office_id\n","user_count","contract_count"\r\no1,1,2\r\n')
    world.plan()
    assert world.batch().header == ("office_id", "user_count", "contract_count")
    assert [(chunk.start, chunk.first_line) for chunk in world.chunks()] == [(44, 3)]


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("inbox/Offices/day.csv", FILE, "no job 'Offices' (did you mean 'offices'?) for inbox/Offices/day.csv: upload"),
        (
            "inbox/" + "x" * 900 + "/day.csv",
            FILE,
            f"no job '{'x' * 100}…' for inbox/{'x' * 94}…: upload as inbox/<job>/<name>, job one of documents, ",
        ),
        ("inbox/nothing/day.csv", FILE, "no job 'nothing' for inbox/nothing/day.csv: upload as inbox/<job>/<name>"),
        (
            "inbox/day.csv",
            FILE,
            "no job '' for inbox/day.csv: upload as inbox/<job>/<name>, job one of documents, offices, ",
        ),
        ("inbox/offices/day.csv", b"", "line 1: the object is empty, not even a header"),
        ("inbox/offices/day.csv", b"\n\r\n", "line 1: the object is empty, not even a header"),
        ("inbox/offices/day.csv", b"\xef\xbb\xbf", "line 1: the object is empty, not even a header"),
        (
            "inbox/offices/day.csv",
            FILE.decode().encode("utf-16"),
            'the file is UTF-16-LE: set ENCODING = "utf-16" in the job',
        ),
        (
            "inbox/offices/day.csv",
            b"\xfe\xff" + FILE.decode().encode("utf-16-be"),
            "the file is UTF-16-BE: set ENCODING",
        ),
        ("inbox/offices/day.csv", FILE.decode().encode("utf-16-le"), "the file is UTF-16-LE without a byte order mark"),
        ("inbox/offices/day.csv", b"PK\x03\x04\x14\0day.csv", "the file is a zip archive; upload CSV as UTF-8"),
        (
            "inbox/offices/day.csv",
            FILE.replace(b",", b"\t"),
            "line 1: the file looks tab-separated: set DELIMITER = '\\t' in the job; the header lacks contract_count, ",
        ),
        (
            "inbox/offices/day.csv",
            FILE[len(HEADER) :],
            "line 1: the line looks like a row, so the file has no header: set HEADER in the job; ",
        ),
        ("inbox/offices/day.csv", b"office_id,caf\xe9\n", "line 1: the header is not UTF-8"),
        ("inbox/offices/day.csv", b"\noffice_id,office_id\n", "line 2: column 2 repeats 'office_id' of column 1"),
        ("inbox/offices/day.csv", b"office_id,user_count\n", "line 1: the header lacks contract_count"),
        ("inbox/offices/day.csv", HEADER.rstrip() + b",x\n", "line 1: the header has unknown 'x' (column 4)"),
        ("inbox/offices/day.csv", b'office_id,"user_count\n' + FILE, "line 1: a quote is opened in the header"),
        ("inbox/offices/day.csv", b"o" * (MAX_RECORD_BYTES + 1), "line 1: the header is longer than 1,048,576 bytes"),
    ],
)
def test_what_is_no_file_of_a_job_is_a_rejected_batch_with_the_reason(key: str, content: bytes, reason: str) -> None:
    """An uploader can repair it; it has no chunks, and it has ended."""
    world = World(content, key)
    returned = world.plan()
    batch = world.batch()
    assert batch == returned
    assert batch.status is BatchStatus.REJECTED
    assert batch.reason.startswith(reason)
    assert batch.completed_at == batch.created_at != ""
    assert batch.chunks is None
    assert world.chunks() == []


def test_a_rejected_file_that_is_planned_again_is_rejected_once() -> None:
    """The stream says nothing of it a second time, so neither does the event."""
    world = World(b"")
    world.plan()
    assert world.plan().status is BatchStatus.REJECTED
    assert len(world.dynamodb.stream) == 1


def test_a_header_of_any_width_leaves_a_reason_that_fits_into_an_event() -> None:
    """EventBridge takes 256 KB, the table 400 KB: a reason that is longer is a batch that nobody hears of."""
    world = World(",".join(f"column_{position}" for position in range(9_000)).encode() + b"\n")
    assert world.plan().status is BatchStatus.REJECTED
    assert len(world.batch().reason.encode()) < 100_000


def test_an_object_that_went_before_it_was_planned_is_rejected_with_that_reason() -> None:
    """The event is all that is left of it."""
    world = World()
    world.delete_object()
    returned = world.plan()
    assert world.batch() == returned
    assert (returned.status, returned.reason) == (
        BatchStatus.REJECTED,
        "the object was deleted before it was planned",
    )


def test_an_object_that_s3_does_not_show_yet_is_not_rejected() -> None:
    """The first upload into a new bucket: for twenty minutes a 404 proves nothing, and the event comes again."""
    world = World()
    hidden = dict(world.s3.objects)
    world.delete_object()
    world.upload = replace(world.upload, uploaded_at=NOW - timedelta(minutes=19))
    with pytest.raises(BusyError, match="may not show it before 12:01:00"):
        world.plan()
    assert not world.dynamodb.items
    world.s3.objects |= hidden
    assert world.plan().status is BatchStatus.RUNNING


def test_an_object_that_s3_has_not_shown_for_twenty_minutes_was_deleted() -> None:
    """Its upload ends with that reason, and not when the plan-failures queue gives it up, hours later."""
    world = World()
    world.delete_object()
    world.upload = replace(world.upload, uploaded_at=NOW - timedelta(minutes=20))
    assert world.plan().reason == "the object was deleted before it was planned"


@pytest.mark.parametrize("position", range(1, len(_calls(FILE)) - 1))
def test_an_object_that_went_after_an_interrupted_plan_rejects_what_was_planned(position: int) -> None:
    """Nobody knows how many chunks there would have been: a batch without an end would wait for ever."""
    world = World()
    assert killed(lambda: world.plan(at_call(position, Fault.KILLED_AFTER)))
    world.delete_object()
    world.plan()
    assert world.batch().status is BatchStatus.REJECTED
    assert world.batch().reason == "the object was deleted before it was planned"
    assert world.batch().completed_at


@pytest.mark.parametrize("status", [BatchStatus.RUNNING, BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES])
def test_an_object_that_went_after_it_was_planned_rejects_nothing(status: BatchStatus) -> None:
    """Its rows are ingest's to account for, one by one; what has ended stays as it ended."""
    world = World()
    batch = world.plan()
    world.dynamodb.items[batch_pk(batch.id), "batch"]["status"] = {"S": status.value}
    length = len(world.dynamodb.stream)
    world.delete_object()
    assert world.plan().status is status
    assert len(world.dynamodb.stream) == length


def test_an_object_that_is_gone_is_rejected_once() -> None:
    """A second event, hours later, does not change when the batch ended."""
    world = World()
    world.delete_object()
    first = world.plan()
    later = replace(planner(world.dynamodb, world.s3), clock=lambda: NOW + timedelta(hours=5))
    assert later.plan(world.upload) == first == world.batch()
    assert len(world.dynamodb.stream) == 1


def test_a_plan_that_had_read_the_object_in_time_wins_over_one_that_had_not() -> None:
    """The slower one finds the batch planned when it wants to reject it."""
    world = World()
    assert killed(lambda: world.plan(at_call(_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
    content = dict(world.s3.objects)
    world.delete_object()
    finished: list[Batch] = []

    def overtake(operation: str) -> Fault:
        if operation == "update_item" and not finished:
            world.s3.objects |= content
            finished.append(world.plan())
        return Fault.NONE

    assert world.plan(overtake).status is BatchStatus.RUNNING
    assert len(finished) == 1
    assert (world.batch().status, world.batch().reason) == (BatchStatus.RUNNING, "")


def test_a_batch_that_was_rejected_is_not_begun_by_a_plan_that_comes_in_later() -> None:
    """Rejected is final and was announced: a second end, under the same event id, would be one too many."""
    world = World()
    rejected: list[Batch] = []

    def overtake(operation: str) -> Fault:
        if operation == "update_item" and not rejected:
            world.delete_object()
            rejected.append(world.plan())
        return Fault.NONE

    world.plan(overtake)
    assert rejected[0].status is BatchStatus.REJECTED
    assert world.batch().status is BatchStatus.REJECTED


def test_a_batch_whose_job_went_before_it_was_planned_comes_to_an_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first plan died, the next deployment rejects the file: the batch may not stay half planned for ever."""
    source = "from chalicelib import rows\nclass Row(rows.Row):\n    name: str\ndef process(row): ...\n"
    world = World(b"name\na\nb\nc\n", key="inbox/passing/day.csv")
    with deployed_job(monkeypatch, tmp_path, "passing", source):
        interrupted = at_call(_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)
        assert killed(lambda: world.plan(interrupted))
        assert world.batch().status is BatchStatus.PLANNING
    world.plan()
    assert world.batch().status is BatchStatus.REJECTED


@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("inbox/offices/day.csv", "offices"),
        ("inbox/offices/2026/03/day.csv", "offices"),
        ("inbox/day.csv", ""),
        ("inbox//day.csv", ""),
    ],
)
def test_the_job_is_the_first_folder_below_the_inbox(key: str, job: str) -> None:
    """Deeper folders are the uploader's own."""
    assert job_name(key) == job


def test_the_id_of_a_batch_is_the_same_for_ever() -> None:
    """It is written in tables and messages: another formula would make every redelivered event a new batch."""
    assert batch_id("offices", SOURCE) == "offices-f6702112d7576b42ce58"


@pytest.mark.parametrize(
    "other",
    [
        replace(SOURCE, version_id="v2"),
        replace(SOURCE, key="inbox/offices/day2.csv"),
        replace(SOURCE, bucket="other"),
        replace(SOURCE, version_id="", etag="e"),
        replace(SOURCE, version_id="", etag="e2"),
    ],
)
def test_another_version_bucket_or_key_is_another_batch(other: Source) -> None:
    """A corrected file under the same name is a new run."""
    assert batch_id("offices", other) != batch_id("offices", SOURCE)


def test_the_etag_tells_versions_apart_only_where_there_are_no_versions() -> None:
    """The same version is the same batch, whatever else the event says of it."""
    assert batch_id("offices", replace(SOURCE, etag="other")) == batch_id("offices", SOURCE)
    unversioned = replace(SOURCE, version_id="")
    assert batch_id("offices", replace(unversioned, etag="other")) != batch_id("offices", unversioned)


def test_ids_of_keys_without_a_job_are_names_all_the_same() -> None:
    """Also of a folder with signs that have a meaning in keys: a # would be taken for a chunk's."""
    assert batch_id("", SOURCE).startswith("none-")
    assert batch_id("a#b c", SOURCE).startswith("a-b-c-")


def test_a_plan_keeps_its_first_creation_and_expiry() -> None:
    """Rows get their expiry from the batch: were it another one, ingesting again would write them again."""
    world = World()
    assert killed(lambda: world.plan(at_call(2, Fault.KILLED_AFTER)))
    first = world.batch()
    later = replace(planner(world.dynamodb, world.s3), clock=lambda: NOW + timedelta(hours=5))
    later.plan(world.upload)
    assert world.batch().status is BatchStatus.RUNNING
    assert (world.batch().created_at, world.batch().expires_at) == (first.created_at, first.expires_at)
