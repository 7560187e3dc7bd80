"""Dispatch: the outbox. What was written to the table is what gets sent: new chunks, and redriven rows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from chalicelib.store.items import CHUNK_SK, MARKER_PREFIX, Chunk, ChunkKey, Item, Marker, Outcome, Record, row_sk
from chalicelib.transport.messages import MAX_PART_BYTES, ChunkMessage, WorkMessage, WorkRow, encode, encoded_size, pack
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.store.table import Table
    from chalicelib.transport.streams import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """How much was sent on, and of which batches."""

    chunks: int = 0
    rows: int = 0
    batches: Sequence[str] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Sends chunks and rows to their queues."""

    table: "Table"
    sqs: "SQSClient"
    ingest_queue_url: str
    work_queue_url: str
    heavy_queue_url: str
    pack_rows: int
    retry: "Retry"

    def dispatch(self, changes: "Iterable[Change]") -> Dispatched:
        """Send a message for every new chunk and every row whose failure was taken back.

        New rows are none of its business: ``ingest`` sends those of a chunk together, once they are durable.

        When it raises, or dies, the stream delivers all of it again and some messages are sent twice, which every
        consumer takes.
        """
        chunks: list[ChunkKey] = []
        redriven: list[Marker] = []
        for change in changes:
            if change.removed and _is_failure(change.old):
                redriven.append(Marker.from_item(change.old))
            elif change.inserted and change.sk == CHUNK_SK:
                chunks.append(Chunk.from_item(change.new).key)
        records, unread = self._look_up(redriven)
        chunks += unread
        batches = {chunk.batch_id for chunk in chunks} | {marker.chunk.batch_id for marker in redriven}
        return Dispatched(chunks=self.send_chunks(chunks), rows=self.send_records(records), batches=sorted(batches))

    def send_chunks(self, chunks: Sequence[ChunkKey]) -> int:
        """Ask ingest for chunks; returns how many."""
        bodies = [encode(ChunkMessage(chunk.batch_id, chunk.number)) for chunk in chunks]
        return send(self.sqs, self.ingest_queue_url, bodies, self.retry)

    def send_records(self, records: Iterable[Record]) -> int:
        """Ask for rows to be processed, heavy ones one by one; returns how many."""
        light: dict[str, list[Record]] = defaultdict(list)
        heavy: list[str] = []
        for record in records:
            if record.heavy:
                heavy += self.work_bodies(record.chunk.batch_id, [record])
            else:
                light[record.chunk.batch_id].append(record)
        work = [body for batch, rows in light.items() for body in self.work_bodies(batch, rows)]
        send(self.sqs, self.work_queue_url, work, self.retry)
        send(self.sqs, self.heavy_queue_url, heavy, self.retry)
        return len(heavy) + sum(map(len, light.values()))

    def work_bodies(self, batch_id: str, records: Iterable[Record]) -> list[str]:
        """Pack the rows of one batch into as few messages as they fit in."""
        packs = pack(map(_work_row, records), size=encoded_size, most=self.pack_rows)
        return [encode(WorkMessage(batch_id, rows)) for rows in packs]

    def _look_up(self, markers: Iterable[Marker]) -> tuple[list[Record], list[ChunkKey]]:
        """Return the records of rows that are to run again, and the chunks of those that have none.

        Ingest reads such a chunk again, or says once more why it cannot.
        """
        wanted = {(marker.chunk.pk, row_sk(marker.row)): marker for marker in markers}
        items = self.table.get_all(wanted)
        found = {(item["pk"]["S"], item["sk"]["S"]) for item in items}
        unread = {marker.chunk for place, marker in wanted.items() if place not in found}
        return [Record.from_item(item) for item in items], sorted(unread)


def _is_failure(item: Item) -> bool:
    return bool(item["sk"]["S"].startswith(MARKER_PREFIX) and item["outcome"]["S"] == Outcome.FAILED)


def _work_row(record: Record) -> WorkRow:
    whole = WorkRow(record.chunk.number, record.row, msgspec.Raw(record.data.encode()))
    return whole if encoded_size(whole) <= MAX_PART_BYTES else WorkRow(record.chunk.number, record.row)
