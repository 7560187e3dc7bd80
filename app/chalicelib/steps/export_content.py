"""The content of an export's files: outcomes from the ledger, rows from the upload and its corrections."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib.ahead import ahead
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import SourceGoneError
from chalicelib.files.form import Form
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.files.sink import Stored
from chalicelib.files.source import SETTLING, ObjectReader
from chalicelib.results import failed
from chalicelib.results.chunk import ChunkResults
from chalicelib.results.corrections import corrected_rows
from chalicelib.results.lines import numbered, result_line
from chalicelib.results.table import Columns, InputCells, Place, record, row_cells
from chalicelib.store.batch import Batch, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Export, Piece
from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.marker import RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_KEYS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

READERS = 4
"""Chunks that are read at once: a query takes milliseconds, of which the function would wait for most."""
_LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's own gzip header has neither a name nor a time, so that a part written twice is the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportContent:
    """Reads the results of a batch that has ended, a few chunks at a time."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"
    settling: timedelta = SETTLING
    clock: Clock = utc_now

    def part(self, batch: Batch, export: Export, number: int, counted: "Counted") -> Iterator[bytes]:
        """Return the bytes of a part, block by block; raises IncompleteError."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        records = self._records if export.form is Form.CSV else self._json_lines
        for data in records(batch, export, number, counted):
            yield packer.compress(data)
        yield packer.flush()

    def failed_rows(self, batch: Batch, export: Export, counted: "Counted") -> Iterator[bytes]:
        """Return the bytes of the file of failed rows, row by row; raises IncompleteError."""
        yield failed.header(self._before_rows(batch), batch.header, batch.layout)
        wanted = (chunk.key.number for chunk in self._with_failures(export))
        for found, rows in self._chunks_with_rows(batch, wanted, lambda found: found.unsuccessful):
            yield from self._failed_of(batch, found, rows, counted)

    def _json_lines(self, batch: Batch, export: Export, number: int, counted: "Counted") -> Iterator[bytes]:
        for found in self._chunks(batch, export.chunks_of(number)):
            for outcome, line in numbered(found, self._lines(batch, found)):
                counted.add(outcome, line)
                yield result_line(found, outcome, line)

    def _records(self, batch: Batch, export: Export, number: int, counted: "Counted") -> Iterator[bytes]:
        columns = Columns(export.inputs, export.fields)
        cells_of = InputCells(columns, batch.header, batch.layout).of
        yield columns.header()
        for found, rows in self._chunks_with_rows(batch, export.chunks_of(number), _every_row):
            for outcome in found.outcomes():
                row = rows.get(outcome.row)
                line = row.line if row else found.line(outcome)
                place = Place(line, found.chunk.key.number, outcome.row, found.corrected_by(outcome.row))
                cells = row_cells(columns, cells_of(row), outcome, place)
                counted.add(outcome, line)
                counted.formula_rows += failed.has_formula(cells)
                counted.without_bytes += row is None and not found.chunk.unreadable
                yield record(cells)

    def _chunks(self, batch: Batch, numbers: Iterable[int]) -> Iterator[ChunkResults]:
        return ahead(lambda number: self._read(batch, number), numbers, at_once=READERS)

    def _chunks_with_rows(
        self, batch: Batch, numbers: Iterable[int], wanted: Callable[[ChunkResults], RowBits]
    ) -> Iterator[tuple[ChunkResults, Mapping[int, failed.SourceRow]]]:
        """Return chunks with the rows that are wanted of them, which are read ahead too; none of one line too long."""

        def read(number: int) -> tuple[ChunkResults, Mapping[int, failed.SourceRow]]:
            found = self._read(batch, number)
            too_long = found.chunk.unreadable and not found.chunk.corrected
            return found, {} if too_long else self._source_rows(batch, found, wanted(found))

        return ahead(read, numbers, at_once=READERS)

    def _failed_of(
        self, batch: Batch, found: ChunkResults, rows: Mapping[int, failed.SourceRow], counted: "Counted"
    ) -> Iterator[bytes]:
        if found.chunk.unreadable and not found.chunk.corrected:
            (outcome,) = found.outcomes()
            counted.add(outcome, found.chunk.first_line)
            yield failed.lead(found.chunk.first_line, outcome.reason, batch.layout)
            yield from self._whole(batch, found.chunk, counted)
            return
        for outcome in found.outcomes(found.unsuccessful):
            row = rows.get(outcome.row)
            line = row.line if row else found.line(outcome)
            counted.add(outcome, line)
            counted.formula_rows += row is not None and failed.has_formula(row.cells)
            counted.without_bytes += row is None
            yield failed.lead(line, outcome.reason, batch.layout) + failed.ended(row.data if row else b"", batch.layout)

    def _whole(self, batch: Batch, chunk: Chunk, counted: "Counted") -> Iterator[bytes]:
        """Return a line that is too long for a row, block by block."""
        last = b""
        try:
            for block in self._reader(batch).blocks(chunk.start, chunk.end):
                yield last
                last = block
        except SourceGoneError:
            counted.without_bytes += 1
        yield failed.ended(last, batch.layout)

    def _with_failures(self, export: Export) -> Iterator[Chunk]:
        if export.counts.succeeded == export.counts.total:
            return
        for first in range(0, export.chunks, MAX_KEYS):
            for chunk in self._repository.chunks(export.batch_id, range(first, min(first + MAX_KEYS, export.chunks))):
                if chunk.counts.failed or chunk.counts.rejected:
                    yield chunk

    def _read(self, batch: Batch, number: int) -> ChunkResults:
        return ChunkResults.of(self.table.query(ChunkKey(batch.id, number).pk, ""))

    def _lines(self, batch: Batch, found: ChunkResults) -> list[int]:
        """Return the lines of rows that were given up unread, none where the ledger knows them."""
        is_read = found.chunk.pages and not found.chunk.corrected  # of one that is corrected perhaps in part
        if is_read or found.chunk.unreadable or all(found.line(each) for each in found.outcomes()):
            return []
        return [row.line for row in self._uploaded_rows(batch, found.chunk)]

    def _source_rows(self, batch: Batch, found: ChunkResults, wanted: RowBits) -> dict[int, failed.SourceRow]:
        """Return rows of a chunk as they were uploaded, or corrected; without those whose object was deleted."""
        corrected = wanted & found.chunk.corrected
        rows = dict(enumerate(self._uploaded_rows(batch, found.chunk))) if wanted - corrected else {}
        if not corrected:
            return rows
        others = {row: each for row, each in rows.items() if row not in corrected}
        return others | corrected_rows(
            found.corrections,
            corrected,
            batch.layout,
            lambda file: self._reader_of(file.source, file.created_at),
        )

    def _uploaded_rows(self, batch: Batch, chunk: Chunk) -> list[failed.SourceRow]:
        """Return the rows of a chunk as they are in the file; none if it was deleted."""
        try:
            data = self._reader(batch).read(chunk.start, chunk.end)
        except SourceGoneError:
            return []
        return list(failed.source_rows(data, chunk.first_line, batch.layout))

    def _before_rows(self, batch: Batch) -> bytes:
        """Return what is before the first row: a byte order mark, blank lines, the header; empty if it was deleted."""
        first = self._repository.find_chunk(ChunkKey(batch.id, 0))
        try:
            return self._reader(batch).read(0, min(first.start, 2 * MAX_RECORD_BYTES)) if first else b""
        except SourceGoneError:
            return b""

    def _reader(self, batch: Batch) -> ObjectReader:
        return self._reader_of(batch.content, batch.created_at)

    def _reader_of(self, source: Source, created_at: str) -> ObjectReader:
        return ObjectReader(
            s3=self.s3,
            source=source,
            retry=self.retry,
            settled_at=datetime.fromisoformat(created_at) + self.settling,
            clock=self.clock,
        )

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)


def _every_row(found: ChunkResults) -> RowBits:
    return RowBits.first(found.chunk.rows or 0)


@dataclass(slots=True)
class Counted:
    """The part of a piece that is written so far."""

    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    first_line: int | None = None
    last_line: int | None = None
    formula_rows: int = 0
    without_bytes: int = 0

    def add(self, outcome: RowOutcome, line: int | None) -> None:
        """Count a row."""
        if not self.succeeded + self.failed + self.rejected:
            self.first_line = line
        self.last_line = line
        match outcome.outcome:
            case Outcome.SUCCEEDED:
                self.succeeded += 1
            case Outcome.FAILED:
                self.failed += 1
            case Outcome.REJECTED:
                self.rejected += 1

    def piece(self, number: int, name: str, stored: Stored) -> Piece:
        """Return what is kept of the piece."""
        return Piece(
            number=number,
            name=name,
            size=stored.size,
            sha256=stored.sha256,
            version_id=stored.version_id,
            first_line=self.first_line,
            last_line=self.last_line,
            counts=Counts(succeeded=self.succeeded, failed=self.failed, rejected=self.rejected),
            formula_rows=self.formula_rows,
            without_bytes=self.without_bytes,
        )
