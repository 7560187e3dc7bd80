"""Batches for tests of the console, written as items."""

from dataclasses import replace
from typing import Any

import msgspec

from chalicelib.store import rows as stored_rows
from chalicelib.store.batch import Batch, BatchStatus, Hold, Source
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Outcome, bits, number, text
from chalicelib.store.marker import ReasonCode, RowOutcome, markers
from tests.unit.tally import finished_batch

HOSTILE = "<img src=x onerror=window.hacked=1>"
MARKUP = f"</title></script>{HOSTILE}`${{window.hacked=1}}`{{{{window.hacked=1}}}}'\">"
"""The same after the end of what it may be in, and as a template of JavaScript's and of Vue's."""
Item = dict[str, Any]


def batch_item(batch: Batch, *, chunks: int, rows: int, hold: Hold | None = None, **counts: int) -> Item:
    """Return the item of a planned batch."""
    item = batch.to_item() | {"chunks": number(chunks), "expected_rows": number(rows), "rows": number(rows)}
    item |= {name: number(count) for name, count in counts.items()} | {"remaining": number(0)}
    if hold:
        item["hold"] = text(hold)
    if batch.status.final:
        item["listing"] = text("ended")
    return item


def many(count: int) -> list[Item]:
    """Return so many batches that have ended, each a second older than the one before it."""
    made = []
    for at in range(count):
        stamp = f"2026-02-{1 + at // 86400:02d}T{at // 3600 % 24:02d}:{at // 60 % 60:02d}:{at % 60:02d}.000000+00:00"
        job = "offices" if at % 10 == 0 else "transactions"
        batch = replace(
            finished_batch.BATCH,
            id=f"{job}-{at:020x}",
            job=job,
            created_at=stamp,
            completed_at=stamp,
            status=BatchStatus.COMPLETED,
        )
        made.append(batch_item(batch, chunks=1, rows=3, succeeded=3))
    return made


def large(batch_id: str, chunks: int = 2000, rows_each: int = 500) -> list[Item]:
    """Return a batch of many chunks under way, most of them closed, one in a hundred with a failed row."""
    batch = replace(finished_batch.BATCH, id=batch_id, status=BatchStatus.RUNNING, completed_at="")
    items = [batch_item(batch, chunks=chunks, rows=chunks * rows_each) | {"remaining": number(20)}]
    for position in range(chunks):
        key = ChunkKey(batch_id, position)
        chunk = Chunk(key=key, start=0, end=1, first_line=2 + position * rows_each, expected_rows=rows_each)
        failed = int(position % 100 == 7)
        item = chunk.to_item() | {"rows": number(rows_each), "version": number(3), "pages": number(1)}
        if position >= chunks - 20:
            items.append(item | {"state": text(ChunkState.READY), "remaining": number(rows_each)})
            continue
        counts = {"succeeded": number(rows_each - failed), "failed": number(failed), "rejected": number(0)}
        closed = {"state": text(ChunkState.CLOSED), "done": bits(RowBits.first(rows_each)), "remaining": number(0)}
        items.append(item | counts | closed)
    return items


def hostile(batch_id: str) -> list[Item]:
    """Return a batch of which everything that comes from outside is markup, in each language that a page knows."""
    source = Source(bucket="inbox", key=f"inbox/transactions/{HOSTILE}.csv", version_id="v", etag="e")
    batch = replace(finished_batch.BATCH, id=batch_id, job=MARKUP, source=source, reason=HOSTILE)
    chunk = Chunk(key=ChunkKey(batch_id, 0), start=0, end=1, first_line=2, expected_rows=2)
    item = chunk.to_item() | {"rows": number(2), "version": number(3), "pages": number(1), "remaining": number(0)}
    item |= {"failed": number(1), "succeeded": number(1), "done": bits(RowBits.first(2))}
    reason = f"ValueError: <b>bad</b> {HOSTILE}{MARKUP}"
    failed = RowOutcome(row=0, outcome=Outcome.FAILED, code=ReasonCode.RAISED, reason=reason, line=2, traceback=MARKUP)
    result = msgspec.Raw(msgspec.json.encode({MARKUP: MARKUP}))
    outcomes = [failed, RowOutcome(row=1, outcome=Outcome.SUCCEEDED, result=result, duration_ms=4)]
    found = markers(chunk.key, 2, outcomes, counted_at=finished_batch.AT, expires_at=finished_batch.EXPIRES_AT)
    stored = [stored_rows.StoredRow(row, 2 + row, [HOSTILE, MARKUP]) for row in range(2)]
    pages = stored_rows.to_items(chunk.key, [HOSTILE, MARKUP], stored, expires_at=finished_batch.EXPIRES_AT)
    ended = batch_item(batch, chunks=1, rows=2, failed=1, succeeded=1) | {"reason": text(HOSTILE)}
    return [
        ended,
        item | {"state": text(ChunkState.CLOSED)},
        *map(dict, pages),
        *(marker.to_item() for marker in found),
    ]
