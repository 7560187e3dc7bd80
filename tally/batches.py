"""Reading batches: the item, its chunks, what failed. Reads only; never a scan."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.items import (
    BATCH_SK,
    CHUNK_SK,
    LISTING,
    MARKER_PREFIX,
    Batch,
    Chunk,
    ChunkKey,
    Counts,
    Item,
    Marker,
    Outcome,
    batch_pk,
    key,
    text,
)
from tally.errors import ExitCode, OperatorError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_KEYS = 100
"""BatchGetItem takes 100 keys."""
_MOST_TRIES = 10


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
        answer = self.dynamodb.get_item(
            TableName=self.table, Key=key(batch_pk(batch_id), BATCH_SK), ConsistentRead=True
        )
        return Batch.from_item(answer["Item"]) if "Item" in answer else None

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
        return Chunk.from_item(self._get([key(chunk.pk, CHUNK_SK)])[0])

    def chunks(self, batch: Batch) -> dict[int, Chunk]:
        """Return every chunk of a batch that exists, by number."""
        return self._open_chunks(batch, {})

    def newest(self, limit: int) -> list[Batch]:
        """Return the newest batches, newest first."""
        keys: list[Item] = []
        page: dict[str, Any] = {}
        while len(keys) < limit:
            answer = self.dynamodb.query(
                TableName=self.table,
                IndexName="batches",
                KeyConditionExpression="listing = :listing",
                ExpressionAttributeValues={":listing": text(LISTING)},
                ScanIndexForward=False,
                Limit=limit - len(keys),
                **page,
            )
            keys += [{"pk": item["pk"], "sk": item["sk"]} for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        found = {batch.id: batch for batch in map(Batch.from_item, self._get(keys))}
        ids = [item["pk"]["S"].removeprefix("batch#") for item in keys]
        return [found[batch_id] for batch_id in ids if batch_id in found]

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
            stop = start + _MOST_KEYS if batch.chunks is None else min(start + _MOST_KEYS, batch.chunks)
            numbers = [number for number in range(start, stop) if number not in settled]
            items = self._get([key(ChunkKey(batch.id, number).pk, CHUNK_SK) for number in numbers]) if numbers else []
            found |= {chunk.key.number: chunk for chunk in map(Chunk.from_item, items)}
            if batch.chunks is None and len(items) < len(numbers):
                break
            start = stop
        return found

    def _get(self, keys: Sequence[Item]) -> list[dict[str, Any]]:
        """Get items, 100 keys to a request, in any order; those that do not exist are left out."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(keys), _MOST_KEYS):
            wanted: list[Any] = list(keys[start : start + _MOST_KEYS])
            for attempt in range(_MOST_TRIES):
                answer = self.dynamodb.batch_get_item(
                    RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}}
                )
                found += answer["Responses"].get(self.table, [])
                wanted = list(answer.get("UnprocessedKeys", {}).get(self.table, {"Keys": []})["Keys"])
                if not wanted:
                    break
                self.sleep(min(0.05 * 2**attempt, 2.0))
            else:
                raise OperatorError(
                    f"{self.table} did not answer for {len(wanted)} items: throttled, try again.",
                    code=ExitCode.UNEXPECTED,
                )
        return found


def _reopened(before: Batch, batch: Batch) -> bool:
    """Tell whether a redrive took counts back from a batch, also from one that had not ended."""
    return (
        before.attempt != batch.attempt
        or (before.chunks is not None and before.remaining < batch.remaining)
        or before.counts.failed > batch.counts.failed
    )
