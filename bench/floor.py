"""The floor: the writes that no design of this kind can do without, sent by one client that does nothing else.

Each valid row is a record (BatchWriteItem, 25 a request) and each row a marker (TransactWriteItems, 99 and a counter
a request). They are made beforehand, by Tally's own code, so that only the local AWS's time is measured.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.localaws import fresh
from chalicelib import jobs
from chalicelib.files.boundaries import split
from chalicelib.retry import Retry
from chalicelib.rows import RejectedRow
from chalicelib.steps.process import Processor
from chalicelib.store.items import Chunk, ChunkKey, Marker, Outcome, Record
from chalicelib.store.ledger import Ledger
from chalicelib.store.table import Table
from chalicelib.transport.messages import WorkMessage, WorkRow
from tests.support.tables import make_table

_JOB = "transactions"
_BATCH = "transactions-0123456789abcdef0123"
_RETENTION = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What the unavoidable writes of a file took."""

    rows: int
    seconds: float
    requests: int


class _Running(Table):
    """Answers the one read of ``Processor``: the batch is not held."""

    def get(self, pk: str, sk: str) -> Any:  # noqa: ARG002
        return {"pk": {"S": pk}, "status": {"S": "running"}, "header": {"L": []}}


def measure(sample: Path, folder: Path, *, chunk_rows: int, chunk_bytes: int) -> Floor:
    """Write a file's records and markers into an empty table and return how long that took."""
    chunks = list(_chunks(sample, chunk_rows, chunk_bytes))
    with fresh(folder, "floor") as stage:
        dynamodb = stage.dynamodb
        make_table(dynamodb, stage.resources.table)
        table = Table(dynamodb=dynamodb, name=stage.resources.table, retry=Retry())
        ledger = Ledger(table=table, retention=_RETENTION)
        table.write_all(chunk.to_item() for chunk, _, _ in chunks)
        expires_at = int((datetime.now(UTC) + _RETENTION).timestamp())
        items = [[record.to_item(expires_at=expires_at) for record in records] for _, records, _ in chunks]
        requests = 0
        began = time.perf_counter()
        for (chunk, _, markers), chunk_items in zip(chunks, items, strict=True):
            table.write_all(chunk_items)
            ledger.record(chunk.key, markers)
            requests += -(-len(chunk_items) // 25) + -(-len(markers) // 99)
        seconds = time.perf_counter() - began
    return Floor(rows=sum(len(markers) for _, _, markers in chunks), seconds=seconds, requests=requests)


def _chunks(sample: Path, chunk_rows: int, chunk_bytes: int) -> Iterator[tuple[Chunk, list[Record], list[Marker]]]:
    job = jobs.require(_JOB)
    with sample.open("rb") as lines:
        header = job.schema.header(lines.readline().decode().rstrip("\r\n").split(","), 1)
        start = lines.tell()
        lines.seek(0)
        data = lines.read()
    processor = Processor(
        table=_Running(dynamodb=None, name="", retry=Retry()),  # type: ignore[arg-type]
        sqs=None,  # type: ignore[arg-type]
        queue_url="",
        finished_queue_url="",
        retry=Retry(),
    )
    ranges = split([data[start:]], max_rows=chunk_rows, max_bytes=chunk_bytes, offset=start, first_line=2)
    for number, found in enumerate(ranges):
        key = ChunkKey(_BATCH, number)
        chunk = Chunk(key=key, start=found.start, end=found.end, first_line=found.first_line, expected_rows=found.rows)
        records: list[Record] = []
        markers: list[Marker] = []
        for row in job.schema.read(data[found.start : found.end], header, found.first_line):
            if isinstance(row, RejectedRow):
                markers.append(Marker(chunk=key, row=row.row, outcome=Outcome.REJECTED, error=row.reason[:1000]))
            else:
                records.append(Record(chunk=key, row=row.row, line=row.line, data=row.data))
        work = WorkMessage(
            _BATCH, [WorkRow(number, record.row, _raw(record.data), attempt=job.attempts) for record in records]
        )
        for finished in processor.process(work).finished:
            outcome = finished.outcome
            marker = Marker(chunk=key, row=outcome.row, outcome=outcome.outcome, error=outcome.error, ms=outcome.ms)
            markers.append(replace(marker, result=bytes(outcome.result).decode()))
        yield chunk, records, markers


def _raw(data: str) -> Any:
    import msgspec  # noqa: PLC0415

    return msgspec.Raw(data.encode())
