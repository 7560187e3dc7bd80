"""The layout of a file: CSV with a delimiter and a header, or JSON lines."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import DELIMITERS
from chalicelib.files.records import read_records
from tally.draft.kinds import TOKENS, Kind, kind_of_text
from tally.errors import ExitCode, OperatorError

_LOOKED_AT = 1_000
"""Records from which delimiter and header are found."""
_MIN_CONSISTENT = 0.8
"""The share of records that must have the same number of cells, for a delimiter to be one."""
_MIN_CONSISTENT_BELOW_A_HEADER = 0.5
_COMMON = ",;\t|"
_DECIMAL_COMMA = re.compile(r"[+-]?\d{1,3}(\.?\d{3})*,\d+")
_FOR_EXCEL = re.compile(r"\s*sep=.\s*[\r\n]")
_COMMENT = "#"
_NO_HEADER = "HEADER names the columns"
_YEAR = re.compile(r"(1[5-9]|2[01])\d\d")
_MIN_STEPS = 3
"""Years of a header that follow each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """A CSV file; ``names`` are those of its header, as the pipeline cleans it, if it has one."""

    delimiter: str
    names: tuple[str, ...]
    has_header: bool = False
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """A file with one JSON object a line."""


def find(path: Path, text: str) -> Csv | JsonLines:
    """Return the layout of a file from the whole lines of its head; raises OperatorError if no job can take it."""
    if _is_json(path, text):
        return JsonLines()
    text = text.lstrip("\ufeff")
    if _FOR_EXCEL.match(text):
        raise OperatorError(
            f"{path} begins with a line for Excel, 'sep=': remove that line: it is neither a header nor a row.",
            code=ExitCode.USAGE,
        )
    delimiter = _delimiter(text)
    records = list(_records(text, delimiter, _LOOKED_AT))
    first, widths = records[0], Counter(len(record) for record in records[1:] or records)
    width = _usual(widths)
    if len(first) != width and widths[width] > 1:
        return _uneven(path, text, delimiter, records, width)
    header = _is_header(first, records[1:])
    if header is False:
        return Csv(delimiter=delimiter, names=_numbered(width), doubts=(f"line 1 looks like a row: {_NO_HEADER}",))
    doubts = ("nothing tells whether line 1 is a header or a row: it was taken for a header",)
    return Csv(delimiter=delimiter, names=first, has_header=True, doubts=() if header else doubts)


def _uneven(path: Path, text: str, delimiter: str, records: Sequence[Sequence[str]], width: int) -> Csv:
    """Return the layout of a file whose line 1 is not as wide as its rows; raises OperatorError if none is safe.

    It is safe if the names go into HEADER: then only the lines with other columns are rejected.
    """
    first = records[0]
    start = next(position for position, record in enumerate(records) if len(record) == width)
    table = records[start:]
    without_last = all(not row[-1] for row in table if len(row) == width)
    named = (*first, f"column_{width}") if without_last else ("index", *first)
    if start == 1 and len(first) == width - 1 and not first[0].startswith(_COMMENT) and _is_header(named, table):
        which = "last" if without_last else "first"
        doubt = f"line 1 has no name for the {which} column: {_NO_HEADER}, and line 1 is rejected"
        return Csv(delimiter=delimiter, names=named, doubts=(doubt,))
    if _is_header(table[0], table[1:]) is False:
        doubt = f"what is before the table has other columns: it is rejected, and {_NO_HEADER}"
        return Csv(delimiter=delimiter, names=_numbered(width), doubts=(doubt,))
    line = 1
    for record in read_records(text, delimiter):
        if len(record.cells) == width:
            break
        line += record.lines
    raise OperatorError(
        f"{path}: line 1 has {_columns(len(first))}, most rows have {_columns(width)}. If line {line} is the header, "
        f"remove what is before it: `tail -n +{line} {path.name} > table.csv`.",
        code=ExitCode.USAGE,
    )


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column_{column}" for column in range(1, width + 1))


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count:,} columns"


def _is_json(path: Path, text: str) -> bool:
    """Tell whether the lines are JSON; raises OperatorError for JSON in another form."""
    start = text.lstrip("\ufeff \t\r\n")
    line = start.split("\n", 1)[0]
    if start[:1] not in {"{", "["}:
        return False
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return True
    named = re.search(r"\.(json|jsonl|ndjson)(\.gz)?$", path.name.lower())
    if named or value is not None or re.match(r"[{\[]\s*([{\[\"]|$)", start):
        raise OperatorError(
            f"{path} is JSON, but not one object a line. If it is a list of objects, make lines of it: "
            f"`jq -c '.[]' {path.name} > rows.jsonl`.",
            code=ExitCode.USAGE,
        )
    return False


def _records(text: str, delimiter: str, limit: int) -> Iterator[tuple[str, ...]]:
    """Return records that are not blank, clean; without one that a quote leaves open."""
    for record in islice((one for one in read_records(text, delimiter) if one.cells), limit):
        if not record.unclosed:
            yield tuple(clean(cell) for cell in record.cells)


def _usual(widths: Counter[int]) -> int:
    """Return the most frequent number of cells."""
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _delimiter(text: str) -> str:
    """Return the delimiter that gives the most records the same number of sensible cells."""
    scores = {delimiter: _score(text, delimiter) for delimiter in DELIMITERS if delimiter in text}
    if any(scores.values()):
        return max(scores, key=lambda delimiter: scores[delimiter])
    # One column: a delimiter that never occurs, so that no row has two cells.
    return next((delimiter for delimiter in (",", "\t", "|", ";", "^", "~", ":") if delimiter not in text), ",")


def _score(text: str, delimiter: str) -> float:
    """Return the quality of a delimiter: how many records have the usual width, and how many cells make sense."""
    records = list(_records(text, delimiter, _LOOKED_AT))
    if not records:
        return 0.0
    first, rows = records[0], records[1:] or records  # a header may be one of the lines that do not fit
    width = _usual(Counter(map(len, rows)))
    consistent = sum(len(row) == width for row in rows) / len(rows)
    # If the header has as many cells as most rows, single rows may be torn.
    if width <= 1 or consistent < (_MIN_CONSISTENT_BELOW_A_HEADER if len(first) == width else _MIN_CONSISTENT):
        return 0.0
    if len(first) == 1 and not first[0].startswith(_COMMENT) and (width == 2 or delimiter not in _COMMON):  # noqa: PLR2004
        return 0.0  # what is in all rows is a cell's
    if len(first) not in {width, width - 1}:
        consistent /= 2
    cells = [cell for row in (first, *rows[:200]) for cell in row]
    sensible = sum(_is_sensible(cell) for cell in cells) / len(cells)
    return consistent * (0.5 + sensible / 2) * (1 if delimiter in _COMMON else 0.9)


def _is_sensible(cell: str) -> bool:
    """Tell whether a cell has no delimiter in it; the comma of a decimal number is none."""
    return not any(mark in cell for mark in _COMMON) or _DECIMAL_COMMA.fullmatch(cell) is not None


def _is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool | None:
    """Tell whether the first record is a header; None if undecided."""
    if not rows:
        return True
    votes = 0
    numbered = _is_series(first)
    for column, cell in enumerate(first):
        values = [row[column] for row in rows if column < len(row) and row[column]]
        if not cell or not values:
            continue
        kinds = Counter(kind_of_text(value) for value in values)
        kind, count = kinds.most_common(1)[0]
        if kind is Kind.TEXT or count < len(values) / 2:
            votes -= values.count(cell) > 1
        elif kind_of_text(cell) is Kind.TEXT:
            votes += 2 * (cell not in TOKENS)  # a name over a column of numbers tells more than a text that comes again
        elif kind_of_text(cell) in kinds and not numbered:
            votes -= 1
    return None if votes == 0 else votes > 0


def _is_series(cells: Sequence[str]) -> bool:
    """Tell whether a header is a series of consecutive years."""
    years = [int(cell) for cell in cells if _YEAR.fullmatch(cell)]
    steps = {after - before for before, after in pairwise(years)}
    return len(years) >= _MIN_STEPS and len(steps) == 1 and 0 not in steps


def objects_of(text: str) -> Iterator[dict[str, Any] | None]:
    """Return every line that is not blank as a JSON object; None for a line that is not an object."""
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line.strip("\ufeff \t\r"))
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else None
