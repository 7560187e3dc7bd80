"""Match corrected lines with the ledger: which row begins at each, and whether it may run again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chalicelib.ahead import ahead
from chalicelib.errors import SourceGoneError
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.files.source import ObjectReader
from chalicelib.results.failed import source_rows
from chalicelib.store import rows as stored_rows
from chalicelib.store.batch import Batch
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.corrections import CORRECTION_PREFIX, Correction, newest
from chalicelib.store.items import MARKER_PREFIX, ROWS_PREFIX, Item, Outcome, text_of
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_KEYS, Table
from tally.corrections.problems import Kind, Problem
from tally.corrections.staging import Span, StagedLine, Staging

MAX_CHUNK_BYTES = 2 * MAX_RECORD_BYTES
"""What the corrected rows of a chunk may take, for `ingest` reads and stores them together. A chunk of an upload has
half of it at most."""
_READERS = 4
_NO_END = 1 << 62
_UNKNOWN = "no row of the batch begins at line {line:,}: is the file of another batch?"
_SUCCEEDED = "the row at line {line:,} has succeeded: only rows that failed or were rejected are replaced"
_TOO_LARGE = "with the rows before it in its chunk it is over {most:,} bytes: correct some of these rows later"
_PENDING = "the row at line {line:,} has no outcome yet: wait until it has"


@dataclass(slots=True, kw_only=True)
class Matcher:
    """Finds the rows of a batch; ``file`` is its upload, for rows that were rejected before they were read.

    A row whose last correction is from the file with ``sha256``, and that has not failed since, is ``already`` taken
    back.
    """

    table: Table
    batch: Batch
    file: ObjectReader
    sha256: str
    already: int = 0

    def match(self, staging: Staging, begin: int, on_chunk: Callable[[], None]) -> Iterator[Problem]:
        """Keep in the staging the rows that run again, and return the problems of the other lines.

        ``begin`` is the length of the header in the file of corrections.
        """
        place = begin
        for chunk, lines, partition in ahead(self._read, self._asked(staging, on_chunk), at_once=_READERS):
            size = sum(each.size for each in lines)
            found = dict(self._rows(chunk, lines, partition)) if chunk else {}
            same = self._corrected_by_this(partition)
            taken: dict[int, int] = {}
            taken_bytes = 0
            for each in lines:
                row, outcome = found.get(each.line, (None, None))
                if not each.size:
                    continue  # two rows for it: reported already
                taken_bytes += each.size
                problem = _problem(each, row, outcome, taken_bytes)
                if problem and row is not None and row in same:
                    self.already += 1
                elif problem:
                    yield problem
                elif row is not None:
                    taken[row] = each.line
            if chunk and taken:
                staging.match(Span(chunk=chunk.key.number, start=place, end=place + size, lines=taken))
            place += size

    def _asked(self, staging: Staging, on_chunk: Callable[[], None]) -> Iterator[tuple[Chunk | None, list[StagedLine]]]:
        """Return the chunks of the lines, in order; a line before the first chunk has none."""
        before: Chunk | None = None
        for chunk in self._chunks():
            first = before.first_line if before else 0
            lines = staging.lines(first, chunk.first_line)
            if lines:
                yield before, lines
            before = chunk
            on_chunk()
        lines = staging.lines(before.first_line if before else 0, _NO_END)
        if lines:
            yield before, lines

    def _chunks(self) -> Iterator[Chunk]:
        repository = Repository(table=self.table)
        total = self.batch.chunks or 0
        for first in range(0, total, MAX_KEYS):
            yield from repository.chunks(self.batch.id, range(first, min(first + MAX_KEYS, total)))

    def _read(self, asked: tuple[Chunk | None, list[StagedLine]]) -> tuple[Chunk | None, list[StagedLine], list[Item]]:
        chunk, lines = asked
        return chunk, lines, list(self.table.query(chunk.key.pk, "")) if chunk else []

    def _rows(
        self, chunk: Chunk, lines: Sequence[StagedLine], partition: Sequence[Item]
    ) -> Iterator[tuple[int, tuple[int, RowOutcome | None]]]:
        """Return the rows of a chunk by the line where they begin, with their outcomes."""
        pages = [item for item in partition if text_of(item, "sk").startswith(ROWS_PREFIX)]
        markers = [item for item in partition if text_of(item, "sk").startswith(MARKER_PREFIX)]
        outcomes = {each.row: each for item in markers for each in Marker.from_item(item).outcomes}
        begins = {chunk.first_line: 0}  # a chunk begins with a row
        begins |= {each.line: row for row, each in outcomes.items() if each.line}
        begins |= {row.line: row.row for _, row in stored_rows.from_items(pages)}
        begins |= {line: row for each in _corrections(partition) for row, line in each.lines.items()}
        if any(each.line not in begins for each in lines):
            begins |= self._uploaded(chunk)
        yield from ((line, (row, outcomes.get(row))) for line, row in begins.items())

    def _corrected_by_this(self, partition: Sequence[Item]) -> RowBits:
        """Return the rows of a chunk whose last correction is from this file."""
        found = _corrections(partition)
        every = RowBits.of(row for each in found for row in each.lines)
        return RowBits.of(row for each in newest(found, every) if each.file.sha256 == self.sha256 for row in each.lines)

    def _uploaded(self, chunk: Chunk) -> dict[int, int]:
        if chunk.unreadable:
            return {}
        try:
            data = self.file.read(chunk.start, chunk.end)
        except SourceGoneError:
            return {}
        found = source_rows(data, chunk.first_line, self.batch.layout)
        return {each.line: row for row, each in enumerate(found)}


def _corrections(partition: Sequence[Item]) -> list[Correction]:
    return [Correction.from_item(item) for item in partition if text_of(item, "sk").startswith(CORRECTION_PREFIX)]


def _problem(each: StagedLine, row: int | None, outcome: RowOutcome | None, taken_bytes: int) -> Problem | None:
    if row is None:
        return Problem(each.own_line, Kind.UNKNOWN, _UNKNOWN.format(line=each.line))
    if outcome is None:
        return Problem(each.own_line, Kind.PENDING, _PENDING.format(line=each.line))
    if outcome.outcome is Outcome.SUCCEEDED:
        return Problem(each.own_line, Kind.SUCCEEDED, _SUCCEEDED.format(line=each.line))
    if taken_bytes > MAX_CHUNK_BYTES:
        return Problem(each.own_line, Kind.TOO_LARGE, _TOO_LARGE.format(most=MAX_CHUNK_BYTES))
    return None
