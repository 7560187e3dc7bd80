"""Chain: the results of an attempt become the file of the next job, once, or the batch says why not."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.ahead import ahead
from chalicelib.chaining import MAX_JOBS, Then, unfit
from chalicelib.clock import Clock, utc_now
from chalicelib.errors import BusyError, SourceGoneError, UploadEndedError
from chalicelib.files.sink import ObjectWriter
from chalicelib.files.source import SETTLING
from chalicelib.logs import logger
from chalicelib.results.chunk import ChunkResults, IncompleteError
from chalicelib.steps.plan import batch_id
from chalicelib.store.batch import Batch, Source
from chalicelib.store.chains import MAY_CHANGE, Chain, Chains, NotChained
from chalicelib.store.items import ChunkKey, Outcome, timestamp
from chalicelib.store.repository import Repository
from chalicelib.transport.uploads import version_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table
    from chalicelib.transport.messages import ExportMessage

READERS = 4
"""Chunks that are read at once."""
_EXPECTED = {NotChained.FAILURES, NotChained.STOPPED, NotChained.NO_RESULTS}
"""Reasons of a sound stage; the others are logged as warnings for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chainer:
    """Uploads the results of attempts as the files of the jobs that follow; ``settling`` as in ``ObjectReader``."""

    table: "Table"
    s3: "S3Client"
    bucket: str
    retry: "Retry"
    settling: timedelta = SETTLING
    clock: Clock = utc_now

    def chain(self, message: "ExportMessage") -> Chain | None:
        """Upload the results of an attempt for the next job, or note why not; returns which of them.

        Safe to repeat and to die in: the decision and the multipart upload are noted before a byte is stored, and S3
        completes an upload once. None if a redrive has overtaken the attempt, or the job says no ``THEN`` any more.
        Raises IncompleteError if the ledger does not prove each row, BusyError while S3 may not show the file.
        """
        chain = self._chains.find(message.batch, message.attempt)
        if chain is None or chain.not_chained in MAY_CHANGE:
            batch = self._repository.require_batch(message.batch)
            then = jobs.require(batch.job).then
            if then is None or batch.attempt != message.attempt:
                return None
            chain = self._decide(batch, then)
        if chain.chained is None:
            ended = self._upload(chain)
            if ended is None:
                logger.info("chain.overtaken", batch_id=message.batch, attempt=message.attempt)
                return None
            chain = ended
        self._chains.note_end(chain)
        _log(chain)
        return chain

    @property
    def _chains(self) -> Chains:
        return Chains(table=self.table)

    @property
    def _repository(self) -> Repository:
        return Repository(table=self.table)

    def _decide(self, batch: Batch, then: Then) -> Chain:
        """Decide for an attempt, or return what was decided before."""
        depth = (batch.parent.depth if batch.parent else 0) + 1
        chain = Chain(
            batch_id=batch.id,
            attempt=batch.attempt,
            then=then.job,
            depth=depth,
            decided_at=timestamp(self.clock()),
        )
        obstacle = _obstacle(batch, then, depth)
        if obstacle:
            return self._chains.decide(replace(chain, not_chained=obstacle))
        writer = self._writer(chain)
        chain = replace(chain, upload_id=writer.begin())
        standing = self._chains.decide(chain)
        # Dying before this leaves an upload without a part, which the bucket's lifecycle removes.
        if standing.upload_id != chain.upload_id:
            with suppress(UploadEndedError):  # an earlier try of this was applied, and not heard
                writer.abort()
        return standing

    def _writer(self, chain: Chain) -> ObjectWriter:
        return ObjectWriter(
            s3=self.s3,
            bucket=self.bucket,
            key=chain.key,
            content_type="application/x-ndjson",
            retry=self.retry,
            upload_id=chain.upload_id,
        )

    def _upload(self, chain: Chain) -> Chain | None:
        """Store the results and let the file appear; None if the attempt stands no more, and there is no file."""
        writer = self._writer(chain)
        try:
            if not self._stands(chain):
                writer.abort()
                return None
            try:
                self._write(chain, writer)
            except IncompleteError:
                if self._stands(chain):
                    raise
            # A redrive begins the next attempt with the first marker that it changes: what was read is of this one.
            if not self._stands(chain):
                writer.abort()
                return None
            stored = writer.complete()
        except UploadEndedError:
            return self._ended(chain)
        return replace(chain, child=self._child(chain, stored.version_id, stored.etag))

    def _write(self, chain: Chain, writer: ObjectWriter) -> None:
        batch = self._repository.require_batch(chain.batch_id)
        for found in ahead(lambda number: self._read(batch, number), range(batch.chunks or 0), at_once=READERS):
            for outcome in found.outcomes():
                if outcome.outcome is Outcome.SUCCEEDED:
                    writer.write((bytes(outcome.result) or b"null") + b"\n")

    def _read(self, batch: Batch, number: int) -> ChunkResults:
        return ChunkResults.of(self.table.query(ChunkKey(batch.id, number).pk, ""))

    def _stands(self, chain: Chain) -> bool:
        return self._repository.require_batch(chain.batch_id).attempt == chain.attempt

    def _ended(self, chain: Chain) -> Chain | None:
        """Return how an upload that no longer exists ended: completed, with the answer lost, or aborted."""
        try:
            found = self.retry(self.s3.head_object, Bucket=self.bucket, Key=chain.key)
        except SourceGoneError as error:
            if not self._stands(chain):
                return None
            shown_at = datetime.fromisoformat(chain.decided_at) + self.settling
            if self.clock() < shown_at:
                raise BusyError(f"{chain.key} is not there; S3 may not show it before {shown_at:%H:%M:%S}") from error
            return replace(chain, not_chained=NotChained.FILE_GONE)
        return replace(
            chain, child=self._child(chain, version_id(found.get("VersionId", "")), found["ETag"].strip('"'))
        )

    def _child(self, chain: Chain, version: str, etag: str) -> str:
        """Return the id of the batch that the file becomes."""
        return batch_id(chain.then, Source(bucket=self.bucket, key=chain.key, version_id=version, etag=etag))


def _obstacle(batch: Batch, then: Then, depth: int) -> NotChained | None:
    """Return why the results of an attempt that has ended are not for the next job, None if they are.

    Raises any error of the next job's module: the message comes again, and its dead letter once it is deployed right.
    """
    if batch.stopped_by:
        return NotChained.STOPPED
    if not then.with_failures and batch.counts.succeeded != batch.rows:
        return NotChained.FAILURES
    if not batch.counts.succeeded:
        return NotChained.NO_RESULTS
    if depth >= MAX_JOBS:
        return NotChained.TOO_DEEP
    child = jobs.find(then.job)
    if child is None:
        return NotChained.NO_JOB
    return NotChained.UNFIT if unfit(child) else None


def _log(chain: Chain) -> None:
    fields = {"batch_id": chain.batch_id, "attempt": chain.attempt, "then": chain.then}
    if chain.child:
        logger.info("results.chained", extra={**fields, "child": chain.child})
        return
    say = logger.info if chain.not_chained in _EXPECTED else logger.error
    say("results.not_chained", extra={**fields, "reason": chain.not_chained})
