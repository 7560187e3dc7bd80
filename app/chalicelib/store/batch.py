"""The batch item: one uploaded object, from its upload to the announcement of its end."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from chalicelib.errors import FormatError
from chalicelib.files.dialect import PLAIN, Format, Layout
from chalicelib.store.chains import Chained, Parent
from chalicelib.store.items import (
    BATCH_SK,
    FORMAT,
    Counts,
    Item,
    Outcome,
    batch_pk,
    key,
    number,
    number_of,
    number_or_none_of,
    text,
    text_of,
    texts,
    texts_of,
)

AS_READ = "#version = :version"
"""No counter of the batch has moved since its version was read, and it has not ended: each of these raises it. So what
decides between its two ends, or what a redrive takes back, is what the batch still has."""


class Listing(StrEnum):
    """The lists of the sparse index: batches that somebody has to look after are in one of their own."""

    OPEN = "open"  # its end was not announced yet
    ENDED = "ended"


class BatchStatus(StrEnum):
    """The state of a batch. The last three are final until a redrive reopens the batch."""

    UNPACKING = "unpacking"  # it is a gzip file, whose rows are not to be seen yet
    PLANNING = "planning"  # chunks are being found; some may be worked on already
    RUNNING = "running"  # every chunk is known
    COMPLETED = "completed"  # every row succeeded
    COMPLETED_WITH_FAILURES = "completed_with_failures"  # every row has an outcome, not all succeeded
    REJECTED = "rejected"  # never was a file of records that a job takes; the reason says why

    @property
    def final(self) -> bool:
        """Tell whether nothing more will happen to the batch by itself."""
        return self not in {BatchStatus.UNPACKING, BatchStatus.PLANNING, BatchStatus.RUNNING}

    @classmethod
    def ended(cls, *, flawless: bool) -> Self:
        """Return how a batch ends whose rows all have an outcome."""
        return cls(cls.COMPLETED if flawless else cls.COMPLETED_WITH_FAILURES)


class Hold(StrEnum):
    """Why no further row of a batch is processed."""

    PAUSED = "paused"  # rows wait until it is resumed
    CANCELLED = "cancelled"  # rows that have no outcome yet fail with this reason
    THRESHOLD = "threshold"  # likewise: too many rows had failed

    @property
    def stops(self) -> bool:
        """Tell whether rows fail instead of waiting."""
        return self is not Hold.PAUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The object version that a batch is made of."""

    bucket: str
    key: str
    version_id: str
    etag: str

    @property
    def version(self) -> str:
        """The id that tells this content from an earlier or later one under the same key."""
        return self.version_id or self.etag


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The progress of a plan: where in the object the next chunk begins, the chunks before it and their rows."""

    offset: int
    line: int
    chunks: int = 0
    rows: int = 0

    def to_item(self) -> dict[str, Any]:
        """Return the attributes of a batch that keep it."""
        return {
            "cursor_offset": number(self.offset),
            "cursor_line": number(self.line),
            "cursor_chunks": number(self.chunks),
            "cursor_rows": number(self.rows),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read the cursor of a batch; None if its plan has kept none."""
        if "cursor_chunks" not in item:
            return None
        return cls(
            offset=number_of(item, "cursor_offset"),
            line=number_of(item, "cursor_line"),
            chunks=number_of(item, "cursor_chunks"),
            rows=number_of(item, "cursor_rows"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacking:
    """The progress of unpacking a gzip upload: the bytes that were read, and the multipart upload with the parts."""

    read: int = 0
    upload_id: str = ""

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read how far a batch is; None if nothing was kept, or it is unpacked."""
        if "unpack_upload_id" not in item:
            return None
        return cls(read=number_of(item, "unpack_read"), upload_id=text_of(item, "unpack_upload_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One uploaded object, one run to completion.

    ``version`` is raised by every write of the counters: unlike them it cannot come back to a value that it had.
    ``chunks`` is None until planning has found them all. ``remaining`` counts chunks and is meaningful only
    then; before, it may be negative. ``expected_rows`` is the planner's count. ``chunk_rows``,
    ``chunk_bytes`` and ``layout`` are kept so that a second plan, and every reader of a chunk, cuts as the first plan
    did, also after a deployment in between.
    """

    id: str
    job: str
    source: Source
    size: int
    status: BatchStatus
    created_at: str
    expires_at: int
    chunk_rows: int
    chunk_bytes: int
    layout: Layout = PLAIN
    header: tuple[str, ...] = ()
    reason: str = ""
    chunks: int | None = None
    remaining: int = 0
    rows: int = 0
    expected_rows: int = 0
    counts: Counts = field(default_factory=Counts)
    completed_at: str = ""
    attempt: int = 1
    version: int = 0
    published_attempt: int = 0
    hold: Hold | None = None
    cursor: Cursor | None = None
    unpacking: Unpacking | None = None
    unpacked: Source | None = None
    unpacked_size: int = 0
    parent: Parent | None = None
    chained: Chained | None = None

    @property
    def content(self) -> Source:
        """The object that has the rows: what was uploaded, or what was unpacked from it."""
        return self.unpacked or self.source

    @property
    def content_size(self) -> int:
        """The size of that object."""
        return self.unpacked_size if self.unpacked else self.size

    @property
    def stopped_by(self) -> Hold | None:
        """The hold that stopped a batch that has ended; None without one, or if it came too late to fail a row."""
        return self.hold if self.hold and self.hold.stops and self.counts.failed else None

    def to_item(self) -> dict[str, Any]:
        """Return the item of a batch that was just created. ``remaining`` is not there yet: it is only added to."""
        item = {
            **key(batch_pk(self.id), BATCH_SK),
            "listing": text(Listing.OPEN),
            "created_at": text(self.created_at),
            "job": text(self.job),
            "bucket": text(self.source.bucket),
            "key": text(self.source.key),
            "version_id": text(self.source.version_id),
            "etag": text(self.source.etag),
            "size": number(self.size),
            "header": texts(self.header),
            "status": text(self.status),
            "row_expires_at": number(self.expires_at),
            "chunk_rows": number(self.chunk_rows),
            "chunk_bytes": number(self.chunk_bytes),
            "file_format": text(self.layout.format),
            "delimiter": text(self.layout.delimiter),
            "encoding": text(self.layout.encoding),
            "format": number(FORMAT),
            "version": number(self.version),
            "attempt": number(self.attempt),
            "rows": number(0),
            **{outcome.value: number(0) for outcome in Outcome},
            **(self.parent.to_item() if self.parent else {}),
        }
        if self.status.final:
            item |= {"reason": text(self.reason), "completed_at": text(self.completed_at)}
        elif self.cursor:
            item |= self.cursor.to_item()
        return item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a batch item or its image in the stream; raises FormatError for one of another version of Tally."""
        batch_id = text_of(item, "pk").removeprefix("batch#")
        if not is_known(item):
            raise FormatError(
                f"batch {batch_id} has format {number_of(item, 'format') or 1}, and this version of Tally knows format "
                f'{FORMAT}: use the version that made it, or let it expire (docs/deploy.md, "Change over")'
            )
        return cls(
            id=batch_id,
            job=text_of(item, "job"),
            source=Source(
                bucket=text_of(item, "bucket"),
                key=text_of(item, "key"),
                version_id=text_of(item, "version_id"),
                etag=text_of(item, "etag"),
            ),
            size=number_of(item, "size"),
            status=BatchStatus(text_of(item, "status")),
            created_at=text_of(item, "created_at"),
            expires_at=number_of(item, "row_expires_at"),
            chunk_rows=number_of(item, "chunk_rows"),
            chunk_bytes=number_of(item, "chunk_bytes"),
            layout=_layout(item),
            header=texts_of(item, "header"),
            reason=text_of(item, "reason"),
            chunks=number_or_none_of(item, "chunks"),
            remaining=number_of(item, "remaining"),
            rows=number_of(item, "rows"),
            expected_rows=number_of(item, "expected_rows"),
            counts=Counts.from_item(item),
            completed_at=text_of(item, "completed_at"),
            attempt=number_of(item, "attempt"),
            version=number_of(item, "version"),
            published_attempt=number_of(item, "published_attempt"),
            hold=Hold(text_of(item, "hold")) if "hold" in item else None,
            cursor=Cursor.from_item(item),
            unpacking=Unpacking.from_item(item),
            unpacked=_unpacked(item),
            unpacked_size=number_of(item, "unpacked_size"),
            parent=Parent.from_item(item),
            chained=Chained.from_item(item),
        )


def is_known(item: Item) -> bool:
    """Tell whether a batch item has the format that this version of Tally writes."""
    return number_of(item, "format") == FORMAT


def _layout(item: Item) -> Layout:
    """Read how the file is written; what an older version did not keep is as that version took it for granted."""
    return Layout(
        format=Format(text_of(item, "file_format") or PLAIN.format),
        delimiter=text_of(item, "delimiter") or PLAIN.delimiter,
        encoding=text_of(item, "encoding") or PLAIN.encoding,
    )


def _unpacked(item: Item) -> Source | None:
    if "unpacked_key" not in item:
        return None
    return Source(
        bucket=text_of(item, "bucket"),
        key=text_of(item, "unpacked_key"),
        version_id=text_of(item, "unpacked_version_id"),
        etag=text_of(item, "unpacked_etag"),
    )
