"""Export: the results of a batch that has ended become files, complete and in order, or nothing is announced."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from chalicelib.clock import Clock, utc_now
from chalicelib.events.detail import exported
from chalicelib.files.sink import ObjectWriter
from chalicelib.files.source import SETTLING
from chalicelib.logs import logger
from chalicelib.results import failed
from chalicelib.results.chunk import IncompleteError
from chalicelib.results.manifest import manifest
from chalicelib.steps.export_content import Counted, ExportContent
from chalicelib.store.batch import Batch
from chalicelib.store.corrections import files_of
from chalicelib.store.exports import FAILED_PIECE, Export, Exports, Piece
from chalicelib.store.items import timestamp
from chalicelib.store.repository import Repository

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.events.bus import EventBus
    from chalicelib.retry import Retry
    from chalicelib.steps.begin_save import SaveStarter
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ExportMessage


class OvertakenError(Exception):
    """A redrive has begun the batch's next attempt, which will have an export of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The pieces that a message wrote, their rows, and whether it announced the whole."""

    pieces: int = 0
    rows: int = 0
    announced: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """The fields of its log event."""
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
    def content(self) -> ExportContent:
        """The content of the pieces."""
        return ExportContent(table=self.table, s3=self.s3, retry=self.retry, settling=self.settling, clock=self.clock)

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
                for data in self._blocks(batch, export, number, counted):
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

    def _blocks(self, batch: Batch, export: Export, number: int, counted: Counted) -> Iterator[bytes]:
        if number == FAILED_PIECE:
            return self.content.failed_rows(batch, export, counted)
        return self.content.part(batch, export, number, counted)

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
