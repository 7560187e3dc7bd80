"""Reading the object version that a batch is made of, range by range."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError, IncompleteReadError

from chalicelib.ahead import ahead
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import BusyError, FatalError, SourceGoneError, SourceMissingError, UnknownOutcomeError
from chalicelib.store.batch import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry

BLOCK_BYTES = 2 * 1_048_576
READERS = 4
SETTLING = timedelta(minutes=20)
"""The time for which S3 may answer 404 for an existing object: up to 15 minutes after a bucket began to keep versions
(S3 user guide, "Using versioning in S3 buckets"), and some minutes for what the clocks differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReader:
    """Reads byte ranges of one object version; each range is a request of its own, tried again as a whole.

    Until ``settled_at`` a 404 may come of S3 alone; without it the object is known to be old enough.
    """

    s3: "S3Client"
    source: Source
    retry: "Retry"
    settled_at: datetime | None = None
    clock: Clock = utc_now

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to before ``end``.

        Raises SourceGoneError if the version is no more, and BusyError if S3 may not show it yet: then the event or
        the message must come again, for that takes minutes.

        The etag is asked for first, the version only where another has taken its place: the local AWS sends the
        whole of an object for a range of a version, and on AWS the two cost the same.
        """
        if end <= start:
            return b""
        try:
            return self._read(start, end)
        except SourceMissingError as error:
            if self.settled_at is None or self.clock() >= self.settled_at:
                raise
            raise BusyError(
                f"{self.source.key} is not there; S3 may not show it before {self.settled_at:%H:%M:%S}"
            ) from error

    def _read(self, start: int, end: int) -> bytes:
        try:
            return self.retry(self._read_once, start, end, IfMatch=f'"{self.source.etag}"')
        except SourceGoneError:
            if not self.source.version_id:
                raise
            return self.retry(self._read_once, start, end, VersionId=self.source.version_id)

    def blocks(self, start: int, end: int) -> Generator[bytes]:
        """Return the bytes from ``start`` to before ``end`` in blocks that fit into memory, the next ones being read.

        S3 gives a connection some 90 MB a second, so several read at once.
        """
        begins = range(start, end, BLOCK_BYTES)
        return ahead(lambda begin: self.read(begin, min(begin + BLOCK_BYTES, end)), begins, at_once=READERS)

    def _read_once(self, start: int, end: int, **which: Any) -> bytes:
        source = self.source
        answer = self.s3.get_object(Bucket=source.bucket, Key=source.key, Range=f"bytes={start}-{end - 1}", **which)
        try:
            data = answer["Body"].read()
        except (HTTPClientError, IncompleteReadError) as error:
            raise UnknownOutcomeError(f"reading {source.key} broke off: {error}") from error
        if "ContentRange" not in answer:
            data = data[start:end]  # a server may answer a range with the whole (RFC 9110, 14.2)
        if len(data) != end - start:
            raise FatalError(f"{source.key}: asked for bytes {start} to {end}, got {len(data)}")
        return data
