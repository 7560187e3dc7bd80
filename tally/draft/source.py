"""The source of a job's module: its settings for files, its columns, and a ``process`` to fill in."""

import re
from collections.abc import Iterator

from tally.draft.columns import quoted
from tally.draft.draft import Column, Draft
from tally.draft.layout import Csv

_LONGEST_TEXT = 90
"""A header over this is written in several pieces, each on a line of its own."""
_SHOWN_COLUMNS = 3
"""Columns that the ``process`` to fill in returns."""
_PLAIN = re.compile(r"[\w. -]+")


def module(draft: Draft) -> str:
    """Return the source of the job's module."""
    parts = [
        f'"""{draft.job.capitalize().replace("_", " ")}: what is done with each row of files{_like(draft)}."""',
        _imports(draft),
        *_attributes(draft),
        _row(draft),
        _process(draft),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _like(draft: Draft) -> str:
    """Return a phrase with the file's name, if that name is fit for a sentence."""
    return f" like {draft.path.name}" if _PLAIN.fullmatch(draft.path.name) else ""


def _imports(draft: Draft) -> str:
    types = " ".join(column.type.annotation for column in draft.columns)
    standard = ["import datetime as dt"] if "dt." in types else []
    standard += ["from decimal import Decimal"] if re.search(r"\bDecimal\b", types) else []
    typing = [name for name in ("Any", "Literal") if re.search(rf"(^|[ \[]){name}\b", types)]
    standard += [f"from typing import {', '.join(typing)}"] if typing else []
    others = ["import msgspec"] if any(column.alias is not None for column in draft.columns) else []
    blocks = [standard, others, ["from chalicelib import rows"]]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _attributes(draft: Draft) -> Iterator[str]:
    """Return the job's settings for its files, one line for each that is not the default."""
    said = []
    if not draft.is_csv:
        said.append('FORMAT = "jsonl"')
    if draft.encoding:
        said.append(f"ENCODING = {quoted(draft.encoding)}")
    if isinstance(draft.layout, Csv) and draft.layout.delimiter != ",":
        said.append(f"DELIMITER = {quoted(draft.layout.delimiter)}")
    if draft.nulls:
        said.append(f"NULLS = {{{', '.join(map(quoted, draft.nulls))}}}")
        said.append('"""Cells that mean nothing, in every column."""')
    if draft.ignores:
        said.append('EXTRA = "ignore"')
        said.append('"""Columns that no field can name are left out."""')
    if draft.is_csv and not draft.has_header:
        said.append(f"HEADER = [{', '.join(map(quoted, draft.header))}]")
        said.append('"""The file has no header: give the columns better names, here and below."""')
    yield "\n".join(said)


def _row(draft: Draft) -> str:
    lines = ["", "class Row(rows.Row, kw_only=True):", '    """One row of the file."""', ""]
    lines += [f"    {_field(column)}" for column in draft.columns]
    return "\n".join(lines)


def _field(column: Column) -> str:
    kind = f"{column.type.annotation} | None" if column.type.nullable else column.type.annotation
    if column.alias is None:
        return f"{column.attribute}: {kind}{' = None' if column.type.nullable else ''}"
    arguments = [f"name={_text(column.alias)}", *(["default=None"] if column.type.nullable else [])]
    return f"{column.attribute}: {kind} = msgspec.field({', '.join(arguments)})"


def _text(text: str) -> str:
    """Return a literal, in several pieces if it is long, because the formatter never splits one."""
    if _width(text) <= _LONGEST_TEXT:
        return quoted(text)
    pieces, piece = [], ""
    for character in text:
        if _width(piece + character) > _LONGEST_TEXT:
            pieces.append(piece)
            piece = ""
        piece += character
    return f"({' '.join(quoted(each) for each in [*pieces, piece])})"


def _width(text: str) -> int:
    """Return an upper bound of the columns of a text: East Asian characters take two, escapes more."""
    return sum(
        1 if character.isascii() and character.isprintable() else 2 if character.isprintable() else 10
        for character in text
    )


def _process(draft: Draft) -> str:
    shown = draft.columns[:_SHOWN_COLUMNS]
    items = ", ".join(f'"{column.attribute}": row.{column.attribute}' for column in shown)
    return (
        "\ndef process(row: Row) -> dict[str, object]:\n"
        '    """Return what to keep of a row. It may run more than once for a row, which still counts once."""\n'
        "    # Put your own work here. What is raised makes this row fail, and no other.\n"
        f"    return {{{items}}}\n"
    )
