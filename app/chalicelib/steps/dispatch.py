"""Dispatch, the outbox: it sends what was written to the table, chunks to read and chunks to process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.store.chunk import Chunk, ChunkState, is_chunk
from chalicelib.transport.messages import ChunkMessage, WorkMessage, encode
from chalicelib.transport.queues import send

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.retry import Retry
    from chalicelib.transport.streams import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """The chunks that were sent to be read, the rows to be processed, and the batches that they are of."""

    chunks: int = 0
    rows: int = 0
    batches: Sequence[str] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Sends chunks to their queues."""

    sqs: "SQSClient"
    ingest_queue_url: str
    work_queue_url: str
    heavy_queue_url: str
    retry: "Retry"

    def dispatch(self, changes: "Iterable[Change]") -> Dispatched:
        """Send what new images of chunks ask for; an image that asks for nothing is passed over.

        When it raises, or dies, the stream delivers all of it again and some messages are sent twice, which every
        consumer takes.
        """
        chunks = (Chunk.from_item(change.new) for change in changes if is_chunk(change.new))
        # Of images that ask: a late success that is counted right after a redrive must not hide what that asked for.
        asking = {chunk.key: chunk for chunk in chunks if chunk.state in {ChunkState.PLANNED, ChunkState.READY}}
        return self.send(asking.values())

    def send(self, chunks: Iterable[Chunk]) -> Dispatched:
        """Send what chunks of any state lack: to be read, or the rows without an outcome."""
        unread: list[Chunk] = []
        work: list[str] = []
        heavy: list[str] = []
        rows = 0
        batches: set[str] = set()
        for chunk in chunks:
            batches.add(chunk.key.batch_id)
            if chunk.to_be_read:  # ingest makes it ready then, and that sends the rows that it had before too
                unread.append(chunk)
                continue
            rows += len(chunk.undone)
            if chunk.undone - chunk.heavy:
                work.append(_work(chunk, None))
            heavy += [_work(chunk, [row]) for row in chunk.undone & chunk.heavy]
        bodies = [encode(ChunkMessage(chunk.key.batch_id, chunk.key.number, chunk.generation)) for chunk in unread]
        send(self.sqs, self.ingest_queue_url, bodies, self.retry)
        send(self.sqs, self.work_queue_url, work, self.retry)
        send(self.sqs, self.heavy_queue_url, heavy, self.retry)
        return Dispatched(chunks=len(bodies), rows=rows, batches=sorted(batches))


def _work(chunk: Chunk, rows: list[int] | None) -> str:
    key = chunk.key
    return encode(WorkMessage(batch=key.batch_id, chunk=key.number, generation=chunk.generation, rows=rows))
