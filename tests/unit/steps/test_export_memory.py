"""The memory of an export does not grow with the batch: neither of its parts nor of a failed.csv of every row."""

import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.files import sink
from chalicelib.files.form import Form
from chalicelib.files.sink import ObjectWriter
from chalicelib.results.chunk import ChunkResults
from chalicelib.steps.export_content import Counted, ExportContent
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import CHUNK_SK, ChunkKey, batch_pk, text
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.model.protocol import BATCH, content, ready
from tests.support.builders import RETRY, count_rows, failed, table

ROWS = 200
CHUNK = "".join(f"A{row},{row},2\n" for row in range(ROWS))
FEW, MANY = 8, 80
"""Chunks: more than are read ahead, and ten times as many."""


class _Parts:
    """A client of S3 that keeps no part."""

    def __getattr__(self, _: str) -> Any:
        return lambda **_: {"UploadId": "u", "ETag": "e", "VersionId": "v"}


class _Repeated(ExportContent):
    """Finds the same chunk, of which every row has failed, as often as it is asked."""

    def _read(self, batch: Batch, number: int) -> ChunkResults:
        del number
        return ExportContent._read(self, batch, 0)

    def _with_failures(self, export: Any) -> Iterator[Chunk]:
        chunk = Chunk.from_item(self.table.get(ChunkKey(BATCH, 0).pk, CHUNK_SK) or {})
        for _ in range(export):
            yield chunk


@pytest.fixture(scope="module")
def dynamodb() -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    made.items = {place: dict(item) for place, item in ready(CHUNK).items()}
    count_rows(made, ChunkKey(BATCH, 0), *[failed(row, f"no rate for {row}") for row in range(ROWS)])
    made.items[ChunkKey(BATCH, 0).pk, CHUNK_SK]["state"] = text("closed")
    return made


def _peak(dynamodb: MemoryDynamoDB, monkeypatch: pytest.MonkeyPatch, piece: str, chunks: int) -> int:
    """Return how many bytes are allocated at the most while a piece of so many chunks is written."""
    monkeypatch.setattr(sink, "PART_BYTES", 4_096)
    s3: Any = MemoryS3()
    s3.objects["inbox/offices/day.csv", "v1"] = content(CHUNK)
    found = _Repeated(table=table(dynamodb), s3=s3, retry=RETRY)
    batch = Batch.from_item(dynamodb.items[batch_pk(BATCH), "batch"])
    parts: Any = _Parts()
    writer = ObjectWriter(s3=parts, bucket="inbox", key="k", content_type="text/plain", retry=RETRY)
    counted = Counted()
    tracemalloc.start()
    try:
        if piece == "failed.csv":
            count: Any = chunks
            for data in found.failed_rows(batch, count, counted):
                writer.write(data)
        else:
            export: Any = SimpleNamespace(form=Form.JSONL, chunks_of=lambda _: range(chunks))
            for data in found.part(batch, export, 1, counted):
                writer.write(data)
        writer.complete()
        assert counted.failed == chunks * ROWS
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("piece", ["failed.csv", "a part"])
def test_ten_times_the_rows_take_the_same_memory(
    dynamodb: MemoryDynamoDB, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    _peak(dynamodb, monkeypatch, piece, FEW)  # what is allocated once, and kept
    small, large = (_peak(dynamodb, monkeypatch, piece, chunks) for chunks in (FEW, MANY))
    assert large < 1.3 * small
