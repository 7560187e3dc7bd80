"""SQS, EventBridge, S3 and Lambda in memory, as far as Tally uses them. They refuse what AWS would refuse."""

import base64
import io
import json
import zlib
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tally.testing.memory_dynamodb import client_error
from tally.testing.strict import as_strict_as_aws

if TYPE_CHECKING:
    from collections.abc import Callable


@as_strict_as_aws("sqs")
class MemorySQS:
    """Keeps messages, by queue URL."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[str]] = defaultdict(list)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        self.bodies[QueueUrl] += [entry["MessageBody"] for entry in Entries]
        return {"Failed": []}

    def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> None:  # noqa: N803
        self.bodies[QueueUrl].append(MessageBody)

    def change_message_visibility(self, **_: Any) -> None:
        """Do nothing, because time stands still."""


@as_strict_as_aws("events")
class MemoryEvents:
    """Keeps events that are put."""

    def __init__(self) -> None:
        self.details: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        self.details += [{"type": entry["DetailType"], **json.loads(entry["Detail"])} for entry in Entries]
        return {"Entries": [{"EventId": "1"} for _ in Entries]}


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@as_strict_as_aws("s3")
class MemoryS3:
    """Keeps object versions by key and version id; those in ``deletions`` are delete markers.

    ``modified`` is the age of an object. By default it is older than any upload of a stage.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.modified: dict[tuple[str, str], datetime] = {}
        self.deletions: set[tuple[str, str]] = set()
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.uploads_begun = 0
        self.on_put: Callable[[str, str], None] = lambda _key, _version: None
        """Hears of each object that a call put, by key and version id."""

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        return self._put(Key, Body)

    def _put(self, key: str, body: bytes) -> dict[str, Any]:
        version = f"v{1 + sum(name == key for name, _ in self.objects)}"
        self.objects[key, version] = body
        self.on_put(key, version)
        return {"VersionId": version, "ETag": f'"{etag(version)}"'}

    def create_multipart_upload(self, *, ChecksumAlgorithm: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        assert ChecksumAlgorithm == "CRC32"
        self.uploads_begun += 1
        self.uploads[str(self.uploads_begun)] = {}
        return {"UploadId": str(self.uploads_begun)}

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._upload(UploadId)[PartNumber] = Body
        return _part(PartNumber, Body)

    def list_parts(self, *, UploadId: str, PartNumberMarker: int = 0, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return a page of two parts, so that every caller must read on."""
        left = sorted(number for number in self._upload(UploadId) if number > PartNumberMarker)
        bodies = {number: self.uploads[UploadId][number] for number in left[:2]}
        found = [{"PartNumber": n, "Size": len(body)} | _part(n, body) for n, body in bodies.items()]
        last = {"NextPartNumberMarker": left[1]} if len(left) > 2 else {}
        return {"IsTruncated": bool(last), **last} | ({"Parts": found} if found else {})

    def complete_multipart_upload(self, *, Key: str, UploadId: str, MultipartUpload: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        parts = self._upload(UploadId)
        # S3 refuses an upload whose algorithm was named and whose parts come without their checksums.
        assert MultipartUpload["Parts"] == [{"PartNumber": n} | _part(n, parts[n]) for n in range(1, len(parts) + 1)]
        del self.uploads[UploadId]
        return self._put(Key, b"".join(parts[n] for n in sorted(parts)))

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> None:  # noqa: N803
        self._upload(UploadId)
        del self.uploads[UploadId]

    def _upload(self, upload_id: str) -> dict[int, bytes]:
        if upload_id not in self.uploads:
            raise client_error("NoSuchUpload", 404)
        return self.uploads[upload_id]

    def get_object(self, *, Key: str, Range: str, VersionId: str = "", IfMatch: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        versions = [version for key, version in self.objects if key == Key]
        if VersionId not in ("", *versions) or not versions:
            raise client_error("NoSuchVersion" if VersionId else "NoSuchKey", 404)
        if IfMatch and IfMatch != f'"{etag(versions[-1])}"':
            raise client_error("PreconditionFailed", 412)
        first, last = Range.removeprefix("bytes=").split("-")
        data = self.objects[Key, VersionId or versions[-1]][int(first) : int(last) + 1]
        return {"Body": io.BytesIO(data), "ContentRange": f"bytes {Range}/*"}

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        versions = [version for key, version in self.objects if key == Key]
        if not versions or (Key, versions[-1]) in self.deletions:
            raise client_error("404", 404)
        version = versions[-1]
        size = len(self.objects[Key, version])
        return {"VersionId": version, "ETag": f'"{etag(version)}"', "ContentLength": size}

    def list_object_versions(
        self,
        *,
        Prefix: str,  # noqa: N803
        KeyMarker: str = "",  # noqa: N803
        VersionIdMarker: str = "",  # noqa: N803
        MaxKeys: int = 3,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        """Return a page: keys in order, the versions of each from the newest on."""
        assert KeyMarker or not VersionIdMarker, "S3 refuses a version without a key"
        newest_first = reversed([place for place in self.objects if place[0].startswith(Prefix)])
        places = sorted(newest_first, key=lambda place: place[0])
        if VersionIdMarker:
            places = places[places.index((KeyMarker, VersionIdMarker)) + 1 :]
        else:
            places = [place for place in places if place[0] > KeyMarker]
        page = places[:MaxKeys]
        names = ("NextKeyMarker", "NextVersionIdMarker")
        last = dict(zip(names, page[-1], strict=True)) if len(places) > len(page) else {}
        listed = {
            "Versions": [self._listed(place) for place in page if place not in self.deletions],
            "DeleteMarkers": [{"Key": key, "VersionId": name} for key, name in page if (key, name) in self.deletions],
        }
        return {"IsTruncated": bool(last), **last} | {name: found for name, found in listed.items() if found}

    def _listed(self, place: tuple[str, str]) -> dict[str, Any]:
        key, version = place
        return {
            "Key": key,
            "VersionId": version,
            "ETag": f'"{etag(version)}"',
            "Size": len(self.objects[place]),
            "LastModified": self.modified.get(place, LONG_AGO),
        }


def _part(number: int, body: bytes) -> dict[str, str]:
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    return {"ETag": f'"{number}"', "ChecksumCRC32": checksum}


def etag(version: str) -> str:
    """Return the etag of a version."""
    return f"etag-of-{version}"


@as_strict_as_aws("lambda")
class MemoryLambda:
    """Answers whether the queues' mappings report partial failures."""

    def __init__(self) -> None:
        self.reports = True
        self.uploads: list[dict[str, Any]] = []

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert (FunctionName, InvocationType) == ("tally-test-plan", "Event")
        self.uploads.append(json.loads(Payload))
        return {"StatusCode": 202}

    def list_event_source_mappings(self, **_: Any) -> dict[str, Any]:
        return {"EventSourceMappings": [{"FunctionResponseTypes": ["ReportBatchItemFailures"] if self.reports else []}]}
