"""Planning: an uploaded object becomes one batch and its chunks; run twice, it plans once."""

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import SourceGoneError
from chalicelib.files.cutting import Range
from chalicelib.files.ranges import ranges
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.files.source import SETTLING, ObjectReader
from chalicelib.headers import HeaderError
from chalicelib.steps.heads import UnplannableError, read_head
from chalicelib.steps.unpack import GZIP_MAGIC, Unpacker, UnpackError
from chalicelib.store.batch import Batch, BatchStatus, Cursor, Source
from chalicelib.store.chains import Chains
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, ChunkKey, batch_pk, number, text, timestamp
from chalicelib.store.repository import Repository
from chalicelib.store.table import MAX_ACTIONS, Put, Update
from chalicelib.transport.uploads import HAND_OVER_SECONDS, INBOX_PREFIX, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table

_DIGEST_CHARACTERS = 20

IS_NEW = "attribute_not_exists(pk)"
"""No plan has made this item; one that has may have been counted in since, so it is never written over."""
IS_BEING_PLANNED = "#status = :planning"
"""Planning ends once, all chunks known or the file rejected: the number of chunks is added to ``remaining`` once."""
IS_STILL_PLANNED = "(#status = :unpacking OR #status = :planning)"
"""A plan that gives a file up is not to undo one that came to its end."""
IS_FURTHER = "(attribute_not_exists(cursor_chunks) OR cursor_chunks < :chunks)"
"""A plan that is behind, or began again, takes nothing back from one that is ahead."""

_MAX_REASON_CHARACTERS = 1_000
_SHOWN_CHARACTERS = 100
_CHUNKS_BETWEEN_CURSORS = 1_000
"""The work that a killed plan repeats."""


def job_name(object_key: str) -> str:
    """Return the job that a key asks for: the first folder below the inbox, empty if there is none."""
    folder, slash, _ = object_key.removeprefix(INBOX_PREFIX).partition("/")
    return folder if slash else ""


def batch_id(job: str, source: Source) -> str:
    """Return the id of the batch of an object version: the same for each event, each plan and each reader."""
    name = f"{job}\0{source.bucket}\0{source.key}\0{source.version}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_]+', '-', job) or 'none'}-{digest[:_DIGEST_CHARACTERS]}"


def batch_id_of(upload: Upload) -> str:
    """Return the id that the batch of an upload has, or will have."""
    return batch_id(job_name(upload.source.key), upload.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Turns uploads into batches."""

    table: "Table"
    s3: "S3Client"
    retry: "Retry"
    chunk_rows: int
    chunk_bytes: int
    retention: timedelta
    hand_over: Callable[[Upload], None]
    settling: timedelta = SETTLING
    clock: Clock = utc_now

    def plan(self, upload: Upload) -> Batch:
        """Make the batch and all its chunks durable; safe to repeat, also after dying anywhere in between.

        Where its time does not suffice it keeps how far it came and hands over: the batch is still being planned then.
        Raises BusyError while S3 may not show the object yet: Lambda delivers the event again, then the plan-failures
        queue does.
        """
        standing = Repository(table=self.table).find_batch(batch_id_of(upload))
        if standing and (standing.chunks is not None or standing.status.final):
            return standing  # planned before: a second event
        now = self.clock()
        reader = ObjectReader(
            s3=self.s3,
            source=upload.source,
            retry=self.retry,
            settled_at=upload.uploaded_at + self.settling if upload.uploaded_at else None,
            clock=self.clock,
        )
        batch = self._new(upload, now)
        try:
            if standing and standing.cursor and jobs.find(batch.job):
                # Its header was read, and chunks may have been cut: the job may say something else by now.
                return self._plan_chunks(standing, replace(reader, source=standing.content), upload)
            return self._plan_from_head(batch, reader, upload)
        except (UnplannableError, HeaderError, UnpackError) as error:
            return self._reject(batch, str(error), now)
        except SourceGoneError:
            return self._reject(batch, "the object was deleted before it was planned", now)

    def _plan_from_head(self, batch: Batch, reader: ObjectReader, upload: Upload) -> Batch:
        """Plan an object of which nothing but a part of its unpacking was kept."""
        unpacker = Unpacker(table=self.table, s3=self.s3, retry=self.retry)
        job = batch.job
        head = _head(job, reader, upload.size)
        if head.startswith(GZIP_MAGIC):
            batch = self._create(replace(batch, status=BatchStatus.UNPACKING))  # from the start, so that it is seen
            if batch.status is BatchStatus.UNPACKING:
                batch = unpacker.unpack(batch, reader)
            if batch.status.final:
                return batch
            if not batch.unpacked:
                return self._hand_over(batch, upload)
            reader = replace(reader, source=batch.content)
            head = _head(job, reader, batch.content_size)
        found = read_head(jobs.require(job).schema, head, batch.content_size, batch.source.key)
        begin = Cursor(offset=found.start, line=found.first_line)
        batch = replace(batch, header=found.header, layout=found.layout)
        if batch.status is BatchStatus.UNPACKING:
            batch = unpacker.name(batch, begin)
        else:
            batch = self._create(replace(batch, cursor=begin))
        if batch.chunks is not None or batch.status.final:
            return batch  # another plan of the same object was faster
        if batch.cursor is None:  # made by a version that kept no cursor until its first chunks were there
            batch = replace(batch, cursor=begin)
        return self._plan_chunks(batch, reader, upload)

    def _chunk_rows(self, job: str) -> int:
        """Return how many rows a chunk has at most: the job's own word, or the stage's."""
        found = jobs.find(job)
        return (found.chunk_rows if found else None) or self.chunk_rows

    def give_up(self, upload: Upload, reason: str) -> Batch:
        """Reject an upload that no plan comes to an end with; returns the batch, which may have been planned by now.

        Of a gzip file the parts that were stored stay, until the bucket's lifecycle aborts their upload.
        """
        now = self.clock()
        return self._reject(self._new(upload, now), reason, now)

    def _new(self, upload: Upload, now: datetime) -> Batch:
        job = job_name(upload.source.key)
        return Batch(
            id=batch_id(job, upload.source),
            job=job,
            source=upload.source,
            size=upload.size,
            status=BatchStatus.PLANNING,
            created_at=timestamp(now),
            expires_at=int((now + self.retention).timestamp()),
            chunk_rows=self._chunk_rows(job),
            chunk_bytes=self.chunk_bytes,
            parent=Chains(table=self.table).parent_of(upload.source.key, job),
        )

    def _create(self, batch: Batch) -> Batch:
        """Put the batch if there is none; returns the one that stands."""
        if self.table.put(Put(item=batch.to_item(), condition=IS_NEW)):
            return batch
        return Repository(table=self.table).find_batch(batch.id) or batch

    def _plan_chunks(self, batch: Batch, reader: ObjectReader, upload: Upload) -> Batch:
        """Put the chunks that are not there yet, from the batch's cursor on."""
        cursor = batch.cursor or Cursor(offset=0, line=1)
        found = ranges(
            reader.blocks(cursor.offset, batch.content_size),
            batch.layout,
            max_rows=batch.chunk_rows,
            max_bytes=batch.chunk_bytes,
            offset=cursor.offset,
            first_line=cursor.line,
        )
        with ThreadPoolExecutor(max_workers=1) as writer:  # the next chunks are cut while these are written
            writing: Future[None] | None = None
            while group := list(islice(found, MAX_ACTIONS)):
                cursor = replace(cursor, offset=group[0].start, line=group[0].first_line)
                if writing:
                    writing.result()
                    late = self.retry.remaining_seconds() < HAND_OVER_SECONDS
                    if late or cursor.chunks % _CHUNKS_BETWEEN_CURSORS == 0:
                        self._save(batch, cursor)
                    if late:
                        return self._hand_over(replace(batch, cursor=cursor), upload)
                chunks = [_chunk(batch.id, cursor.chunks + place, each) for place, each in enumerate(group)]
                writing = writer.submit(self._put_new, chunks)
                rows = sum(chunk.expected_rows for chunk in chunks)
                cursor = replace(cursor, chunks=cursor.chunks + len(chunks), rows=cursor.rows + rows)
            if writing:
                writing.result()
        return self._finish(batch, cursor)

    def _hand_over(self, batch: Batch, upload: Upload) -> Batch:
        # Dying before this is asked for, or heard of, means that Lambda delivers the event again.
        self.hand_over(upload)
        return batch

    def _save(self, batch: Batch, cursor: Cursor) -> None:
        """Keep how far the plan came: every chunk before the cursor is durable."""
        self.table.update(  # that the condition fails means that another plan is further, or done
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET cursor_offset = :offset, cursor_line = :line, cursor_chunks = :chunks, "
                "cursor_rows = :rows",
                condition=f"{IS_BEING_PLANNED} AND {IS_FURTHER}",
                values={
                    ":offset": number(cursor.offset),
                    ":line": number(cursor.line),
                    ":chunks": number(cursor.chunks),
                    ":rows": number(cursor.rows),
                    ":planning": text(BatchStatus.PLANNING),
                },
            )
        )

    def _put_new(self, group: list[Chunk]) -> None:
        # A plain put would wipe the counters of a chunk that an earlier, interrupted plan made and finish has moved.
        pending = group
        while pending:
            there = set(self.table.transact([Put(item=chunk.to_item(), condition=IS_NEW) for chunk in pending]))
            if not there:
                return
            pending = [chunk for position, chunk in enumerate(pending) if position not in there]

    def _finish(self, batch: Batch, planned: Cursor) -> Batch:
        """Say how many chunks there are; chunks may have closed before, so ``remaining`` may have been below zero."""
        # A condition that fails means that an earlier call was applied, or another plan was faster: the same numbers.
        self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET chunks = :chunks, expected_rows = :rows, #status = :running "
                "REMOVE cursor_offset, cursor_line, cursor_chunks, cursor_rows ADD remaining :chunks, #version :one",
                condition=IS_BEING_PLANNED,
                values={
                    ":chunks": number(planned.chunks),
                    ":rows": number(planned.rows),
                    ":one": number(1),
                    ":running": text(BatchStatus.RUNNING),
                    ":planning": text(BatchStatus.PLANNING),
                },
            )
        )
        return replace(
            batch, chunks=planned.chunks, expected_rows=planned.rows, status=BatchStatus.RUNNING, cursor=None
        )

    def _reject(self, batch: Batch, reason: str, now: datetime) -> Batch:
        """Reject a batch that cannot be planned, or not to the end.

        An interrupted plan may have made chunks. They end as outcomes of their own, but it is unknown how many more
        there would have been, so the batch as a whole is rejected.
        """
        shown = reason[:_MAX_REASON_CHARACTERS]
        rejected = replace(batch, status=BatchStatus.REJECTED, reason=shown, completed_at=timestamp(now))
        standing = self._create(rejected)
        if standing.status not in {BatchStatus.UNPACKING, BatchStatus.PLANNING}:
            return standing
        applied = self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET #status = :rejected, reason = :reason, completed_at = :now "
                "REMOVE unpack_read, unpack_upload_id",
                condition=IS_STILL_PLANNED,
                values={
                    ":rejected": text(BatchStatus.REJECTED),
                    ":reason": text(rejected.reason),
                    ":now": text(rejected.completed_at),
                    ":unpacking": text(BatchStatus.UNPACKING),
                    ":planning": text(BatchStatus.PLANNING),
                },
            )
        )
        # Otherwise another plan came to its end in time.
        return rejected if applied else replace(standing, status=BatchStatus.RUNNING)


def _chunk(batch: str, position: int, found: Range) -> Chunk:
    return Chunk(
        key=ChunkKey(batch, position),
        start=found.start,
        end=found.end,
        first_line=found.first_line,
        expected_rows=found.rows,
        unreadable=found.unreadable,
    )


def _head(job: str, reader: ObjectReader, size: int) -> bytes:
    """Return the first bytes of an object, if there is such a job; raises UnplannableError."""
    if jobs.find(job) is None:
        known = jobs.names()
        alike = get_close_matches(job.lower(), known, n=1)
        hint = f" (did you mean '{alike[0]}'?)" if alike else ""
        raise UnplannableError(
            f"no job '{_cut(job)}'{hint} for {_cut(reader.source.key)}: "
            f"upload as {INBOX_PREFIX}<job>/<name>, job one of {', '.join(known)}"
        )
    return reader.read(0, min(size, MAX_RECORD_BYTES))


def _cut(name: str) -> str:
    """Return a name, cut if it is long: it may have a thousand characters, and the sentence around it is to be read."""
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
