"""From the text of a chunk to valid rows or rejections, each with its line, column and reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Self, cast

import msgspec

from chalicelib import headers
from chalicelib.columns import NOT_FINITE, compared, is_finite, listed, refusal, shown, taker, takes, takes_infinity
from chalicelib.errors import FatalError, described, job_errors, sendable
from chalicelib.files.cells import read_cells
from chalicelib.files.dialect import Dialect, Extra, Format, Layout
from chalicelib.files.encodings import NO_CHARACTER, undecodable
from chalicelib.files.json_lines import read_objects
from chalicelib.files.records import NEVER_CLOSED
from chalicelib.objects import ObjectReader

_KEY, _EXTRA = "idempotency_key", "extra"


class Row(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The base of a job's row: subclass it with one field a column.

    Add ``kw_only=True`` when a column that must be there follows one that need not.
    A column is matched by its name in lower case, with blanks and hyphens as underscores. A header that is no Python
    name is given as ``msgspec.field(name="Sepal.Length")``, or by ``rename`` of the class; of several alike the second
    is ``name="note[2]"``, and a double quote or a backslash in a header is ``'`` or ``/``. An empty cell is null: give
    the field a default, or a type that takes None, if it may be empty.

    ``extra`` has what no field matches, by its name in the file, if the job says ``EXTRA = "keep"``: text from CSV, any
    value from JSON. Otherwise a field of that name is a column like any other.

    ``idempotency_key`` names the row for ever, for side effects of your own: ``process`` may run more than once
    for a row, although its first recorded outcome alone is counted. It is no column.
    """

    idempotency_key: str = ""

    @property
    def extra(self) -> dict[str, Any]:
        """The columns that no field matches; none, unless the job keeps them."""
        return {}


class ValidRow(msgspec.Struct, frozen=True):
    """A row that the job takes: ``values`` are those of the schema's columns, in their order."""

    row: int
    line: int
    values: tuple[Any, ...]
    parsed: Row


class RejectedRow(msgspec.Struct, frozen=True):
    """A row that is not valid, and why; the reason names the line."""

    row: int
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns that a job's row type asks for, by the names that they have in files."""

    row: type[Row]
    columns: tuple[str, ...]
    positions: tuple[int, ...]
    """The places of the columns among the fields of a row."""
    key_position: int
    required: frozenset[str]
    nullable_required: frozenset[str]
    numbers: tuple[int, ...]
    """Places of the values for which the schema would take "nan" or "inf"."""
    cells: Mapping[str, type[msgspec.Struct] | None]
    """For each column a struct of one cell that takes what the column takes; None where every text will do."""
    attributes: Mapping[str, str]
    matches: Mapping[str, str]
    """Each column by its name as headers are compared."""
    dialect: Dialect = field(default_factory=Dialect)
    keeps_extra: bool = False
    """Whether rows have the columns that no field matches."""

    @classmethod
    def of(cls, row: type[Row], dialect: Dialect | None = None) -> Self:
        """Read the columns off the fields; raises FatalError for two that the same header would match."""
        keeps = dialect is not None and dialect.extra is Extra.KEEP
        if keeps:
            row = _with_extra(row)
        every = [column.name for column in msgspec.structs.fields(row)]
        own = {_KEY, _EXTRA} if keeps else {_KEY}
        fields = [column for column in msgspec.structs.fields(row) if column.name not in own]
        required = [column for column in fields if column.required]
        matches: dict[str, str] = {}
        for name in (column.encode_name for column in fields):
            if matches.setdefault(compared(name), name) != name:
                raise FatalError(f"two fields match the same column: '{matches[compared(name)]}' and '{name}'")
        return cls(
            row=row,
            columns=tuple(column.encode_name for column in fields),
            positions=tuple(position for position, name in enumerate(every) if name not in own),
            key_position=every.index(_KEY),
            required=frozenset(column.encode_name for column in required),
            nullable_required=frozenset(column.encode_name for column in required if takes(column.type, None)),
            numbers=tuple(every.index(column.name) for column in fields if takes_infinity(column.type)),
            cells={column.encode_name: None if column.type is str else taker(column.type) for column in fields},
            attributes={column.name: column.encode_name for column in fields},
            matches=matches,
            dialect=dialect or Dialect(),
            keeps_extra=keeps,
        )

    def header(self, cells: Sequence[str], line: int) -> tuple[str, ...]:
        """Return the header as it is in the file, clean; raises HeaderError that names line and column."""
        return headers.checked(cells, line, self)

    def fits_header(self, line: bytes) -> bool:
        """Tell whether a line has a column's name in it, with any delimiter."""
        return headers.names_columns(line, self.matches)

    def is_row(self, cells: Sequence[str]) -> bool:
        """Tell whether a line is a row of all columns in their order; False where every text would be one."""
        if len(cells) != len(self.columns):
            return False
        fits = not list(self._bad_cells(cells, self.columns))
        return fits and any(refusal(name, self.cells[name]) for name in self.columns)

    def row_of(
        self,
        columns: Sequence[str],
        values: Sequence[Any],
        idempotency_key: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Row:
        """Return a row from values that were kept, which JSON may have made of others.

        Raises msgspec.ValidationError if the schema has changed since and they do not fit any more.
        """
        row = msgspec.convert(dict(zip(columns, values, strict=True)), self.row, str_keys=True)
        row.idempotency_key = idempotency_key
        if self.keeps_extra:
            _set_extra(row, dict(extra or {}))
        return row

    def laid_out(self, layout: Layout) -> Self:
        """Return the schema for a file that was planned with a layout, which need not be the job's any more."""
        if layout == self.dialect.layout:
            return self
        return replace(self, dialect=replace(self.dialect, layout=layout))

    def read(self, data: bytes, header: Sequence[str], first_line: int) -> Iterator[ValidRow | RejectedRow]:
        """Read the records of a chunk in order, numbered from 0; blank lines have no number and no outcome."""
        if self.dialect.layout.format is Format.JSONL:
            yield from self._read_objects(data, first_line)
            return
        names = headers.matched(header, self.matches)
        nulls = self.dialect.nulls
        others = [column for column, name in enumerate(names) if name is None] if self.keeps_extra else None
        for row, (line, cells, sound) in enumerate(read_cells(data, first_line, self.dialect.layout)):
            if not cells:
                yield RejectedRow(row, line, f"line {line}: {NEVER_CLOSED}")
                continue
            reason = "" if sound else self._undecodable(cells, header)  # every other row is as good as ever
            if reason:
                yield RejectedRow(row, line, f"line {line}, {reason}")
                continue
            values = ["" if cell in nulls else cell for cell in cells] if nulls else cells
            read = self._read_row(values, header, names, row, line)
            if others is not None and isinstance(read, ValidRow):
                read = self._valid(row, line, read.parsed, {header[column]: values[column] for column in others})
            yield read

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
            values_of_row = msgspec.structs.astuple(parsed)
            for at in self.numbers:
                value = values_of_row[at]
                if not is_finite(value):
                    raise msgspec.ValidationError(NOT_FINITE)
        except job_errors() as error:  # also what a __post_init__ of the job's own raises
            if values == list(header) or all(map(_is_same, values, header)):
                return RejectedRow(row, line, f"line {line}: the header again")
            return RejectedRow(row, line, f"line {line}, {self._explained(error, values, header, names)}")
        at = self.key_position
        kept = values_of_row[:at] + values_of_row[at + 1 :] if at else values_of_row[1:]
        return ValidRow(row, line, kept, parsed)

    def _read_objects(self, data: bytes, first_line: int) -> Iterator[ValidRow | RejectedRow]:
        reader = ObjectReader(self)
        for row, found in enumerate(read_objects(data, first_line, self.dialect.layout.encoding)):
            read = f": {found.reason}" if found.reason else reader.read(found.values)
            if isinstance(read, str):
                yield RejectedRow(row, found.line, f"line {found.line}{read}")
            else:
                yield self._valid(row, found.line, *read)

    def _valid(self, row: int, line: int, parsed: Row, extra: dict[str, Any]) -> ValidRow:
        values = msgspec.structs.astuple(parsed)
        if self.keeps_extra:
            _set_extra(parsed, extra)
        return ValidRow(row, line, tuple(values[position] for position in self.positions), parsed)

    def _bad_cells(self, values: Sequence[str], names: Sequence[str | None]) -> Iterator[tuple[int, str]]:
        """Return the column, from 1, and the reason of every cell that the schema refuses."""
        for column, (name, value) in enumerate(zip(names, values, strict=True), start=1):
            if name is None:
                continue
            if value:
                what = refusal(value, self.cells[name])
                if what:
                    yield column, f"{what}, got '{shown(value)}'"
            elif name in self.required and name not in self.nullable_required:
                yield column, "empty"

    def _explained(
        self,
        error: BaseException,
        values: Sequence[str],
        header: Sequence[str],
        names: Sequence[str | None],
    ) -> str:
        """Say what is wrong with a row, cell by cell, in the words of somebody who looks at a spreadsheet."""
        bad = [f"{_column(column, header)}: {reason}" for column, reason in self._bad_cells(values, names)]
        if bad:
            return listed(bad)
        message, name = self.own_refusal(error)
        return f"{_column(names.index(name) + 1, header)}: {message}" if name in names else f"row: {message}"

    def own_refusal(self, error: BaseException) -> tuple[str, str]:
        """Return what a ``__post_init__`` of the job's own says; by custom it begins with the column it is about."""
        text = sendable(str(error)) if isinstance(error, msgspec.ValidationError) else described(error)
        message = text.removesuffix(" - at `$`") or "refused by __post_init__, without a word"
        word = message.partition(" ")[0]
        return message, self.attributes.get(word, word)

    def _undecodable(self, cells: list[str], header: Sequence[str]) -> str:
        for column, cell in enumerate(cells, start=1):
            found = NO_CHARACTER.search(cell)
            if found:
                return f"{_column(column, header)}: {undecodable(found, self.dialect.layout.encoding)}"
        return ""


def _with_extra(row: type[Row]) -> type[Row]:
    """Return a row type with a field for what no field matches, which a job may have declared itself."""
    declared = next((each for each in msgspec.structs.fields(row) if each.name == _EXTRA), None)
    if declared is None:
        made = msgspec.defstruct(row.__name__, [(_EXTRA, dict[str, Any], {})], bases=(row,), kw_only=True)
        return cast("type[Row]", made)
    if not declared.required and takes(declared.type, {"name": "text"}):
        return row
    raise FatalError(
        'EXTRA = "keep" keeps columns in row.extra, and Row has a field of that name: rename it, as in '
        'other: str = msgspec.field(name="extra"), or make it extra: dict[str, Any] = {}'
    )


def _set_extra(row: Row, extra: dict[str, Any]) -> None:
    setattr(row, _EXTRA, extra)  # a field, in the row type of a job that keeps them


def _is_same(cell: str, name: str) -> bool:
    return compared(cell) == compared(name)


def _column(column: int, header: Sequence[str]) -> str:
    return f"column {column} '{shown(header[column - 1])}'" if column <= len(header) else f"column {column}"
