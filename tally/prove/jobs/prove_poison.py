"""Kills its worker for some rows."""

import os

from chalicelib import rows


class Row(rows.Row):
    """A number and some text."""

    number: int
    text: str


def process(row: Row) -> int:
    """Return the number, unless the text says to die."""
    if row.text == "poison":
        os._exit(1)
    return row.number
