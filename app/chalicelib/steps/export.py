"""Export: the results of a batch that has ended become files, complete and in order, or nothing is announced."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from chalicelib.ahead import ahead
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import SourceGoneError
from chalicelib.events.detail import exported
from chalicelib.files.form import Form
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.files.sink import ObjectWriter, Stored
from chalicelib.files.source import SETTLING, ObjectReader
from chalicelib.logs import logger
from chalicelib.results import failed
from chalicelib.results.chunk import ChunkResults, IncompleteError
from chalicelib.results.corrections import corrected_rows
from chalicelib.results.lines import numbered, result_line
from chalicelib.results.manifest import manifest
from chalicelib.results.table import Columns, InputCells, Place, record, row_cells
from chalicelib.store.batch import Batch, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.corrections import files_of
from chalicelib.store.exports import FAILED_PIECE, Export, Exports, Piece
from chalicelib.store.items import ChunkKey, Counts, Outcome, timestamp
from chalicelib.store.marker import RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_KEYS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.events.bus import EventBus
    from chalicelib.retry import Retry
    from chalicelib.steps.begin_save import SaveStarter
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ExportMessage

READERS = 4
"""Chunks that are read at once: a query takes milliseconds, of which the function would wait for most."""
_LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's own gzip header has neither a name nor a time, so that a part written twice is the same bytes."""


class OvertakenError(Exception):
    """A redrive has begun the batch's next attempt, which will have an export of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How many pieces a message wrote, of how many rows, and whether it announced the whole."""

    pieces: int = 0
    rows: int = 0
    announced: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Return it for the log."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Writes pieces of exports, and their manifests."""

    table: "Table"
    s3: "S3Client"
    bus: "EventBus"
    bucket: str
    retry: "Retry"
    retention: timedelta
    saves: "SaveStarter"
    settling: timedelta = SETTLING
    clock: Clock = utc_now

    def export(self, message: "ExportMessage") -> Exported:
        """Write the pieces that a message asks for, and the manifest if they were the last.

        Safe to repeat: a piece is the same bytes each time, and is counted once. Nothing if a redrive has overtaken the
        message. Raises IncompleteError if the ledger does not prove each row.
        """
        export = self._exports.require(message.batch, message.attempt)
        written = rows = 0
        try:
            for number in message.pieces:
                if self._exports.is_marked(export, number):
                    continue  # a second delivery
                piece = self._write(export, number)
                written += self._exports.mark(
                    export, piece, expires_at=int((self.clock() + self.retention).timestamp())
                )
                rows += piece.rows
        except OvertakenError:
            logger.info("export.overtaken", batch_id=message.batch, attempt=message.attempt)
            return Exported(pieces=written, rows=rows)
        return Exported(pieces=written, rows=rows, announced=self._finish(message))

    @property
    def _exports(self) -> Exports:
        return Exports(table=self.table)

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    def _standing(self, export: Export) -> Batch:
        """Return the batch if it still is as the attempt ended; raises OvertakenError."""
        batch = self._repository.require_batch(export.batch_id)
        if batch.attempt != export.attempt:
            raise OvertakenError
        return batch

    def _write(self, export: Export, number: int) -> Piece:
        """Write one object; it appears only if the attempt stood when all of it had been read."""
        batch = self._standing(export)
        name = failed.name(batch.layout) if number == FAILED_PIECE else f"results-{number:06d}.{export.form}.gz"
        writer = ObjectWriter(
            s3=self.s3,
            bucket=self.bucket,
            key=export.prefix + name,
            content_type="text/plain" if number == FAILED_PIECE else "application/gzip",
            retry=self.retry,
        )
        counted = Counted()
        try:
            try:
                if number == FAILED_PIECE:
                    self._write_failed(batch, export, writer, counted)
                else:
                    for data in self.part(batch, export, number, counted):
                        writer.write(data)
            except IncompleteError:
                self._standing(export)  # if it does not stand, rows are on their way back to their queues
                raise
            # A redrive begins the next attempt with the first marker that it changes: what was read is of this one.
            self._standing(export)
        except (OvertakenError, IncompleteError):
            writer.abort()
            raise
        return counted.piece(number, name, writer.complete())

    def part(self, batch: Batch, export: Export, number: int, counted: "Counted") -> Iterator[bytes]:
        """Return the bytes of a part, block by block; raises IncompleteError."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        records = self._records if export.form is Form.CSV else self._json_lines
        for data in records(batch, export, number, counted):
            yield packer.compress(data)
        yield packer.flush()

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

    def _write_failed(self, batch: Batch, export: Export, writer: ObjectWriter, counted: "Counted") -> None:
        writer.write(failed.header(self._before_rows(batch), batch.header, batch.layout))
        wanted = (chunk.key.number for chunk in self._with_failures(export))
        for found, rows in self._chunks_with_rows(batch, wanted, lambda found: found.unsuccessful):
            for piece in self._failed_rows(batch, found, rows, counted):
                writer.write(piece)

    def _failed_rows(
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

    def _finish(self, message: "ExportMessage") -> bool:
        """Write the manifest and announce it once every piece is there, then ask for the save; tells if it announced.

        Dying before the note writes and announces it again: the same bytes, and an event with the same ``event_id``.
        The save comes after the note, so that a job that does not load keeps no files from anybody. Dying before it has
        the message come again, which asks for the save alone; asked for twice it changes nothing.
        """
        export = self._exports.require(message.batch, message.attempt)
        if not export.complete:
            return False
        batch = self._repository.require_batch(export.batch_id)
        announces = not export.exported_at
        if announces:
            self._announce(batch, export)
        self.saves.begin(batch, export)
        return announces

    def _announce(self, batch: Batch, export: Export) -> None:
        corrections = files_of(self.table, batch.id, export.attempt)
        found = manifest(batch, export, list(self._exports.pieces(export)), corrections)
        writer = ObjectWriter(
            s3=self.s3,
            bucket=self.bucket,
            key=export.manifest_key,
            content_type="application/json",
            retry=self.retry,
        )
        writer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        stored = writer.complete()
        self.bus.put([exported(batch, export, stored.sha256)])
        self._exports.finish(export, timestamp(self.clock()), stored.sha256)


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
