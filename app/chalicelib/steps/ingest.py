"""Ingest: the rows of one chunk become durable, and with one write the chunk knows how many there are.

Rows that a redrive wants read again, as they are in the upload or as an operator has corrected them, become durable
beside those that are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import ConflictError, job_errors
from chalicelib.files.source import SETTLING
from chalicelib.steps.chunk_reader import ChunkReader, Read, given_up
from chalicelib.store import rows
from chalicelib.store.batch import Batch
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState
from chalicelib.store.items import (
    CHUNK_SK,
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
from chalicelib.store.marker import ReasonCode, markers, rows_by_outcome
from chalicelib.store.repository import Repository
from chalicelib.store.table import Put, Update
from chalicelib.transport.partial_batch_response import Message

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.starts import Starts
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ChunkMessage

_PAGES_OF_A_READING = 64
"""More than the rows of one chunk take: it has at most a MiB, a byte is at most six in JSON, and pages are halved."""
_FIRST = Message(id="", body="")
"""A first delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The outcomes of the rows that were to be read; all zero when another delivery had read them."""

    rows: int = 0
    rejected: int = 0
    failed: int = 0


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
        written again, and no step reads them before the totals are there. Raises BusyError while S3 may not show the
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
        read = self._reader.read(batch, chunk)
        try:
            pages = _pages(batch, chunk, read)
        except job_errors():  # rare, so it is not asked of each row before
            read = read.without_unkept()
            pages = _pages(batch, chunk, read)
        if not _is_guarded(chunk):
            self.table.write_all(pages)
        return self.table.retry(self._set_totals, chunk, read, pages)

    def give_up(self, message: "ChunkMessage", code: ReasonCode, reason: str) -> Ingested:
        """Give every row that a message asked to be read an outcome, because it cannot be read; safe to repeat.

        Nothing if the chunk was read meanwhile, or if a redrive has overtaken the message: the redrive asks for the
        chunk again.
        """
        chunk = self._repository.require_chunk(ChunkKey(message.batch, message.chunk))
        if not chunk.to_be_read or message.generation < chunk.generation:
            return Ingested()
        return self._give_up(chunk, code, reason)

    def _give_up(self, chunk: Chunk, code: ReasonCode, reason: str) -> Ingested:
        wanted = chunk.rereads or RowBits.first(chunk.expected_rows)
        return self.table.retry(self._set_totals, chunk, given_up(chunk, wanted, code, reason), [])

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    @property
    def _reader(self) -> ChunkReader:
        return ChunkReader(table=self.table, s3=self.s3, retry=self.retry, settling=self.settling, clock=self.clock)

    def _set_totals(self, seen: Chunk, read: Read, pages: Sequence[Item]) -> Ingested:
        """Set what there is to count, once; rows that have an outcome already are counted in the same transaction.

        ``seen`` is the chunk that was read. Of rows that were read again or corrected the ``pages`` are in it too: a
        reader that slept through a deployment of the job, and the redrive after it, would write what it read by the old
        schema over the new. While rows are read again the others of the chunk are counted: raises ConflictError then.
        """
        chunk = self._repository.require_chunk(seen.key) if seen.rereads else seen
        if not chunk.to_be_read or chunk.generation != seen.generation:
            return Ingested()  # by another delivery, or a redrive has asked for more, with a message of its own
        if chunk.rereads:
            read = read.only(chunk.rereads - chunk.done)  # a worker from before the redrive may have succeeded
        found = rows_by_outcome(read.outcomes)
        counts = Counts(rejected=len(found[Outcome.REJECTED]), failed=len(found[Outcome.FAILED]))
        update = _totals(chunk, read, counts, len(pages))
        now = self.clock()
        puts = [Put(item=page) for page in pages] if _is_guarded(chunk) else []
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


def _is_guarded(chunk: Chunk) -> bool:
    """Tell whether rows may be written in the transaction that sets the totals only, for others may be there."""
    return bool(chunk.rereads or chunk.corrected)


def _first_page(chunk: Chunk) -> int:
    """Return where the pages of a reading begin.

    A reader of the upload that slept writes its pages late. They are before those that have corrected rows, which
    stand.
    """
    return max(chunk.pages, _PAGES_OF_A_READING) if chunk.corrected else chunk.pages


def _pages(batch: Batch, chunk: Chunk, read: Read) -> list[Item]:
    first = _first_page(chunk)
    return rows.to_items(chunk.key, read.columns, read.stored, expires_at=batch.expires_at, first_page=first)


def _totals(chunk: Chunk, read: Read, counts: Counts, pages: int) -> Update:
    """Return the update by which rows of a chunk were read; one that is read for the first time has counted nothing."""
    done = chunk.done | RowBits.of(outcome.row for outcome in read.outcomes)
    values: dict[str, Any] = {
        ":rows": number(chunk.expected_rows),
        ":pages": number(_first_page(chunk) + pages if pages else chunk.pages),
        ":done": bits(done),
        ":heavy": bits((chunk.heavy - chunk.rereads) | RowBits.of(read.heavy)),
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
