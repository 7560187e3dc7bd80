"""What is known of a batch at a moment, for all parts of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.store.batch import Batch
from chalicelib.store.exports import Export
from chalicelib.store.items import Counts
from tally.batch.failures import Top
from tally.batch.reader import Progress
from tally.ui.history import Corrections, History
from tally.ui.queue_feed import Queues


@dataclass(frozen=True, slots=True)
class Counted:
    """What one marker counted, and when."""

    at: datetime
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledChunk:
    """What the markers of a chunk say of times, as they were at a version of the chunk."""

    version: int
    counted: Sequence[Counted]
    durations_ms: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known of a batch now."""

    progress: Progress
    top: Top
    sampled: Sequence[SampledChunk]
    history: History
    corrections: Sequence[Corrections]
    unmoved_since: datetime
    """Nothing of the batch has moved since then, at least."""
    chunks_since: Mapping[int, datetime]
    """Since when each chunk has been as it is, at least."""
    now: datetime
    rate: float
    eta_seconds: float | None
    elapsed_seconds: float
    stale_chunks: int
    """Chunks that were not read yet, or not since a redrive."""
    queues: Queues = field(default_factory=Queues)
    """What waits in the stage's queues, of all batches."""

    @property
    def batch(self) -> Batch:
        """The batch."""
        return self.progress.batch

    @property
    def counts(self) -> Counts:
        """Rows by outcome; while chunks are still being read at least what the closed ones have."""
        known = self.progress.counts
        return max(known, self.batch.counts, key=lambda counts: counts.total) if self.stale_chunks else known

    @property
    def export(self) -> Export | None:
        """The export of the last attempt, if it has ended and one was begun."""
        return self.history.exports.get(self.batch.attempt) if self.batch.status.final else None

    @property
    def redriven(self) -> int:
        """Rows that redrives took back, of the chunks that are known."""
        return sum(chunk.redriven for chunk in self.progress.chunks.values())
