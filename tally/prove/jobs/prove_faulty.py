"""Does next to nothing with each row, in functions that meet faults for it."""

from chalicelib import rows

CHUNK_ROWS = 100
"""Many requests, so that many meet a fault."""


class Row(rows.Row):
    """A number and some text."""

    number: int
    text: str


def process(row: Row) -> int:
    """Return the number."""
    return row.number
