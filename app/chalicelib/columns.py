"""Columns: comparing their names, the values that they take, and reasons about them."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from chalicelib.files.cleaning import clean

_COMPARED = str.maketrans(' -"\\', "__'/")
_SHOWN_CHARACTERS = 40
NOT_FINITE = "not a finite number"
_FINITE: Mapping[type, Callable[[Any], bool]] = {float: isfinite, Decimal: Decimal.is_finite}
"""Tells numbers from what is written as one and is none: JSON knows no such float, and no comparison with it holds."""
_MAX_LISTED = 10
"""Bad cells of one row, or columns of one header, that a reason names."""


def compared(name: str) -> str:
    """Return the name of a column in the form in which headers are compared, because people write headers.

    msgspec takes no double quote and no backslash in a name, so the field is written with other marks.
    """
    return clean(name).lower().translate(_COMPARED)


def taker(kind: Any) -> type[msgspec.Struct]:
    """Return a struct of one cell: msgspec reads a type again for each value, and a struct once."""
    return msgspec.defstruct("_Cell", [("value", kind)])


def takes(kind: Any, value: object) -> bool:
    """Tell whether a column takes a value as it is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def takes_infinity(kind: Any) -> bool:
    """Tell whether a column would take "nan" or "inf" for a number."""
    for text in ("nan", "inf", "-inf"):
        with suppress(msgspec.ValidationError):
            if isinstance(msgspec.convert(text, kind, strict=False), float | Decimal):
                return True
    return False


def is_finite(value: object) -> bool:
    """Tell whether a value is anything but nan or an infinity."""
    test = _FINITE.get(type(value))
    return test is None or test(value)


def refusal(value: str, by: type[msgspec.Struct] | None) -> str:
    """Say why a cell does not take a text; empty if it does."""
    if by is None:
        return ""
    try:
        (found,) = msgspec.structs.astuple(msgspec.convert({"value": value}, by, strict=False))
    except msgspec.ValidationError as error:
        # It quotes the value of an enum of any length; the caller shows the cell.
        return explained(error).removesuffix(f" '{value.replace('`', '')}'").removesuffix(", got str")
    return "" if is_finite(found) else NOT_FINITE


def explained(error: msgspec.ValidationError) -> str:
    """Say in plain text what a cell has against its value."""
    what = re.sub(r" - at `\$\.value(.*)`$", lambda found: found[1] and f" at {found[1]}", str(error)).replace("`", "")
    return f"{what[:1].lower()}{what[1:]}"


def listed(parts: Sequence[str], separator: str = "; ") -> str:
    """Return parts of a reason, the first of them by name."""
    more = len(parts) - _MAX_LISTED
    return separator.join([*parts[:_MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])])


def shown(value: str) -> str:
    """Return a cell for a sentence: cut, with invisible characters, and those that turn the text around, as escapes."""
    cut = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
    return cut if cut.isprintable() else "".join(_printable(character) for character in cut)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
