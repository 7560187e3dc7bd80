"""Keys: by which column of a row, or field of its result, a job's results are put into the results table."""

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from chalicelib.errors import FatalError
from chalicelib.results.fields import result_fields

if typing.TYPE_CHECKING:
    from chalicelib.rows import Schema

MAX_KEY_BYTES = 2_048
"""DynamoDB's limit of a partition key."""


class KeySource(StrEnum):
    """The part of a row that has its key."""

    RESULT = "result"  # what the job returned
    ROW = "row"  # the row itself, as it was cleaned


class Unsaved(StrEnum):
    """The reasons why a row that succeeded is not in the results table."""

    NO_KEY = "no_key"  # the key is missing, null or empty
    KEY_NOT_TEXT = "key_not_text"  # the key is neither a text nor a whole number
    KEY_TOO_LONG = "key_too_long"  # the key has more than 2,048 bytes
    TOO_LARGE = "too_large"  # the item has more than 400 KB
    NOT_STORABLE = "not_storable"  # DynamoDB has no such value: a number out of range, over 32 levels, an empty name


class UnsavedError(Exception):
    """A row cannot be an item of the results table; ``code`` says why, the message says it to people."""

    def __init__(self, code: Unsaved, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The place of a job's keys: ``name`` is that of the column, or of the field as it is in the result's JSON."""

    name: str
    source: KeySource

    @classmethod
    def of(cls, value: object, schema: "Schema", process: Callable[..., object]) -> Self | None:
        """Return the key that a job's ``KEY`` names, None if it says none; raises FatalError if it names nothing.

        The result goes before the row where both have it: the result is what the item holds.
        """
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise FatalError("KEY must be the name of a column of Row or of a field of what process returns")
        if value in result_fields(process):
            return cls(name=value, source=KeySource.RESULT)
        column = value if value in schema.columns else schema.attributes.get(value)
        if column is not None:
            return cls(name=column, source=KeySource.ROW)
        raise FatalError(
            f"KEY is {value!r}, which is neither a column of Row nor a field of what process returns; a field is known "
            "by the type that process is annotated with, such as -> Result"
        )

    def found(self, result: object, row: Mapping[str, Any]) -> str:
        """Return the key of a row; raises UnsavedError if it has none that DynamoDB takes."""
        holder = result if self.source is KeySource.RESULT else row
        return _text(holder.get(self.name) if isinstance(holder, Mapping) else None, self.name)


def _text(value: object, name: str) -> str:
    match value:
        case None | "":
            raise UnsavedError(Unsaved.NO_KEY, f"'{name}' is empty")
        case bool():
            raise UnsavedError(Unsaved.KEY_NOT_TEXT, f"'{name}' is true or false")
        case str() | int():
            key = str(value)
        case _:
            raise UnsavedError(Unsaved.KEY_NOT_TEXT, f"'{name}' is neither a text nor a whole number")
    if (size := len(key.encode())) > MAX_KEY_BYTES:
        raise UnsavedError(Unsaved.KEY_TOO_LONG, f"'{name}' has {size:,} bytes, a key at most {MAX_KEY_BYTES:,}")
    return key
