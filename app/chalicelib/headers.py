"""Headers: the column that each cell of a file's first record names, and why a header does not fit a job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chalicelib.columns import compared, listed, shown
from chalicelib.errors import TallyError
from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import DELIMITERS, Extra
from chalicelib.files.form import OUR_COLUMNS

if TYPE_CHECKING:
    from chalicelib.rows import Schema

MAX_HEADER_BYTES = 65_536
"""A header is kept in the batch's item, and read with it for every chunk."""
_NAME_OVERHEAD = 4
"""Bytes that an element of a list takes in an item beside its text, at most."""


class HeaderError(TallyError):
    """The header does not fit the job; the file is rejected as a whole with this message."""


def matched(header: Sequence[str], matches: Mapping[str, str]) -> tuple[str | None, ...]:
    """Return the column that each cell of a header names, None for one that no field matches.

    Of several alike the second is ``name[2]``, and so on; without such a field it repeats the first.
    """
    seen: Counter[str] = Counter()
    names = []
    for cell in header:
        name = compared(cell)
        seen[name] += 1
        numbered = f"{name}[{seen[name]}]" if seen[name] > 1 else name
        names.append(matches.get(numbered, matches.get(name)))
    return tuple(names)


def names_columns(line: bytes, matches: Mapping[str, str]) -> bool:
    """Tell whether a line has a column's name in it, with any delimiter."""
    return any(_named(line.decode(errors="replace").replace('"', ""), matches).values())


def checked(cells: Sequence[str], line: int, schema: "Schema") -> tuple[str, ...]:
    """Return a header as it is in the file, clean; raises HeaderError that names line and column."""
    header = tuple(clean(cell) for cell in cells)
    found = matched(header, schema.matches)
    first: dict[str, int] = {}
    kept: dict[str, int] = {}
    for column, name in enumerate(found, start=1):
        before = 0
        if name is not None:
            before = first.setdefault(name, column)
        elif schema.keeps_extra:  # in a row each has its name
            before = kept.setdefault(header[column - 1], column)
        if before not in {0, column}:
            raise HeaderError(f"line {line}: column {column} repeats '{shown(header[column - 1])}' of column {before}")
    missing = sorted(schema.required.difference(first))
    unknown = [
        f"'{shown(header[column - 1])}' (column {column})"
        for column, name in enumerate(found, start=1)
        if name is None and schema.dialect.extra is Extra.REJECT and header[column - 1] not in OUR_COLUMNS
    ]
    if missing or unknown:
        parts = [f"lacks {listed(missing, ', ')}"] if missing else []
        parts += [f"has unknown {listed(unknown, ', ')}"] if unknown else []
        raise HeaderError(f"line {line}: {_hint(cells, len(first), schema)}the header {' and '.join(parts)}")
    size = sum(len(name.encode()) + _NAME_OVERHEAD for name in header)
    if size > MAX_HEADER_BYTES:
        raise HeaderError(f"line {line}: the header takes {size:,} bytes, at most {MAX_HEADER_BYTES:,} can be kept")
    return header


def _named(line: str, matches: Mapping[str, str]) -> dict[str, int]:
    """Return how many cells of a header name a column, for each delimiter that is in it."""
    return {
        delimiter: sum(name is not None for name in matched(line.split(delimiter), matches))
        for delimiter in DELIMITERS
        if delimiter in line
    }


def _hint(cells: Sequence[str], named: int, schema: "Schema") -> str:
    """Return what is wrong with a whole header, to be put before the details; empty if nothing explains it."""
    delimiter = schema.dialect.layout.delimiter
    found = _named(delimiter.join(cells).replace('"', ""), schema.matches)
    best = max(found, key=lambda each: found[each], default="")
    if best and best != delimiter and found[best] > max(named, 1):
        return f"the file looks {DELIMITERS[best]}-separated: set DELIMITER = {best!r} in the job; "
    if not named and schema.is_row([clean(cell) for cell in cells]):
        return "the line looks like a row, so the file has no header: set HEADER in the job; "
    return ""
