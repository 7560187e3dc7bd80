"""The state of a batch's results: their place, and until when they and the rows are kept, by the ledger."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import Export


class State(StrEnum):
    """The state of the results of a batch's attempt."""

    LATER = "later"  # it has not ended, or its end is not announced yet
    NONE = "none"  # the file was rejected, or the job or the stage writes no results
    WRITING = "writing"  # some files are missing, or the manifest
    WRITTEN = "written"  # every file and the manifest are there
    EXPIRED = "expired"  # they were deleted, as old as the stage keeps them


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a batch's attempt at a moment; ``export`` is None if none was begun."""

    batch: Batch
    export: Export | None
    now: datetime

    @property
    def state(self) -> State:
        """The state."""
        batch, export = self.batch, self.export
        if batch.status is BatchStatus.REJECTED:
            return State.NONE
        if export is None:
            return State.NONE if batch.status.final and batch.published_attempt >= batch.attempt else State.LATER
        if not export.exported_at:
            return State.WRITING
        until = export.results_expire_at
        return State.EXPIRED if until and datetime.fromisoformat(until) <= self.now else State.WRITTEN

    @property
    def place(self) -> str:
        """Their folder in the bucket; empty if there is none."""
        return f"s3://{self.batch.source.bucket}/{self.export.prefix}" if self.export else ""

    @property
    def rows_expire_at(self) -> datetime:
        """The time from which the rows of the ledger may be deleted."""
        return datetime.fromtimestamp(self.batch.expires_at, UTC)

    def table_rows(self) -> list[tuple[str, str]]:
        """Return the lines about results of `tally status`."""
        said = self._said()
        return [*([("results", said)] if said else []), ("kept", self._kept())]

    def next_step(self) -> str:
        """Return how to get the results; empty if there is no way."""
        match self.state:
            case State.WRITTEN:
                return f"`tally results {self.batch.id}` fetches the results"
            case State.WRITING:
                return f"`tally results {self.batch.id}` waits for the results and fetches them"
            case _:
                return ""

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        export = self.export
        return {
            "state": self.state.value,
            "files": len(export.pieces) if export else 0,
            "files_written": export.written if export else 0,
            "exported_at": export.exported_at if export else "",
            "place": self.place,
            "expires_at": (export.results_expire_at or None) if export else None,
        }

    def _said(self) -> str:
        export = self.export
        match self.state:
            case State.WRITING if export:
                return f"writing, {export.written:,} of {len(export.pieces):,} files"
            case State.WRITTEN if export:
                return f"{self.place}, written {export.exported_at[:16].replace('T', ' ')} UTC"
            case State.EXPIRED:
                return "expired"
            case State.NONE if self.batch.status is not BatchStatus.REJECTED:
                return "none: the job says EXPORT = False, or the stage has export = false"
            case _:
                return ""

    def _kept(self) -> str:
        rows = f"rows {self._until(self.rows_expire_at)}"
        match self.state:
            case State.WRITING | State.WRITTEN | State.EXPIRED if self.export:
                until = self.export.results_expire_at
                results = self._until(datetime.fromisoformat(until)) if until else "until somebody deletes them"
                return f"{rows}, results {results}"
            case _:
                return rows

    def _until(self, moment: datetime) -> str:
        return f"{'until' if moment > self.now else 'expired'} {moment:%Y-%m-%d}"
