"""Reads what the page of a batch shows, in small steps: a million rows cost no more a second than ten."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.clock import Clock, utc_now
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.chunk import Chunk
from chalicelib.store.table import MAX_KEYS
from chalicelib.store.waiting import Waiting
from tally.batch.failures import MAX_SAMPLED_CHUNKS, Sampler, Top, has_reasons
from tally.batch.reader import Progress, Reader, reopened
from tally.batch.tune import measured
from tally.batch.watch import Meter, elapsed_seconds
from tally.ui.history import Corrections, History, corrections_of, read_history
from tally.ui.queue_feed import QueueFeed, Queues
from tally.ui.view import Counted, SampledChunk, View

SAMPLED_CHUNKS = 24
"""Chunks, spread evenly over the file, from whose markers durations and times are read."""
_ENOUGH_CHUNKS = 8
"""With so many of them no others are sampled in their place."""
_IDLE_SECONDS = 5.0
"""How often a batch that has ended is looked at again: a redrive may reopen it."""


@dataclass(kw_only=True)
class BatchFeed:
    """Reads one batch for all who look at it; each step makes three requests at most, unless a chunk takes pages."""

    reader: Reader
    batch_id: str
    queues: QueueFeed | None = None
    clock: Callable[[], float] = time.monotonic
    now: Clock = utc_now
    _batch: Batch | None = None
    _chunks: dict[int, Chunk] = field(default_factory=dict)
    _fresh: set[int] = field(default_factory=set)
    """Chunks that were read since the last redrive began."""
    _read_at: dict[int, int] = field(default_factory=dict)
    _sampled: dict[int, SampledChunk] = field(default_factory=dict)
    _waiting: dict[int, Waiting] = field(default_factory=dict)
    _history: History = field(default_factory=History)
    _corrections: Sequence[Corrections] = ()
    _corrections_of: int = 0
    """The sum of generations that corrections have given chunks, as it was when they were read."""
    _first_at: datetime | None = None
    _moved_at: datetime | None = None
    """When it was seen that something had moved since it was read before."""
    _since: dict[int, datetime] = field(default_factory=dict)
    _top: Top = field(default_factory=Top)
    _top_of: tuple[int, ...] = ()
    _meter: Meter = field(default_factory=Meter)
    _step: int = 0
    _stepped_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.reader)

    def step(self) -> View | None:
        """Read some more, and return what is known; None while there is no such batch. Raises as the reader does.

        Callers that come together, or again at once, share one step.
        """
        with self._lock:
            settled = self._batch is not None and self._batch.status.final and not self._pending()
            patience = _IDLE_SECONDS if settled else 0.9
            if self.clock() - self._stepped_at >= patience:
                self._read()
                self._stepped_at = self.clock()
            return self._view()

    def refresh(self) -> None:
        """Have the next step read the batch even if it has just been read."""
        self._stepped_at = float("-inf")

    def _read(self) -> None:
        self._step += 1
        before, self._batch = self._batch, self.reader.batch(self.batch_id)
        batch = self._batch
        if batch is None:
            return
        if before is None:
            self._first_at = self.now()
        elif before != batch:
            self._moved_at = self.now()
        if before is not None and reopened(before, batch):
            self._fresh.clear()
            self._top_of, self._meter = (), Meter()
        if batch.status is BatchStatus.REJECTED:
            return
        numbers = self._next_chunks(batch)
        if numbers:
            for chunk in self.reader.repository.chunks(batch.id, numbers):
                self._note(batch, chunk)
                self._chunks[chunk.key.number] = chunk
                self._fresh.add(chunk.key.number)
            self._read_at |= dict.fromkeys(numbers, self._step)
        if not self._stale(batch):
            self._meter.add(self.clock(), self._view_progress(batch).counts.total)
        self._read_aside(batch, 1 if numbers else 2)

    def _read_aside(self, batch: Batch, left: int) -> None:
        """Make so many requests beside those for counters: samples and reasons by turns, now and then the others."""
        turns = {0: self._read_history, 2: self._read_waiting, 3: self._read_corrections}
        turn = self._step % 5
        # A batch that has ended is read every five seconds, and its results are written within as many.
        now_and_then = self._read_history if batch.status.final and turn != 3 else turns.get(turn)  # noqa: PLR2004
        if now_and_then is not None and now_and_then(batch):
            left -= 1
        # Every other step, and not the first, whose one request beside those for counters gives the charts something.
        queue = (self._read_queue,) if self._step % 2 and self._step > 1 else ()
        for read in (*queue, *(self._read_sample, self._read_reasons) * 2):
            if left and read(batch):
                left -= 1

    def _pending(self) -> bool:
        batch = self._batch
        if batch is None or batch.status is BatchStatus.REJECTED:
            return False
        return bool(self._stale(batch) or self._unsampled() or self._unread_reasons())

    def _stale(self, batch: Batch) -> int:
        return max(0, (batch.chunks or 0) - len(self._fresh))

    def _next_chunks(self, batch: Batch) -> list[int]:
        """Return which chunks to read now: those not seen, spread over the file; then open ones, longest unread first.

        The first hundred of any number of chunks are already a picture of all of them.
        """
        if batch.chunks is None:
            known = len(self._chunks)
            if self._step % 2:
                return list(range(known, known + MAX_KEYS))
        else:
            stride = -(-batch.chunks // MAX_KEYS) or 1
            order = (number for offset in range(stride) for number in range(offset, batch.chunks, stride))
            unseen = [number for number in order if number not in self._fresh]
            if unseen:
                return unseen[:MAX_KEYS]
        if self._step % 2 and self._chunks:
            return []  # so that there is room for samples and reasons
        still_open = [number for number, chunk in self._chunks.items() if not chunk.closed]
        return sorted(still_open, key=lambda number: self._read_at.get(number, 0))[:MAX_KEYS]

    def _unsampled(self) -> list[Chunk]:
        """Return the chunks to sample that were not, or that have moved since; those that are chosen no more go."""
        counted = [chunk for _, chunk in sorted(self._chunks.items()) if chunk.counts.total]
        if self._batch is not None and not self._stale(self._batch):
            counted = _chosen(self._batch, counted)
            chosen = {chunk.key.number for chunk in counted}
            self._sampled = {number: found for number, found in self._sampled.items() if number in chosen}
        else:
            counted = [chunk for chunk in counted if chunk.key.number in self._sampled] or counted[:1]
        return [
            chunk
            for chunk in counted
            if chunk.key.number not in self._sampled or self._sampled[chunk.key.number].version != chunk.version
        ]

    def _read_sample(self, _batch: Batch) -> bool:
        wanted = self._unsampled()
        if not wanted:
            return False
        chunk = min(wanted, key=lambda chunk: chunk.key.number in self._sampled)
        markers = self.reader.repository.markers(chunk.key)
        self._sampled[chunk.key.number] = SampledChunk(
            version=chunk.version,
            counted=[Counted(datetime.fromisoformat(marker.counted_at), marker.counts) for marker in markers],
            durations_ms=[each.duration_ms for marker in markers for each in marker.outcomes if measured(each)],
        )
        return True

    def _unread_reasons(self) -> tuple[int, ...]:
        """Return the versions of the chunks whose reasons are shown, if they are not what was shown last."""
        with_reasons = [chunk for _, chunk in sorted(self._chunks.items()) if has_reasons(chunk.counts)]
        versions = tuple(chunk.version for chunk in with_reasons[:MAX_SAMPLED_CHUNKS])
        return versions if versions and versions != self._top_of else ()

    def _read_reasons(self, batch: Batch) -> bool:
        versions = self._unread_reasons()
        if not versions:
            return False
        self._top = self._sampler.top(self._view_progress(batch), 1)
        if self._sampler.up_to_date(self._chunks.values()):
            self._top_of = versions
        return True

    def _read_waiting(self, batch: Batch) -> bool:
        if batch.status.final:
            self._waiting = {}
            return False
        undone = [chunk for chunk in self._chunks.values() if chunk.undone and not chunk.closed]
        if not undone:
            return False
        # The first hundred: rows that raise and wait are an exception, and one request has to do.
        self._waiting = self.reader.waiting(undone[:MAX_KEYS])
        return True

    def _read_queue(self, batch: Batch) -> bool:
        return self.queues is not None and self.queues.step(self._waited_for(batch))

    def _waited_for(self, batch: Batch) -> Sequence[str]:
        """Return the queues in which something of the batch may wait."""
        if not batch.status.final:
            heavy = any(chunk.undone & chunk.heavy for chunk in self._chunks.values())
            return ("ingest", "work", *(("heavy",) if heavy else ()), "finished")
        export, save = self._history.exports.get(batch.attempt), self._history.saves.get(batch.attempt)
        waits = (("export", export and not export.exported_at), ("save", save and not save.saved_at))
        return [name for name, pending in waits if pending]

    def _read_history(self, batch: Batch) -> bool:
        self._history = read_history(self.reader, batch, self.now())
        return True

    def _read_corrections(self, batch: Batch) -> bool:
        corrected = sum(chunk.corrected_generation for chunk in self._chunks.values())
        if corrected == self._corrections_of:
            return False
        self._corrections, self._corrections_of = corrections_of(self.reader, batch.id), corrected
        return True

    def _note(self, batch: Batch, chunk: Chunk) -> None:
        """Note since when a chunk is as it is, which its item does not say; one that is only planned always was."""
        before = self._chunks.get(chunk.key.number)
        if before is None:
            self._since[chunk.key.number] = self.now() if chunk.version else datetime.fromisoformat(batch.created_at)
        elif before.version != chunk.version or before.state is not chunk.state:
            self._since[chunk.key.number] = self._moved_at = self.now()

    def _view_progress(self, batch: Batch) -> Progress:
        return Progress(batch=batch, chunks=self._chunks, waiting=self._waiting)

    def _view(self) -> View | None:
        batch = self._batch
        if batch is None:
            return None
        progress = Progress(batch=batch, chunks=dict(self._chunks), waiting=dict(self._waiting))
        known = len(self._meter.samples) > 1
        return View(
            progress=progress,
            top=self._top if any(has_reasons(chunk.counts) for chunk in self._chunks.values()) else Top(),
            sampled=list(self._sampled.values()),
            history=self._history,
            corrections=self._corrections,
            unmoved_since=self._moved_at
            or self._history.unmoved_since(progress, self._first_at or self.now(), self.now()),
            chunks_since=dict(self._since),
            now=self.now(),
            rate=self._meter.rate if known else 0.0,
            eta_seconds=self._meter.eta_seconds(progress.found - progress.counts.total) if known else None,
            elapsed_seconds=elapsed_seconds(progress, self.now()),
            stale_chunks=self._stale(batch),
            queues=self.queues.known if self.queues else Queues(),
        )


def _chosen(batch: Batch, counted: Sequence[Chunk]) -> list[Chunk]:
    """Return which chunks stand for all: some, spread evenly over the file; others until enough of these are counted.

    Chosen from those alone that are counted already, a batch would seem to stand still from then on.
    """
    total = batch.chunks or len(counted)
    spread = {position * total // SAMPLED_CHUNKS for position in range(SAMPLED_CHUNKS)}
    chosen = [chunk for chunk in counted if chunk.key.number in spread]
    others = [chunk for chunk in counted if chunk.key.number not in spread]
    return chosen + others[: max(0, _ENOUGH_CHUNKS - len(chosen))]
