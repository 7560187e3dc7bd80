"""From the text of a chunk to valid rows or rejections, each with its line, column and reason."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from chalicelib.errors import TallyError
from chalicelib.files.cells import read_cells
from chalicelib.files.cleaning import clean
from chalicelib.files.records import NEVER_CLOSED

_SHOWN_CHARACTERS = 40
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_KEY = "idempotency_key"
_SCHEMA_ERROR = re.compile(r"(?P<what>.*?)(?: - at `\$\.(?P<name>\w+).*`)?", re.DOTALL)


class Row(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of a job's row: subclass it with one field a column.

    Add ``kw_only=True`` when a column that must be there follows one that need not.
    A column is matched by its name in lower case, with blanks and hyphens as underscores. An empty cell is null:
    give the field a default, or a type that takes None, if it may be empty.

    ``idempotency_key`` names the row for ever, for side effects of your own: ``process`` may run more than once
    for a row, although its first recorded outcome alone is counted. It is no column.
    """

    idempotency_key: str = ""


class HeaderError(TallyError):
    """The header does not fit the job; the file is rejected as a whole with this message."""


class ValidRow(msgspec.Struct, frozen=True):
    """A row that the job takes: ``values`` are those of the schema's columns, in their order."""

    row: int
    line: int
    values: tuple[Any, ...]
    parsed: Row


class RejectedRow(msgspec.Struct, frozen=True):
    """What never was a valid row, and why; the reason names the line."""

    row: int
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns that a job's row type asks for."""

    row: type[Row]
    columns: tuple[str, ...]
    key_position: int
    required: frozenset[str]
    nullable_required: frozenset[str]
    optional: frozenset[str]

    @classmethod
    def of(cls, row: type[Row]) -> Self:
        """Read the columns off the fields."""
        every = [field.name for field in msgspec.structs.fields(row)]
        fields = [field for field in msgspec.structs.fields(row) if field.name != _KEY]
        required = [field for field in fields if field.required]
        return cls(
            row=row,
            columns=tuple(field.name for field in fields),
            key_position=every.index(_KEY),
            required=frozenset(field.name for field in required),
            nullable_required=frozenset(field.name for field in required if _takes_none(field.type)),
            optional=frozenset(field.name for field in fields if not field.required),
        )

    def header(self, cells: Sequence[str], line: int) -> tuple[str, ...]:
        """Return the column names in file order; raises HeaderError that names line and column."""
        names = [re.sub(r"[ \-]", "_", clean(cell).lower()) for cell in cells]
        known = self.required | self.optional
        columns: dict[str, int] = {}
        for column, name in enumerate(names, start=1):
            first = columns.setdefault(name, column)
            if first != column:
                raise HeaderError(f"line {line}: column {column} repeats '{_shown(name)}' of column {first}")
        missing = sorted(self.required.difference(names))
        unknown = [f"'{_shown(name)}' (column {column})" for column, name in enumerate(names, 1) if name not in known]
        if missing or unknown:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
            hint = "; is the delimiter a comma?" if len(names) == 1 and len(known) > 1 else ""
            raise HeaderError(f"line {line}: the header {' and '.join(parts)}{hint}")
        return tuple(names)

    def row_of(self, columns: Sequence[str], values: Sequence[Any], idempotency_key: str) -> Row:
        """Return a row from values that were kept, which JSON may have made of others.

        Raises msgspec.ValidationError if the schema has changed since and they do not fit any more.
        """
        row = msgspec.convert(dict(zip(columns, values, strict=True)), self.row)
        row.idempotency_key = idempotency_key
        return row

    def read(self, data: bytes, header: Sequence[str], first_line: int) -> Iterator[ValidRow | RejectedRow]:
        """Read the records of a chunk in order, numbered from 0; blank lines have no number and no outcome."""
        for row, (line, cells, sound) in enumerate(read_cells(data, first_line)):
            if not cells:
                yield RejectedRow(row, line, f"line {line}: {NEVER_CLOSED}")
                continue
            reason = "" if sound else _undecodable(cells, header)  # every other row of the chunk is as good as ever
            yield (
                RejectedRow(row, line, f"line {line}, {reason}") if reason else self._read_row(cells, header, row, line)
            )

    def _read_row(self, values: list[str], header: Sequence[str], row: int, line: int) -> ValidRow | RejectedRow:
        named: dict[str, str | None] = {name: value for name, value in zip(header, values, strict=False) if value}
        if not named and not any(values):
            return RejectedRow(row, line, f"line {line}: the row is empty, all {len(values)} of its columns")
        if len(values) != len(header):
            return RejectedRow(row, line, f"line {line}: {len(values)} columns, the header has {len(header)}")
        for name in self.nullable_required:
            named.setdefault(name)
        try:
            parsed = msgspec.convert(named, self.row, strict=False)
        except msgspec.ValidationError as error:
            if [cell.lower() for cell in values] == list(header):
                return RejectedRow(row, line, f"line {line}: the header again")
            return RejectedRow(row, line, f"line {line}, {_explained(error, header, named)}")
        values_of_row = msgspec.structs.astuple(parsed)
        kept = values_of_row[: self.key_position] + values_of_row[self.key_position + 1 :]
        return ValidRow(row, line, kept, parsed)


def _takes_none(kind: Any) -> bool:
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        return False
    return True


def _undecodable(cells: list[str], header: Sequence[str]) -> str:
    for column, cell in enumerate(cells, start=1):
        found = _ESCAPED_BYTE.search(cell)
        if found:
            byte = ord(found[0]) - 0xDC00
            return f"{_column(column, header)}: byte 0x{byte:02x} at character {found.start() + 1} is not UTF-8"
    return ""


def _explained(error: msgspec.ValidationError, header: Sequence[str], named: dict[str, str | None]) -> str:
    """Turn what the schema says into column and reason, in the words of somebody who looks at a spreadsheet."""
    message = str(error)
    missing = re.search(r"missing required field `(\w+)`", message)
    if missing:
        return f"{_column(header.index(missing[1]) + 1, header)}: empty"
    match = _SCHEMA_ERROR.fullmatch(message)
    name = match["name"] if match else None
    if match is None or name not in header:
        # A __post_init__ of the job's own; by custom its message begins with the column it is about.
        message = message.removesuffix(" - at `$`")
        name = message.partition(" ")[0]
        return f"{_column(header.index(name) + 1, header)}: {message}" if name in header else f"row: {message}"
    cell = named[str(name)] or ""
    what = match["what"].replace("`", "").removesuffix(", got str")
    return f"{_column(header.index(str(name)) + 1, header)}: {what[:1].lower()}{what[1:]}, got '{_shown(cell)}'"


def _column(column: int, header: Sequence[str]) -> str:
    return f"column {column} '{header[column - 1]}'" if column <= len(header) else f"column {column}"


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
