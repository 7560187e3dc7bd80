"""Gzip: what was compressed is planned and read as if it had been uploaded plain, or rejected with the reason."""

import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import source as source_module
from chalicelib import unpack
from chalicelib.items import Batch, BatchStatus
from chalicelib.unpack import UnpackError, parts
from tests.support.builders import Requests, at_call, faulty, killed, planner, uploaded
from tests.support.faults import Fault
from tests.support.memory_dynamodb import MemoryDynamoDB
from tests.support.pipeline import MemoryS3, Pipeline

HEADER = b"office_id,user_count,contract_count\n"
RANDOM = random.Random(1)
FILE = HEADER + b"".join(b"o%d,%d,2\n" % (row, RANDOM.randrange(10**9)) for row in range(40))
PACKED = gzip.compress(FILE)
KEY = "inbox/offices/day.csv.gz"


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

    def plan(self, faults: Callable[[str], Fault] = lambda _: Fault.NONE, *, seconds: float = 600) -> Batch:
        """Plan it, with faults at any write to either service."""

        def unread(operation: str) -> Fault:
            return Fault.NONE if operation.startswith("get") else faults(operation)

        clients: list[Any] = [faulty(self.dynamodb, unread), faulty(self.requests, unread)]
        return planner(*clients, chunk_rows=7, remaining_seconds=lambda: seconds).plan(self.upload)

    def unpacked(self) -> list[bytes]:
        """Return what was stored beside the inbox."""
        return [content for (key, _), content in self.s3.objects.items() if key.startswith("unpacked/")]

    def batch(self) -> Batch:
        """Return the only batch as it stands."""
        (item,) = [item for (_, sk), item in self.dynamodb.items.items() if sk == "batch"]
        return Batch.from_item(item)


def _blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


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


def test_a_file_too_large_to_be_unpacked_in_time_is_rejected_with_what_to_do() -> None:
    """Unpacking cannot go on elsewhere, for a gzip file has to be read from its beginning."""
    world = World()
    world.plan(seconds=1)
    assert world.batch().reason.startswith("only 100 bytes of the gzip data could be unpacked")
    assert world.s3.uploads == {}


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
    assert damaged.plan() == damaged.plan()
    assert len(damaged.unpacked()) == 1


@given(data=st.data())
def test_plans_that_die_while_they_unpack_end_as_one(data: st.DataObject) -> None:
    """A plain object that nobody names is another version, which expires; what is counted is the same."""
    world, undisturbed = World(), World()
    undisturbed.plan()
    position = data.draw(st.integers(0, 16))
    fault = data.draw(st.sampled_from([Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_BEFORE]))
    killed(lambda: world.plan(at_call(position, fault)))
    world.plan()
    assert world.unpacked()[-1] == FILE
    blank = replace(world.batch(), unpacked=None)
    assert blank == replace(undisturbed.batch(), unpacked=None)
    chunks = {key: item for key, item in world.dynamodb.items.items() if key[1] == "chunk"}
    assert chunks == {key: item for key, item in undisturbed.dynamodb.items.items() if key[1] == "chunk"}


@given(position=st.integers(0, 16), fault=st.sampled_from([Fault.KILLED_BEFORE, Fault.KILLED_AFTER]))
def test_whoever_goes_on_with_a_plan_unpacks_nothing(position: int, fault: Fault) -> None:
    """It is done before there is a batch, which names the plain object: reconcile may not write any."""
    world = World()
    killed(lambda: world.plan(at_call(position, fault)))
    before = len(world.unpacked())
    stands = any(sk == "batch" for _, sk in world.dynamodb.items)
    world.plan()
    assert not stands or len(world.unpacked()) == before


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
