"""The rows of a corrected file on disk, in the order of the lines that they replace; memory does not grow."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tally.corrections.corrected_file import CorrectedRow
from tally.corrections.problems import Kind, Problem

_TABLES = """
CREATE TABLE staged (line INTEGER PRIMARY KEY, own_line INTEGER NOT NULL, data BLOB);
CREATE TABLE matched (chunk INTEGER, line INTEGER, number INTEGER, PRIMARY KEY (chunk, line)) WITHOUT ROWID;
CREATE TABLE spans (chunk INTEGER PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL);
"""
_FAST = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
"""Nothing is read again after this process has ended."""


class StagedLine(NamedTuple):
    """A replaced line, and the position and size of its new row; size 0 if two rows replace it."""

    line: int
    own_line: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The rows of a chunk that run again, by number, with their lines, and their bytes in the file of corrections."""

    chunk: int
    start: int
    end: int
    lines: Mapping[int, int]


class Staging:
    """Rows by the line that they replace; of several rows for one line none is kept."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "staging.sqlite")
        self._database.executescript(_FAST + _TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, row: CorrectedRow) -> Iterator[Problem]:
        """Keep a row; returns a problem if another row already replaces its line."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO staged VALUES (?, ?, ?)", (row.line, row.own_line, row.data)
        )
        if added.rowcount:
            return
        replaced = f"line {row.line:,} of the upload is replaced at line"
        ((first, is_first),) = self._database.execute(
            "SELECT own_line, data IS NOT NULL FROM staged WHERE line = ?", (row.line,)
        )
        if is_first:
            yield Problem(first, Kind.TWICE, f"{replaced} {row.own_line:,} too")
            self._database.execute("UPDATE staged SET data = NULL WHERE line = ?", (row.line,))
        yield Problem(row.own_line, Kind.TWICE, f"{replaced} {first:,} too")

    def count(self) -> int:
        """Return the number of rows."""
        ((rows,),) = self._database.execute("SELECT count(*) FROM staged WHERE data IS NOT NULL")
        return int(rows)

    def lines(self, first: int, before: int) -> list[StagedLine]:
        """Return the lines from ``first`` up to, and without, the end."""
        found = self._database.execute(
            "SELECT line, own_line, coalesce(length(data), 0) FROM staged WHERE line >= ? AND line < ? ORDER BY line",
            (first, before),
        )
        return [StagedLine(*each) for each in found]

    def match(self, span: Span) -> None:
        """Keep the rows of a chunk that run again."""
        self._database.executemany(
            "INSERT INTO matched VALUES (?, ?, ?)", ((span.chunk, line, row) for row, line in span.lines.items())
        )
        self._database.execute("INSERT INTO spans VALUES (?, ?, ?)", (span.chunk, span.start, span.end))

    def spans(self) -> Iterator[Span]:
        """Return the matched rows, in the order of the chunks."""
        before = -1
        while found := self._database.execute(
            "SELECT chunk, start, end FROM spans WHERE chunk > ? ORDER BY chunk LIMIT 1", (before,)
        ).fetchone():
            before, start, end = found
            rows = self._database.execute("SELECT number, line FROM matched WHERE chunk = ?", (before,))
            yield Span(chunk=before, start=start, end=end, lines=dict(rows))

    def matched(self) -> tuple[int, int]:
        """Return the number of rows that run again, and of the chunks that they are in."""
        ((rows, chunks),) = self._database.execute("SELECT count(*), count(DISTINCT chunk) FROM matched")
        return int(rows), int(chunks)

    def write(self, header: bytes, path: Path) -> str:
        """Write the header and all rows to a file; returns its SHA-256, in hexadecimal."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for piece in self._pieces(header):
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def _pieces(self, header: bytes) -> Iterable[bytes]:
        yield header
        for (data,) in self._database.execute("SELECT data FROM staged WHERE data IS NOT NULL ORDER BY line"):
            yield data
