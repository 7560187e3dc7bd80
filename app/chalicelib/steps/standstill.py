"""Standstill: the time without progress, by snapshots that are kept beside what they are of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from chalicelib.clock import Clock, utc_now
from chalicelib.store.items import Item, batch_pk, key, number, number_of, text, text_of
from chalicelib.store.table import Put

if TYPE_CHECKING:
    from chalicelib.store.table import Table

WATCH_SK = "watch"
_MAX_PATIENCE = timedelta(hours=6)
_KEPT = timedelta(days=1)
"""The time for which a progress snapshot is kept; a batch that still stands still gets a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """The time since which a snapshot is the same, and the number of repairs that have moved nothing since."""

    snapshot: str
    seconds: float
    repairs: int

    @classmethod
    def from_item(cls, item: Item, now: datetime) -> Self:
        """Read the item of a progress snapshot."""
        return cls(
            snapshot=text_of(item, "snapshot"),
            seconds=now.timestamp() - number_of(item, "since"),
            repairs=number_of(item, "repairs"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstills:
    """Keeps one snapshot in the partition of each batch, under ``sk``."""

    table: "Table"
    patience: timedelta
    sk: str = WATCH_SK
    clock: Clock = utc_now

    def seen(self, batch_id: str, snapshot: str) -> Standstill | None:
        """Return for how long a snapshot has been the same, None if it is new; keeps it then."""
        noted = self.table.get(batch_pk(batch_id), self.sk)
        standstill = Standstill.from_item(noted, self.clock()) if noted else None
        if standstill and standstill.snapshot == snapshot:
            return standstill
        self.note(batch_id, snapshot)
        return None

    def due(self, standstill: Standstill) -> bool:
        """Tell whether it is time for a repair.

        Each repair that moved nothing doubles the patience: what only waits behind another's messages must not get a
        copy of all its own every few minutes.
        """
        patience = min(self.patience * (1 << standstill.repairs), _MAX_PATIENCE)
        return standstill.seconds >= patience.total_seconds()

    def note(self, batch_id: str, snapshot: str, *, repairs: int = 0) -> None:
        """Keep a snapshot, seen now for the first time since its last repair."""
        now = self.clock()
        item = {
            **key(batch_pk(batch_id), self.sk),
            "snapshot": text(snapshot),
            "since": number(int(now.timestamp())),
            "repairs": number(repairs),
            "expires_at": number(int((now + _KEPT).timestamp())),
        }
        self.table.put(Put(item=item))
