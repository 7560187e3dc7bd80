"""DynamoDB's published size rules (developer guide, "DynamoDB item sizes and formats", "Write request units")."""

from collections.abc import Mapping
from typing import Any

_UNIT_BYTES = 1024


def item_size(item: Mapping[str, Any]) -> int:
    """Return the bytes of an item as DynamoDB bills them: names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def write_units(size: int, *, transactional: bool = False) -> int:
    """Return the units that writing an item of so many bytes takes."""
    return max(1, -(-size // _UNIT_BYTES)) * (2 if transactional else 1)


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    match kind:
        case "S":
            return len(str(held).encode())
        case "N":
            digits = str(held).lstrip("-").replace(".", "").strip("0")
            return (len(digits) + 1) // 2 + 1 + str(held).startswith("-")
        case "L":
            return 3 + sum(1 + _value_size(each) for each in held)
        case _:
            return 1
