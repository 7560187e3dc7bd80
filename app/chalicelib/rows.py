"""From the text of a chunk to valid rows or rejections, each with its line, column and reason."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Self

import msgspec

from chalicelib.errors import FatalError, TallyError
from chalicelib.files.cells import read_cells
from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import DELIMITERS, Dialect, Extra
from chalicelib.files.records import NEVER_CLOSED

_SHOWN_CHARACTERS = 40
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_KEY = "idempotency_key"
_MAX_HEADER_BYTES = 65_536
"""A header is kept in the batch's item, and read with it for every chunk."""
_NAME_OVERHEAD = 4
"""Bytes that an element of a list takes in an item beside its text, at most."""
_COMPARED = str.maketrans(' -"\\', "__'/")
_MAX_SHOWN_CELLS = 10
"""Bad cells of one row that its reason names."""


class Row(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of a job's row: subclass it with one field a column.

    Add ``kw_only=True`` when a column that must be there follows one that need not.
    A column is matched by its name in lower case, with blanks and hyphens as underscores. A header that is no Python
    name is given as ``msgspec.field(name="Sepal.Length")``, or by ``rename`` of the class; of several alike the second
    is ``name="note[2]"``, and a double quote or a backslash in a header is ``'`` or ``/``. An empty cell is null: give
    the field a default, or a type that takes None, if it may be empty.

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
    """The columns that a job's row type asks for, by the names that they have in files."""

    row: type[Row]
    columns: tuple[str, ...]
    key_position: int
    required: frozenset[str]
    nullable_required: frozenset[str]
    cells: Mapping[str, type[msgspec.Struct] | None]
    """For each column a struct of one cell that takes what the column takes; None where every text will do."""
    attributes: Mapping[str, str]
    matches: Mapping[str, str]
    """Each column by its name as headers are compared."""
    dialect: Dialect = field(default_factory=Dialect)

    @classmethod
    def of(cls, row: type[Row], dialect: Dialect | None = None) -> Self:
        """Read the columns off the fields; raises FatalError for two that the same header would match."""
        every = [column.name for column in msgspec.structs.fields(row)]
        fields = [column for column in msgspec.structs.fields(row) if column.name != _KEY]
        required = [column for column in fields if column.required]
        matches: dict[str, str] = {}
        for name in (column.encode_name for column in fields):
            if matches.setdefault(_compared(name), name) != name:
                raise FatalError(f"two fields match the same column: '{matches[_compared(name)]}' and '{name}'")
        return cls(
            row=row,
            columns=tuple(column.encode_name for column in fields),
            key_position=every.index(_KEY),
            required=frozenset(column.encode_name for column in required),
            nullable_required=frozenset(column.encode_name for column in required if _takes_none(column.type)),
            cells={column.encode_name: None if column.type is str else _cell(column.type) for column in fields},
            attributes={column.name: column.encode_name for column in fields},
            matches=matches,
            dialect=dialect or Dialect(),
        )

    def header(self, cells: Sequence[str], line: int) -> tuple[str, ...]:
        """Return the header as it is in the file, clean; raises HeaderError that names line and column."""
        header = tuple(clean(cell) for cell in cells)
        found = self._matched(header)
        first: dict[str, int] = {}
        for column, name in enumerate(found, start=1):
            if name is not None and first.setdefault(name, column) != column:
                repeated = _shown(header[column - 1])
                raise HeaderError(f"line {line}: column {column} repeats '{repeated}' of column {first[name]}")
        missing = sorted(self.required.difference(first))
        unknown = [
            f"'{_shown(header[column - 1])}' (column {column})"
            for column, name in enumerate(found, start=1)
            if name is None and self.dialect.extra is Extra.REJECT
        ]
        if missing or unknown:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
            raise HeaderError(f"line {line}: {self._hint(cells, len(first))}the header {' and '.join(parts)}")
        size = sum(len(name.encode()) + _NAME_OVERHEAD for name in header)
        if size > _MAX_HEADER_BYTES:
            raise HeaderError(
                f"line {line}: the header takes {size:,} bytes, at most {_MAX_HEADER_BYTES:,} can be kept"
            )
        return header

    def _matched(self, header: Sequence[str]) -> tuple[str | None, ...]:
        """Return the column that each cell of a header names, None for one that no field matches.

        Of several alike the second is ``name[2]``, and so on; without such a field it repeats the first.
        """
        seen: Counter[str] = Counter()
        names = []
        for cell in header:
            name = _compared(cell)
            seen[name] += 1
            numbered = f"{name}[{seen[name]}]" if seen[name] > 1 else name
            names.append(self.matches.get(numbered, self.matches.get(name)))
        return tuple(names)

    def _hint(self, cells: Sequence[str], fitting: int) -> str:
        """Say what is wrong with a whole header, where that can be told: words to put before the details."""
        line = self.dialect.delimiter.join(cells).replace('"', "")
        found = {
            delimiter: sum(name is not None for name in self._matched(line.split(delimiter)))
            for delimiter in DELIMITERS
            if delimiter in line
        }
        best = max(found, key=lambda delimiter: found[delimiter], default="")
        if best and best != self.dialect.delimiter and found[best] > max(fitting, 1):
            return f"the file looks {DELIMITERS[best]}-separated: set DELIMITER = {best!r} in the job; "
        if not fitting and self._is_row([clean(cell) for cell in cells]):
            return "the line looks like a row, so the file has no header: set HEADER in the job; "
        return ""

    def _is_row(self, cells: Sequence[str]) -> bool:
        """Tell whether a line is a row of all columns in their order; no telling where every text is one."""
        if len(cells) != len(self.columns):
            return False
        fits = not list(self._bad_cells(cells, self.columns))
        return fits and any(_refusal(name, self.cells[name]) for name in self.columns)

    def row_of(self, columns: Sequence[str], values: Sequence[Any], idempotency_key: str) -> Row:
        """Return a row from values that were kept, which JSON may have made of others.

        Raises msgspec.ValidationError if the schema has changed since and they do not fit any more.
        """
        row = msgspec.convert(dict(zip(columns, values, strict=True)), self.row)
        row.idempotency_key = idempotency_key
        return row

    def separated_by(self, delimiter: str) -> Self:
        """Return the schema for a file that was planned with a delimiter, which need not be the job's any more."""
        if delimiter == self.dialect.delimiter:
            return self
        return replace(self, dialect=replace(self.dialect, delimiter=delimiter))

    def read(self, data: bytes, header: Sequence[str], first_line: int) -> Iterator[ValidRow | RejectedRow]:
        """Read the records of a chunk in order, numbered from 0; blank lines have no number and no outcome."""
        names = self._matched(header)
        nulls = self.dialect.nulls
        for row, (line, cells, sound) in enumerate(read_cells(data, first_line, self.dialect.delimiter)):
            if not cells:
                yield RejectedRow(row, line, f"line {line}: {NEVER_CLOSED}")
                continue
            reason = "" if sound else _undecodable(cells, header)  # every other row of the chunk is as good as ever
            if reason:
                yield RejectedRow(row, line, f"line {line}, {reason}")
                continue
            values = ["" if cell in nulls else cell for cell in cells] if nulls else cells
            yield self._read_row(values, header, names, row, line)

    def _read_row(
        self, values: list[str], header: Sequence[str], names: Sequence[str | None], row: int, line: int
    ) -> ValidRow | RejectedRow:
        named: dict[Any, str | None] = dict(compress(zip(names, values, strict=False), values))
        if not named and not any(values):
            return RejectedRow(row, line, f"line {line}: the row is empty, all {len(values)} of its columns")
        if len(values) != len(header):
            return RejectedRow(row, line, f"line {line}: {len(values)} columns, the header has {len(header)}")
        named.pop(None, None)  # the columns to ignore
        for name in self.nullable_required:
            named.setdefault(name)
        try:
            parsed = msgspec.convert(named, self.row, strict=False)
        except msgspec.ValidationError as error:
            if values == list(header) or all(map(_is_same, values, header)):
                return RejectedRow(row, line, f"line {line}: the header again")
            return RejectedRow(row, line, f"line {line}, {self._explained(error, values, header, names)}")
        values_of_row = msgspec.structs.astuple(parsed)
        kept = values_of_row[: self.key_position] + values_of_row[self.key_position + 1 :]
        return ValidRow(row, line, kept, parsed)

    def _bad_cells(self, values: Sequence[str], names: Sequence[str | None]) -> Iterator[tuple[int, str]]:
        """Return the column, from 1, and the reason of every cell that the schema refuses."""
        for column, (name, value) in enumerate(zip(names, values, strict=True), start=1):
            if name is None:
                continue
            if value:
                what = _refusal(value, self.cells[name])
                if what:
                    yield column, f"{what}, got '{_shown(value)}'"
            elif name in self.required and name not in self.nullable_required:
                yield column, "empty"

    def _explained(
        self,
        error: msgspec.ValidationError,
        values: Sequence[str],
        header: Sequence[str],
        names: Sequence[str | None],
    ) -> str:
        """Say what is wrong with a row, cell by cell, in the words of somebody who looks at a spreadsheet."""
        bad = [f"{_column(column, header)}: {reason}" for column, reason in self._bad_cells(values, names)]
        if bad:
            more = len(bad) - _MAX_SHOWN_CELLS
            return "; ".join([*bad[:_MAX_SHOWN_CELLS], *([f"and {more:,} more"] if more > 0 else [])])
        # A __post_init__ of the job's own; by custom its message begins with the column it is about.
        message = str(error).removesuffix(" - at `$`")
        word = message.partition(" ")[0]
        name = self.attributes.get(word, word)
        return f"{_column(names.index(name) + 1, header)}: {message}" if name in names else f"row: {message}"


def _compared(name: str) -> str:
    """Return the name of a column as headers are compared: people write headers.

    msgspec takes no double quote and no backslash in a name, so the field is written with other marks.
    """
    return clean(name).lower().translate(_COMPARED)


def _is_same(cell: str, name: str) -> bool:
    return _compared(cell) == _compared(name)


def _cell(kind: Any) -> type[msgspec.Struct]:
    """Return a struct of one cell: msgspec reads a type anew for each value, and a struct once."""
    return msgspec.defstruct("_Cell", [("value", kind)])


def _refusal(value: str, cell: type[msgspec.Struct] | None) -> str:
    """Say why a cell does not take a text; empty if it does."""
    if cell is None:
        return ""
    try:
        msgspec.convert({"value": value}, cell, strict=False)
    except msgspec.ValidationError as error:
        what = str(error).removesuffix(" - at `$.value`").replace("`", "").removesuffix(", got str")
        return f"{what[:1].lower()}{what[1:]}"
    return ""


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


def _column(column: int, header: Sequence[str]) -> str:
    return f"column {column} '{_shown(header[column - 1])}'" if column <= len(header) else f"column {column}"


def _shown(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
