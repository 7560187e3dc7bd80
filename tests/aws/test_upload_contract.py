"""The answers to an upload, on moto and on the local AWS, no matter what else is uploaded under the same name."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from tally.batch.submit import upload

INBOX = "inbox"
KEY = "inbox/offices/day.csv"
SMALL, LARGE = 100, 9 * 1024 * 1024
"""One request, and a multipart upload of two parts."""


class Interfering:
    """An S3 client that does something else right after each request that makes an object, before it returns."""

    def __init__(self, s3: Any, then: Callable[[], object]) -> None:
        self._s3, self._then = s3, then

    def put_object(self, **request: Any) -> Any:
        answer = self._s3.put_object(**request)
        self._then()
        return answer

    def complete_multipart_upload(self, **request: Any) -> Any:
        answer = self._s3.complete_multipart_upload(**request)
        self._then()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


@pytest.fixture(params=["moto", "local AWS"])
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a client and a versioned bucket without objects."""
    if request.param == "moto":
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        with mock_aws():
            yield _with_a_bucket(boto3.client("s3", region_name="us-east-1"))
    else:
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=request.getfixturevalue("local_aws"),
            config=Config(proxies={}, connect_timeout=2, read_timeout=10, s3={"addressing_style": "path"}),
        )
        yield _with_a_bucket(client)
        for version in client.list_object_versions(Bucket=INBOX).get("Versions", []):
            client.delete_object(Bucket=INBOX, Key=version["Key"], VersionId=version["VersionId"])
        client.delete_bucket(Bucket=INBOX)
        client.close()


def _with_a_bucket(client: Any) -> Any:
    client.create_bucket(Bucket=INBOX)
    client.put_bucket_versioning(Bucket=INBOX, VersioningConfiguration={"Status": "Enabled"})
    return client


def _file(folder: Path, name: str, size: int) -> Path:
    file = folder / name
    file.write_bytes(name.encode() * (size // len(name)))
    return file


def _content(s3: Any, version: str) -> bytes:
    return cast("bytes", s3.get_object(Bucket=INBOX, Key=KEY, VersionId=version)["Body"].read())


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_another_upload_of_the_same_name_is_not_taken_for_ours(s3: Any, tmp_path: Path, size: int) -> None:
    """It lands after our upload and before its answer is here: both would have been told to be of one batch."""
    file = _file(tmp_path, "ours", size)
    other = Interfering(s3, lambda: s3.put_object(Bucket=INBOX, Key=KEY, Body=b"theirs"))
    source = upload(cast("Any", other), file, INBOX, KEY, lambda _sent: None)
    assert _content(s3, source.version_id) == file.read_bytes()
    assert s3.get_object(Bucket=INBOX, Key=KEY)["Body"].read() == b"theirs"


def test_uploads_at_once_through_one_client_each_get_their_own_version(s3: Any, tmp_path: Path) -> None:
    """Each has its object before either continues."""
    both_are_there = threading.Barrier(2, timeout=30)
    shared = cast("Any", Interfering(s3, both_are_there.wait))
    files = [_file(tmp_path, name, SMALL) for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        sources = list(pool.map(lambda file: upload(shared, file, INBOX, KEY, lambda _sent: None), files))
    assert [_content(s3, source.version_id) for source in sources] == [file.read_bytes() for file in files]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_source_is_what_a_look_at_the_object_finds(s3: Any, tmp_path: Path, size: int) -> None:
    """The S3 event says the same, and the batch's id is made of it."""
    sent: list[int] = []
    file = _file(tmp_path, "ours", size)
    source = upload(s3, file, INBOX, KEY, sent.append)
    found = s3.head_object(Bucket=INBOX, Key=KEY)
    assert (source.version_id, source.etag) == (found["VersionId"], found["ETag"].strip('"'))
    assert sum(sent) == file.stat().st_size


def test_without_versioning_the_etag_tells_the_version(s3: Any, tmp_path: Path) -> None:
    """A bucket of somebody's own may have none."""
    s3.create_bucket(Bucket="plain")
    source = upload(s3, _file(tmp_path, "ours", SMALL), "plain", KEY, lambda _sent: None)
    etag = s3.head_object(Bucket="plain", Key=KEY)["ETag"].strip('"')
    assert (source.version_id, source.version) == ("", etag)
    s3.delete_object(Bucket="plain", Key=KEY)
    s3.delete_bucket(Bucket="plain")


def test_a_multipart_upload_that_fails_leaves_no_parts(s3: Any, tmp_path: Path) -> None:
    """They would be stored, and paid for, until somebody looks."""

    class Refusing(Interfering):
        def upload_part(self, **request: Any) -> Any:
            if request["PartNumber"] == 2:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "UploadPart")
            return self._s3.upload_part(**request)

    refusing = cast("Any", Refusing(s3, lambda: None))
    with pytest.raises(S3UploadFailedError):
        upload(refusing, _file(tmp_path, "ours", LARGE), INBOX, KEY, lambda _sent: None)
    assert not s3.list_multipart_uploads(Bucket=INBOX).get("Uploads")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_every_request_of_an_upload_names_its_checksum(s3: Any, tmp_path: Path, size: int) -> None:
    """An upload whose parts have another algorithm than it was begun with is refused at its end."""
    client = _Noting(s3)
    upload(cast("Any", client), _file(tmp_path, "day", size), INBOX, KEY, lambda _: None)
    completed = client.requests.pop("complete_multipart_upload", {"MultipartUpload": {"Parts": []}})
    assert all(part["ChecksumCRC32"] for part in completed["MultipartUpload"]["Parts"])
    assert client.requests
    assert {request.get("ChecksumAlgorithm") for request in client.requests.values()} == {"CRC32"}


class _Noting:
    """An S3 client that keeps the last request of each kind."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.requests: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._s3, name)
        if name not in {"put_object", "create_multipart_upload", "upload_part", "complete_multipart_upload"}:
            return call

        def noted(**request: Any) -> Any:
            self.requests[name] = request
            return call(**request)

        return noted
