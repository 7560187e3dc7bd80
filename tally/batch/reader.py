"""Read batches: the item, its chunks, failures. It only reads, and never scans."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chalicelib.clock import Clock, utc_now
from chalicelib.retry import Retry
from chalicelib.store.batch import Batch, Listing, is_known
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Export, Exports
from chalicelib.store.items import BATCH_SK, CHUNK_SK, ChunkKey, Counts, Item, batch_pk, waiting_sk
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.store.repository import Repository
from chalicelib.store.starts import Lost, lost_runs
from chalicelib.store.table import MAX_KEYS, Table
from chalicelib.store.waiting import Waiting
from tally.batch import chains
from tally.errors import ExitCode, OperatorError
from tally.exported.state import Results

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a batch.

    The counters of a batch change when a chunk closes, those of its chunks with each row. So an open batch is known by
    its chunks. An ended one is known by its item, and ``chunks`` is empty.
    """

    batch: Batch
    chunks: Mapping[int, Chunk]
    waiting: Mapping[int, Waiting] = field(default_factory=dict)
    """Rows that raised and wait for their next try, by chunk."""
    export: Export | None = None
    """The export of the last attempt, if the attempt has ended and an export was begun."""

    @property
    def found(self) -> int:
        """Rows that the planner found, so far if it is still planning."""
        return self.batch.expected_rows or sum(chunk.expected_rows for chunk in self.chunks.values())

    @property
    def counts(self) -> Counts:
        """Rows by outcome."""
        if self.batch.status.final:
            return self.batch.counts
        return sum((chunk.counts for chunk in self.chunks.values()), Counts())

    @property
    def rows_waiting(self) -> int:
        """Rows that wait for their next try."""
        return sum(len(noted.rows) for noted in self.waiting.values())

    @property
    def waiting_reason(self) -> str:
        """The reason in the chunk with the most waiting rows; empty if no row waits."""
        most = max(self.waiting.values(), key=lambda noted: len(noted.rows), default=None)
        return most.reason if most else ""

    @property
    def closed(self) -> int:
        """Closed chunks: all of them, once the batch has ended."""
        if self.batch.status.final:
            return self.batch.chunks or 0
        return sum(chunk.closed for chunk in self.chunks.values())

    def results(self, now: datetime) -> Results:
        """Return the state of the batch's results."""
        return Results(self.batch, self.export, now)

    def as_json(self, clock: Clock = utc_now) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        batch, results = self.batch, self.results(clock())
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
            "waiting": {"rows": self.rows_waiting, "reason": self.waiting_reason},
            "chunks": batch.chunks if batch.chunks is not None else len(self.chunks),
            "planned": batch.chunks is not None,
            "chunks_closed": self.closed,
            "attempt": batch.attempt,
            "created_at": batch.created_at,
            "completed_at": batch.completed_at,
            "results": results.as_json(),
            "rows_expire_at": results.rows_expire_at.isoformat(),
            **chains.as_json(batch),
        }


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest batches, newest first, and how many were left out because another version of Tally made them."""

    batches: list[Batch]
    of_other_versions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads one table; every read is consistent, so what was counted before the call is seen.

    A reader that is not ``patient`` does not retry; its caller does.
    """

    dynamodb: "DynamoDBClient"
    table: str
    sleep: Callable[[float], None] = time.sleep
    patient: bool = True

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None if there is none of that id."""
        return self.repository.find_batch(batch_id)

    def require(self, batch_id: str) -> Batch:
        """Return a batch; raises when there is none of that id."""
        batch = self.batch(batch_id)
        if batch is None:
            raise OperatorError(
                f"No batch {batch_id} in {self.table}", hint="`tally list` shows them.", code=ExitCode.USAGE
            )
        return batch

    def progress(self, batch_id: str, before: Progress | None = None) -> Progress | None:
        """Return the progress of a batch, or None if there is none of that id.

        Chunks that were closed ``before`` are not read again, unless a redrive has reopened some since.
        """
        batch = self.batch(batch_id)
        if batch is None:
            return None
        settled: list[Chunk] = []
        if before is not None and not batch.status.final and not reopened(before.batch, batch):
            settled = [chunk for chunk in before.chunks.values() if chunk.closed]
        (progress,) = self.progress_of([batch], settled)
        export = Exports(table=self._table).find(batch_id, batch.attempt) if batch.status.final else None
        return replace(progress, waiting=self.waiting(progress.chunks.values()), export=export)

    def progress_of(self, batches: Collection[Batch], settled: Iterable[Chunk] = ()) -> list[Progress]:
        """Return the progress of batches, in their order; reads the chunks of open ones that are not ``settled``."""
        under_way = [batch for batch in batches if not batch.status.final]
        found = self._read_chunks(under_way, settled)
        return [Progress(batch=batch, chunks=found.get(batch.id, {})) for batch in batches]

    def chunks(self, batch: Batch) -> dict[int, Chunk]:
        """Return every chunk of a batch that exists, by number."""
        return self._read_chunks([batch])[batch.id]

    def newest(self, limit: int) -> Newest:
        """Return the newest batches, open and ended."""
        # A set: between the two a batch may have gone from one list to the other.
        keys = {found for listing in Listing for found in self._table.newest(listing, limit=limit)}
        items = self._table.get_all(keys)
        batches = [Batch.from_item(item) for item in items if is_known(item)]
        newest = sorted(batches, key=lambda batch: batch.created_at, reverse=True)[:limit]
        return Newest(newest, of_other_versions=len(items) - len(batches))

    def batches(self, batch_ids: Iterable[str]) -> list[Batch]:
        """Return the batches that exist and that this version of Tally made."""
        items = self.items((batch_pk(batch_id), BATCH_SK) for batch_id in dict.fromkeys(batch_ids))
        return [Batch.from_item(item) for item in items if is_known(item)]

    def items(self, keys: Iterable[tuple[str, str]]) -> list[Item]:
        """Return the items that exist under these keys, in any order."""
        return self._table.get_all(keys)

    def ids(self, *listings: Listing) -> list[str]:
        """Return the id of every batch that is kept, newest first of the open ones, then of the ended ones.

        With ``listings`` only batches in these lists.
        """
        keys = (pk for listing in listings or Listing for pk, _ in self._table.newest(listing))
        return list(dict.fromkeys(pk.removeprefix(batch_pk("")) for pk in keys))

    def outcomes(self, chunk: ChunkKey) -> list[tuple[Marker, RowOutcome]]:
        """Return the outcomes of a chunk in row order, each with the marker that it is in."""
        found = [(marker, outcome) for marker in self.repository.markers(chunk) for outcome in marker.outcomes]
        return sorted(found, key=lambda each: each[1].row)

    def waiting(self, chunks: Iterable[Chunk]) -> dict[int, Waiting]:
        """Return the notes on rows that wait for their next try, by the number of the chunk."""
        open_chunks = {chunk.key.pk: chunk for chunk in chunks if chunk.undone}
        items = self._table.get_all((pk, waiting_sk(chunk.generation)) for pk, chunk in open_chunks.items())
        found: dict[int, Waiting] = {}
        for item in items:
            chunk, noted = open_chunks[item["pk"]["S"]], Waiting.from_item(item)
            rows = noted.rows & chunk.undone  # rows with an outcome by now no longer wait
            if rows:
                found[chunk.key.number] = replace(noted, rows=rows)
        return found

    def lost_runs(self, chunk: ChunkKey) -> list[Lost]:
        """Return the messages of a chunk over which runs seem to have died, in any order."""
        return lost_runs(self._table, chunk)

    @property
    def repository(self) -> Repository:
        """The store of single batches and chunks."""
        return Repository(table=self._table)

    def _read_chunks(self, batches: Collection[Batch], settled: Iterable[Chunk] = ()) -> dict[str, dict[int, Chunk]]:
        """Return the chunks of batches, by batch and number; those that are ``settled`` are not read again."""
        found: dict[str, dict[int, Chunk]] = {batch.id: {} for batch in batches}
        for chunk in settled:
            found[chunk.key.batch_id][chunk.key.number] = chunk

        def read(keys: Iterable[ChunkKey]) -> bool:
            """Read the chunks that are missing; tells whether each of them exists."""
            wanted = [key for key in keys if key.number not in found[key.batch_id]]
            items = self._table.get_all((key.pk, CHUNK_SK) for key in wanted)
            for chunk in map(Chunk.from_item, items):
                found[chunk.key.batch_id][chunk.key.number] = chunk
            return len(items) == len(wanted)

        # In one go, so that many small batches share a request.
        read(ChunkKey(batch.id, number) for batch in batches for number in range(batch.chunks or 0))
        for batch in batches:
            start = 0
            # The number of chunks is not known while a batch is planned: read until one is missing.
            while batch.chunks is None and read(ChunkKey(batch.id, start + number) for number in range(MAX_KEYS)):
                start += MAX_KEYS
        return found

    @property
    def _table(self) -> Table:
        seconds = math.inf if self.patient else 0.0
        retry = Retry(sleep=self.sleep, remaining_seconds=lambda: seconds)
        return Table(dynamodb=self.dynamodb, name=self.table, retry=retry)


def reopened(before: Batch, batch: Batch) -> bool:
    """Tell whether a redrive may have taken counts back since ``before``, whether or not the batch had ended."""
    return (
        before.attempt != batch.attempt
        or (before.chunks is not None and before.remaining < batch.remaining)
        or before.counts.failed > batch.counts.failed
    )
