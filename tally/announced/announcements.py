"""The events of batches, read from the table: the same details, by the same ids, as the event bus carried."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from chalicelib.events.detail import Detail, DetailType, Ended, ended, exported
from chalicelib.store.batch import Batch, Listing
from chalicelib.store.exports import Export, export_sk
from chalicelib.store.items import batch_pk
from tally.batch.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An event that was published: ``at`` is when its cause was stored, mostly less than a second before."""

    at: datetime
    detail: Detail

    @property
    def kind(self) -> DetailType:
        """The kind of the event."""
        return self.detail.TYPE

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {"at": self.at.isoformat(), "detail_type": self.kind.value, "detail": msgspec.to_builtins(self.detail)}

    @property
    def line(self) -> str:
        """The event in one line, for people."""
        said = self.detail
        parts = [f"{said.succeeded:,} succeeded", f"{said.failed:,} failed", f"{said.rejected:,} rejected"]
        counts = f"{said.rows:,} rows: {', '.join(parts)}"
        match self.kind:
            case DetailType.REJECTED if isinstance(said, Ended):
                counts = said.reason
            case DetailType.STOPPED:
                counts = f"{getattr(said, 'stopped_by', '')}; {counts}"
            case DetailType.EXPORTED:
                counts = f"{counts}; {getattr(said, 'prefix', '')}"
        attempt = f" attempt {said.attempt}" if said.attempt > 1 else ""
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind.value} {said.batch_id}{attempt}: {counts}"


@dataclass(frozen=True, kw_only=True)
class Announcements:
    """Reads announcements; ``job`` and ``batch`` leave out those of others."""

    reader: Reader
    job: str = ""
    batch: str = ""
    sleep: Callable[[float], None] = time.sleep
    _awaited: dict[str, Batch] = field(default_factory=dict)
    """Batches that will still announce something, as last read: also old ones, which no list of the newest has."""

    def newest(self, limit: int) -> list[Announcement]:
        """Return the announcements of the newest batches, oldest first, ``limit`` of each list.

        Of a redriven batch these are the end of its last attempt and every complete export.
        """
        return self._of(self._batches(limit))

    def follow(self, shown: Iterable[Announcement], interval: float, limit: int) -> Iterator[Announcement]:
        """Yield announcements that come after those ``shown``, as they come; it never ends by itself."""
        seen = {each.detail.event_id for each in shown}
        while True:
            self.sleep(interval)
            for each in self.newest(limit):
                if each.detail.event_id not in seen:
                    seen.add(each.detail.event_id)
                    yield each

    def _batches(self, limit: int) -> list[Batch]:
        if self.batch:
            return [self.reader.require(self.batch)]
        newest = {batch.id: batch for batch in self.reader.newest(limit).batches}
        others = self.reader.batches([*self.reader.ids(Listing.OPEN), *self._awaited])
        found = newest | {batch.id: batch for batch in others}
        return [batch for batch in found.values() if self.job in {"", batch.job}]

    def _of(self, batches: list[Batch]) -> list[Announcement]:
        exports = self._exports(batches)
        self._awaited.clear()
        found: list[Announcement] = []
        for batch in batches:
            of_batch = exports.get(batch.id, [])
            found += announced(batch, of_batch)
            unwritten = any(not export.exported_at and export.attempt == batch.attempt for export in of_batch)
            if unwritten or not _end_is_announced(batch):
                self._awaited[batch.id] = batch
        return sorted(found, key=lambda each: (each.at, each.detail.event_id))

    def _exports(self, batches: Iterable[Batch]) -> dict[str, list[Export]]:
        """Return the exports of batches; some hundred attempts take one read of a hundred keys."""
        keys = [
            (batch_pk(batch.id), export_sk(attempt)) for batch in batches for attempt in range(1, batch.attempt + 1)
        ]
        found: dict[str, list[Export]] = {}
        for item in self.reader.items(keys):
            export = Export.from_item(item)
            found.setdefault(export.batch_id, []).append(export)
        return found


def announced(batch: Batch, exports: Iterable[Export]) -> list[Announcement]:
    """Return the announcements of a batch: the end of its last attempt, and each complete export."""
    ends = [batch] if _end_is_announced(batch) else []
    return [
        *(Announcement(at=datetime.fromisoformat(each.completed_at), detail=ended(each)) for each in ends),
        *(
            Announcement(
                at=datetime.fromisoformat(export.exported_at), detail=exported(batch, export, export.manifest_sha256)
            )
            for export in exports
            if export.exported_at
        ),
    ]


def _end_is_announced(batch: Batch) -> bool:
    return batch.status.final and batch.published_attempt == batch.attempt
