"""Does next to nothing with each row."""

from chalicelib import rows


class Row(rows.Row):
    """A number and some text."""

    number: int
    text: str


def process(row: Row) -> int:
    """Return the number."""
    return row.number
