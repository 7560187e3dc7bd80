"""The cost of writing results as files: each tried chunk is written as a part of its own, and discarded."""

import time
from typing import Any

from chalicelib.jobs import Job
from chalicelib.results.chunk import IncompleteError
from chalicelib.retry import Retry
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.steps.begin_export import CHUNKS_PER_PART, columns_of
from chalicelib.steps.export_content import Counted
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Export
from tally.batch.export_use import ExportUse
from tally.testing.configuration import default


class TrialExport:
    """Adds up bytes and seconds of parts; nothing for a job with ``EXPORT = False``."""

    def __init__(self, job: Job, settings: Settings, table: Any, s3: Any) -> None:
        clients = {"dynamodb": table, "s3": s3}  # a discarded part needs no other service
        services = Services(settings=settings, retry=Retry(sleep=lambda _: None), client=clients.get)
        self._job = job
        self._content = services.exporter.content
        self.size = self.rows = self.chunks = self.with_failures = 0
        self.seconds = 0.0

    def take(self, batch: Batch, chunk: Chunk) -> None:
        """Write the results of a chunk, if all of its rows were tried."""
        if self._job.export is None:
            return
        columns = columns_of(self._job, batch)
        export = Export(
            batch_id=batch.id,
            attempt=batch.attempt,
            prefix="",
            form=self._job.export,
            status=batch.status,
            completed_at="",
            counts=chunk.counts,
            chunks=chunk.key.number + 1,
            chunks_per_part=1,
            inputs=columns.inputs,
            fields=columns.fields,
        )
        began = time.perf_counter()
        try:
            size = sum(map(len, self._content.part(batch, export, chunk.key.number + 1, Counted())))
        except IncompleteError:
            return
        self.seconds += time.perf_counter() - began
        self.size += size
        self.rows += chunk.expected_rows
        self.chunks += 1
        self.with_failures += bool(chunk.counts.failed or chunk.counts.rejected)

    def of(self, *, chunks: int, rows: int, partition_units: float, failed_bytes: float) -> ExportUse | None:
        """Return the use of the export of so many chunks and rows; None if nothing is written."""
        if self._job.export is None:
            return None
        size = self.size * rows / self.rows if self.rows else 0.0
        return ExportUse.of(
            parts=-(-chunks // CHUNKS_PER_PART),
            chunks=chunks,
            with_failures=round(chunks * self.with_failures / self.chunks) if self.chunks else 0,
            form=self._job.export,
            read_units_of_chunk=partition_units,
            sizes=[round(size), round(failed_bytes)],
            days=default("results_retention_days"),
        )
