"""Change sets: a bounded number of updates to one item, each applied once, without a marker item for each.

The ids of the changes that were applied are kept on the item itself. That costs one write instead of a transaction's
two, but every write pays for the whole set, so it is for tens of changes, not for thousands: a counter of many rows is
``ledger``'s business.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chalicelib.table import Update

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chalicelib.table import Table

MOST_CHANGES = 50
"""With ids of 36 characters such a set is below 2 KB: two write units for every change of it."""

NOT_APPLIED_BEFORE = "NOT contains(changes, :change)"
"""This change is not in the set. It is what a second delivery, or a retry after an unheard success, runs into."""
SET_IS_SMALL = "(attribute_not_exists(changes) OR size(changes) < :most)"
"""One change more would make every further write of the item dearer than a transaction."""


class Change(StrEnum):
    """What became of a change."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # applied before, perhaps by a call of ours that was not heard of
    REFUSED = "refused"  # the set is full: use the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Applies changes to one item."""

    table: "Table"
    pk: str
    sk: str
    most: int = MOST_CHANGES

    def add(self, change_id: str, amounts: "Mapping[str, int]") -> Change:
        """Add amounts to number attributes once for this id; safe to repeat.

        After an unheard success its own retry finds the id in the set and says DUPLICATE, which is as good.
        """
        names = list(amounts)
        adds = ", ".join(f"#{name} :amount{position}" for position, name in enumerate(names))
        values: dict[str, Any] = {f":amount{at}": {"N": str(amounts[name])} for at, name in enumerate(names)}
        values |= {":change": {"S": change_id}, ":changes": {"SS": [change_id]}, ":most": {"N": str(self.most)}}
        update = Update(
            pk=self.pk,
            sk=self.sk,
            expression=f"ADD {adds}, changes :changes",
            condition=f"{NOT_APPLIED_BEFORE} AND {SET_IS_SMALL}",
            values=values,
        )
        if self.table.update(update):
            return Change.APPLIED
        item = self.table.get(self.pk, self.sk) or {}
        return Change.DUPLICATE if change_id in item.get("changes", {}).get("SS", []) else Change.REFUSED
