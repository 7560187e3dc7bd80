"""Records of the table's stream, as Lambda delivers them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.store.items import Item


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an item; an image is empty where there was, or is, no item."""

    inserted: bool
    old: Item
    new: Item
    removed: bool = False
    """Deleted by somebody, not by time: TTL's deletions come as a service's."""

    @property
    def sk(self) -> str:
        """The sort key of what is there now, which tells what kind of item it is; empty for a deletion."""
        return str(self.new["sk"]["S"]) if self.new else ""


def changes(event: Mapping[str, Any]) -> Iterator[Change]:
    """Read the changes of an event in order."""
    for record in event.get("Records", []):
        change = record["dynamodb"]
        yield Change(
            inserted=record["eventName"] == "INSERT",
            old=change.get("OldImage", {}),
            new=change.get("NewImage", {}),
            removed=record["eventName"] == "REMOVE" and record.get("userIdentity", {}).get("type") != "Service",
        )
