"""A plan rejects a file that no job can read, with a reason for the uploader."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chalicelib.errors import BusyError
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.items import batch_pk
from tally.testing.faults import Fault
from tests.support.builders import NOW, at_call, deployed_job, killed, planner
from tests.support.planning import FILE, HEADER, World, plan_calls


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


@pytest.mark.parametrize("position", range(1, len(plan_calls(FILE)) - 1))
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
    assert killed(lambda: world.plan(at_call(plan_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)))
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
        interrupted = at_call(plan_calls(FILE).index("update_item"), Fault.KILLED_BEFORE)
        assert killed(lambda: world.plan(interrupted))
        assert world.batch().status is BatchStatus.PLANNING
    world.plan()
    assert world.batch().status is BatchStatus.REJECTED
