"""Unpacking: a gzip object becomes a plain one beside the inbox, for only a plain one can be read from its middle."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from chalicelib.errors import TallyError, UploadEndedError
from chalicelib.files.source import ObjectReader
from chalicelib.store.batch import Batch, BatchStatus, Cursor, Source, Unpacking
from chalicelib.store.items import BATCH_SK, batch_pk, number, text, texts
from chalicelib.store.repository import Repository
from chalicelib.store.table import Update
from chalicelib.transport.uploads import HAND_OVER_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

UNPACKED_PREFIX = "unpacked/"
"""A prefix that no S3 event is configured for."""
GZIP_MAGIC = b"\x1f\x8b"
PART_BYTES = 8 * 1_048_576
MAX_BYTES = 10_000 * PART_BYTES
"""S3 takes 10,000 parts: 80 GB."""
_PARTS_BETWEEN_NOTES = 32
"""A quarter of a gigabyte: seconds."""
_GIVE_UP_SECONDS = 10.0
"""Time left at which what is stored already has taken nearly all of it: no invocation would come further."""
_FREE_BYTES = 64 * 1_048_576
_MAX_RATIO = 250
"""Tables shrink to a fifth or a twentieth. Deflate can do a thousandth: that is a bomb, and parts cost money."""
_CHECKSUM: Literal["CRC32"] = "CRC32"
"""Named, because the SDK's own choice for a part must be that of the whole upload, and has changed before (1.36)."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_BYTES_AT_ONCE = 16_384
"""The bytes that zlib is given: it copies the rest of them at the end of each member, and members may have 20 bytes."""

IS_BEING_UNPACKED = "#status = :unpacking"
"""A plain object is named once, and the batch planned from it: one that another plan made has the same bytes."""
IS_THE_SAME_UPLOAD = "(attribute_not_exists(unpack_upload_id) OR unpack_upload_id = :known)"
"""Plans that unpack at once put their parts into one multipart upload, that of the first."""


class UnpackError(TallyError):
    """The object cannot be unpacked; the message is a reason for the uploader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacker:
    """Copies what is in gzip objects to plain ones, in memory for a few parts."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"

    def unpack(self, batch: Batch, reader: ObjectReader) -> Batch:
        """Return the batch with its plain object, or without, if the time did not suffice; raises UnpackError.

        Gzip data can only be read from their beginning. So the next invocation, also after this one died, unpacks
        them again, but stores only the parts that are not stored yet. Safe to repeat: a second object is another
        version of the same.
        """
        try:
            return self._unpack(batch, reader)
        except UploadEndedError:
            standing = self._standing(batch)
            if standing.status is BatchStatus.UNPACKING:
                raise  # it was completed, and the batch does not name it yet: this event comes again
            return standing

    def name(self, batch: Batch, begin: Cursor) -> Batch:
        """Name the plain object in the batch, whose planning begins with that; returns the batch that stands.

        ``begin`` is where the rows begin.
        """
        named = self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET #status = :planning, header = :header, "
                "file_format = :format, delimiter = :delimiter, encoding = :encoding, "
                "cursor_offset = :offset, cursor_line = :line, cursor_chunks = :zero, cursor_rows = :zero, "
                "unpacked_key = :key, unpacked_version_id = :version_id, unpacked_etag = :etag, unpacked_size = :size "
                "REMOVE unpack_read, unpack_upload_id",
                condition=IS_BEING_UNPACKED,
                values={
                    ":unpacking": text(BatchStatus.UNPACKING),
                    ":planning": text(BatchStatus.PLANNING),
                    ":header": texts(batch.header),
                    ":format": text(batch.layout.format),
                    ":delimiter": text(batch.layout.delimiter),
                    ":encoding": text(batch.layout.encoding),
                    ":offset": number(begin.offset),
                    ":line": number(begin.line),
                    ":zero": number(0),
                    ":key": text(batch.content.key),
                    ":version_id": text(batch.content.version_id),
                    ":etag": text(batch.content.etag),
                    ":size": number(batch.unpacked_size),
                },
            )
        )
        if named:
            return replace(batch, status=BatchStatus.PLANNING, unpacking=None, cursor=begin)
        return self._standing(batch)

    def _unpack(self, batch: Batch, reader: ObjectReader) -> Batch:
        if batch.size > MAX_BYTES:
            raise UnpackError(f"the gzip file has {batch.size:,} bytes, and at most {MAX_BYTES:,} can be unpacked")
        with closing(reader.blocks(0, batch.size)) as blocks:
            packed = _Counted(blocks)
            plain = _Counted(parts(iter(packed)))
            stored = self._stored(batch, _bounded(plain, batch.size), packed)
        return replace(batch, unpacked=stored, unpacked_size=plain.total) if stored else batch

    def _stored(self, batch: Batch, content: Iterator[bytes], packed: "_Counted") -> Source | None:
        """Store parts as one object; returns None if the time does not suffice."""
        where: dict[str, Any] = {"Bucket": batch.source.bucket, "Key": f"{UNPACKED_PREFIX}{batch.id}.csv"}
        first = list(islice(content, 2))
        if len(first) < 2:  # noqa: PLR2004  one part is an object by itself
            stored: Any = self.retry(self.s3.put_object, **where, Body=b"".join(first), ChecksumAlgorithm=_CHECKSUM)
        else:
            upload_id, there = self._upload(batch, where)
            upload = where | {"UploadId": upload_id}
            try:
                done = self._store(batch, upload, there, chain(first, content), packed)
            except UnpackError:
                self.retry(self.s3.abort_multipart_upload, **upload)
                raise
            if done is None:
                return None
            stored = self.retry(self.s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": done})
        return Source(
            bucket=where["Bucket"],
            key=where["Key"],
            version_id=stored.get("VersionId", ""),
            etag=stored["ETag"].strip('"'),
        )

    def _upload(self, batch: Batch, where: dict[str, Any]) -> tuple[str, "_Parts"]:
        """Return the multipart upload that was begun, or a new one, and what is stored in it."""
        known = batch.unpacking.upload_id if batch.unpacking else ""
        if known:
            # Ended: completed by a plan that died before it named the object, or removed by the bucket's lifecycle.
            with suppress(UploadEndedError):
                return known, self._parts(where | {"UploadId": known})
        new = self.retry(self.s3.create_multipart_upload, **where, ChecksumAlgorithm=_CHECKSUM)["UploadId"]
        standing = self._keep(batch, Unpacking(upload_id=new), known=known)
        if standing == new:
            return new, {}
        self.retry(self.s3.abort_multipart_upload, **where, UploadId=new)
        return standing, self._parts(where | {"UploadId": standing})

    def _store(
        self, batch: Batch, upload: dict[str, Any], there: "_Parts", content: Iterator[bytes], packed: "_Counted"
    ) -> list[Any] | None:
        """Store the parts that are not stored yet; returns all of them, None if the time does not suffice.

        At least one more is stored, so that the next invocation finds less to do.
        """
        fresh = 0
        done: list[Any] = []
        for position, part in enumerate(content, start=1):
            remaining = self.retry.remaining_seconds()
            size, known = there.get(position, (0, {}))
            if size != len(part):
                if fresh and remaining < HAND_OVER_SECONDS:
                    self._keep(batch, Unpacking(read=packed.total, upload_id=upload["UploadId"]))
                    return None
                answer: Any = self.retry(
                    self.s3.upload_part, **upload, PartNumber=position, Body=part, ChecksumAlgorithm=_CHECKSUM
                )
                known = _named(answer)
                fresh += 1
            elif remaining < _GIVE_UP_SECONDS:
                raise UnpackError(
                    f"only {position * PART_BYTES:,} bytes of the gzip data can be unpacked in the time that there is: "
                    "upload the file unpacked, or in several files"
                )
            done.append({"PartNumber": position, **known})
            if position % _PARTS_BETWEEN_NOTES == 0:
                self._keep(batch, Unpacking(read=packed.total, upload_id=upload["UploadId"]))
        return done

    def _parts(self, where: dict[str, Any]) -> "_Parts":
        found: _Parts = {}
        after: dict[str, Any] = {}
        while True:
            answer = self.retry(self.s3.list_parts, **where, **after)
            found |= {part["PartNumber"]: (part["Size"], _named(part)) for part in answer.get("Parts", [])}
            if not answer["IsTruncated"]:
                return found
            after = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    def _keep(self, batch: Batch, found: Unpacking, *, known: str | None = None) -> str:
        """Keep how far it came, in place of the upload that was ``known``; returns the upload that stands.

        Raises UploadEndedError if the batch is unpacked.
        """
        kept = self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET unpack_read = :read, unpack_upload_id = :upload",
                condition=f"{IS_BEING_UNPACKED} AND {IS_THE_SAME_UPLOAD}",
                values={
                    ":read": number(found.read),
                    ":upload": text(found.upload_id),
                    ":known": text(found.upload_id if known is None else known),
                    ":unpacking": text(BatchStatus.UNPACKING),
                },
            )
        )
        if kept:
            return found.upload_id
        standing = self._standing(batch).unpacking
        if standing is None:
            raise UploadEndedError(f"{batch.id} is not being unpacked any more")
        return standing.upload_id

    def _standing(self, batch: Batch) -> Batch:
        return Repository(table=self.table).find_batch(batch.id) or batch


_Parts = dict[int, tuple[int, dict[str, str]]]
"""Size, and what S3 wants to hear of them at the end, of the parts that are stored, by their numbers."""


def _named(part: Mapping[str, Any]) -> dict[str, str]:
    """Return a part's etag and checksum: with an algorithm named at the start, S3 wants every checksum at the end."""
    return {name: part[name] for name in ("ETag", f"Checksum{_CHECKSUM}") if name in part}


@dataclass(slots=True)
class _Counted:
    """Passes pieces on and counts their bytes."""

    pieces: Iterator[bytes]
    total: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.total += len(piece)
            yield piece


def _bounded(plain: _Counted, packed_size: int) -> Iterator[bytes]:
    """Pass parts on until they are too many; raises UnpackError."""
    for part in plain:
        if plain.total > max(_FREE_BYTES, _MAX_RATIO * packed_size):
            raise UnpackError(f"the gzip data unpack to more than {_MAX_RATIO} times their size")
        if plain.total > MAX_BYTES:
            raise UnpackError(f"the gzip data unpack to more than {MAX_BYTES:,} bytes: upload the file in several")
        yield part


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
    for piece in _pieces(blocks):
        data = piece
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


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        for begin in range(0, len(block), _BYTES_AT_ONCE):
            yield block[begin : begin + _BYTES_AT_ONCE]
