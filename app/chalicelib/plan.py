"""Planning: an uploaded object becomes one batch and its chunks; run twice, it plans once."""

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from chalicelib import jobs
from chalicelib.boundaries import MAX_RECORD_BYTES, Range, read_records, split
from chalicelib.errors import SourceGoneError, TallyError
from chalicelib.items import (
    BATCH_SK,
    Batch,
    BatchStatus,
    Chunk,
    ChunkKey,
    Source,
    batch_pk,
    number,
    text,
    timestamp,
)
from chalicelib.ledger import Clock, utc_now
from chalicelib.rows import HeaderError
from chalicelib.source import ObjectReader
from chalicelib.table import MOST_ACTIONS, Put, Update

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.table import Table

INBOX_PREFIX = "inbox/"
_DIGEST_CHARACTERS = 20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

IS_NEW = "attribute_not_exists(pk)"
"""No plan has made this item; one that has may have been counted in since, so it is never written over."""
IS_BEING_PLANNED = "#status = :planning"
"""Planning ends once, all chunks known or the file rejected: the number of chunks is added to ``remaining`` once."""
_MOST_REASON_CHARACTERS = 1_000


class UnplannableError(TallyError):
    """The object cannot become rows of any job; the batch is rejected with this reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One record of an S3 event."""

    source: Source
    size: int


def uploads(event: Mapping[str, Any]) -> Iterator[Upload]:
    """Read the objects of an S3 event; the folder placeholders that consoles make are not uploads."""
    for record in event.get("Records", []):
        found = record["s3"]["object"]
        name = unquote_plus(found["key"])
        if name.endswith("/"):
            continue
        source = Source(
            bucket=record["s3"]["bucket"]["name"],
            key=name,
            version_id=found.get("versionId", ""),
            etag=found.get("eTag", "").strip('"'),
        )
        yield Upload(source=source, size=int(found.get("size", 0)))


def job_name(object_key: str) -> str:
    """Return the job that a key asks for: the first folder below the inbox, empty if there is none."""
    folder, slash, _ = object_key.removeprefix(INBOX_PREFIX).partition("/")
    return folder if slash else ""


def batch_id(job: str, source: Source) -> str:
    """Return the id of the batch of an object version: the same for each event, each plan and each reader."""
    name = f"{job}\0{source.bucket}\0{source.key}\0{source.version}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_]+', '-', job) or 'none'}-{digest[:_DIGEST_CHARACTERS]}"


def job_of(batch_id: str) -> str:
    """Return the name of the job that a batch id begins with."""
    return batch_id.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Turns uploads into batches."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"
    chunk_rows: int
    chunk_bytes: int
    retention: timedelta
    clock: Clock = utc_now

    def plan(self, upload: Upload) -> Batch:
        """Make the batch and all its chunks durable; safe to repeat, also after dying anywhere in between."""
        job = job_name(upload.source.key)
        now = self.clock()
        reader = ObjectReader(s3=self.s3, source=upload.source, retry=self.retry)
        batch = Batch(
            id=batch_id(job, upload.source),
            job=job,
            source=upload.source,
            size=upload.size,
            status=BatchStatus.PLANNING,
            created_at=timestamp(now),
            expires_at=int((now + self.retention).timestamp()),
            chunk_rows=self.chunk_rows,
            chunk_bytes=self.chunk_bytes,
        )
        try:
            header, start, first_line = _header(job, reader, upload.size)
            batch = self._create(replace(batch, header=header))
            if batch.chunks is not None or batch.status.final:
                return batch  # planned before: a second event
            ranges = split(
                reader.blocks(start, upload.size),
                max_rows=batch.chunk_rows,
                max_bytes=batch.chunk_bytes,
                offset=start,
                first_line=first_line,
            )
            return self._finish(batch, *self._write_chunks(batch.id, ranges))
        except (UnplannableError, HeaderError) as error:
            return self._reject(batch, str(error), now)
        except SourceGoneError:
            return self._reject(batch, "the object was deleted before it was planned", now)

    def _create(self, batch: Batch) -> Batch:
        """Put the batch if there is none; returns the one that stands."""
        if self.table.put(Put(item=batch.to_item(), condition=IS_NEW)):
            return batch
        standing = self.table.get(batch_pk(batch.id), BATCH_SK)
        return Batch.from_item(standing) if standing else batch

    def _write_chunks(self, batch: str, ranges: Iterable[Range]) -> tuple[int, int]:
        """Put the chunks that are not there yet; returns how many there are in all, and their rows."""
        chunks = rows = 0
        chunk_items = (
            Chunk(
                key=ChunkKey(batch, position),
                start=found.start,
                end=found.end,
                first_line=found.first_line,
                expected_rows=found.rows,
                unreadable=found.unreadable,
            )
            for position, found in enumerate(ranges)
        )
        while group := list(islice(chunk_items, MOST_ACTIONS)):
            self._put_new(group)
            chunks += len(group)
            rows += sum(chunk.expected_rows for chunk in group)
        return chunks, rows

    def _put_new(self, group: list[Chunk]) -> None:
        # A plain put would wipe the counters of a chunk that an earlier, interrupted plan made and finish has moved.
        pending = group
        while pending:
            there = set(self.table.transact([Put(item=chunk.to_item(), condition=IS_NEW) for chunk in pending]))
            if not there:
                return
            pending = [chunk for position, chunk in enumerate(pending) if position not in there]

    def _finish(self, batch: Batch, chunks: int, rows: int) -> Batch:
        """Say how many chunks there are; chunks may have closed before, so ``remaining`` may have been below zero."""
        # A condition that fails means that an earlier call was applied, or another plan was faster: the same numbers.
        self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET chunks = :chunks, expected_rows = :rows, #status = :running ADD remaining :chunks",
                condition=IS_BEING_PLANNED,
                values={
                    ":chunks": number(chunks),
                    ":rows": number(rows),
                    ":running": text(BatchStatus.RUNNING),
                    ":planning": text(BatchStatus.PLANNING),
                },
            )
        )
        return replace(batch, chunks=chunks, expected_rows=rows, status=BatchStatus.RUNNING)

    def _reject(self, batch: Batch, reason: str, now: datetime) -> Batch:
        """Reject a batch that cannot be planned, or not to the end.

        An interrupted plan may have made chunks. They end as outcomes of their own, but nobody knows how many more
        there would have been, so the batch as a whole is rejected.
        """
        shown = reason[:_MOST_REASON_CHARACTERS]
        rejected = replace(batch, status=BatchStatus.REJECTED, reason=shown, completed_at=timestamp(now))
        standing = self._create(rejected)
        if standing.status is not BatchStatus.PLANNING:
            return standing
        applied = self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET #status = :rejected, reason = :reason, completed_at = :now",
                condition=IS_BEING_PLANNED,
                values={
                    ":rejected": text(BatchStatus.REJECTED),
                    ":reason": text(rejected.reason),
                    ":now": text(rejected.completed_at),
                    ":planning": text(BatchStatus.PLANNING),
                },
            )
        )
        # Otherwise another plan came to its end in time.
        return rejected if applied else replace(standing, status=BatchStatus.RUNNING)


def _header(job_folder: str, reader: ObjectReader, size: int) -> tuple[tuple[str, ...], int, int]:
    """Return the column names, and the offset and the line where the rows begin.

    Raises UnplannableError or HeaderError with a reason for the uploader.
    """
    job = jobs.find(job_folder)
    if job is None:
        known = ", ".join(jobs.names())
        raise UnplannableError(
            f"no job '{job_folder}' for {reader.source.key}: upload as {INBOX_PREFIX}<job>/<name>, job one of {known}"
        )
    data = reader.read(0, min(size, MAX_RECORD_BYTES))
    if data.startswith(_UTF_16):
        raise UnplannableError("line 1: the file is UTF-16; save it as UTF-8")
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    line = 1
    for record in read_records(data[start:].decode("latin-1")):
        if record.unclosed:
            raise UnplannableError(f"line {line}: a quote is opened in the header and not closed")
        if start + record.length == len(data) < size:
            raise UnplannableError(f"line {line}: the header is longer than {MAX_RECORD_BYTES:,} bytes")
        start += record.length
        if record.cells:
            try:
                cells = [cell.encode("latin-1").decode() for cell in record.cells]
            except UnicodeDecodeError as error:
                raise UnplannableError(f"line {line}: the header is not UTF-8: {error.reason}") from error
            return job.schema.header(cells, line), start, line + record.lines
        line += record.lines
    raise UnplannableError("line 1: the object is empty, not even a header")
