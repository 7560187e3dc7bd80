"""The floor: the writes that every design of this kind needs, sent by one client that does nothing else.

For each chunk the valid rows are an item (BatchWriteItem), and the outcomes a marker, put in the transaction that
changes the chunk. Both are made beforehand by Tally's own code, so that only the local AWS's time is measured. The job
alone is the time of one process on one core for the file's work, without any AWS.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench import rows
from bench.localaws import fresh
from chalicelib import jobs
from chalicelib.retry import Retry
from chalicelib.rows import ValidRow
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey
from chalicelib.store.ledger import Finished, Ledger, Seen
from chalicelib.store.rows import to_items
from chalicelib.store.table import Table
from tests.support.tables import make_table

_BATCH = "transactions-0123456789abcdef0123"
_RETENTION = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The cost of the unavoidable writes of a file."""

    seconds: float
    requests: int


def measure(file: Path, folder: Path, *, chunk_rows: int, chunk_bytes: int) -> Floor:
    """Write a file's rows and markers into an empty table; returns the cost."""
    expires_at = int((datetime.now(UTC) + _RETENTION).timestamp())
    columns = jobs.require(rows.JOB).schema.columns
    chunks: list[Chunk] = []
    writes = []
    for number, part in enumerate(rows.parts(file, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes)):
        stored, outcomes = rows.outcomes(part)
        key = ChunkKey(_BATCH, number)
        chunk = Chunk(key=key, start=0, end=1, first_line=part.first_line, expected_rows=len(outcomes))
        chunks.append(chunk)
        counted = [Finished(chunk.generation, outcome) for outcome in outcomes]
        writes.append((chunk, to_items(key, columns, stored, expires_at=expires_at), counted))
    with fresh(folder, "floor") as stage:
        make_table(stage.dynamodb, stage.resources.table)
        table = Table(dynamodb=stage.dynamodb, name=stage.resources.table, retry=Retry())
        ledger = Ledger(table=table, retention=_RETENTION)
        table.write_all(chunk.to_item() for chunk in chunks)
        began = time.perf_counter()
        for chunk, pages, counted in writes:
            table.write_all(pages)
            ledger.record(chunk.key, counted, Seen.of(chunk))
        seconds = time.perf_counter() - began
    return Floor(seconds=seconds, requests=2 * len(writes))


def job_alone(file: Path, *, chunk_rows: int, chunk_bytes: int) -> float:
    """Return the seconds that parsing, validating, processing and encoding every row of a file take on one core."""
    process = jobs.require(rows.JOB).process
    encode = msgspec.json.Encoder().encode
    began = time.perf_counter()
    for part in rows.parts(file, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes):
        for row in rows.read(part):
            if isinstance(row, ValidRow):
                encode(process(row.parsed))
    return time.perf_counter() - began
