"""Writing an object of any size in the memory of a part: one request if it is small, a multipart upload if not."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry

PART_BYTES = 8 * 1_048_576
_CHECKSUM: Literal["CRC32"] = "CRC32"
"""Named, because the SDK's own choice for a part must be that of the whole upload, and has changed before (1.36)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object that is there: ``size`` in bytes; ``version_id`` is empty in a bucket that keeps no versions."""

    size: int
    sha256: str
    version_id: str
    etag: str


@dataclass(slots=True, kw_only=True)
class ObjectWriter:
    """Takes bytes for one object, which is there when ``complete`` has returned, and not before.

    Dying leaves an unfinished upload at most; the bucket's lifecycle removes it. With the ``upload_id`` of an earlier
    writer its parts are stored again in that upload, which S3 completes once, however many writers try.
    """

    s3: "S3Client"
    bucket: str
    key: str
    content_type: str
    retry: "Retry"
    upload_id: str = ""
    _waiting: bytearray = field(default_factory=bytearray, init=False)
    _digest: Any = field(default_factory=hashlib.sha256, init=False)
    _size: int = field(default=0, init=False)
    _parts: list[Any] = field(default_factory=list, init=False)

    def begin(self) -> str:
        """Begin a multipart upload, also if the object turns out to be small; returns its id."""
        begun = self.retry(
            self.s3.create_multipart_upload,
            **self._where,
            ContentType=self.content_type,
            ChecksumAlgorithm=_CHECKSUM,
        )
        self.upload_id = begun["UploadId"]
        return self.upload_id

    def write(self, data: bytes) -> None:
        """Take the next bytes; stores a part of the object when enough have come."""
        self._digest.update(data)
        self._size += len(data)
        self._waiting += data
        while len(self._waiting) > PART_BYTES:
            self._store(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    def complete(self) -> Stored:
        """Let the object appear; raises UploadEndedError if an earlier try of this did so and was not heard."""
        rest = bytes(self._waiting)
        answer: Any
        if self.upload_id:
            self._store(rest)
            answer = self.retry(
                self.s3.complete_multipart_upload, **self._upload, MultipartUpload={"Parts": self._parts}
            )
        else:
            answer = self.retry(
                self.s3.put_object,
                **self._where,
                Body=rest,
                ContentType=self.content_type,
                ChecksumAlgorithm=_CHECKSUM,
            )
        version = answer.get("VersionId", "")
        return Stored(
            size=self._size,
            sha256=self._digest.hexdigest(),
            version_id="" if version == "null" else version,
            etag=answer["ETag"].strip('"'),
        )

    def abort(self) -> None:
        """Remove what was stored of an object that is not to appear."""
        if self.upload_id:
            self.retry(self.s3.abort_multipart_upload, **self._upload)

    @property
    def _where(self) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self.key}

    @property
    def _upload(self) -> dict[str, Any]:
        return self._where | {"UploadId": self.upload_id}

    def _store(self, part: bytes) -> None:
        if not self.upload_id:
            self.begin()
        position = len(self._parts) + 1
        answer: Any = self.retry(
            self.s3.upload_part, **self._upload, PartNumber=position, Body=part, ChecksumAlgorithm=_CHECKSUM
        )
        names = ("ETag", "ChecksumCRC32")
        self._parts.append({"PartNumber": position, **{name: answer[name] for name in names if name in answer}})
