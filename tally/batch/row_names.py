"""Names of rows: CHUNK:ROW, as commands print and take them."""

import re
from collections.abc import Set as AbstractSet

from tally.errors import ExitCode, OperatorError

_ROW = re.compile(r"(\d+):(\d+)", re.ASCII)

Rows = AbstractSet[tuple[int, int]]
"""Pairs of chunk and row."""


def row_name(chunk: int, row: int) -> str:
    """Return the name of a row, as commands print and take it."""
    return f"{chunk}:{row}"


def parse_rows(text: str) -> Rows:
    """Return the rows of a list of names with commas or blanks between them; raises OperatorError for any other."""
    rows: set[tuple[int, int]] = set()
    for name in text.replace(",", " ").split():
        match = _ROW.fullmatch(name)
        if match is None:
            raise OperatorError(
                f"--rows: {name!r} is not a row; write CHUNK:ROW,... as `tally rows` shows them.", code=ExitCode.USAGE
            )
        rows.add((int(match[1]), int(match[2])))
    if not rows:
        raise OperatorError("--rows is empty; write CHUNK:ROW,... or leave it out for all rows.", code=ExitCode.USAGE)
    return rows
