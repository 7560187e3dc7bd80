"""The table's keys and items but for the batch's: with ``batch`` the only code that knows DynamoDB's shape."""

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
LEASE_PREFIX = "lease#"


class Outcome(StrEnum):
    """What became of a row."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the job's function raised, or the row could not be brought to it
    REJECTED = "rejected"  # never was a valid row


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


def lease_sk(row: int) -> str:
    """Return the sort key of the lease on a heavy row."""
    return f"{LEASE_PREFIX}{row:06d}"


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


def text_of(item: Item, name: str) -> str:
    """Read a string attribute; empty if it is not there."""
    return str(item[name]["S"]) if name in item else ""


def number_of(item: Item, name: str) -> int:
    """Read a number attribute; 0 if it is not there."""
    return int(item[name]["N"]) if name in item else 0


def number_or_none_of(item: Item, name: str) -> int | None:
    """Read a number attribute; None if it is not there."""
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
            succeeded=number_of(item, "succeeded"),
            failed=number_of(item, "failed"),
            rejected=number_of(item, "rejected"),
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
            key=ChunkKey.from_pk(text_of(item, "pk")),
            start=number_of(item, "start"),
            end=number_of(item, "end"),
            first_line=number_of(item, "first_line"),
            expected_rows=number_of(item, "expected_rows"),
            unreadable=text_of(item, "unreadable"),
            rows=number_or_none_of(item, "rows"),
            remaining=number_of(item, "remaining"),
            counts=Counts.from_item(item),
            redriven=number_of(item, "redriven"),
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
            chunk=ChunkKey.from_pk(text_of(item, "pk")),
            row=int(text_of(item, "sk").removeprefix(ROW_PREFIX)),
            line=number_of(item, "line"),
            data=text_of(item, "data"),
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
            chunk=ChunkKey.from_pk(text_of(item, "pk")),
            row=int(text_of(item, "sk").removeprefix(MARKER_PREFIX)),
            outcome=Outcome(text_of(item, "outcome")),
            result=text_of(item, "result"),
            error=text_of(item, "error"),
            ms=number_of(item, "ms"),
            at=text_of(item, "at"),
        )
