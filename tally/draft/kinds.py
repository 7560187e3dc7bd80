"""The kind of a single cell, or of a single JSON value."""

import datetime as dt
import re
from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """A kind of value; where a Python type stands for it, the value is the type's name in the job's module."""

    INT = "int"
    FLOAT = "float"
    DECIMAL = "Decimal"
    """A number that no float is written as, such as ``.5`` and ``+5``, or one with more digits than a float keeps."""
    BOOL = "bool"
    DATE = "dt.date"
    DATETIME = "dt.datetime"
    TIME = "dt.time"
    CODE = "code"
    """Digits that are not a number: with a leading 0 or more than 18 digits, or a telephone number with its ``+``."""
    TEXT = "str"
    ANY = "Any"
    """A list or an object of JSON."""


TOKENS = frozenset({
    "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "Null", "(null)", "\\N",
    "None", "none", "NONE", "nil", "-", "--", ".", "..", "?", "*", "#DIV/0!", "#VALUE!", "#REF!",
    "missing", "Missing", "MISSING", "unknown", "Unknown", "UNKNOWN",
})  # fmt: skip
"""Words that people write for nothing. They mean nothing if all other values of a column are of one kind."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INT = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_CODE = re.compile(r"\d+|\+[1-9]\d{6,}")
_FLOAT_DIGITS = 17
"""Digits with which programs write a float in full."""
_MAX_EXPONENT = 300
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:.*")
_TIME = re.compile(r"\d\d:\d\d:\d\d.*")
_BOOLS = frozenset({"true", "false"})


def kind_of_text(value: str) -> Kind:
    """Return the narrowest kind of a non-empty cell; msgspec decides, as in the pipeline."""
    start = value[:1]
    if start in "0123456789+-." and value.isascii():
        if _NUMBER.fullmatch(value):
            return _kind_of_number(value)
        if _DATE.fullmatch(value):
            return Kind.DATE if _fits(value, dt.date) else Kind.TEXT
        if _DATETIME.fullmatch(value):
            return Kind.DATETIME if _fits(value, dt.datetime) else Kind.TEXT
        if _TIME.fullmatch(value):
            return Kind.TIME if _fits(value, dt.time) else Kind.TEXT
    elif value.lower() in _BOOLS:
        return Kind.BOOL
    return Kind.TEXT


def _kind_of_number(value: str) -> Kind:
    if _INT.fullmatch(value):
        return Kind.INT
    if _CODE.fullmatch(value):
        return Kind.CODE
    mantissa, _, exponent = value.lower().partition("e")
    if exponent and abs(int(exponent)) > _MAX_EXPONENT:
        return Kind.TEXT  # more than a float holds; as a Decimal it could take gigabytes to compute with
    digits = mantissa.lstrip("+-0.").replace(".", "")
    return Kind.FLOAT if len(digits) <= _FLOAT_DIGITS and _fits(value, float) else Kind.DECIMAL


def kind_of_json(value: Any) -> Kind:
    """Return the kind of a JSON value other than null; a text is a date if msgspec takes it for one."""
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int):
        return Kind.INT if _INT.fullmatch(str(value)) else Kind.ANY
    if isinstance(value, float):
        return Kind.FLOAT
    if isinstance(value, str):
        found = kind_of_text(value) if value else Kind.TEXT
        return found if found in {Kind.DATE, Kind.DATETIME, Kind.TIME} else Kind.TEXT
    return Kind.ANY


def _fits(value: str, kind: type) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True
