"""Unpacking: a gzip object becomes a plain one beside the inbox, for only a plain one can be read from its middle."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from chalicelib.errors import TallyError
from chalicelib.items import Source
from chalicelib.source import ObjectReader
from chalicelib.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry

UNPACKED_PREFIX = "unpacked/"
"""Where no upload arrives and no event comes from."""
GZIP_MAGIC = b"\x1f\x8b"
PART_BYTES = 8 * 1_048_576
"""S3 takes 10,000 parts: 80 GB."""
_MOST_PARTS = 10_000
_FREE_BYTES = 64 * 1_048_576
_MOST_RATIO = 250
"""Tables shrink to a fifth or a twentieth. Deflate can do a thousandth: that is a bomb, and parts cost money."""
_LEAST_SECONDS = 20.0
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class UnpackError(TallyError):
    """The object cannot be unpacked; the message is a reason for the uploader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacker:
    """Copies what is in gzip objects to plain ones, in memory for a few parts."""

    s3: "S3Client"
    retry: "Retry"

    def unpack(self, upload: Upload, key: str) -> Upload:
        """Return the plain object; raises UnpackError. Safe to repeat: a second one is another version of the same.

        Dying in between leaves parts that the bucket's lifecycle removes, and no object.
        """
        reader = ObjectReader(s3=self.s3, source=upload.source, retry=self.retry)
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for part in parts(reader.blocks(0, upload.size)):
                size += len(part)
                if size > max(_FREE_BYTES, _MOST_RATIO * upload.size):
                    raise UnpackError(f"the gzip data unpack to more than {_MOST_RATIO} times their size")
                if size > _MOST_PARTS * PART_BYTES:
                    raise UnpackError(f"the gzip data unpack to more than {_MOST_PARTS * PART_BYTES:,} bytes")
                if self.retry.remaining_seconds() < _LEAST_SECONDS:
                    raise UnpackError(
                        f"only {size:,} bytes of the gzip data could be unpacked in the time that there is: upload the "
                        "file unpacked, or in several files"
                    )
                yield part

        where: dict[str, Any] = {"Bucket": upload.source.bucket, "Key": key}
        stored = self._store(where, counted())
        source = Source(
            bucket=upload.source.bucket,
            key=key,
            version_id=stored.get("VersionId", ""),
            etag=stored["ETag"].strip('"'),
        )
        return Upload(source=source, size=size)

    def _store(self, where: dict[str, Any], content: Iterator[bytes]) -> dict[str, Any]:
        first = list(islice(content, 2))
        if len(first) < 2:  # noqa: PLR2004  one part is an object by itself
            return dict(self.retry(self.s3.put_object, **where, Body=b"".join(first)))
        where["UploadId"] = self.retry(self.s3.create_multipart_upload, **where)["UploadId"]
        try:
            done: list[Any] = []
            for number, part in enumerate(chain(first, content), start=1):
                answer = self.retry(self.s3.upload_part, **where, PartNumber=number, Body=part)
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
            return dict(self.retry(self.s3.complete_multipart_upload, **where, MultipartUpload={"Parts": done}))
        except TallyError:
            self.retry(self.s3.abort_multipart_upload, **where)
            raise


def parts(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack blocks of gzip members into parts of ``PART_BYTES``, the last one shorter; raises UnpackError."""
    waiting = bytearray()
    for piece in _unpacked(blocks):
        waiting += piece
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)


def _unpacked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_WINDOW)
    begun = False
    for block in blocks:
        data = block
        while data:
            if member.eof:
                data = data.lstrip(b"\0")  # tapes and some tools fill up with zeroes, between members too
                if not data:
                    break
                member, begun = zlib.decompressobj(_GZIP_WINDOW), False
            try:
                yield member.decompress(data, PART_BYTES)
            except zlib.error as error:
                raise UnpackError(f"the gzip data are damaged: {error}") from error
            begun = True
            data = member.unused_data if member.eof else member.unconsumed_tail
    if begun and not member.eof:
        raise UnpackError("the gzip data are cut off: upload the file again")
