"""Counting again, from the markers alone, to see whether the counters of a batch say what its rows say."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from chalicelib.items import MARKER_PREFIX, ROW_PREFIX, Batch, BatchStatus, Chunk, ChunkKey, Counts, Outcome
from tally.batches import Reader
from tally.output import Output

_THREADS = 4
_NAMED = 5
"""How many rows a difference names before it only counts the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """What a chunk's partition holds: row numbers with a marker, by outcome, and row numbers with a record."""

    marked: frozenset[int]
    recorded: frozenset[int]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a recount found."""

    batch: Batch
    chunks: int
    counts: Counts
    differences: tuple[Difference, ...]

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
            "succeeded": self.counts.succeeded,
            "failed": self.counts.failed,
            "rejected": self.counts.rejected,
            "differences": [{"where": found.where, "what": found.what} for found in self.differences],
        }


def run(output: Output, reader: Reader, batch_id: str) -> Audit:
    """Audit a batch with a progress bar and write what was found."""
    batch = reader.require(batch_id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=output.console, disable=not output.live, transient=True) as progress:
        task = progress.add_task("recounting chunks", total=batch.chunks)
        audited = audit(reader, batch, lambda: progress.advance(task))
    counts = audited.counts
    counted = (
        f"{counts.total:,} markers in {audited.chunks:,} chunks: {counts.succeeded:,} succeeded, "
        f"{counts.failed:,} failed, {counts.rejected:,} rejected"
    )
    if audited.exact:
        output.say(f"audit exact: {counted}; every counter agrees, no row without a marker")
    else:
        output.say(f"audit differs: {counted}")
        output.table("", ("where", "what"), [(found.where, found.what) for found in audited.differences])
    return audited


def audit(reader: Reader, batch: Batch, on_chunk: Callable[[], None]) -> Audit:
    """Recount a batch and compare; it is meant for one that ended, for else the counters move meanwhile.

    ``on_chunk`` is called after each chunk, from several threads.
    """
    chunks = reader.chunks(batch)

    def recounted(chunk: Chunk) -> Recount:
        found = recount(reader, chunk.key)
        on_chunk()
        return found

    with ThreadPoolExecutor(_THREADS) as pool:
        recounts = dict(zip(chunks, pool.map(recounted, chunks.values()), strict=True))
    differences: list[Difference] = []
    for number, chunk in chunks.items():
        differences += compare_chunk(chunk, recounts[number])
    total = sum((found.counts for found in recounts.values()), Counts())
    differences += compare_batch(batch, list(chunks.values()), total)
    return Audit(batch=batch, chunks=len(chunks), counts=total, differences=tuple(differences))


def recount(reader: Reader, chunk: ChunkKey) -> Recount:
    """Count a chunk's markers and records, reading nothing but their keys and outcomes."""
    marked: list[int] = []
    outcomes: Counter[str] = Counter()
    for items in reader.pages(chunk, MARKER_PREFIX, ProjectionExpression="sk, outcome"):
        marked += [int(item["sk"]["S"].removeprefix(MARKER_PREFIX)) for item in items]
        outcomes.update(item["outcome"]["S"] for item in items)
    recorded = [
        int(item["sk"]["S"].removeprefix(ROW_PREFIX))
        for items in reader.pages(chunk, ROW_PREFIX, ProjectionExpression="sk")
        for item in items
    ]
    counts = Counts(**{outcome.value: outcomes[outcome.value] for outcome in Outcome})
    return Recount(marked=frozenset(marked), recorded=frozenset(recorded), counts=counts)


def compare_chunk(chunk: Chunk, found: Recount) -> list[Difference]:
    """Return what does not agree between a chunk's item and its markers and records."""
    where = f"chunk {chunk.key.number}"
    expected = frozenset(range(chunk.expected_rows))
    agree = [
        ("rows", "the planner's count", chunk.rows, chunk.expected_rows),
        ("markers", "rows", len(found.marked), chunk.rows),
        ("remaining", "0", chunk.remaining, 0),
        *(
            (f"counter {outcome.value}", "its markers", getattr(chunk.counts, outcome), getattr(found.counts, outcome))
            for outcome in Outcome
        ),
    ]
    differences = [
        Difference(where, f"{name} is {_known(has)}, {of} {'is ' if of != '0' else ''}{_known(should)}")
        if of != "0"
        else Difference(where, f"{name} is {_known(has)}, not 0")
        for name, of, has, should in agree
        if has != should
    ]
    named = [
        ("without a marker", expected - found.marked),
        ("with a record but no marker", found.recorded - found.marked),
        ("marked but not of this chunk", found.marked - expected),
    ]
    differences += [Difference(where, f"rows {_rows(rows)} {what}") for what, rows in named if rows]
    return differences + ([] if chunk.closed else [Difference(where, "not closed")])


def compare_batch(batch: Batch, chunks: list[Chunk], counted: Counts) -> list[Difference]:
    """Return what does not agree between a batch's item and all of its chunks and markers."""
    expected_rows = sum(chunk.expected_rows for chunk in chunks)
    if batch.status is BatchStatus.REJECTED:
        return []  # as a whole: what an interrupted plan may have made is not counted in it
    differences = [] if batch.status.final else [Difference("batch", f"not ended, its status is {batch.status}")]
    agree = [
        ("chunks", batch.chunks or 0, len(chunks)),
        ("rows", batch.rows, expected_rows),
        ("expected_rows", batch.expected_rows, expected_rows),
        *(
            (f"counter {outcome.value}", getattr(batch.counts, outcome), getattr(counted, outcome))
            for outcome in Outcome
        ),
    ]
    return differences + [
        Difference("batch", f"{name} is {has:,}, its chunks say {should:,}")
        for name, has, should in agree
        if has != should
    ]


def _known(count: int | None) -> str:
    return "not known" if count is None else f"{count:,}"


def _rows(rows: frozenset[int]) -> str:
    named = ", ".join(map(str, sorted(rows)[:_NAMED]))
    return named if len(rows) <= _NAMED else f"{named} and {len(rows) - _NAMED:,} more"
