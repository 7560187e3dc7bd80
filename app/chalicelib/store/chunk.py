"""The chunk item: a byte range of the object, and one bit for each of its rows."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from chalicelib.errors import FormatError
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.items import (
    CHUNK_SK,
    ChunkKey,
    Counts,
    Item,
    bits_of,
    key,
    number,
    number_of,
    number_or_none_of,
    text,
    text_of,
)

AS_READ = "#version = :version"
"""Nothing has counted in the chunk, redriven, repaired or closed it since its version was read: each of them raises it.
A counter can come back to a value that it had, a version cannot."""


def is_chunk(item: Item) -> bool:
    """Tell whether an item, or what a stream image has of one, is a chunk of the format that is known here."""
    return text_of(item, "sk") == CHUNK_SK and "state" in item


class ChunkState(StrEnum):
    """The state of a chunk, which the stream's filters use."""

    PLANNED = "planned"  # its rows are to be read: the image makes dispatch ask ingest
    READY = "ready"  # its rows are to be processed: the image makes dispatch ask for them
    COUNTING = "counting"  # some of its rows were counted
    CLOSED = "closed"  # every row was counted, and its batch has the counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A byte range of the object that ends on a record boundary: ``start`` included, ``end`` not.

    ``expected_rows`` is the planner's count of rows; ``rows`` is set once, by ingest, when the rows are durable.
    ``unreadable`` is the reason why the range holds no row that can be read.
    ``version`` is raised by everything that counts, redrives, repairs or closes; ``generation`` by every redrive.
    ``done`` has the rows that are in a marker, ``heavy`` those that go to the heavy queue.
    ``pages`` is how many items hold the rows: 0 before they are read, and for a chunk that was given up unread.
    ``redriven`` counts outcomes that were taken back, for the cost of the batch. ``rereads`` has rows that are not
    stored, for they were rejected, and that a redrive wants read again from the object; ingest removes it.
    ``corrected`` has rows that an operator has replaced, the last of them by the redrive that raised the generation to
    ``corrected_generation``: an earlier outcome of such a row is of other bytes.
    """

    key: ChunkKey
    start: int
    end: int
    first_line: int
    expected_rows: int
    unreadable: str = ""
    state: ChunkState = ChunkState.PLANNED
    version: int = 0
    generation: int = 1
    rows: int | None = None
    pages: int = 0
    done: RowBits = NO_ROWS
    heavy: RowBits = NO_ROWS
    remaining: int = 0
    counts: Counts = field(default_factory=Counts)
    redriven: int = 0
    rereads: RowBits = NO_ROWS
    corrected: RowBits = NO_ROWS
    corrected_generation: int = 0

    @property
    def closed(self) -> bool:
        """Tell whether its batch has its counts."""
        return self.state is ChunkState.CLOSED

    @property
    def complete(self) -> bool:
        """Tell whether the total is known and every row of it was counted."""
        return self.rows is not None and self.remaining == 0

    @property
    def to_be_read(self) -> bool:
        """Tell whether ingest has to read it, for the first time or some of its rows again."""
        return self.rows is None or bool(self.rereads)

    @property
    def undone(self) -> RowBits:
        """The rows that were read and have no outcome yet."""
        return RowBits.first(self.rows or 0) - self.done - self.rereads

    def to_item(self) -> dict[str, Any]:
        """Return the item as planned; the rest is there once the rows are."""
        item = {
            **key(self.key.pk, CHUNK_SK),
            "start": number(self.start),
            "end": number(self.end),
            "first_line": number(self.first_line),
            "expected_rows": number(self.expected_rows),
            "state": text(ChunkState.PLANNED),
            "version": number(self.version),
            "generation": number(self.generation),
        }
        return item | {"unreadable": text(self.unreadable)} if self.unreadable else item

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a chunk item or its image in the stream; raises FormatError for one of another version of Tally."""
        if "state" not in item:
            raise FormatError(f'{text_of(item, "pk")} is of another version of Tally (docs/deploy.md, "Change over")')
        return cls(
            key=ChunkKey.from_pk(text_of(item, "pk")),
            start=number_of(item, "start"),
            end=number_of(item, "end"),
            first_line=number_of(item, "first_line"),
            expected_rows=number_of(item, "expected_rows"),
            unreadable=text_of(item, "unreadable"),
            state=ChunkState(text_of(item, "state")),
            version=number_of(item, "version"),
            generation=number_of(item, "generation"),
            rows=number_or_none_of(item, "rows"),
            pages=number_of(item, "pages"),
            done=bits_of(item, "done"),
            heavy=bits_of(item, "heavy"),
            remaining=number_of(item, "remaining"),
            counts=Counts.from_item(item),
            redriven=number_of(item, "redriven"),
            rereads=bits_of(item, "rereads"),
            corrected=bits_of(item, "corrected"),
            corrected_generation=number_of(item, "corrected_generation"),
        )
