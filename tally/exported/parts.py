"""The rows of a fetched part, in either form."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from chalicelib.files.form import (
    CHUNK_COLUMN,
    CORRECTED_COLUMN,
    LINE_COLUMN,
    OUTCOME_COLUMN,
    REASON_COLUMN,
    ROW_COLUMN,
)
from chalicelib.results.lines import ResultLine
from chalicelib.store.items import Outcome

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, csv.Error, msgspec.DecodeError)
"""The errors of reading a part that was cut off or changed."""
_decode = msgspec.json.Decoder(ResultLine).decode


def rows_of(part: Path, columns: Sequence[str]) -> Iterator[ResultLine]:
    """Yield the rows of a part: CSV with these columns, JSON lines without; raises one of ``UNREADABLE``.

    CSV rows come without their results and the cells of the file.
    """
    with gzip.open(part, "rb") as file:
        if columns:
            yield from _records(file, columns)
        else:
            yield from map(_decode, file)


def _records(file: gzip.GzipFile, columns: Sequence[str]) -> Iterator[ResultLine]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""), strict=True)
    if next(reader, None) != list(columns):
        raise ValueError("it does not begin with the columns of the manifest")
    wanted = LINE_COLUMN, CHUNK_COLUMN, ROW_COLUMN, OUTCOME_COLUMN, REASON_COLUMN, CORRECTED_COLUMN
    line, chunk, row, outcome, reason, corrected = map(columns.index, wanted)
    for cells in reader:
        if len(cells) != len(columns):
            raise ValueError(f"it has {len(cells):,} cells, and there are {len(columns):,} columns")
        yield ResultLine(
            line=int(cells[line]) if cells[line] else None,
            chunk=int(cells[chunk]),
            row=int(cells[row]),
            outcome=Outcome(cells[outcome]),
            reason=cells[reason],
            corrected=cells[corrected],
        )
