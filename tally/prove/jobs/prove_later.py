"""Fails rows until a moment that they name."""

import time

from chalicelib import rows
from chalicelib.errors import PermanentError


class Row(rows.Row):
    """A number, and the Unix time from which on it can be processed."""

    number: int
    not_before: int


def process(row: Row) -> int:
    """Return the number; raises PermanentError before its time."""
    if time.time() < row.not_before:
        raise PermanentError("it is too early")
    return row.number
