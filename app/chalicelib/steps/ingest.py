"""Ingest: the rows of one chunk become durable, and with one write the chunk knows how many there are.

Rejected rows that a redrive wants read again become durable beside those that are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from chalicelib import jobs
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import ConflictError, FatalError, SourceGoneError, described, job_errors
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import UTF_8
from chalicelib.files.source import SETTLING, ObjectReader
from chalicelib.rows import RejectedRow
from chalicelib.store import rows
from chalicelib.store.batch import Batch
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.items import (
    CHUNK_SK,
    MAX_ITEM_BYTES,
    ChunkKey,
    Counts,
    Item,
    Outcome,
    bits,
    number,
    text,
    timestamp,
)
from chalicelib.store.ledger import NO_SUCH_MARKER
from chalicelib.store.marker import ReasonCode, RowOutcome, markers, rows_by_outcome, unsuccessful
from chalicelib.store.repository import Repository
from chalicelib.store.rows import StoredRow
from chalicelib.store.table import Put, Update
from chalicelib.transport.partial_batch_response import Message

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.starts import Starts
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ChunkMessage

_SMALL_BYTES = MAX_ITEM_BYTES // 3
"""Rows of a plain chunk no larger than this are small: as JSON text grows to twice its size at most, plus brackets."""
_FIRST = Message(id="", body="")
"""A delivery that nobody has tried before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The outcomes of the rows that were to be read; all zero when another delivery had read them."""

    rows: int = 0
    rejected: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Read:
    """What was read of a chunk: the rows that are to be processed, and outcomes of those that are not."""

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
class Ingester:
    """Turns chunks into rows."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"
    retention: timedelta
    starts: "Starts"
    settling: timedelta = SETTLING
    clock: Clock = utc_now

    def ingest(self, message: "ChunkMessage", delivery: Message = _FIRST) -> Ingested:
        """Make every row of a chunk durable, then set its totals: the stream sends the rows on.

        Safe to repeat. Dying between the rows and the totals means that the queue delivers again: the same rows are
        written again, and nobody looks at them before the totals are there. Raises BusyError while S3 may not show the
        object yet.
        """
        batch, chunk = self._repository.require_with_batch(ChunkKey(message.batch, message.chunk))
        if not chunk.to_be_read:
            return Ingested()  # a second delivery
        if batch.hold and batch.hold.stops:
            code = ReasonCode(batch.hold)
            return self._give_up(chunk, code, f"the batch was stopped ({batch.hold}) before this row was read")
        if delivery.receive_count == 1:
            return self._store(batch, chunk)  # a chunk is never split; its dead letter asks for the runs of the others
        with self.starts.marked(chunk.key, delivery.id):
            return self._store(batch, chunk)

    def _store(self, batch: Batch, chunk: Chunk) -> Ingested:
        try:
            read = self._read(batch, chunk)
        except SourceGoneError:
            return self._give_up(chunk, ReasonCode.SOURCE_GONE, "the object was deleted before its rows were read")
        total = len({row.row for row in read.stored} | {outcome.row for outcome in read.outcomes})
        if total != chunk.expected_rows:
            differs = f"planned with {chunk.expected_rows} rows, read with {total}"
            if chunk.rereads:  # what reads it was changed since: no further delivery will read it as it was planned
                return self._give_up(chunk, ReasonCode.INVALID, f"its chunk was {differs}; submit the file again")
            raise FatalError(f"{chunk.key.pk}: {differs}")
        if chunk.rereads:
            read = read.only(chunk.rereads)
        try:
            pages = _pages(batch, chunk, read)
        except job_errors():  # rare, so it is not asked of each row before
            read = read.without_unkept()
            pages = _pages(batch, chunk, read)
        if not chunk.rereads:
            self.table.write_all(pages)
        return self.table.retry(self._set_totals, chunk, read, pages)

    def give_up(self, message: "ChunkMessage", code: ReasonCode, reason: str) -> Ingested:
        """Give every row that a message wanted to be read an outcome, for it came to nothing; safe to repeat.

        Nothing if the chunk was read meanwhile, or if a redrive has overtaken the message: the redrive asks for the
        chunk again.
        """
        chunk = self._repository.require_chunk(ChunkKey(message.batch, message.chunk))
        if not chunk.to_be_read or message.generation < chunk.generation:
            return Ingested()
        return self._give_up(chunk, code, reason)

    def _give_up(self, chunk: Chunk, code: ReasonCode, reason: str) -> Ingested:
        # A row that is to be read again is not stored, so it stays rejected: a failed one would be run again.
        outcome = Outcome.REJECTED if chunk.rereads else Outcome.FAILED
        outcomes = [
            unsuccessful(row, outcome, code, f"row {row + 1} from line {chunk.first_line}: {reason}")
            for row in chunk.rereads or range(chunk.expected_rows)
        ]
        return self.table.retry(self._set_totals, chunk, _Read(outcomes=outcomes), [])

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    def _read(self, batch: Batch, chunk: Chunk) -> _Read:
        if chunk.unreadable:
            reason = f"line {chunk.first_line}: {chunk.unreadable}"
            return _Read(outcomes=[_rejected(0, ReasonCode.INVALID, reason, chunk.first_line)])
        job = jobs.require(batch.job)
        reader = ObjectReader(
            s3=self.s3,
            source=batch.content,
            retry=self.retry,
            settled_at=datetime.fromisoformat(batch.created_at) + self.settling,  # created later than uploaded
            clock=self.clock,
        )
        data = reader.read(chunk.start, chunk.end)
        read = _Read(columns=job.schema.columns)
        keeps_extra, is_plain = job.schema.keeps_extra, _is_plain(batch.layout) and not job.schema.keeps_extra
        is_small = is_plain and len(data) <= _SMALL_BYTES
        # Planned with the batch's layout: read with another delimiter, a quote could span other lines than it did.
        for row in job.schema.laid_out(batch.layout).read(data, batch.header, chunk.first_line):
            if isinstance(row, RejectedRow):
                read.outcomes.append(_rejected(row.row, ReasonCode.INVALID, row.reason, row.line))
                continue
            stored = StoredRow(row.row, row.line, row.values)
            if keeps_extra:
                stored = replace(stored, extra=row.parsed.extra)
            size = 0 if is_small else rows.encoded_size(stored)
            if size > MAX_ITEM_BYTES:
                reason = f"line {row.line}: the row is {size:,} bytes long, at most {MAX_ITEM_BYTES:,} can be kept"
                read.outcomes.append(_rejected(row.row, ReasonCode.TOO_LARGE, reason, row.line))
                continue
            read.stored.append(stored)
            try:
                is_heavy = bool(job.heavy(row.parsed))
            except job_errors() as error:  # the job's own code, and about this row alone
                # Kept all the same: a redrive runs it, as a heavy one, which is what can do it no harm.
                reason = f"line {row.line}, heavy(): {described(error)}"
                failed = unsuccessful(row.row, Outcome.FAILED, ReasonCode.RAISED, reason, line=row.line)
                read.outcomes.append(failed)
                is_heavy = True
            if is_heavy:
                read.heavy.append(row.row)
        return read

    def _set_totals(self, seen: Chunk, read: _Read, pages: Sequence[Item]) -> Ingested:
        """Set what there is to count, once; rows that have an outcome already are counted in the same transaction.

        ``seen`` is the chunk that was read. Of rows that were read again the ``pages`` are in it too: a reader that
        slept through a deployment of the job, and the redrive after it, would write what it read by the old schema over
        the new. While rows are read again the others of the chunk are counted: raises ConflictError then.
        """
        chunk = self._repository.require_chunk(seen.key) if seen.rereads else seen
        if not chunk.to_be_read or chunk.generation != seen.generation:
            return Ingested()  # by another delivery, or a redrive has asked for more, with a message of its own
        found = rows_by_outcome(read.outcomes)
        counts = Counts(rejected=len(found[Outcome.REJECTED]), failed=len(found[Outcome.FAILED]))
        update = _totals(chunk, read, counts, len(pages))
        now = self.clock()
        puts = [Put(item=page, condition="") for page in pages] if chunk.rereads else []
        puts += [
            Put(item=marker.to_item(), condition=NO_SUCH_MARKER)
            for marker in markers(
                chunk.key,
                chunk.version + 1,
                read.outcomes,
                counted_at=timestamp(now),
                expires_at=int((now + self.retention).timestamp()),
            )
        ]
        applied = not self.table.transact([*puts, update]) if puts else self.table.update(update)
        if applied:
            total = len(chunk.rereads) or chunk.expected_rows
            return Ingested(rows=total, rejected=counts.rejected, failed=counts.failed)
        if chunk.rereads:
            raise ConflictError(f"{chunk.key.pk} has moved since it was read")
        return Ingested()  # an earlier call was applied, heard or not, or another one was faster


def _pages(batch: Batch, chunk: Chunk, read: _Read) -> list[Item]:
    return rows.to_items(chunk.key, read.columns, read.stored, expires_at=batch.expires_at, first_page=chunk.pages)


def _totals(chunk: Chunk, read: _Read, counts: Counts, pages: int) -> Update:
    """Return the update by which rows of a chunk were read; one that is read for the first time has counted nothing."""
    done = chunk.done | RowBits.of(outcome.row for outcome in read.outcomes)
    values: dict[str, Any] = {
        ":rows": number(chunk.expected_rows),
        ":pages": number(chunk.pages + pages),
        ":done": bits(done),
        ":heavy": bits(chunk.heavy | RowBits.of(read.heavy)),
        ":version": number(chunk.version),
        ":next": number(chunk.version + 1),
        ":ready": text(ChunkState.READY),
        ":remaining": number(chunk.expected_rows - len(done)),
        **(chunk.counts + counts).values(),
    }
    return Update(
        pk=chunk.key.pk,
        sk=CHUNK_SK,
        expression="SET #rows = :rows, pages = :pages, done = :done, heavy = :heavy, #version = :next, "
        "#state = :ready, remaining = :remaining, succeeded = :succeeded, #failed = :failed, rejected = :rejected "
        "REMOVE rereads",
        condition=AS_READ,
        values=values,
    )


def _is_plain(layout: Layout) -> bool:
    """Tell whether rows as JSON are the file's text with escapes: in other files text, or numbers, may be shorter."""
    return layout.format is Format.CSV and layout.encoding == UTF_8


def _rejected(row: int, code: ReasonCode, reason: str, line: int) -> RowOutcome:
    return unsuccessful(row, Outcome.REJECTED, code, reason, line=line)
