"""Upload a file into the inbox, and return the id of its batch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from boto3.s3.transfer import S3Transfer
from s3transfer.manager import TransferManager

from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Source
from tally.output import Output
from tally.stages.stage import Stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INBOX = "inbox"
_CHECKSUM = "CRC32"
"""Named, because the SDK's own choice for a part must be that of the whole upload, and has changed before (1.36)."""


def inbox_key(job: str, name: str) -> str:
    """Return the key under which a job takes a file."""
    return f"{INBOX}/{job}/{name}"


class _Remembering:
    """An S3 client for one upload, which keeps the answer to the request that makes the object.

    The SDK's uploader drops that answer. A later read of the object may find a later upload of the same name, and a
    hook on a client that several uploads share may mix them up.
    """

    def __init__(self, s3: "S3Client") -> None:
        self._s3 = s3
        self.answer: Mapping[str, Any] = {}

    def put_object(self, **request: Any) -> Mapping[str, Any]:
        self.answer = cast("Mapping[str, Any]", self._s3.put_object(**request))
        return self.answer

    def complete_multipart_upload(self, **request: Any) -> Mapping[str, Any]:
        self.answer = cast("Mapping[str, Any]", self._s3.complete_multipart_upload(**request))
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


def upload(s3: "S3Client", file: Path, bucket: str, key: str, sent: Callable[[int], None]) -> Source:
    """Upload a file, in parts if it is large, and return the object version that it became.

    ``sent`` is called with the bytes sent since its last call, from several threads.
    A bucket without versioning gives no version id.
    """
    client = _Remembering(s3)
    # The manager is named because the SDK may choose another one, written in C, that calls no client.
    with S3Transfer(manager=TransferManager(cast("S3Client", client))) as transfer:
        transfer.upload_file(str(file), bucket, key, callback=sent, extra_args={"ChecksumAlgorithm": _CHECKSUM})
    version_id, etag = client.answer.get("VersionId", ""), client.answer["ETag"].strip('"')
    return Source(bucket=bucket, key=key, version_id=version_id, etag=etag)


def send(output: Output, stage: Stage, file: Path, job: str, name: str) -> str:
    """Upload a file with a progress bar and return the id of its batch."""
    with output.progress(f"upload {name}", file.stat().st_size, in_bytes=True) as advance:
        source = upload(stage.s3, file, stage.resources.inbox_bucket, inbox_key(job, name), advance)
    output.say(f"uploaded s3://{source.bucket}/{source.key}")
    return str(batch_id(job, source))
