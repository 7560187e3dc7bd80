"""The table's items and keys: the only code that knows DynamoDB's shape."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

Item = Mapping[str, Any]
"""An item in DynamoDB's own JSON: attribute name to ``{"S": …}``, ``{"N": …}`` or ``{"BOOL": …}``."""

BATCH_SK = "batch"
CHUNK_SK = "chunk"
ROW_PREFIX = "row#"
MARKER_PREFIX = "mark#"
CLAIM_PREFIX = "claim#"


class Listing(StrEnum):
    """Which list of the sparse index a batch is in: those that somebody has to look after are in one of their own."""

    OPEN = "open"  # its end was not announced yet
    ENDED = "ended"


class BatchStatus(StrEnum):
    """Where a batch stands. The last three are final until a redrive reopens the batch."""

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


class Outcome(StrEnum):
    """What became of a row."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the job's function raised, or the row could not be brought to it
    REJECTED = "rejected"  # never was a valid row


class Hold(StrEnum):
    """Why no further row of a batch is processed."""

    PAUSED = "paused"  # rows wait until it is resumed
    CANCELLED = "cancelled"  # rows that have no outcome yet fail with this reason
    THRESHOLD = "threshold"  # likewise: too many rows had failed


@dataclass(frozen=True, slots=True, order=True)
class ChunkKey:
    """Which chunk of which batch."""

    batch_id: str
    number: int

    @property
    def pk(self) -> str:
        """The partition that the chunk shares with its rows and markers."""
        return f"batch#{self.batch_id}#{self.number:06d}"

    @classmethod
    def from_pk(cls, pk: str) -> Self:
        """Invert ``pk``."""
        _, batch_id, number = pk.split("#")
        return cls(batch_id, int(number))


def batch_pk(batch_id: str) -> str:
    """Return the partition of a batch item."""
    return f"batch#{batch_id}"


def row_sk(row: int) -> str:
    """Return the sort key of a record, ``row`` counting from 0 within its chunk."""
    return f"{ROW_PREFIX}{row:06d}"


def marker_sk(row: int) -> str:
    """Return the sort key of the marker of the same row."""
    return f"{MARKER_PREFIX}{row:06d}"


def claim_sk(row: int) -> str:
    """Return the sort key of the lease on a heavy row."""
    return f"{CLAIM_PREFIX}{row:06d}"


def row_id(chunk: ChunkKey, row: int) -> str:
    """Return the name of a row that never changes: its idempotency key."""
    return f"{chunk.batch_id}#{chunk.number:06d}#{row:06d}"


def key(pk: str, sk: str) -> dict[str, Any]:
    """Return the key of an item."""
    return {"pk": text(pk), "sk": text(sk)}


def text(value: str) -> dict[str, str]:
    """Encode a string attribute."""
    return {"S": value}


def texts(values: Iterable[str]) -> dict[str, Any]:
    """Encode a list of strings."""
    return {"L": [text(value) for value in values]}


def number(value: int) -> dict[str, str]:
    """Encode a number attribute."""
    return {"N": str(value)}


def timestamp(moment: datetime) -> str:
    """Encode an aware moment so that text order is time order, in UTC to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _text(item: Item, name: str) -> str:
    return str(item[name]["S"]) if name in item else ""


def _number(item: Item, name: str) -> int:
    return int(item[name]["N"]) if name in item else 0


def _number_or_none(item: Item, name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by outcome."""

    succeeded: int = 0
    failed: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        """Rows that have an outcome."""
        return self.succeeded + self.failed + self.rejected

    def __add__(self, other: "Counts") -> "Counts":
        """Add outcome by outcome."""
        return Counts(
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            rejected=self.rejected + other.rejected,
        )

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the counters of a batch or a chunk; one never moved is 0."""
        return cls(
            succeeded=_number(item, "succeeded"), failed=_number(item, "failed"), rejected=_number(item, "rejected")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The object version that a batch is made of."""

    bucket: str
    key: str
    version_id: str
    etag: str

    @property
    def version(self) -> str:
        """What tells this content from an earlier or later one under the same key."""
        return self.version_id or self.etag


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a plan came: the place in the object where the next chunk begins, the chunks before it and their rows."""

    offset: int
    line: int
    chunks: int = 0
    rows: int = 0

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read the cursor of a batch; None if its plan has kept none."""
        if "cursor_chunks" not in item:
            return None
        return cls(
            offset=_number(item, "cursor_offset"),
            line=_number(item, "cursor_line"),
            chunks=_number(item, "cursor_chunks"),
            rows=_number(item, "cursor_rows"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacking:
    """How far a gzip upload is unpacked: so many bytes of it were read, and the parts are in this multipart upload."""

    read: int = 0
    upload_id: str = ""

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read how far a batch is; None if nothing was kept, or it is unpacked."""
        if "unpack_upload_id" not in item:
            return None
        return cls(read=_number(item, "unpack_read"), upload_id=_text(item, "unpack_upload_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One uploaded object, one run to completion.

    ``chunks`` is None until planning has found them all. ``remaining`` counts chunks and is meaningful only
    then; before, it may be negative. ``expected_rows`` is the planner's count. ``chunk_rows`` and
    ``chunk_bytes`` are kept so that a second plan cuts as the first did, whatever was deployed in between.
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
    header: tuple[str, ...] = ()
    reason: str = ""
    chunks: int | None = None
    remaining: int = 0
    rows: int = 0
    expected_rows: int = 0
    counts: Counts = Counts()
    completed_at: str = ""
    attempt: int = 1
    published_attempt: int = 0
    hold: Hold | None = None
    cursor: Cursor | None = None
    unpacking: Unpacking | None = None
    unpacked: Source | None = None
    unpacked_size: int = 0

    @property
    def content(self) -> Source:
        """The object that has the rows: what was uploaded, or what was unpacked from it."""
        return self.unpacked or self.source

    @property
    def content_size(self) -> int:
        """How large that one is."""
        return self.unpacked_size if self.unpacked else self.size

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
            "attempt": number(self.attempt),
            "rows": number(0),
            **{outcome.value: number(0) for outcome in Outcome},
        }
        if self.status.final:
            item |= {"reason": text(self.reason), "completed_at": text(self.completed_at)}
        return item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a batch item or its image in the stream."""
        return cls(
            id=_text(item, "pk").removeprefix("batch#"),
            job=_text(item, "job"),
            source=Source(
                bucket=_text(item, "bucket"),
                key=_text(item, "key"),
                version_id=_text(item, "version_id"),
                etag=_text(item, "etag"),
            ),
            size=_number(item, "size"),
            status=BatchStatus(_text(item, "status")),
            created_at=_text(item, "created_at"),
            expires_at=_number(item, "row_expires_at"),
            chunk_rows=_number(item, "chunk_rows"),
            chunk_bytes=_number(item, "chunk_bytes"),
            header=tuple(cell["S"] for cell in item["header"]["L"]),
            reason=_text(item, "reason"),
            chunks=_number_or_none(item, "chunks"),
            remaining=_number(item, "remaining"),
            rows=_number(item, "rows"),
            expected_rows=_number(item, "expected_rows"),
            counts=Counts.from_item(item),
            completed_at=_text(item, "completed_at"),
            attempt=_number(item, "attempt"),
            published_attempt=_number(item, "published_attempt"),
            hold=Hold(_text(item, "hold")) if "hold" in item else None,
            cursor=Cursor.from_item(item),
            unpacking=Unpacking.from_item(item),
            unpacked=_unpacked(item),
            unpacked_size=_number(item, "unpacked_size"),
        )


def _unpacked(item: Item) -> Source | None:
    if "unpacked_key" not in item:
        return None
    return Source(
        bucket=_text(item, "bucket"),
        key=_text(item, "unpacked_key"),
        version_id=_text(item, "unpacked_version_id"),
        etag=_text(item, "unpacked_etag"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A byte range of the object that ends on a record boundary: ``start`` included, ``end`` not.

    ``expected_rows`` is the planner's count of records that are not blank; ``rows`` is set once, by ingest, when
    every record item is written. ``unreadable`` is the reason why the range holds no record that can be read.
    ``redriven`` counts outcomes that were taken back, for whoever asks what the batch cost.
    """

    key: ChunkKey
    start: int
    end: int
    first_line: int
    expected_rows: int
    unreadable: str = ""
    rows: int | None = None
    remaining: int = 0
    counts: Counts = Counts()
    redriven: int = 0
    closed: bool = False

    @property
    def done(self) -> bool:
        """Tell whether the total is known and every row of it was counted."""
        return self.rows is not None and self.remaining == 0

    def to_item(self) -> dict[str, Any]:
        """Return the item as planned. The outcomes are there, for conditions compare them; ``remaining`` is not."""
        item = {
            **key(self.key.pk, CHUNK_SK),
            "start": number(self.start),
            "end": number(self.end),
            "first_line": number(self.first_line),
            "expected_rows": number(self.expected_rows),
            **{outcome.value: number(0) for outcome in Outcome},
        }
        return item | {"unreadable": text(self.unreadable)} if self.unreadable else item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a chunk item or its image in the stream."""
        return cls(
            key=ChunkKey.from_pk(_text(item, "pk")),
            start=_number(item, "start"),
            end=_number(item, "end"),
            first_line=_number(item, "first_line"),
            expected_rows=_number(item, "expected_rows"),
            unreadable=_text(item, "unreadable"),
            rows=_number_or_none(item, "rows"),
            remaining=_number(item, "remaining"),
            counts=Counts.from_item(item),
            redriven=_number(item, "redriven"),
            closed="closed" in item,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A valid row, cleaned: ``data`` is its JSON, ``line`` the physical line where it begins.

    A pure function of the object and the job: writing it again changes nothing, so the stream stays silent.
    """

    chunk: ChunkKey
    row: int
    line: int
    data: str
    heavy: bool = False

    def to_item(self, *, expires_at: int) -> dict[str, Any]:
        """Return the item; ``expires_at`` must come from the batch, not from the clock."""
        item = {
            **key(self.chunk.pk, row_sk(self.row)),
            "line": number(self.line),
            "data": text(self.data),
            "expires_at": number(expires_at),
        }
        return item | {"heavy": {"BOOL": True}} if self.heavy else item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a record item or its image in the stream."""
        return cls(
            chunk=ChunkKey.from_pk(_text(item, "pk")),
            row=int(_text(item, "sk").removeprefix(ROW_PREFIX)),
            line=_number(item, "line"),
            data=_text(item, "data"),
            heavy="heavy" in item,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The proof that a row was counted, with its outcome and what came of it: ``result`` is JSON."""

    chunk: ChunkKey
    row: int
    outcome: Outcome
    result: str = ""
    error: str = ""
    ms: int = 0
    at: str = ""

    def to_item(self, *, at: datetime, expires_at: int) -> dict[str, Any]:
        """Return the item that is put once."""
        item = {
            **key(self.chunk.pk, marker_sk(self.row)),
            "outcome": text(self.outcome),
            "at": text(timestamp(at)),
            "expires_at": number(expires_at),
        }
        if self.result:
            item["result"] = text(self.result)
        if self.error:
            item["error"] = text(self.error)
        if self.ms:
            item["ms"] = number(self.ms)
        return item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a marker item."""
        return cls(
            chunk=ChunkKey.from_pk(_text(item, "pk")),
            row=int(_text(item, "sk").removeprefix(MARKER_PREFIX)),
            outcome=Outcome(_text(item, "outcome")),
            result=_text(item, "result"),
            error=_text(item, "error"),
            ms=_number(item, "ms"),
            at=_text(item, "at"),
        )
