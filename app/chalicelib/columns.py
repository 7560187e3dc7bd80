"""Columns: how their names are compared, what they take, and how reasons speak of them."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from chalicelib.files.cleaning import clean

_COMPARED = str.maketrans(' -"\\', "__'/")
_SHOWN_CHARACTERS = 40
_MAX_SHOWN_CELLS = 10
"""Bad cells of one row that its reason names."""


def compared(name: str) -> str:
    """Return the name of a column as headers are compared: people write headers.

    msgspec takes no double quote and no backslash in a name, so the field is written with other marks.
    """
    return clean(name).lower().translate(_COMPARED)


def taker(kind: Any) -> type[msgspec.Struct]:
    """Return a struct of one cell: msgspec reads a type anew for each value, and a struct once."""
    return msgspec.defstruct("_Cell", [("value", kind)])


def takes(kind: Any, value: object) -> bool:
    """Tell whether a column takes a value as it is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def refusal(value: str, by: type[msgspec.Struct] | None) -> str:
    """Say why a cell does not take a text; empty if it does."""
    if by is None:
        return ""
    try:
        msgspec.convert({"value": value}, by, strict=False)
    except msgspec.ValidationError as error:
        return explained(error).removesuffix(", got str")
    return ""


def explained(error: msgspec.ValidationError) -> str:
    """Say in plain text what a cell has against its value."""
    what = re.sub(r" - at `\$\.value(.*)`$", lambda found: found[1] and f" at {found[1]}", str(error)).replace("`", "")
    return f"{what[:1].lower()}{what[1:]}"


def listed(bad: Sequence[str]) -> str:
    """Return what is wrong with a row's cells, the first of them by name."""
    more = len(bad) - _MAX_SHOWN_CELLS
    return "; ".join([*bad[:_MAX_SHOWN_CELLS], *([f"and {more:,} more"] if more > 0 else [])])


def shown(value: str) -> str:
    """Return a text as a reason shows it."""
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
