"""Upload a file of corrections once, under a key that contains its SHA-256."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import SourceMissingError
from chalicelib.files.sink import PART_BYTES, ObjectWriter
from chalicelib.results.corrections import object_key
from chalicelib.retry import Retry
from chalicelib.store.batch import Batch, Source
from chalicelib.store.corrections import CorrectionsFile
from chalicelib.store.items import timestamp
from chalicelib.transport.uploads import version_id
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploader:
    """Puts files of corrections into the bucket of their batch."""

    s3: "S3Client"
    retry: Retry
    clock: Clock = utc_now

    def upload(self, output: Output, batch: Batch, path: Path, sha256: str, rows: int) -> CorrectionsFile:
        """Upload a file unless it is there; safe to repeat and to interrupt, because its key has its SHA-256."""
        key, size = object_key(batch.job, batch.id, sha256, batch.layout), path.stat().st_size
        found = self._find(batch.source.bucket, key)
        if found is None:
            with output.progress("uploading corrected rows", size, in_bytes=True) as advance, path.open("rb") as file:
                writer = ObjectWriter(
                    s3=self.s3, bucket=batch.source.bucket, key=key, content_type="text/plain", retry=self.retry
                )
                while block := file.read(PART_BYTES):
                    writer.write(block)
                    advance(len(block))
                writer.complete()
            found = self._find(batch.source.bucket, key)
        if found is None:
            raise SourceMissingError(f"s3://{batch.source.bucket}/{key} was uploaded and is not there")
        return CorrectionsFile(source=found, sha256=sha256, size=size, rows=rows, created_at=timestamp(self.clock()))

    def _find(self, bucket: str, key: str) -> Source | None:
        try:
            answer: Any = self.retry(self.s3.head_object, Bucket=bucket, Key=key)
        except SourceMissingError:
            return None
        version = version_id(answer.get("VersionId", ""))
        return Source(bucket=bucket, key=key, version_id=version, etag=answer["ETag"].strip('"'))
