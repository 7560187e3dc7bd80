"""Reading batches: the item, its chunks, what failed. Reads only; never a scan."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.retry import Retry
from chalicelib.store.batch import Batch, Listing
from chalicelib.store.items import (
    BATCH_SK,
    CHUNK_SK,
    MARKER_PREFIX,
    Chunk,
    ChunkKey,
    Counts,
    Marker,
    Outcome,
    batch_pk,
    text,
)
from chalicelib.store.table import MAX_KEYS, Table
from tally.errors import ExitCode, OperatorError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a batch stands: its item, and the chunks that are known, whose counters move first."""

    batch: Batch
    chunks: Mapping[int, Chunk]

    @property
    def found(self) -> int:
        """Rows that the planner found, so far while it is planning."""
        return self.batch.expected_rows or sum(chunk.expected_rows for chunk in self.chunks.values())

    @property
    def counts(self) -> Counts:
        """Rows by outcome; a batch's own counters move only when a chunk closes."""
        return sum((chunk.counts for chunk in self.chunks.values()), Counts())

    @property
    def closed(self) -> int:
        """Chunks that are settled."""
        return sum(chunk.closed for chunk in self.chunks.values())

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        batch = self.batch
        return {
            "id": batch.id,
            "job": batch.job,
            "status": batch.status.value,
            "hold": batch.hold.value if batch.hold else "",
            "reason": batch.reason,
            "source": {"bucket": batch.source.bucket, "key": batch.source.key, "version": batch.source.version},
            "size": batch.size,
            "unpacking": {"bytes_read": batch.unpacking.read} if batch.unpacking else None,
            "rows": self.found,
            "succeeded": self.counts.succeeded,
            "failed": self.counts.failed,
            "rejected": self.counts.rejected,
            "chunks": batch.chunks if batch.chunks is not None else len(self.chunks),
            "planned": batch.chunks is not None,
            "chunks_closed": self.closed,
            "attempt": batch.attempt,
            "created_at": batch.created_at,
            "completed_at": batch.completed_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads one table; every read is consistent, so what was counted before the call is seen."""

    dynamodb: "DynamoDBClient"
    table: str
    sleep: Callable[[float], None] = time.sleep

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None while there is none of that id."""
        item = self._table.get(batch_pk(batch_id), BATCH_SK)
        return Batch.from_item(item) if item else None

    def require(self, batch_id: str) -> Batch:
        """Return a batch; raises when there is none of that id."""
        batch = self.batch(batch_id)
        if batch is None:
            raise OperatorError(f"No batch {batch_id} in {self.table}: `tally list` shows them.", code=ExitCode.USAGE)
        return batch

    def progress(self, batch_id: str, before: Progress | None = None) -> Progress | None:
        """Return where a batch stands, or None while there is none of that id.

        Chunks that were closed ``before`` are not read again while the batch is under way, unless a redrive has
        reopened some since. What is returned of a batch that has ended is read anew.
        """
        batch = self.batch(batch_id)
        if batch is None:
            return None
        settled = {}
        if before is not None and not batch.status.final and not _reopened(before.batch, batch):
            settled = {number: chunk for number, chunk in before.chunks.items() if chunk.closed}
        return Progress(batch=batch, chunks=settled | self._open_chunks(batch, settled))

    def chunk(self, chunk: ChunkKey) -> Chunk:
        """Return a chunk as it is now."""
        (item,) = self._table.get_all([(chunk.pk, CHUNK_SK)])
        return Chunk.from_item(item)

    def chunks(self, batch: Batch) -> dict[int, Chunk]:
        """Return every chunk of a batch that exists, by number."""
        return self._open_chunks(batch, {})

    def newest(self, limit: int) -> list[Batch]:
        """Return the newest batches, open and ended, newest first."""
        # A set: between the two a batch may have gone from one list to the other.
        keys = {found for listing in Listing for found in self._table.newest(listing, limit=limit)}
        batches = map(Batch.from_item, self._table.get_all(keys))
        return sorted(batches, key=lambda batch: batch.created_at, reverse=True)[:limit]

    def markers(self, chunk: ChunkKey, outcome: Outcome) -> Iterator[Marker]:
        """Yield the markers of a chunk that carry an outcome, in row order, page by page."""
        for items in self.pages(
            chunk, MARKER_PREFIX, FilterExpression="outcome = :outcome", values={":outcome": text(outcome)}
        ):
            yield from map(Marker.from_item, items)

    def pages(
        self, chunk: ChunkKey, prefix: str, *, values: Mapping[str, Any] | None = None, **options: Any
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the items of a chunk whose sort key has the prefix, a page of 1 MB at a time."""
        page: dict[str, Any] = {}
        while True:
            answer = self.dynamodb.query(
                TableName=self.table,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
                ExpressionAttributeValues={":pk": text(chunk.pk), ":prefix": text(prefix), **(values or {})},
                ConsistentRead=True,
                **options,
                **page,
            )
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _open_chunks(self, batch: Batch, settled: Mapping[int, Chunk]) -> dict[int, Chunk]:
        """Read the chunks that are not settled; while planning, on and on until one is missing."""
        found: dict[int, Chunk] = {}
        start = 0
        while batch.chunks is None or start < batch.chunks:
            stop = start + MAX_KEYS if batch.chunks is None else min(start + MAX_KEYS, batch.chunks)
            numbers = [number for number in range(start, stop) if number not in settled]
            items = self._table.get_all((ChunkKey(batch.id, number).pk, CHUNK_SK) for number in numbers)
            found |= {chunk.key.number: chunk for chunk in map(Chunk.from_item, items)}
            if batch.chunks is None and len(items) < len(numbers):
                break
            start = stop
        return found

    @property
    def _table(self) -> Table:
        return Table(dynamodb=self.dynamodb, name=self.table, retry=Retry(sleep=self.sleep))


def _reopened(before: Batch, batch: Batch) -> bool:
    """Tell whether a redrive took counts back from a batch, also from one that had not ended."""
    return (
        before.attempt != batch.attempt
        or (before.chunks is not None and before.remaining < batch.remaining)
        or before.counts.failed > batch.counts.failed
    )
