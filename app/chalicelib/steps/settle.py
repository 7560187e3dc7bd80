"""Settle, the completion check: a chunk closes when nothing of it remains, then its batch ends, then an event is put.

Every step starts from an image in the stream and is guarded by what the item says now, so that an image that comes
twice, late or out of order does nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from chalicelib import jobs
from chalicelib.clock import Clock, utc_now
from chalicelib.events.bus import MAX_ENTRIES
from chalicelib.events.detail import ended
from chalicelib.logs import logger
from chalicelib.metrics import Metric, Metrics
from chalicelib.store.batch import AS_READ as BATCH_AS_READ
from chalicelib.store.batch import Batch, BatchStatus, Hold, Listing, is_known
from chalicelib.store.chunk import AS_READ, Chunk, ChunkState, is_chunk
from chalicelib.store.hold import Holds
from chalicelib.store.items import BATCH_SK, CHUNK_SK, Counts, batch_pk, number, text, timestamp
from chalicelib.store.table import MAX_ACTIONS, Update

if TYPE_CHECKING:
    from chalicelib.events.bus import EventBus
    from chalicelib.steps.begin_chain import ChainStarter
    from chalicelib.steps.begin_export import ExportStarter
    from chalicelib.store.table import Table
    from chalicelib.transport.streams import Change

_MAX_CHUNKS = MAX_ACTIONS - 1
"""One action of each transaction is the batch's counter."""

IS_IN_ATTEMPT = "attempt = :attempt"
"""A redrive may have begun the next attempt meanwhile, which will have an event of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The batches and chunks that one call ended, and the batches that it saw."""

    chunks: int = 0
    batches: int = 0
    events: int = 0
    seen: Sequence[str] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Closes chunks and batches and announces batches that have ended."""

    table: "Table"
    bus: "EventBus"
    exports: "ExportStarter | None" = None
    """None in a stage that writes no files of results."""
    chains: "ChainStarter | None" = None
    """None where nothing asks for the next job of a chain."""
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = utc_now

    def settle(self, changes: "Iterable[Change]") -> Settled:
        """Do what the changes call for; safe to repeat, and the stream does repeat all of them when this raises."""
        done: dict[str, dict[int, Chunk]] = defaultdict(dict)
        batches: dict[str, Batch] = {}
        final: dict[tuple[str, int], Batch] = {}
        seen: set[str] = set()
        for change in changes:
            if is_chunk(change.new):
                chunk = Chunk.from_item(change.new)
                seen.add(chunk.key.batch_id)
                if chunk.complete and not chunk.closed:
                    done[chunk.key.batch_id][chunk.key.number] = chunk  # the newest image counts
            elif change.sk == BATCH_SK and is_known(change.new):
                batch = Batch.from_item(change.new)
                batches[batch.id] = batch  # the newest image counts
                if batch.counts.failed > Counts.from_item(change.old).failed:
                    self._stop_at_limit(batch)
                if batch.status.final and change.old.get("status") != change.new["status"]:
                    final[batch.id, batch.attempt] = batch
        closed = sum(self.close(batch_id, chunks.values()) for batch_id, chunks in done.items())
        completed = sum(self.complete(batch) for batch in batches.values())
        published = self.publish(final.values())
        return Settled(chunks=closed, batches=completed, events=published, seen=sorted(seen | batches.keys()))

    def _stop_at_limit(self, batch: Batch) -> None:
        """Hold a batch of which more rows have failed than its job allows; counted as chunks close.

        A redrive is somebody's decision: its attempts have no limit, or the failures that it has not come to yet
        would stop it.
        """
        if batch.status is not BatchStatus.RUNNING or batch.hold or batch.attempt > 1:
            return
        limit = _failure_limit(batch)
        if limit is not None and batch.counts.failed > limit:
            Holds(table=self.table).hold(batch.id, Hold.THRESHOLD, attempt=batch.attempt)

    def close(self, batch_id: str, chunks: Iterable[Chunk]) -> int:
        """Close chunks of one batch and add their counts to it, each once; returns how many this call closed.

        The rows' metrics are counted here, once for each time that a chunk closes: too few of them if this dies
        before they are written or a success is not heard of, and a redriven chunk's rows all count again.
        """
        waiting = iter(chunks)
        closed = 0
        while pending := list(islice(waiting, _MAX_CHUNKS)):
            while pending:
                stale = set(self.table.transact([*map(_close, pending), _add_up(batch_id, pending)]))
                if not stale:
                    closed += len(pending)
                    for chunk in pending:
                        self.metrics.add_rows(chunk.counts)
                    break
                pending = [chunk for position, chunk in enumerate(pending) if position not in stale]
        return closed

    def complete(self, batch: Batch) -> bool:
        """End a batch if its image says that nothing remains; tells whether this call did."""
        if batch.chunks is None or batch.remaining or batch.status is not BatchStatus.RUNNING:
            return False
        # Nothing remains, so no counter moves any more in this attempt: the image holds the final counts.
        status = BatchStatus.ended(flawless=batch.counts.succeeded == batch.rows)
        completed = self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET #status = :status, completed_at = :now, #version = :next",
                condition=BATCH_AS_READ,
                values={
                    ":version": number(batch.version),
                    ":next": number(batch.version + 1),
                    ":status": text(status),
                    ":now": text(timestamp(self.clock())),
                },
            )
        )
        if completed:
            self.metrics.add(Metric.BATCHES_COMPLETED, 1)
        return completed

    def publish(self, batches: Iterable[Batch]) -> int:
        """Ask for the results of every batch that has ended, and put its event; returns how many events.

        At least once: dying after the put and before the stream moves on puts it again, with the same
        ``event_id`` in its detail, by which a subscriber tells.
        """
        waiting = iter(batches)
        published = 0
        while group := list(islice(waiting, MAX_ENTRIES)):
            for batch in group:  # before the event is noted: until then the end comes again
                if self.exports:
                    self.exports.begin(batch)
                if self.chains:
                    self.chains.begin(batch)
            self.bus.put([ended(batch) for batch in group])
            for batch in group:
                self._remember(batch)
            published += len(group)
        return published

    def _remember(self, batch: Batch) -> None:
        """Note on the batch that its event went out, so that one that did not is found."""
        self.table.update(
            Update(
                pk=batch_pk(batch.id),
                sk=BATCH_SK,
                expression="SET published_attempt = :attempt, listing = :ended",
                condition=IS_IN_ATTEMPT,
                values={":attempt": number(batch.attempt), ":ended": text(Listing.ENDED)},
            )
        )


def _failure_limit(batch: Batch) -> int | None:
    """Return how many rows of a batch may fail; a job that no longer loads must not keep other batches from ending."""
    try:
        job = jobs.find(batch.job)
    except Exception as error:  # noqa: BLE001  any error of its module; process reports it too, where it counts
        logger.warning("job.broken", job=batch.job, error=f"{type(error).__name__}: {error}")
        return None
    return job.most_failures(batch.expected_rows) if job else None


def _close(chunk: Chunk) -> Update:
    return Update(
        pk=chunk.key.pk,
        sk=CHUNK_SK,
        expression="SET #state = :closed, #version = :next",
        condition=AS_READ,
        values={
            ":closed": text(ChunkState.CLOSED),
            ":version": number(chunk.version),
            ":next": number(chunk.version + 1),
        },
    )


def _add_up(batch_id: str, chunks: list[Chunk]) -> Update:
    """Add the counts of chunks to their batch, without a guard: they are applied with the closing or not at all."""
    counts = sum((chunk.counts for chunk in chunks), Counts())
    return Update(
        pk=batch_pk(batch_id),
        sk=BATCH_SK,
        expression="ADD remaining :closed, #rows :rows, succeeded :succeeded, #failed :failed, rejected :rejected, "
        "#version :one",
        values={
            ":closed": number(-len(chunks)),
            ":rows": number(sum(chunk.rows or 0 for chunk in chunks)),
            ":one": number(1),
            **counts.values(),
        },
    )
