"""Records of the table's stream, as Lambda delivers them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.store.items import Item


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an item; an image is empty where there was, or is, no item."""

    old: Item
    new: Item

    @property
    def sk(self) -> str:
        """The sort key of the item that is there now, which tells its kind; empty for a deletion."""
        return str(self.new["sk"]["S"]) if self.new else ""


def changes(event: Mapping[str, Any]) -> Iterator[Change]:
    """Read the changes of an event in order."""
    for record in event.get("Records", []):
        change = record["dynamodb"]
        yield Change(old=change.get("OldImage", {}), new=change.get("NewImage", {}))
