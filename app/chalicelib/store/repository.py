"""Loads batches, chunks and rows: ``find`` for an item that may be missing, ``require`` for one that must exist."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from chalicelib.errors import NotFoundError
from chalicelib.store import rows
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, MARKER_PREFIX, ChunkKey, Item, batch_pk, rows_sk, text_of
from chalicelib.store.marker import Marker

if TYPE_CHECKING:
    from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk as a worker needs it: its batch, the chunk, and a way to its rows."""

    batch: Batch
    chunk: Chunk
    stored: Callable[[], Iterator[tuple[Sequence[str], rows.StoredRow]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Loads from one table, consistently: what was written before the call is seen."""

    table: "Table"

    def find_batch(self, batch_id: str) -> Batch | None:
        """Return a batch, None if there is none."""
        item = self.table.get(batch_pk(batch_id), BATCH_SK)
        return Batch.from_item(item) if item else None

    def require_batch(self, batch_id: str) -> Batch:
        """Return a batch; raises NotFoundError."""
        batch = self.find_batch(batch_id)
        if batch is None:
            raise NotFoundError(f"there is no batch {batch_id}: was it deleted?")
        return batch

    def find_chunk(self, key: ChunkKey) -> Chunk | None:
        """Return a chunk, None if there is none."""
        item = self.table.get(key.pk, CHUNK_SK)
        return Chunk.from_item(item) if item else None

    def require_chunk(self, key: ChunkKey) -> Chunk:
        """Return a chunk; raises NotFoundError."""
        chunk = self.find_chunk(key)
        if chunk is None:
            raise NotFoundError(f"there is no chunk {key.pk}: was its batch deleted?")
        return chunk

    def chunks(self, batch_id: str, numbers: Iterable[int]) -> list[Chunk]:
        """Return those of the chunks that exist, in order, 100 to a request."""
        items = self.table.get_all((ChunkKey(batch_id, number).pk, CHUNK_SK) for number in numbers)
        return sorted(map(Chunk.from_item, items), key=lambda chunk: chunk.key)

    def markers(self, key: ChunkKey, *, data: bool = True) -> list[Marker]:
        """Return the markers of a chunk in order; without ``data`` they say which rows have which outcome only."""
        projection = "" if data else "pk, sk, succeeded, #failed, rejected, counted_at, expires_at"
        return list(map(Marker.from_item, self.table.query(key.pk, MARKER_PREFIX, projection=projection)))

    def require_with_batch(self, key: ChunkKey) -> tuple[Batch, Chunk]:
        """Return a chunk and its batch, in one request; raises NotFoundError."""
        work = self.require_work(key, with_rows=False)
        return work.batch, work.chunk

    def require_work(self, key: ChunkKey, *, with_rows: bool = True) -> Work:
        """Return a chunk as a worker needs it, in one request unless its rows take several items.

        Raises NotFoundError, and FormatError for a batch of another version of Tally.
        """
        wanted = [(batch_pk(key.batch_id), BATCH_SK), (key.pk, CHUNK_SK)]
        if with_rows:
            wanted.append((key.pk, rows_sk(0)))
        found: dict[str, Item] = {item["sk"]["S"]: item for item in self.table.get_all(wanted)}
        if not found.keys() >= {BATCH_SK, CHUNK_SK}:
            raise NotFoundError(f"{key.pk} is not in the table: was its batch deleted?")
        batch = Batch.from_item(found[BATCH_SK])  # before the chunk, which of another format cannot be read
        chunk = Chunk.from_item(found[CHUNK_SK])
        first = [found[rows_sk(0)]] if rows_sk(0) in found else []

        def stored() -> Iterator[tuple[Sequence[str], rows.StoredRow]]:
            others = self.table.get_all((key.pk, rows_sk(page)) for page in range(1, chunk.pages))
            # In order: a row that was corrected is on a later page once more.
            return rows.from_items(chain(first, sorted(others, key=lambda item: text_of(item, "sk"))))

        return Work(batch, chunk, stored)
