"""Reading the rows of a chunk: from the upload, and those that an operator has corrected from the corrections."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import msgspec

from chalicelib import jobs
from chalicelib.clock import Clock
from chalicelib.errors import FatalError, SourceGoneError, described, job_errors
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import UTF_8
from chalicelib.files.source import ObjectReader
from chalicelib.results.corrections import corrected_rows
from chalicelib.rows import RejectedRow, ValidRow
from chalicelib.store import rows
from chalicelib.store.batch import Batch, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.corrections import corrections_of
from chalicelib.store.items import MAX_ITEM_BYTES, Outcome
from chalicelib.store.marker import ReasonCode, RowOutcome, unsuccessful
from chalicelib.store.rows import StoredRow

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

_SMALL_BYTES = MAX_ITEM_BYTES // 3
"""Rows of a plain chunk no larger than this are small: as JSON text grows to twice its size at most, plus brackets."""


@dataclass(slots=True)
class Read:
    """The rows of a chunk that are to be processed, and the outcomes of the others."""

    columns: tuple[str, ...] = ()
    stored: list[StoredRow] = field(default_factory=list)
    heavy: list[int] = field(default_factory=list)
    outcomes: list[RowOutcome] = field(default_factory=list)

    def only(self, wanted: RowBits) -> Self:
        """Return what was read of some rows."""
        return replace(
            self,
            stored=[found for found in self.stored if found.row in wanted],
            heavy=[row for row in self.heavy if row in wanted],
            outcomes=[found for found in self.outcomes if found.row in wanted],
        )

    def with_others(self, others: "Read") -> Self:
        """Return what was read of these rows and of others."""
        return replace(
            self,
            columns=self.columns or others.columns,
            stored=sorted([*self.stored, *others.stored], key=lambda found: found.row),
            heavy=[*self.heavy, *others.heavy],
            outcomes=[*self.outcomes, *others.outcomes],
        )

    def without_unkept(self) -> Self:
        """Return the same with every row rejected in which a ``__post_init__`` left what JSON has not."""
        whys = [(found, rows.why_unkept(found)) for found in self.stored]
        unkept = [
            _rejected(found.row, ReasonCode.INVALID, f"line {found.line}, row: cannot be kept: {why}", found.line)
            for found, why in whys
            if why
        ]
        good = self.only(RowBits.of(found.row for found, why in whys if not why))
        never = [found for found in self.outcomes if found.outcome is Outcome.REJECTED]
        return replace(good, outcomes=[*never, *good.outcomes, *unkept])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkReader:
    """Reads rows by the job as it is now."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"
    settling: timedelta
    clock: Clock

    def read(self, batch: Batch, chunk: Chunk) -> Read:
        """Return the rows of a chunk that are to be read; those whose object is gone have an outcome that says so.

        Raises BusyError while S3 may not show an object yet, and FatalError for a chunk that has other rows than the
        plan counted.
        """
        wanted = chunk.rereads or RowBits.first(chunk.expected_rows)
        corrected = wanted & chunk.corrected
        if not corrected:
            return self._read_upload(batch, chunk, wanted)
        read = self._read_corrections(batch, chunk, corrected)
        of_upload = wanted - corrected
        return self._read_upload(batch, chunk, of_upload).with_others(read) if of_upload else read

    def _read_upload(self, batch: Batch, chunk: Chunk, wanted: RowBits) -> Read:
        try:
            read = self._read(batch, chunk)
        except SourceGoneError:
            return given_up(chunk, wanted, ReasonCode.SOURCE_GONE, "the object was deleted before its rows were read")
        total = len({row.row for row in read.stored} | {outcome.row for outcome in read.outcomes})
        if total != chunk.expected_rows:
            differs = f"planned with {chunk.expected_rows} rows, read with {total}"
            if chunk.rereads:  # what reads it was changed since: no further delivery will read it as it was planned
                why = f"its chunk was {differs}; submit the file again"
                return given_up(chunk, wanted, ReasonCode.INVALID, why)
            raise FatalError(f"{chunk.key.pk}: {differs}")
        return read if len(wanted) == total else read.only(wanted)

    def _read(self, batch: Batch, chunk: Chunk) -> Read:
        if chunk.unreadable:
            reason = f"line {chunk.first_line}: {chunk.unreadable}"
            return Read(outcomes=[_rejected(0, ReasonCode.INVALID, reason, chunk.first_line)])
        job = jobs.require(batch.job)
        data = self._reader(batch.content, batch.created_at).read(chunk.start, chunk.end)
        read = Read(columns=job.schema.columns)
        is_small = _is_plain(batch.layout) and not job.schema.keeps_extra and len(data) <= _SMALL_BYTES
        # Planned with the batch's layout: read with another delimiter, a quote could span other lines than it did.
        for row in job.schema.laid_out(batch.layout).read(data, batch.header, chunk.first_line):
            _keep(read, job, row, is_small=is_small)
        return read

    def _read_corrections(self, batch: Batch, chunk: Chunk, wanted: RowBits) -> Read:
        job = jobs.require(batch.job)
        schema = job.schema.laid_out(batch.layout)
        found = corrected_rows(
            corrections_of(self.table, chunk.key),
            wanted,
            batch.layout,
            lambda file: self._reader(file.source, file.created_at),
        )
        gone = wanted - RowBits.of(found)
        why = "the object with its corrected bytes was deleted before they were read"
        read = given_up(chunk, gone, ReasonCode.SOURCE_GONE, why)
        read.columns = job.schema.columns
        for row in wanted - gone:
            one = list(schema.read(found[row].data, batch.header, found[row].line))
            if len(one) == 1:
                _keep(read, job, msgspec.structs.replace(one[0], row=row), is_small=False)
            else:
                line = found[row].line
                reason = f"line {line}: its corrected bytes are {len(one)} rows"
                read.outcomes.append(_rejected(row, ReasonCode.INVALID, reason, line))
        return read

    def _reader(self, source: Source, created_at: str) -> ObjectReader:
        return ObjectReader(
            s3=self.s3,
            source=source,
            retry=self.retry,
            settled_at=datetime.fromisoformat(created_at) + self.settling,  # created later than uploaded
            clock=self.clock,
        )


def given_up(chunk: Chunk, wanted: RowBits, code: ReasonCode, reason: str) -> Read:
    """Return outcomes for rows of a chunk that cannot be read."""
    # A row that is to be read again is not stored, so it stays rejected: a failed one would be run again.
    outcome = Outcome.REJECTED if chunk.rereads else Outcome.FAILED
    return Read(
        outcomes=[
            unsuccessful(row, outcome, code, f"row {row + 1} from line {chunk.first_line}: {reason}") for row in wanted
        ]
    )


def _keep(read: Read, job: jobs.Job, row: ValidRow | RejectedRow, *, is_small: bool) -> None:
    """Add a row to what was read."""
    if isinstance(row, RejectedRow):
        read.outcomes.append(_rejected(row.row, ReasonCode.INVALID, row.reason, row.line))
        return
    stored = StoredRow(row.row, row.line, row.values)
    if job.schema.keeps_extra:
        stored = replace(stored, extra=row.parsed.extra)
    size = 0 if is_small else rows.encoded_size(stored)
    if size > MAX_ITEM_BYTES:
        reason = f"line {row.line}: the row is {size:,} bytes long, at most {MAX_ITEM_BYTES:,} can be kept"
        read.outcomes.append(_rejected(row.row, ReasonCode.TOO_LARGE, reason, row.line))
        return
    read.stored.append(stored)
    try:
        is_heavy = bool(job.heavy(row.parsed))
    except job_errors() as error:  # the job's own code, and about this row alone
        # Kept all the same: a redrive runs it, as a heavy one, which is what can do it no harm.
        reason = f"line {row.line}, heavy(): {described(error)}"
        read.outcomes.append(unsuccessful(row.row, Outcome.FAILED, ReasonCode.RAISED, reason, line=row.line))
        is_heavy = True
    if is_heavy:
        read.heavy.append(row.row)


def _is_plain(layout: Layout) -> bool:
    """Tell whether rows as JSON are the file's text with escapes: in other files text, or numbers, may be shorter."""
    return layout.format is Format.CSV and layout.encoding == UTF_8


def _rejected(row: int, code: ReasonCode, reason: str, line: int) -> RowOutcome:
    return unsuccessful(row, Outcome.REJECTED, code, reason, line=line)
