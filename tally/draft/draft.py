"""A job drafted from a file: its columns, its layout and encoding, and the doubts that the file leaves."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.columns import compared
from chalicelib.files.cells import read_cells
from chalicelib.files.cleaning import clean
from chalicelib.files.dialect import Layout
from chalicelib.files.ranges import ranges
from tally.draft import layout, names
from tally.draft.columns import Observed, Type, type_of
from tally.draft.encoding import Encoding, detect
from tally.draft.layout import Csv, JsonLines
from tally.draft.sample import WHOLE_BYTES, Sample, take
from tally.errors import ExitCode, OperatorError

_RANGE_ROWS = 5_000
_RANGE_BYTES = 1_048_576
_HEAD_BYTES = 4 * 1024 * 1024
"""The layout is found from these bytes."""
_BATCHED = 5_000
"""Objects of JSON lines that are looked at together."""
_MAX_FIELDS = 2_000
_MAX_SHOWN = 10
_SEPARATED_BY_SPACES = re.compile(r"\S+(?: {2,}\S+){2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One field of the job: the header that it is found by, its attribute, and its type."""

    position: int
    """The place of the column in the file, from 0."""
    header: str
    attribute: str
    alias: str | None
    type: Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The content of a job. ``doubts`` are about the whole file; a column has its own."""

    job: str
    path: Path
    encoding: str
    layout: Csv | JsonLines
    header: tuple[str, ...]
    """The names of all columns in order, those that were left out too; empty for JSON lines."""
    columns: tuple[Column, ...]
    nulls: tuple[str, ...]
    rows: int
    whole: bool
    unfit: int
    """Records that were left out: with more or fewer cells than the header, or not a JSON object."""
    ignores: bool
    doubts: tuple[str, ...]

    @property
    def is_csv(self) -> bool:
        """Tell whether the file is CSV, not JSON lines."""
        return isinstance(self.layout, Csv)

    @property
    def has_header(self) -> bool:
        """Tell whether the names of the columns are in the file."""
        return not isinstance(self.layout, Csv) or self.layout.has_header


def draft(
    job: str, path: Path, *, whole_bytes: int = WHOLE_BYTES, show: Callable[[str], None] = lambda _progress: None
) -> Draft:
    """Draft a job from a file; raises OperatorError for a file that no job can take."""
    sample = take(path, whole_bytes=whole_bytes)
    encoding = detect(sample)
    texts = (encoding.lines(piece) for piece in sample.pieces)
    head = next(texts)
    found = layout.find(path, head[:_HEAD_BYTES].decode(errors="replace"))
    drafted = _csv(found, head, texts, show) if isinstance(found, Csv) else _json_lines(head, texts, show)
    if not drafted.seen:
        raise OperatorError(
            f"No job can be drafted from {path}: it has no columns",
            hint="give it a header, or rows.",
            code=ExitCode.USAGE,
        )
    if len(drafted.seen) > _MAX_FIELDS:
        raise OperatorError(
            f"{path} has {len(drafted.seen):,} columns; a job is drafted with {_MAX_FIELDS:,} at most. Write one with "
            'the columns that you need and EXTRA = "ignore".',
            code=ExitCode.USAGE,
        )
    return _decided(job, sample, encoding, found, drafted)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The values of each column by position, the columns' names, and the numbers of rows and of odd records."""

    seen: list[Observed]
    header: tuple[str, ...]
    rows: int
    unfit: int
    doubts: list[str]


def _csv(found: Csv, head: bytes, rest: Iterator[bytes], show: Callable[[str], None]) -> _Seen:
    header = found.names
    seen = [Observed() for _ in header]
    rows = unfit = 0
    skip_header = found.has_header
    empty = again = 0
    for text in (head, *rest):
        for cells in _records(text, found.delimiter):
            if skip_header:
                cells.pop(0)
                skip_header = False
            fitting = [row for row in cells if len(row) == len(header)]
            unfit += len(cells) - len(fitting)
            kept = [row for row in fitting if any(row) and tuple(row) != header]
            empty += sum(not any(row) for row in fitting)
            again += sum(tuple(row) == header for row in fitting)
            rows += len(kept)
            show(f"{rows:,} rows")
            for column, values in zip(seen, zip(*kept, strict=True), strict=False):
                column.add(values)
    doubts = []
    if unfit:
        doubts.append(f"rejected, {unfit:,} times: more or fewer cells than the {len(header):,} columns")
    if empty:
        doubts.append(f"rejected, {empty:,} times: no value in any column")
    if again:
        doubts.append(f"rejected, {again:,} times: the header again")
    if (
        len(header) == 1
        and found.delimiter == ","
        and _SEPARATED_BY_SPACES.search(head[:4096].decode(errors="replace"))
    ):
        doubts.append("the cells look parted by spaces, which Tally cannot do: it was taken for one column")
    return _Seen(seen, header, rows, unfit + empty + again, doubts)


def _records(text: bytes, delimiter: str) -> Iterator[list[list[str]]]:
    """Yield the cells of every record as the pipeline reads them, some thousand records at a time."""
    found = Layout(delimiter=delimiter)
    for piece in ranges([text], found, max_rows=_RANGE_ROWS, max_bytes=_RANGE_BYTES):
        if piece.unreadable:
            yield [[]]
            continue
        yield [cells for _, cells, _ in read_cells(text[piece.start : piece.end], piece.first_line, found)]


def _json_lines(head: bytes, rest: Iterator[bytes], show: Callable[[str], None]) -> _Seen:
    seen: dict[str, Observed] = {}
    spelled: dict[str, str] = {}
    rows = unfit = 0
    for text in (head, *rest):
        objects = []
        for found in layout.objects_of(text.decode(errors="replace")):
            if found is None:
                unfit += 1
                continue
            objects.append(found)
            if len(objects) == _BATCHED:
                rows += _see_objects(seen, spelled, objects, rows)
                show(f"{rows:,} rows")
                objects = []
        rows += _see_objects(seen, spelled, objects, rows)
    doubts = [f"rejected, {unfit:,} times: a line that is no JSON object"] if unfit else []
    return _Seen(list(seen.values()), tuple(spelled.values()), rows, unfit, doubts)


def _see_objects(
    seen: dict[str, Observed], spelled: dict[str, str], objects: Sequence[dict[str, Any]], before: int
) -> int:
    """Add objects by the names of their fields; names that the pipeline takes for one are one column."""
    found = [{compared(name): (name, value) for name, value in each.items()} for each in objects]
    for key, (name, _) in (item for each in found for item in each.items()):
        if key not in seen:
            seen[key] = Observed(cells=before, empty=before)  # no object had it so far
            spelled[key] = clean(name)
    for key, column in seen.items():
        column.add_json(each.get(key, ("", None))[1] for each in found)
    return len(objects)


def _decided(job: str, sample: Sample, encoding: Encoding, found: Csv | JsonLines, drafted: _Seen) -> Draft:
    is_json = isinstance(found, JsonLines)
    found_by = names.found_by(drafted.header)
    doubts = [*encoding.doubts, *getattr(found, "doubts", ()), *drafted.doubts]
    left_out = [position for position, name in enumerate(found_by) if name is None]
    if left_out:
        shown = ", ".join(f"'{drafted.header[position]}' ({position + 1})" for position in left_out[:_MAX_SHOWN])
        doubts.append(f"columns that no name tells apart are left out: {shown}")
    if not drafted.rows:
        doubts.append("no row follows the header: every column was taken for text")
    if not sample.whole:
        doubts.append("the file was read in part: what was not read may have other values, and `tally try` shows them")
    kept = [(position, name) for position, name in enumerate(found_by) if name is not None]
    nulls = frozenset[str]().union(*(drafted.seen[position].nothing() for position, _ in kept))
    attributes = names.attributes([drafted.header[position] for position, _ in kept])
    columns = tuple(
        Column(
            position=position,
            header=drafted.header[position],
            attribute=attribute,
            alias=names.alias(name, attribute),
            type=type_of(drafted.seen[position], nulls, attribute, whole=sample.whole, is_json=is_json),
        )
        for (position, name), attribute in zip(kept, attributes, strict=True)
    )
    return Draft(
        job=job,
        path=sample.path,
        encoding=encoding.name,
        layout=found,
        header=() if is_json else drafted.header,
        columns=columns,
        nulls=tuple(sorted(nulls)),
        rows=drafted.rows,
        whole=sample.whole,
        unfit=drafted.unfit,
        ignores=bool(left_out),
        doubts=tuple(doubts),
    )
