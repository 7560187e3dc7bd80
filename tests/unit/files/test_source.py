"""Reading byte ranges of one object version and of no other."""

import io
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError, ReadTimeoutError
from botocore.response import StreamingBody

from chalicelib.errors import BusyError, FatalError, SourceGoneError, UnknownOutcomeError
from chalicelib.files import source as source_module
from chalicelib.files.source import ObjectReader
from chalicelib.store.batch import Source
from tally.testing.memory_dynamodb import client_error
from tests.support.builders import NOW, RETRY

CONTENT = bytes(range(256)) * 40


class Broken:
    """A body that breaks off while it is read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self) -> bytes:
        raise self.error


class FakeS3:
    """Versions of one key, the last one current; bodies that break off come first."""

    def __init__(self, *broken: Any, versions: dict[str, bytes] | None = None, ranges: bool = True) -> None:
        self.broken = list(broken)
        self.versions = {"v1": CONTENT} if versions is None else versions
        self.ranges = ranges
        self.requests: list[dict[str, Any]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        assert {"Bucket": "inbox", "Key": "inbox/offices/day.csv"}.items() <= request.items()
        if self.broken:
            return {"Body": self.broken.pop(0), "ContentRange": "bytes 0-4/*"}
        if not self.versions:
            raise client_error("NoSuchVersion" if "VersionId" in request else "NoSuchKey", 404)
        version = request.get("VersionId", list(self.versions)[-1])
        if version not in self.versions:
            raise client_error("NoSuchVersion", 404)
        if request.get("IfMatch", f'"etag-{version}"') != f'"etag-{version}"':
            raise client_error("PreconditionFailed", 412)
        first, last = request["Range"].removeprefix("bytes=").split("-")
        if not self.ranges:
            return {"Body": io.BytesIO(self.versions[version])}
        data = self.versions[version][int(first) : int(last) + 1]
        return {"Body": io.BytesIO(data), "ContentRange": f"bytes {first}-{last}/*"}


def _reader(s3: Any, *, version_id: str = "v1", settled_at: datetime | None = None) -> ObjectReader:
    source = Source(bucket="inbox", key="inbox/offices/day.csv", version_id=version_id, etag="etag-v1")
    return ObjectReader(s3=s3, source=source, retry=RETRY, settled_at=settled_at, clock=lambda: NOW)


@pytest.mark.parametrize("version_id", ["v1", ""])
def test_a_range_is_read_if_the_object_is_still_the_one_that_was_uploaded(version_id: str) -> None:
    """One request: If-Match takes the etag in quotes, and S3's ranges include their last byte."""
    s3 = FakeS3()
    assert _reader(s3, version_id=version_id).read(10, 13) == CONTENT[10:13]
    assert [(request["Range"], request["IfMatch"]) for request in s3.requests] == [("bytes=10-12", '"etag-v1"')]


def test_a_version_that_another_took_the_place_of_is_read_by_its_id() -> None:
    """A corrected file under the same key is another batch; this one continues with its own."""
    s3 = FakeS3(versions={"v1": CONTENT, "v2": b"other" * 99})
    assert _reader(s3).read(10, 13) == CONTENT[10:13]
    assert s3.requests[-1]["VersionId"] == "v1"


def test_without_versions_an_object_that_was_replaced_is_gone() -> None:
    """Rows of the new content must not be counted as those of the old."""
    s3 = FakeS3(versions={"v2": b"other" * 99})
    with pytest.raises(SourceGoneError, match="PreconditionFailed"):
        _reader(s3, version_id="").read(10, 13)
    assert len(s3.requests) == 1


def test_a_server_that_answers_a_range_with_the_whole_is_understood() -> None:
    """HTTP allows it, and the local AWS does it for versions."""
    assert _reader(FakeS3(ranges=False)).read(10, 13) == CONTENT[10:13]


def test_an_empty_range_is_no_request() -> None:
    """S3 cannot express one: bytes=0--1 is no range."""
    s3 = FakeS3()
    assert _reader(s3).read(0, 0) == b""
    assert list(_reader(s3).blocks(5, 5)) == []
    assert s3.requests == []


def test_blocks_follow_each_other_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last may be shorter; together they are the range, without a gap."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 1000)
    s3 = FakeS3()
    blocks = list(_reader(s3).blocks(3, 2503))
    assert [len(block) for block in blocks] == [1000, 1000, 500]
    assert b"".join(blocks) == CONTENT[3:2503]


def test_blocks_are_read_several_at_once_and_only_so_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is slower than the planner; memory holds a few blocks, however large the object."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 100)
    together = threading.Barrier(source_module.READERS, timeout=60)

    class Meeting(FakeS3):
        def get_object(self, **request: Any) -> dict[str, Any]:
            answer = super().get_object(**request)
            together.wait()  # breaks unless so many are read at once
            return answer

    s3 = Meeting()
    blocks = _reader(s3).blocks(0, 100 * 2 * source_module.READERS)
    taken = [next(blocks)]
    assert len(s3.requests) == source_module.READERS
    assert b"".join([*taken, *blocks]) == CONTENT[: 100 * 2 * source_module.READERS]


@pytest.mark.parametrize(
    "body",
    [
        Broken(ReadTimeoutError(endpoint_url="http://127.0.0.1")),
        Broken(IncompleteReadError(actual_bytes=3, expected_bytes=5)),
        StreamingBody(io.BytesIO(b"abc"), 5),
    ],
    ids=["timeout", "incomplete", "shorter than announced"],
)
def test_a_body_that_breaks_off_is_read_again_as_a_whole(body: Any) -> None:
    """Half a range must never be taken for all of it."""
    s3 = FakeS3(body)
    assert _reader(s3).read(0, 5) == CONTENT[:5]
    assert len(s3.requests) == 2


def test_a_body_that_always_breaks_off_raises() -> None:
    """And the queue delivers the chunk again."""
    s3 = FakeS3(*[Broken(ReadTimeoutError(endpoint_url="http://127.0.0.1"))] * 99)
    with pytest.raises(UnknownOutcomeError, match="broke off"):
        _reader(s3).read(0, 5)


def test_fewer_bytes_than_asked_for_raise() -> None:
    """The size in the event was not the object's: rows would be missing in silence."""
    with pytest.raises(FatalError, match="asked for bytes 0 to 9, got 4"):
        _reader(FakeS3(versions={"v1": b"abcd"})).read(0, 9)


@pytest.mark.parametrize("versions", [{}, {"v2": CONTENT}], ids=["deleted", "replaced"])
def test_a_version_that_is_gone_says_so(versions: dict[str, bytes]) -> None:
    """Its rows become outcomes with that reason; it is nothing to wait for."""
    s3 = FakeS3(versions=versions)
    with pytest.raises(SourceGoneError, match="NoSuchVersion"):
        _reader(s3).read(0, 1)
    assert len(s3.requests) == 2


@pytest.mark.parametrize("version_id", ["v1", ""])
def test_a_404_for_a_young_object_is_asked_about_again_later(version_id: str) -> None:
    """S3 may not show what it has, for a quarter of an hour after a bucket began to keep versions."""
    reader = _reader(FakeS3(versions={}), version_id=version_id, settled_at=NOW + timedelta(seconds=1))
    with pytest.raises(BusyError, match="may not show it before 12:00:01"):
        reader.read(0, 1)


def test_a_404_for_an_object_that_is_old_enough_says_that_it_is_gone() -> None:
    """Otherwise its rows would wait for ever."""
    with pytest.raises(SourceGoneError):
        _reader(FakeS3(versions={}), settled_at=NOW).read(0, 1)


def test_an_object_that_was_replaced_is_gone_however_young_it_is() -> None:
    """S3 shows the bucket as it is: it says that another object has the key."""
    s3 = FakeS3(versions={"v2": CONTENT})
    with pytest.raises(SourceGoneError, match="PreconditionFailed"):
        _reader(s3, version_id="", settled_at=NOW + timedelta(days=1)).read(0, 1)
