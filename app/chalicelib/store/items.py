"""Keys of the table, and how attributes are written and read: the item modules know the rest of its shape."""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from chalicelib.store.bits import RowBits

Item = Mapping[str, Any]
"""An item in DynamoDB's own JSON: attribute name to ``{"S": …}``, ``{"N": …}``, ``{"B": …}`` and so on."""

FORMAT = 2
"""The form of a batch's items. Version 1 of Tally had an item for every row, and wrote no format."""

MAX_ITEM_BYTES = 380_000
"""An item holds 400 KB; this is for its largest attribute, and leaves room for the others and all names."""

BATCH_SK = "batch"
CHUNK_SK = "chunk"
ROWS_PREFIX = "rows#"
MARKER_PREFIX = "mark#"
LEASE_PREFIX = "lease#"
WAITING_PREFIX = "waiting#"
STARTED_PREFIX = "started#"


class Outcome(StrEnum):
    """The outcome of a row."""

    SUCCEEDED = "succeeded"  # the job returned; its result is kept
    FAILED = "failed"  # the job raised at each try, or the row could not be brought to it
    REJECTED = "rejected"  # never was a valid row


@dataclass(frozen=True, slots=True, order=True)
class ChunkKey:
    """The name of a chunk: its batch and its number."""

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


def rows_sk(page: int) -> str:
    """Return the sort key of a page of a chunk's rows."""
    return f"{ROWS_PREFIX}{page:03d}"


def marker_sk(version: int, page: int = 0) -> str:
    """Return the sort key of the marker of the transaction that raised a chunk to ``version``."""
    return f"{MARKER_PREFIX}{version:06d}" + (f"#{page:03d}" if page else "")


def lease_sk(row: int) -> str:
    """Return the sort key of the lease on a heavy row."""
    return f"{LEASE_PREFIX}{row:06d}"


def waiting_sk(generation: int) -> str:
    """Return the sort key of the note on a chunk's rows that wait for their next try."""
    return f"{WAITING_PREFIX}{generation:06d}"


def started_sk(message_id: str) -> str:
    """Return the sort key of the mark on a message whose rows have begun to run."""
    return f"{STARTED_PREFIX}{message_id}"


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


def binary(value: bytes) -> dict[str, bytes]:
    """Encode a binary attribute."""
    return {"B": value}


def bits(rows: RowBits) -> dict[str, bytes]:
    """Encode a set of rows."""
    return binary(rows.to_bytes())


def timestamp(moment: datetime) -> str:
    """Encode an aware moment so that text order is time order, in UTC to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def text_of(item: Item, name: str) -> str:
    """Read a string attribute; empty if it is not there."""
    return str(item[name]["S"]) if name in item else ""


def texts_of(item: Item, name: str) -> tuple[str, ...]:
    """Read a list of strings; empty if it is not there."""
    return tuple(value["S"] for value in item[name]["L"]) if name in item else ()


def number_of(item: Item, name: str) -> int:
    """Read a number attribute; 0 if it is not there."""
    return int(item[name]["N"]) if name in item else 0


def number_or_none_of(item: Item, name: str) -> int | None:
    """Read a number attribute; None if it is not there."""
    return int(item[name]["N"]) if name in item else None


def binary_of(item: Item, name: str) -> bytes:
    """Read a binary attribute, of an item or of its image in a stream event, where it is base64; empty if not there."""
    if name not in item:
        return b""
    value = item[name]["B"]
    return b64decode(value) if isinstance(value, str) else bytes(value)


def bits_of(item: Item, name: str) -> RowBits:
    """Read a set of rows; empty if it is not there."""
    return RowBits.from_bytes(binary_of(item, name))


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

    def __sub__(self, other: "Counts") -> "Counts":
        """Subtract outcome by outcome."""
        return self + -other

    def __neg__(self) -> "Counts":
        """Return the counts that take these back."""
        return Counts(succeeded=-self.succeeded, failed=-self.failed, rejected=-self.rejected)

    def values(self) -> dict[str, dict[str, str]]:
        """Return the values of an expression that sets or adds the three counters."""
        return {
            ":succeeded": number(self.succeeded),
            ":failed": number(self.failed),
            ":rejected": number(self.rejected),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the counters of a batch or a chunk; one never moved is 0."""
        return cls(
            succeeded=number_of(item, "succeeded"),
            failed=number_of(item, "failed"),
            rejected=number_of(item, "rejected"),
        )
