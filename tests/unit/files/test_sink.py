"""Objects of any size are written in parts, and are there as a whole or not at all."""

import hashlib

import pytest

from chalicelib.files import sink
from chalicelib.files.sink import ObjectWriter
from chalicelib.steps import unpack
from tally.testing.memory_aws import MemoryS3
from tally.testing.request_rules import MAX_PARTS
from tests.support.builders import RETRY, Requests

PART_BYTES = sink.PART_BYTES
LEAST_PART_BYTES = 5 * 1_048_576
"""S3 refuses to complete an upload with a smaller part that is not its last: user guide, "Multipart upload limits"."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few bytes be a part."""
    monkeypatch.setattr(sink, "PART_BYTES", 4)


def _writer(s3: object) -> ObjectWriter:
    return ObjectWriter(s3=s3, bucket="inbox", key="results/a", content_type="text/csv", retry=RETRY)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 3, 4, 5, 8, 9, 21])
@pytest.mark.parametrize("step", [1, 3, 100])
def test_what_is_written_in_pieces_is_one_object_with_its_digest(size: int, step: int) -> None:
    memory, data = MemoryS3(), bytes(range(size))
    s3 = Requests(memory)
    writer = _writer(s3)
    for begin in range(0, size, step):
        writer.write(data[begin : begin + step])
    assert memory.objects == {}
    stored = writer.complete()
    assert memory.objects == {("results/a", stored.version_id): data}
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert len(s3.of("put_object")) == (size <= 4)
    assert all(len(part["Body"]) == 4 for part in s3.of("upload_part")[:-1])


def test_every_part_but_the_last_is_as_large_as_s3_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an unpacked object, which has as many parts as an upload may have."""
    monkeypatch.setattr(sink, "PART_BYTES", PART_BYTES)
    s3 = Requests(MemoryS3())
    writer = _writer(s3)
    for _ in range(17):
        writer.write(bytes(1_048_576))
    writer.complete()
    assert [len(part["Body"]) for part in s3.of("upload_part")] == [PART_BYTES, PART_BYTES, 1_048_576]
    assert min(PART_BYTES, unpack.PART_BYTES) >= LEAST_PART_BYTES
    assert -(-unpack.MAX_BYTES // unpack.PART_BYTES) <= MAX_PARTS


def test_an_object_that_is_given_up_leaves_nothing() -> None:
    memory = MemoryS3()
    writer = _writer(memory)
    writer.write(b"0123456789")
    assert memory.uploads
    writer.abort()
    assert (memory.uploads, memory.objects) == ({}, {})


def test_a_small_object_that_is_given_up_asks_for_nothing() -> None:
    s3 = Requests(MemoryS3())
    writer = _writer(s3)
    writer.write(b"012")
    writer.abort()
    assert s3.made == []
