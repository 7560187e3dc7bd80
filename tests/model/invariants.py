"""The invariants, read from nothing but the table: what must hold in each state, and at rest."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, MARKER_PREFIX, ROWS_PREFIX, Counts, Outcome
from chalicelib.store.marker import Marker, ReasonCode

Table = Mapping[tuple[str, str], Any]

_OF_THE_PAST = {ReasonCode.RAISED, ReasonCode.DEAD_LETTERED}
"""Why rows fail before somebody repairs what made them fail, and redrives; never after it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk and its markers."""

    chunk: Chunk
    markers: tuple[Marker, ...]

    def rows(self, outcome: Outcome) -> RowBits:
        """Return the rows that have an outcome, by the markers."""
        return reduce(or_, (marker.rows[outcome] for marker in self.markers), RowBits())

    @property
    def past_failures(self) -> frozenset[int]:
        """The rows whose failure can only have been produced before a redrive."""
        found = (outcome for marker in self.markers for outcome in marker.outcomes)
        return frozenset(each.row for each in found if each.code in _OF_THE_PAST)


@dataclass(frozen=True, slots=True)
class _Whole:
    batch: Batch
    parts: tuple[_Part, ...]


def violation(before: Table, after: Table, *, judges_failures: bool = True) -> str:
    """Say which invariant the second table breaks, or the step from the first to it; empty if none.

    ``judges_failures`` goes with redrives that take every failure back.
    """
    then, now = _whole(before), _whole(after)
    found = [*_wrong(now), *_wrong_step(then, now)]
    if judges_failures:
        found += _late_failures(then, now)
    found += [
        f"invariant 5: {place[0]} {place[1]} has changed: it is no pure function of file and job"
        for place, item in before.items()
        if place[1].startswith(ROWS_PREFIX) and after.get(place) != item
    ]
    return "; ".join(found)


def _wrong(whole: _Whole) -> Iterator[str]:
    batch = whole.batch
    for part in whole.parts:
        yield from _wrong_chunk(part)
    closed = [part.chunk for part in whole.parts if part.chunk.closed]
    share = sum((chunk.counts for chunk in closed), Counts())
    if (batch.counts, batch.rows) != (share, sum(chunk.rows or 0 for chunk in closed)):
        yield f"invariant 1: the batch counts {batch.counts} of {batch.rows} rows, its closed chunks {share}"
    if batch.remaining != len(whole.parts) - len(closed):
        yield f"invariant 1: {batch.remaining} chunks remain, {len(whole.parts) - len(closed)} are not closed"
    if batch.status.final and len(closed) < len(whole.parts):
        yield "invariant 2: the batch has ended early"
    flawless = batch.counts.succeeded == batch.rows
    if batch.status.final and batch.status is not BatchStatus.ended(flawless=flawless):
        yield f"invariant 2: the batch has ended as {batch.status} with {batch.counts}"


def _wrong_chunk(part: _Part) -> Iterator[str]:
    chunk = part.chunk
    name = f"chunk {chunk.key.number}"
    counted = [row for marker in part.markers for row in marker.every_row]
    if len(counted) != len(set(counted)):
        yield f"invariant 1: {name} has a row in two markers: {sorted(counted)}"
    if chunk.done != RowBits.of(counted):
        yield f"invariant 1: {name} has the rows {list(chunk.done)} done, its markers have {sorted(set(counted))}"
    counts = sum((marker.counts for marker in part.markers), Counts())
    if chunk.counts != counts:
        yield f"invariant 1: {name} counts {chunk.counts}, its markers {counts}"
    if chunk.remaining != (chunk.rows or 0) - len(chunk.done):
        yield f"invariant 1: {name} has {chunk.remaining} rows remaining, {chunk.rows} rows and {list(chunk.done)} done"
    if chunk.rows not in {None, chunk.expected_rows}:
        yield f"invariant 1: {name} has {chunk.rows} rows, the planner counted {chunk.expected_rows}"
    if chunk.closed and not chunk.complete:
        yield f"invariant 2: {name} is closed and not complete"


def _wrong_step(then: _Whole, now: _Whole) -> Iterator[str]:
    for old, new in zip(then.parts, now.parts, strict=True):
        name = f"chunk {new.chunk.key.number}"
        if old.chunk != new.chunk and new.chunk.version <= old.chunk.version:
            yield f"invariant 6: {name} changes, and its version goes from {old.chunk.version} to {new.chunk.version}"
        if new.chunk.generation < old.chunk.generation:
            yield f"invariant 6: the generation of {name} goes down"
        if lost := old.rows(Outcome.SUCCEEDED) - new.rows(Outcome.SUCCEEDED):
            yield f"invariant 3: rows {list(lost)} of {name} had succeeded"
    if (then.batch.counts, then.batch.remaining) != (now.batch.counts, now.batch.remaining) and (
        now.batch.version <= then.batch.version
    ):
        yield "invariant 6: counters of the batch change, and its version does not"
    if now.batch.attempt < then.batch.attempt:
        yield "invariant 6: the attempt goes down"
    if then.batch.status.final and not now.batch.status.final and now.batch.attempt == then.batch.attempt:
        yield f"invariant 2: attempt {now.batch.attempt} ends twice"


def _late_failures(then: _Whole, now: _Whole) -> Iterator[str]:
    for old, new in zip(then.parts, now.parts, strict=True):
        if old.chunk.redriven and (late := new.past_failures - old.past_failures):
            name = f"chunk {new.chunk.key.number}"
            yield f"invariant 6: rows {sorted(late)} of {name} fail after a redrive by what was before it"


def unrest(table: Table, events: Collection[str], *, judges_failures: bool = True) -> str:
    """Say what is not as it must be when nothing is on its way any more; empty if all is."""
    whole = _whole(table)
    batch = whole.batch
    found = [
        f"invariant 2: chunk {part.chunk.key.number} is {part.chunk.state}, and nothing is on its way"
        for part in whole.parts
        if not part.chunk.closed
    ]
    if not batch.status.final:
        found.append(f"invariant 2: the batch is {batch.status}, and nothing is on its way")
    found += [
        f"invariant 6: chunk {part.chunk.key.number} was redriven, and rows {sorted(part.past_failures)} have failed"
        for part in whole.parts
        if judges_failures and part.chunk.redriven and part.past_failures
    ]
    if not found:
        ends = sorted(json.loads(event)["event_id"] for event in events)
        if ends != [f"{batch.id}#{attempt + 1}" for attempt in range(batch.attempt)]:
            found.append(f"invariant 2: attempt {batch.attempt} has ended, and these were announced: {ends}")
        elif batch.published_attempt != batch.attempt:
            found.append(f"invariant 2: attempt {batch.published_attempt} is noted as announced, not {batch.attempt}")
    return "; ".join(found)


def _whole(table: Table) -> _Whole:
    partitions: dict[str, list[Any]] = {}
    batch = None
    for (pk, sk), item in table.items():
        if sk == BATCH_SK:
            batch = Batch.from_item(item)
        elif sk == CHUNK_SK or sk.startswith(MARKER_PREFIX):
            partitions.setdefault(pk, []).append(item)
    assert batch, "no batch"
    parts = sorted(map(_part, partitions.values()), key=lambda part: part.chunk.key)
    return _Whole(batch, tuple(parts))


def _part(items: list[Any]) -> _Part:
    (chunk,) = (item for item in items if item["sk"]["S"] == CHUNK_SK)
    markers = tuple(Marker.from_item(item) for item in items if item is not chunk)
    return _Part(Chunk.from_item(chunk), markers)
