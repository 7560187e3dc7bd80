"""Dispatch: the outbox. What was written to the table is what gets sent: chunks to ingest, rows to work."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from chalicelib.items import CHUNK_SK, ROW_PREFIX, Chunk, Record
from chalicelib.messages import MAX_PART_BYTES, ChunkMessage, WorkMessage, WorkRow, encode, encoded_size, pack
from chalicelib.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.streams import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """How much was sent on: chunks to ingest, rows in so many messages to work."""

    chunks: int = 0
    rows: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Sends messages for new items."""

    sqs: "SQSClient"
    ingest_queue_url: str
    work_queue_url: str
    pack_rows: int
    retry: "Retry"

    def dispatch(self, changes: "Iterable[Change]") -> Dispatched:
        """Send a message for every new chunk and every new row, other changes being none of its business.

        When it raises, or dies, the stream delivers all of it again and some messages are sent twice, which every
        consumer takes.
        """
        chunks: list[Chunk] = []
        records: dict[str, list[Record]] = defaultdict(list)
        for change in changes:
            if not change.inserted:
                continue
            if change.sk == CHUNK_SK:
                chunks.append(Chunk.from_item(change.new))
            elif change.sk.startswith(ROW_PREFIX):
                record = Record.from_item(change.new)
                records[record.chunk.batch_id].append(record)
        bodies = [encode(ChunkMessage(chunk.key.batch_id, chunk.key.number)) for chunk in chunks]
        send(self.sqs, self.ingest_queue_url, bodies, self.retry)
        work = [body for batch, rows in records.items() for body in self.work_bodies(batch, rows)]
        send(self.sqs, self.work_queue_url, work, self.retry)
        return Dispatched(chunks=len(chunks), rows=sum(map(len, records.values())), messages=len(work))

    def work_bodies(self, batch_id: str, records: Iterable[Record]) -> list[str]:
        """Pack the rows of one batch into as few messages as they fit in."""
        packs = pack(map(_work_row, records), size=encoded_size, most=self.pack_rows)
        return [encode(WorkMessage(batch_id, rows)) for rows in packs]


def _work_row(record: Record) -> WorkRow:
    whole = WorkRow(record.chunk.number, record.row, msgspec.Raw(record.data.encode()))
    return whole if encoded_size(whole) <= MAX_PART_BYTES else WorkRow(record.chunk.number, record.row)
