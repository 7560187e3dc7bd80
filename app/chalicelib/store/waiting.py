"""The note on rows that wait for their next try: people read it, and nothing is decided by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from chalicelib.clock import Clock, utc_now
from chalicelib.store.bits import RowBits
from chalicelib.store.items import Item, number, number_of, text, text_of, waiting_sk
from chalicelib.store.table import Update

if TYPE_CHECKING:
    from chalicelib.store.chunk import Chunk
    from chalicelib.store.table import Table

_KEPT = timedelta(days=1)
"""The time for which a note stays after the last row began to wait; TTL removes it."""
_MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Rows of a chunk that raised and have tries left, until their outcome is counted.

    ``attempt`` is the try that the latest of them wait for, ``due_at`` when that is, in seconds since 1970, and
    ``reason`` what one of them raised.
    """

    rows: RowBits
    attempt: int
    due_at: int
    reason: str

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the note of one generation of a chunk."""
        return cls(
            rows=RowBits.of(int(row) for row in item["waiting_rows"]["NS"]),
            attempt=number_of(item, "attempt"),
            due_at=number_of(item, "due_at"),
            reason=text_of(item, "reason"),
        )


def note_waiting(
    table: "Table",
    chunk: "Chunk",
    raised: Mapping[int, str],
    *,
    attempt: int,
    delay_seconds: int,
    clock: Clock = utc_now,
) -> None:
    """Add rows to the note of a chunk; an item of its own, so that it never meets a transaction on the chunk."""
    now = clock()
    table.update(
        Update(
            pk=chunk.key.pk,
            sk=waiting_sk(chunk.generation),
            expression="SET attempt = :attempt, due_at = :due_at, reason = :reason, expires_at = :expires_at "
            "ADD waiting_rows :rows",
            values={
                ":rows": {"NS": [str(row) for row in raised]},
                ":attempt": number(attempt),
                ":due_at": number(int(now.timestamp()) + delay_seconds),
                ":reason": text(next(iter(raised.values()))[:_MAX_REASON_CHARACTERS]),
                ":expires_at": number(int((now + _KEPT).timestamp())),
            },
        )
    )
