"""The contents of events, as types: docs/schemas/events and the tables of docs/events.md are written from these."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import Export

SOURCE = "tally"
"""The source of every event."""
SCHEMA_VERSION = 1
"""Raised when a field is taken away or means something else; a new field does not raise it."""


class DetailType(StrEnum):
    """The kinds of events."""

    COMPLETED = "Batch Completed"  # every row has an outcome
    STOPPED = "Batch Stopped"  # likewise, but it was cancelled or too many rows had failed
    REJECTED = "Batch Rejected"  # the file was never taken
    EXPORTED = "Batch Exported"  # the files of its results are complete


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of every event."""

    TYPE: ClassVar[DetailType]

    schema_version: Annotated[
        int, Meta(description="1. Raised when a field is taken away or means something else, not for a new field.")
    ] = SCHEMA_VERSION
    event_id: Annotated[
        str, Meta(description="What this event is about: the same in each copy of it, and in no other event.")
    ]
    batch_id: Annotated[str, Meta(description="The id of the batch, as commands take it.")]
    job: Annotated[str, Meta(description="The job that its rows are for.")]
    attempt: Annotated[
        int, Meta(description="1 until a redrive; each redrive of a batch that had ended adds one.", ge=1)
    ]
    bucket: Annotated[str, Meta(description="The bucket of the upload and of the results.")]
    rows: Annotated[int, Meta(description="Rows of the file, whatever their outcome.", ge=0)]
    succeeded: Annotated[int, Meta(description="Rows that succeeded.", ge=0)]
    failed: Annotated[int, Meta(description="Rows that failed, those too that a stop kept from being run.", ge=0)]
    rejected: Annotated[int, Meta(description="Rows that do not fit the job.", ge=0)]


class Ended(Detail, frozen=True, kw_only=True):
    """The fields of events about the end of a batch."""

    status: Annotated[BatchStatus, Meta(description="How the batch ended.")]
    key: Annotated[str, Meta(description="The key of the upload.")]
    version: Annotated[str, Meta(description="The version of the upload; its etag in a bucket that keeps no versions.")]
    reason: Annotated[str, Meta(description="Why the file was rejected, else empty.")]
    created_at: Annotated[str, Meta(description="When the batch was begun: ISO 8601, UTC.")]
    completed_at: Annotated[str, Meta(description="When this attempt ended: ISO 8601, UTC.")]


class BatchCompleted(Ended, frozen=True, kw_only=True):
    """Every row of a batch has an outcome."""

    TYPE = DetailType.COMPLETED


class BatchStopped(Ended, frozen=True, kw_only=True):
    """Every row of a batch has an outcome, but it was stopped: rows that had not run then have failed."""

    TYPE = DetailType.STOPPED

    stopped_by: Annotated[
        str,
        Meta(description="cancelled: by an operator; threshold: more rows had failed than the job's FAILURE_LIMIT."),
    ]


class BatchRejected(Ended, frozen=True, kw_only=True):
    """A file was not taken; no row of it was run."""

    TYPE = DetailType.REJECTED


class BatchExported(Detail, frozen=True, kw_only=True):
    """The files of a batch's results are complete."""

    TYPE = DetailType.EXPORTED

    status: Annotated[BatchStatus, Meta(description="How the attempt ended whose results these are.")]
    prefix: Annotated[str, Meta(description="What the keys of all its files begin with.")]
    manifest: Annotated[str, Meta(description="The key of manifest.json, which names the other files.")]
    manifest_sha256: Annotated[str, Meta(description="Of its bytes, in hexadecimal.")]
    expires_at: Annotated[str | None, Meta(description="When the files are deleted: ISO 8601, UTC; null for never.")]


EVENTS: tuple[type[Detail], ...] = (BatchCompleted, BatchStopped, BatchRejected, BatchExported)
"""Every event."""


def ended(batch: Batch) -> Ended:
    """Return the event about the end of a batch."""
    common: dict[str, Any] = {
        "event_id": f"{batch.id}#{batch.attempt}",
        "batch_id": batch.id,
        "job": batch.job,
        "attempt": batch.attempt,
        "bucket": batch.source.bucket,
        "rows": batch.rows,
        "succeeded": batch.counts.succeeded,
        "failed": batch.counts.failed,
        "rejected": batch.counts.rejected,
        "status": batch.status,
        "key": batch.source.key,
        "version": batch.source.version,
        "reason": batch.reason,
        "created_at": batch.created_at,
        "completed_at": batch.completed_at,
    }
    if batch.status is BatchStatus.REJECTED:
        return BatchRejected(**common)
    if batch.stopped_by:
        return BatchStopped(**common, stopped_by=batch.stopped_by)
    return BatchCompleted(**common)


def exported(batch: Batch, export: Export, manifest_sha256: str) -> BatchExported:
    """Return the event about the results of an attempt."""
    return BatchExported(
        event_id=f"{batch.id}#{export.attempt}#exported",
        batch_id=batch.id,
        job=batch.job,
        attempt=export.attempt,
        bucket=batch.source.bucket,
        rows=export.counts.total,
        succeeded=export.counts.succeeded,
        failed=export.counts.failed,
        rejected=export.counts.rejected,
        status=BatchStatus(export.status),
        prefix=export.prefix,
        manifest=export.manifest_key,
        manifest_sha256=manifest_sha256,
        expires_at=export.results_expire_at or None,
    )
