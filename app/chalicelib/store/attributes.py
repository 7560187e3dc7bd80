"""Values of JSON as DynamoDB's own types, and back: numbers exactly, lists and objects as they are nested."""

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any

import msgspec

from chalicelib.keys import Unsaved, UnsavedError

MAX_LEVELS = 32
"""Levels of lists and maps that an attribute may have: DynamoDB developer guide, "Quotas"."""
_MAX_NAME_BYTES = 65_535
_MAX_DIGITS = 38
_MIN_POWER, _MAX_POWER = -130, 125
"""A number is 0, or from 1E-130 to 9.99E+125: the same page."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def json_value(data: bytes) -> Any:
    """Return what JSON says, a number with a point or an exponent as a Decimal: as it is written, not rounded."""
    return _decode(data)


def attribute(value: Any, *, levels: int = MAX_LEVELS) -> dict[str, Any]:
    """Return a value of JSON as an attribute; raises UnsavedError if DynamoDB has no such value."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float() | Decimal():
            return {"N": _number(Decimal(repr(value) if isinstance(value, float) else value))}
        case _ if not levels:
            raise UnsavedError(Unsaved.NOT_STORABLE, f"the result has more than {MAX_LEVELS} levels")
        case Mapping():
            return {"M": {_name(name): attribute(each, levels=levels - 1) for name, each in value.items()}}
        case _:
            return {"L": [attribute(each, levels=levels - 1) for each in value]}


def value_of(found: Mapping[str, Any]) -> Any:
    """Return the value of JSON that an attribute holds: whole numbers as int, others as float."""
    ((kind, content),) = found.items()
    match kind:
        case "NULL":
            return None
        case "N":
            exact = Decimal(content)
            return int(exact) if exact == exact.to_integral_value() else float(exact)
        case "M":
            return {name: value_of(each) for name, each in content.items()}
        case "L":
            return [value_of(each) for each in content]
        case _:
            return content


def _number(exact: Decimal) -> str:
    digits = "".join(map(str, exact.as_tuple().digits)).strip("0")
    if not digits:
        return "0"
    if len(digits) > _MAX_DIGITS or not _MIN_POWER <= exact.adjusted() <= _MAX_POWER:
        raise UnsavedError(
            Unsaved.NOT_STORABLE, f"the number {str(exact)[:60]} has over 38 digits or is out of DynamoDB's range"
        )
    return str(exact.normalize(Context(prec=_MAX_DIGITS)))  # without zeros at its end, which would count as digits


def _name(name: str) -> str:
    if not 0 < len(name.encode()) <= _MAX_NAME_BYTES:
        raise UnsavedError(Unsaved.NOT_STORABLE, "the result has an object with a name that is empty or over 64 KB")
    return name
