"""Recount a batch from its markers alone, and compare the result with its counters."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.corrections import corrections_of
from chalicelib.store.items import ChunkKey, Counts, Outcome
from tally.batch.reader import Reader
from tally.batch.watch import status_of
from tally.look import several
from tally.output import Output

_THREADS = 4
_MAX_READS = 5
"""How often a chunk that keeps changing is counted."""
_NAMED = 5
"""How many rows a difference names; further ones are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """A chunk's rows as its markers have them: those in one marker, those in several, and their outcomes."""

    marked: RowBits
    twice: RowBits
    counts: Counts


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement between the markers and a counter."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result of a recount."""

    batch: Batch
    chunks: int
    counts: Counts
    differences: tuple[Difference, ...]
    pending: int = 0
    """Rows that have no outcome yet, of a batch that has not ended."""

    @property
    def exact(self) -> bool:
        """Tell whether every row has exactly one marker and every counter agrees with the markers."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "id": self.batch.id,
            "status": self.batch.status.value,
            "exact": self.exact,
            "chunks": self.chunks,
            "markers": self.counts.total,
            "pending": self.pending,
            "succeeded": self.counts.succeeded,
            "failed": self.counts.failed,
            "rejected": self.counts.rejected,
            "differences": [{"where": found.where, "what": found.what} for found in self.differences],
        }


def run(output: Output, reader: Reader, batch_id: str) -> Audit:
    """Audit a batch with a progress bar and write the result."""
    batch = reader.require(batch_id)
    with output.progress("recounting chunks", batch.chunks) as advance:
        audited = audit(reader, batch, lambda: advance(1))
    counts = audited.counts
    counted = (
        f"{counts.total:,} rows in the markers of {several(audited.chunks, 'chunk')}: {counts.succeeded:,} succeeded, "
        f"{counts.failed:,} failed, {counts.rejected:,} rejected"
    )
    if audited.exact:
        output.say(f"audit exact: {counted}; every counter agrees, each row is in one marker")
    else:
        pending = f"; {audited.pending:,} rows have no outcome yet" if audited.pending else ""
        output.say(f"audit differs: {counted}{pending}")
        output.table("", ("where", "what"), [(found.where, found.what) for found in audited.differences])
    return audited


def audit(reader: Reader, batch: Batch, on_chunk: Callable[[], None]) -> Audit:
    """Recount a batch and compare. A batch that has not ended is never exact, but wrong counters show already.

    ``on_chunk`` is called after each chunk, from several threads.
    """
    count = _recount_ended if batch.status.final else _recount_under_way

    def recounted(chunk: Chunk) -> tuple[Chunk, Recount, list[Difference]]:
        found = count(reader, chunk)
        on_chunk()
        return found

    with ThreadPoolExecutor(_THREADS) as pool:
        recounts = list(pool.map(recounted, reader.chunks(batch).values()))
    chunks = [chunk for chunk, _, _ in recounts]
    differences = [difference for _, _, found in recounts for difference in found]
    total = sum((found.counts for _, found, _ in recounts), Counts())
    pending = 0
    if batch.status.final:
        differences += compare_batch(batch, chunks, total)
    else:
        pending = sum(max(0, chunk.expected_rows - len(found.marked)) for chunk, found, _ in recounts)
        differences += compare_batch_under_way(batch, reader.require(batch.id), chunks)
    return Audit(batch=batch, chunks=len(chunks), counts=total, differences=tuple(differences), pending=pending)


def _recount_ended(reader: Reader, chunk: Chunk) -> tuple[Chunk, Recount, list[Difference]]:
    found = recount(reader, chunk.key)
    return chunk, found, compare_chunk(chunk, found, ended=True) + compare_corrections(reader, chunk)


def _recount_under_way(reader: Reader, chunk: Chunk) -> tuple[Chunk, Recount, list[Difference]]:
    """Recount a chunk that may change during the recount; compare only if it has not changed."""
    for _ in range(_MAX_READS):
        found, now = recount(reader, chunk.key), reader.repository.require_chunk(chunk.key)
        if now == chunk:
            return chunk, found, compare_chunk(chunk, found, ended=False) + compare_corrections(reader, chunk)
        chunk = now
    return chunk, found, []


def recount(reader: Reader, chunk: ChunkKey) -> Recount:
    """Count the rows in a chunk's markers; of each marker only the bits are read."""
    marked = twice = 0
    rows = dict.fromkeys(Outcome, 0)
    for marker in reader.repository.markers(chunk, data=False):
        for outcome, found in marker.rows.items():
            twice |= marked & found.mask
            marked |= found.mask
            rows[outcome] += len(found)
    counts = Counts(**{outcome.value: number for outcome, number in rows.items()})
    return Recount(marked=RowBits(marked), twice=RowBits(twice), counts=counts)


def compare_chunk(chunk: Chunk, found: Recount, *, ended: bool) -> list[Difference]:
    """Return the differences between a chunk and its markers; rows may lack a marker unless it has ``ended``."""
    where = f"chunk {chunk.key.number}"
    expected = RowBits.first(chunk.expected_rows)
    agree = [
        *(
            (
                f"counter {outcome.value}",
                "its markers say",
                getattr(chunk.counts, outcome),
                getattr(found.counts, outcome),
            )
            for outcome in Outcome
        ),
    ]
    if chunk.rows is not None or ended:
        agree += [
            ("rows", "the planner counted", chunk.rows, chunk.expected_rows),
            ("remaining", "its rows without a marker are", chunk.remaining, chunk.expected_rows - len(found.marked)),
        ]
    differences = [
        Difference(where, f"{name} is {_known(has)}, {of} {_known(should)}")
        for name, of, has, should in agree
        if has != should
    ]
    named = [
        ("in more than one marker", found.twice),
        ("in a marker but not of this chunk", found.marked - expected),
        ("done without a marker", chunk.done - found.marked),
        ("in a marker but not done", found.marked - chunk.done),
        ("without a marker", expected - found.marked if ended or chunk.closed else RowBits()),
    ]
    differences += [Difference(where, f"rows {_rows(rows)} {what}") for what, rows in named if rows]
    return differences + ([Difference(where, "not closed")] if ended and not chunk.closed else [])


def compare_corrections(reader: Reader, chunk: Chunk) -> list[Difference]:
    """Return the differences between a chunk's list of corrected rows and its corrections."""
    if not chunk.corrected:
        return []
    found = RowBits.of(row for each in corrections_of(reader.repository.table, chunk.key) for row in each.lines)
    named = [
        ("corrected without a correction", chunk.corrected - found),
        ("in a correction but not corrected", found - chunk.corrected),
    ]
    return [Difference(f"chunk {chunk.key.number}", f"rows {_rows(rows)} {what}") for what, rows in named if rows]


def compare_batch_under_way(before: Batch, batch: Batch, chunks: Iterable[Chunk]) -> list[Difference]:
    """Return the differences between an open batch and its closed chunks, unless the batch has moved."""
    differences = [Difference("batch", f"not ended, its status is {status_of(before)}")]
    if batch != before:
        return differences
    closed = [chunk for chunk in chunks if chunk.closed]
    counts = sum((chunk.counts for chunk in closed), Counts())
    agree = [
        ("rows", batch.rows, sum(chunk.rows or 0 for chunk in closed)),
        ("remaining", batch.remaining, (batch.chunks or 0) - len(closed)),
        *(
            (f"counter {outcome.value}", getattr(batch.counts, outcome), getattr(counts, outcome))
            for outcome in Outcome
        ),
    ]
    return differences + [
        Difference("batch", f"{name} is {has:,}, its closed chunks say {should:,}")
        for name, has, should in agree
        if has != should
    ]


def compare_batch(batch: Batch, chunks: list[Chunk], counted: Counts) -> list[Difference]:
    """Return the differences between an ended batch and all of its chunks and markers."""
    expected_rows = sum(chunk.expected_rows for chunk in chunks)
    if batch.status is BatchStatus.REJECTED:
        return []  # as a whole: what an interrupted plan may have made is not counted in it
    agree = [
        ("chunks", batch.chunks or 0, len(chunks)),
        ("rows", batch.rows, expected_rows),
        ("expected_rows", batch.expected_rows, expected_rows),
        *(
            (f"counter {outcome.value}", getattr(batch.counts, outcome), getattr(counted, outcome))
            for outcome in Outcome
        ),
    ]
    return [
        Difference("batch", f"{name} is {has:,}, its chunks say {should:,}")
        for name, has, should in agree
        if has != should
    ]


def _known(count: int | None) -> str:
    return "not known" if count is None else f"{count:,}"


def _rows(rows: RowBits) -> str:
    numbers = list(rows)
    named = ", ".join(map(str, numbers[:_NAMED]))
    return named if len(numbers) <= _NAMED else f"{named} and {len(numbers) - _NAMED:,} more"
