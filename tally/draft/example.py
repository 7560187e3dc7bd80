"""A made-up file for a job, and the test that runs the job on it."""

import codecs
import json
from typing import Any

from tally.draft.columns import quoted
from tally.draft.draft import Column, Draft
from tally.draft.layout import Csv

_LINE_CHARACTERS = 120


def lines_of(draft: Draft) -> list[str]:
    """Return a made-up file: the header, if the job's files have one, a row of all columns, a row with the fewest.

    It contains no value of the file itself, except the choices that are in the job's types anyway.
    """
    rows = [[column.type.example for column in draft.columns]]
    fewest = [None if column.type.nullable else column.type.example for column in draft.columns]
    if None in fewest and any(value is not None for value in fewest):
        rows.append(fewest)
    if not isinstance(draft.layout, Csv):
        return [json.dumps(_named(draft.columns, row), ensure_ascii=False) for row in rows]
    # The file also has the columns that no field names.
    fields = {column.position: index for index, column in enumerate(draft.columns)}
    cells = [[row[fields[place]] if place in fields else None for place in range(len(draft.header))] for row in rows]
    lines = [[_cell(value) for value in row] for row in cells]
    table = [list(draft.header), *lines] if draft.has_header else lines
    return [_joined(row, draft.layout.delimiter) for row in table]


def test_module(draft: Draft) -> str:
    """Return the source of the job's test."""
    lines = lines_of(draft)
    rows = len(lines) - (draft.is_csv and draft.has_header)
    text = "\n".join(map(_escaped, lines))
    long = any(len(line) > _LINE_CHARACTERS for line in text.split("\n"))
    encoded = f".encode({quoted(draft.encoding)})" if draft.encoding else ""
    return f'''"""The job {draft.job}: its rows and their outcomes, also when they are delivered twice."""

from tally import testing

FILE = """\\
{text}
"""{encoded}{"  # noqa: E501  a line of a file is as long as it is" if long else ""}


def test_every_row_is_processed_and_counted_once() -> None:
    """The rows are made up after the columns of {draft.job}; put some of yours here, and the outcomes to expect."""
    batch = testing.run({quoted(draft.job)}, FILE, faults=testing.Redelivered())
    assert batch.succeeded == {rows}
'''


def _named(columns: tuple[Column, ...], row: list[Any]) -> dict[str, Any]:
    return {column.header: value for column, value in zip(columns, row, strict=True) if value is not None}


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _joined(cells: list[str], delimiter: str) -> str:
    """Return a line of CSV; cells are quoted where needed, and so is a single empty cell, which would be no line."""
    if cells == [""]:
        return '""'
    return delimiter.join(
        '"' + cell.replace('"', '""') + '"' if delimiter in cell or '"' in cell else cell for cell in cells
    )


def _escaped(line: str) -> str:
    """Return a line for use between triple quotes: no quote in it ends them, and it ends in no white space."""
    written = "".join(
        character
        if character.isprintable() and character != "\\"
        else codecs.encode(character, "unicode_escape").decode()
        for character in line
    ).replace('"""', '""\\"')
    return written[:-1] + "\\x20" if written.endswith(" ") else written
