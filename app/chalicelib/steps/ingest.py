"""Ingest: the rows of one chunk become record items, or markers where they never were valid rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.errors import FatalError, MessageError, SourceGoneError, described
from chalicelib.files.source import ObjectReader
from chalicelib.rows import RejectedRow
from chalicelib.store.batch import Batch, Hold
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    ROW_PREFIX,
    Chunk,
    ChunkKey,
    Marker,
    Outcome,
    Record,
    batch_pk,
    number,
)
from chalicelib.store.table import Update

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.steps.dispatch import Dispatcher
    from chalicelib.store.ledger import Ledger
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ChunkMessage

MAX_RECORD_BYTES = 380_000
"""An item holds 400 KB, names and keys included; what a marker with its result needs has the same bound."""
_MAX_REASON_CHARACTERS = 1_000
_MAX_CHARACTER_BYTES = 4
"""A character in UTF-8."""

ROWS_UNKNOWN = "attribute_not_exists(#rows)"
"""The total is added to ``remaining`` once, whichever of several ingests of the chunk comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of a chunk's rows; all zero when it had been closed before."""

    rows: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingester:
    """Turns chunks into rows."""

    table: "Table"
    s3: "S3Client"
    ledger: "Ledger"
    dispatcher: "Dispatcher"
    retry: "Retry"

    def ingest(self, message: "ChunkMessage") -> Ingested:
        """Make every row of a chunk durable, as a record or as a marker, send the records on, then set the total.

        Safe to repeat. The total comes last: a chunk that has it has all its rows, and they are on their way. Dying
        before, also between the records and their messages, means that the queue delivers again: the same items are
        written, which changes nothing, and rows that have no outcome yet are sent again, which every consumer takes.
        """
        batch, chunk = self._load(ChunkKey(message.batch, message.chunk))
        if chunk.closed:
            return Ingested()  # a late duplicate; the markers that would show it may have expired
        if batch.hold in {Hold.CANCELLED, Hold.THRESHOLD}:
            return self.give_up(chunk.key, f"{batch.hold}: the batch was stopped before this row was read")
        try:
            records, markers = self._read(batch, chunk)
        except SourceGoneError:
            return self.give_up(chunk.key, "the object was deleted before its rows were read")
        total = len(records) + len(markers)
        if total != chunk.expected_rows:
            raise FatalError(f"{chunk.key.pk}: planned with {chunk.expected_rows} rows, read with {total}")
        self.table.write_all(record.to_item(expires_at=batch.expires_at) for record in records)
        self.ledger.record(chunk.key, markers)
        self.dispatcher.send_records(self._without_outcome(chunk, records))
        self._set_rows(chunk.key, total)
        return Ingested(rows=total, rejected=len(markers))

    def give_up(self, key: ChunkKey, reason: str) -> Ingested:
        """Fail every row of a chunk that was not read; safe to repeat. ``rejected`` counts those rows.

        Rows with a record get their outcome elsewhere: they are sent on, for the delivery that wrote them may have died
        before it did.
        """
        _, chunk = self._load(key)
        if chunk.closed:
            return Ingested()
        records = [Record.from_item(item) for item in self.table.query(key.pk, ROW_PREFIX)]
        self.dispatcher.send_records(self._without_outcome(chunk, records))
        read = {record.row for record in records}
        markers = [_failed(chunk, row, reason) for row in range(chunk.expected_rows) if row not in read]
        counted = self.ledger.record(chunk.key, markers).counted
        self._set_rows(chunk.key, chunk.expected_rows)
        return Ingested(rows=chunk.expected_rows, rejected=counted)

    def _without_outcome(self, chunk: Chunk, records: list[Record]) -> list[Record]:
        """Return the records whose rows are still to be processed: all of them, unless the chunk was begun before."""
        if not chunk.counts.total:
            return records  # no marker without a count: nothing to look for, so no request
        found = self.table.query(chunk.key.pk, MARKER_PREFIX, projection="sk")
        counted = {int(item["sk"]["S"].removeprefix(MARKER_PREFIX)) for item in found}
        return [record for record in records if record.row not in counted]

    def _load(self, chunk: ChunkKey) -> tuple[Batch, Chunk]:
        found = self.table.get_all([(batch_pk(chunk.batch_id), BATCH_SK), (chunk.pk, CHUNK_SK)])
        by_sk = {item["sk"]["S"]: item for item in found}
        if set(by_sk) != {BATCH_SK, CHUNK_SK}:
            raise MessageError(f"{chunk.pk} is not in the table: was its batch deleted?")
        return Batch.from_item(by_sk[BATCH_SK]), Chunk.from_item(by_sk[CHUNK_SK])

    def _read(self, batch: Batch, chunk: Chunk) -> tuple[list[Record], list[Marker]]:
        if chunk.unreadable:
            reason = f"line {chunk.first_line}: {chunk.unreadable}"
            return [], [Marker(chunk=chunk.key, row=0, outcome=Outcome.REJECTED, error=reason)]
        job = jobs.require(batch.job)
        reader = ObjectReader(s3=self.s3, source=batch.content, retry=self.retry)
        data = reader.read(chunk.start, chunk.end)
        records: list[Record] = []
        markers: list[Marker] = []
        for row in job.schema.read(data, batch.header, chunk.first_line):
            if isinstance(row, RejectedRow):
                markers.append(_rejected(chunk.key, row.row, row.reason))
                continue
            size = len(row.data)
            if size > MAX_RECORD_BYTES // _MAX_CHARACTER_BYTES:
                size = len(row.data.encode())
            if size > MAX_RECORD_BYTES:
                reason = f"line {row.line}: the row is {size:,} bytes long, at most {MAX_RECORD_BYTES:,} can be kept"
                markers.append(_rejected(chunk.key, row.row, reason))
            else:
                try:
                    heavy = bool(job.heavy(row.parsed))
                except Exception as error:  # noqa: BLE001  the job's own code, and about this row alone
                    markers.append(_failed(chunk, row.row, f"line {row.line}, heavy(): {described(error)}"))
                    continue
                records.append(Record(chunk=chunk.key, row=row.row, line=row.line, data=row.data, heavy=heavy))
        return records, markers

    def _set_rows(self, chunk: ChunkKey, rows: int) -> None:
        self.table.update(  # that the condition fails means that an earlier call was applied, heard or not
            Update(
                pk=chunk.pk,
                sk=CHUNK_SK,
                expression="SET #rows = :rows ADD remaining :rows",
                condition=ROWS_UNKNOWN,
                values={":rows": number(rows)},
            )
        )


def _failed(chunk: Chunk, row: int, reason: str) -> Marker:
    said = f"row {row + 1} from line {chunk.first_line}: {reason}"
    return Marker(chunk=chunk.key, row=row, outcome=Outcome.FAILED, error=said[:_MAX_REASON_CHARACTERS])


def _rejected(chunk: ChunkKey, row: int, reason: str) -> Marker:
    return Marker(chunk=chunk, row=row, outcome=Outcome.REJECTED, error=reason[:_MAX_REASON_CHARACTERS])
