"""Leases: on a heavy row, so that two workers do not spend minutes on the same one, and on the results table."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.clock import Clock, utc_now
from chalicelib.store.items import ChunkKey, Item, key, lease_sk, number, text
from chalicelib.store.table import Delete, Put

if TYPE_CHECKING:
    from chalicelib.store.table import Table

FREE_OR_EXPIRED_OR_MINE = "attribute_not_exists(pk) OR #until < :now OR #owner = :owner"
"""No worker has the row; or its worker has not been heard of for a lease's time; or an earlier call of ours was
applied and not heard."""
MINE = "#owner = :owner"
"""A worker that lost its lease gives up nothing of its successor's."""
_SAVER = ("stage", "saver")
_KEPT = timedelta(days=1)
"""The time until TTL deletes an abandoned lease; nothing depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Leases of one worker, called ``owner``; a lease lasts ``seconds`` unless it is taken again."""

    table: "Table"
    owner: str
    seconds: float = 60
    clock: Clock = utc_now

    def take(self, chunk: ChunkKey, row: int, *, seconds: float | None = None) -> bool:
        """Take or extend the lease on a row; tells whether the row is ours."""
        now = self.clock()
        until = now + timedelta(seconds=seconds or self.seconds)
        item = {
            **key(chunk.pk, lease_sk(row)),
            "owner": text(self.owner),
            "until": number(_milliseconds(until.timestamp())),
            "expires_at": number(int((until + _KEPT).timestamp())),
        }
        values = {":now": number(_milliseconds(now.timestamp())), ":owner": text(self.owner)}
        return self.table.put(Put(item=item, condition=FREE_OR_EXPIRED_OR_MINE, values=values))

    def release(self, chunk: ChunkKey, row: int) -> None:
        """Give up the lease on a row, so that its next try need not wait for the lease to end."""
        self.table.delete(Delete(pk=chunk.pk, sk=lease_sk(row), condition=MINE, values={":owner": text(self.owner)}))

    def seconds_left(self, chunk: ChunkKey, row: int) -> float:
        """Return the seconds for which a worker holds the row; 0 if none does."""
        item: Item | None = self.table.get(chunk.pk, lease_sk(row))
        if item is None:
            return 0
        return max(0.0, int(item["until"]["N"]) / 1000 - self.clock().timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class SaverLease:
    """The lease on the results table: one saver at a time, so that its share of the capacity is one saver's."""

    table: "Table"
    owner: str
    clock: Clock = utc_now

    def take(self, seconds: float) -> bool:
        """Take or extend the lease for so long; tells whether it is ours."""
        now = self.clock()
        until = now + timedelta(seconds=seconds)
        item = {
            **key(*_SAVER),
            "owner": text(self.owner),
            "until": number(_milliseconds(until.timestamp())),
        }
        values = {":now": number(_milliseconds(now.timestamp())), ":owner": text(self.owner)}
        return self.table.put(Put(item=item, condition=FREE_OR_EXPIRED_OR_MINE, values=values))

    def release(self) -> None:
        """Give up the lease, so that the next saver need not wait for its end."""
        self.table.delete(Delete(pk=_SAVER[0], sk=_SAVER[1], condition=MINE, values={":owner": text(self.owner)}))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
