"""Gzip: what was compressed is planned and read as if it had been uploaded plain, or rejected with the reason."""

import gzip
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.files import source as source_module
from chalicelib.steps import unpack
from chalicelib.steps.unpack import UnpackError, parts
from chalicelib.store.batch import Batch, BatchStatus
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests, at_call, faulty, killed, planner, uploaded

if TYPE_CHECKING:
    from chalicelib.transport.uploads import Upload

HEADER = b"office_id,user_count,contract_count\n"
RANDOM = random.Random(1)
FILE = HEADER + b"".join(b"o%d,%d,2\n" % (row, RANDOM.randrange(10**9)) for row in range(40))
PACKED = gzip.compress(FILE, mtime=0)
"""Without the time of day, or two workers of one test run would not agree on what there is to test."""
KEY = "inbox/offices/day.csv.gz"
PARTS = -(-len(FILE) // 100)
LATE = 15.0
"""Seconds left that are too few for more than one part."""


@pytest.fixture(autouse=True)
def small_parts() -> Iterator[None]:
    """Make parts and blocks small, so that a small file has many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "PART_BYTES", 100)
        patch.setattr(source_module, "BLOCK_BYTES", 64)
        yield


class World:
    """A table and a bucket with one gzip upload."""

    def __init__(self, content: bytes = PACKED) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.requests = Requests(self.s3)
        self.upload = uploaded(self.s3, content, key=KEY)
        self.handed_over: list[Upload] = []

    def plan(self, faults: Callable[[str], Fault] = lambda _: Fault.NONE, *, seconds: float = 600) -> Batch:
        """Plan it, with faults at any write to either service."""

        def unread(operation: str) -> Fault:
            return Fault.NONE if operation.startswith("get") else faults(operation)

        clients: list[Any] = [faulty(self.dynamodb, unread), faulty(self.requests, unread)]
        return planner(
            *clients, chunk_rows=7, remaining_seconds=lambda: seconds, hand_over=self.handed_over.append
        ).plan(self.upload)

    def begun(self) -> "World":
        """Let a plan die when half of the parts are stored."""
        assert killed(lambda: self.plan(at_call(6, Fault.KILLED_BEFORE)))
        assert self.batch().status is BatchStatus.UNPACKING
        assert [len(stored) for stored in self.s3.uploads.values()] == [3]
        return self

    def unpacked(self) -> list[bytes]:
        """Return what was stored beside the inbox."""
        return [content for (key, _), content in self.s3.objects.items() if key.startswith("unpacked/")]

    def batches(self) -> list[Any]:
        """Return the items of batches."""
        return [item for (_, sk), item in self.dynamodb.items.items() if sk == "batch"]

    def batch(self) -> Batch:
        """Return the only batch as it stands."""
        (item,) = self.batches()
        return Batch.from_item(item)


def _blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def test_zlib_is_given_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It copies the rest of it at the end of each member: 4 MB of empty members would be 200 GB."""
    given_at_once: list[int] = []

    class Watched:
        def __init__(self, window: int) -> None:
            self._member = zlib.decompressobj(window)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._member, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            given_at_once.append(len(data))
            return self._member.decompress(data, most)

    monkeypatch.setattr(unpack, "zlib", SimpleNamespace(decompressobj=Watched, error=zlib.error))
    packed = gzip.compress(b"") * 10_000
    assert list(parts(iter([packed]))) == []
    assert max(given_at_once) <= 16_384
    assert len(given_at_once) <= 10_000 + len(packed) // 16_384 + 1


@given(
    members=st.lists(st.binary(max_size=400), min_size=1, max_size=4),
    zeroes=st.integers(0, 5),
    block=st.integers(1, 200),
)
def test_members_and_what_fills_them_up_are_unpacked_as_gzip_does(
    members: list[bytes], zeroes: int, block: int
) -> None:
    """However the blocks fall; all parts but the last are full, as S3 wants them."""
    packed = b"".join(gzip.compress(member) + b"\0" * zeroes for member in members)
    found = list(parts(_blocks(packed, block)))
    assert b"".join(found) == gzip.decompress(packed) == b"".join(members)
    assert all(len(part) == 100 for part in found[:-1])


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (PACKED[:-9], "cut off"),
        (PACKED[:15], "cut off"),
        (PACKED[:-8] + b"12345678", "damaged"),
        (PACKED[:40] + b"xxxxxxxxxx" + PACKED[50:], "damaged"),
        (PACKED + b"surplus", "damaged"),
    ],
    ids=["no end", "no rows", "other digest", "other bytes", "surplus"],
)
def test_gzip_data_that_are_not_whole_are_a_rejected_batch_with_the_reason(packed: bytes, reason: str) -> None:
    """Half a file must not pass for one; nor do parts of it stay."""
    world = World(packed)
    assert world.plan().status is BatchStatus.REJECTED
    assert reason in world.batch().reason
    assert world.unpacked() == []
    assert world.s3.uploads == {}


def test_a_bomb_is_rejected_before_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes may unpack to gigabytes."""
    monkeypatch.setattr(unpack, "_FREE_BYTES", 1000)
    world = World(gzip.compress(HEADER + b"a" * 1_000_000))
    world.plan()
    assert "more than 250 times their size" in world.batch().reason
    assert world.unpacked() == []
    assert world.s3.uploads == {}


def test_a_file_that_can_only_be_too_large_is_rejected_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gzip makes nothing larger."""
    monkeypatch.setattr(unpack, "MAX_BYTES", len(PACKED) - 1)
    world = World()
    world.plan()
    assert world.batch().reason.startswith(f"the gzip file has {len(PACKED)} bytes, and at most {len(PACKED) - 1}")
    assert len(world.requests.of("get_object")) == 1  # its head


def test_a_file_larger_than_an_invocation_is_unpacked_in_several() -> None:
    """Each reads from the beginning, as gzip wants it, and stores one part more than there were."""
    world = World()
    while not world.batches() or world.batch().status is BatchStatus.UNPACKING:
        before = len(world.handed_over)
        world.plan(seconds=LATE)
        assert world.batch().status is not BatchStatus.UNPACKING or len(world.handed_over) == before + 1
    assert world.unpacked() == [FILE]
    stored = [request["PartNumber"] for request in world.requests.of("upload_part")]
    assert stored == list(range(1, PARTS + 1))
    assert len(world.handed_over) >= PARTS - 1
    world.plan()
    assert world.batch().expected_rows == 40


def test_a_file_whose_stored_parts_take_all_the_time_is_rejected_with_what_to_do() -> None:
    """No invocation would come further, and nobody is to wait for ever."""
    world = World().begun()
    world.plan(seconds=1)
    assert world.batch().reason.startswith("only 100 bytes of the gzip data can be unpacked in the time that there is")
    assert world.s3.uploads == {}


def test_an_upload_is_seen_while_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch is listed as open before anything is stored, and says how many bytes of it were read."""
    monkeypatch.setattr(unpack, "_PARTS_BETWEEN_NOTES", 1)
    world = World()
    seen: list[Batch] = []

    def look(operation: str) -> Fault:
        if operation == "upload_part":
            seen.append(world.batch())
        return Fault.NONE

    world.plan(look)
    assert {batch.status for batch in seen} == {BatchStatus.UNPACKING}
    assert {item["listing"]["S"] for item in world.batches()} == {"open"}
    read = [batch.unpacking.read for batch in seen if batch.unpacking]
    assert read[0] == 0
    assert read == sorted(read)
    assert read[-1] > len(PACKED) / 2
    assert world.batch().unpacking is None


def test_what_a_plan_that_died_has_stored_is_not_stored_again() -> None:
    """Its event comes again, and finds the multipart upload."""
    world = World().begun()
    world.plan()
    assert world.unpacked() == [FILE]
    assert len(world.requests.of("upload_part")) == PARTS


def test_parts_of_another_size_are_stored_again() -> None:
    """Another version was deployed in between."""
    world = World().begun()
    with pytest.MonkeyPatch.context() as patch:  # undone before that of every test is
        patch.setattr(unpack, "PART_BYTES", 120)
        world.plan()
    assert world.unpacked() == [FILE]


def test_two_plans_at_once_store_into_one_upload() -> None:
    """An event came twice; one of them completes it, the other continues with what was completed."""
    world = World()
    others: list[Batch] = []

    def overtake(operation: str) -> Fault:
        if operation == "upload_part" and not others:
            others.append(world.plan())
        return Fault.NONE

    batch = world.plan(overtake)
    assert world.unpacked() == [FILE]
    assert others[0].content == batch.content
    assert world.s3.uploads == {}


def test_two_plans_that_begin_at_once_agree_on_one_upload() -> None:
    """The one whose upload is not kept takes its own back."""
    world = World()

    def overtake(operation: str) -> Fault:
        if operation == "create_multipart_upload" and not world.s3.uploads_begun:
            world.begun()
        return Fault.NONE

    world.plan(overtake)
    assert world.unpacked() == [FILE]
    assert world.s3.uploads_begun == 2
    assert world.s3.uploads == {}


def test_an_upload_that_ended_without_a_name_is_begun_again() -> None:
    """The plan died after it had completed it, or the bucket's lifecycle took it."""
    world = World().begun()
    world.s3.uploads.clear()
    world.plan()
    assert world.unpacked() == [FILE]


def test_a_gzip_upload_is_planned_as_the_plain_one() -> None:
    """The chunks are ranges of the plain object; the batch is that of the upload."""
    world, plain = World(), World(FILE)
    batch, other = world.plan(), plain.plan()
    assert world.unpacked() == [FILE]
    assert plain.unpacked() == []
    assert (batch.chunks, batch.expected_rows, batch.header) == (other.chunks, other.expected_rows, other.header)
    assert (batch.source.key, batch.size) == (KEY, len(PACKED))
    assert (batch.content.key, batch.content_size) == (f"unpacked/{batch.id}.csv", len(FILE))
    assert world.batch().content == batch.content


def test_a_small_file_is_one_object_and_an_empty_one_is_said_to_be() -> None:
    """S3 knows no upload of no parts."""
    small = World(gzip.compress(HEADER))
    assert small.plan().expected_rows == 0
    assert not small.requests.of("create_multipart_upload")
    empty = World(gzip.compress(b""))
    empty.plan()
    assert empty.batch().reason == "line 1: the object is empty, not even a header"


def test_a_second_event_unpacks_nothing() -> None:
    """The batch knows its plain object, or that it never will have one."""
    world, damaged = World(), World(gzip.compress(b"no,header,of,offices\n"))
    first = world.plan()
    assert world.plan().content == first.content
    assert len(world.unpacked()) == 1
    assert damaged.plan().reason == damaged.plan().reason
    assert len(damaged.unpacked()) == 1


@given(data=st.data())
def test_plans_that_die_or_run_out_of_time_while_they_unpack_end_as_one(data: st.DataObject) -> None:
    """A plain object that nobody names is another version, which expires; what is counted is the same."""
    world, undisturbed = World(), World()
    undisturbed.plan()
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, 20))
        fault = data.draw(st.sampled_from([Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_BEFORE]))
        seconds = data.draw(st.sampled_from([LATE, 600]))
        killed(lambda: world.plan(at_call(position, fault), seconds=seconds))  # noqa: B023  called at once
    world.plan()
    assert world.unpacked()[-1] == FILE
    assert world.batch().status is BatchStatus.RUNNING
    blank = replace(world.batch(), unpacked=None)
    assert blank == replace(undisturbed.batch(), unpacked=None)
    chunks = {key: item for key, item in world.dynamodb.items.items() if key[1] == "chunk"}
    assert chunks == {key: item for key, item in undisturbed.dynamodb.items.items() if key[1] == "chunk"}


def test_rows_of_a_gzip_upload_are_processed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest reads the plain object."""
    pipeline = Pipeline(monkeypatch)
    batch = pipeline.upload(KEY, PACKED)
    pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED
    assert pipeline.batch(batch).counts.succeeded == 40


def test_blocks_that_are_no_gzip_are_damaged() -> None:
    """The planner asks for the first two bytes only."""
    with pytest.raises(UnpackError, match="damaged"):
        list(parts(iter([b"\x1f\x8bnothing of the kind"])))
