"""What the ledger keeps of a batch beside its counters: its attempts, its corrections, and how long it stands still."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chalicelib.steps.reconcile import snapshot_of
from chalicelib.steps.standstill import WATCH_SK, Standstill
from chalicelib.store.batch import Batch
from chalicelib.store.corrections import CORRECTIONS_PREFIX, CorrectionsFile
from chalicelib.store.exports import EXPORT_PREFIX, Export, export_sk
from chalicelib.store.items import batch_pk, number_of, text_of
from chalicelib.store.saves import Save, save_sk
from tally.batch.reader import Progress, Reader

MAX_ATTEMPTS = 49
"""The last so many attempts are shown: an export and a save of each, and the standstill, are one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The exports and saves of a batch by attempt, and the progress snapshot of `reconcile` if it has kept one."""

    exports: Mapping[int, Export] = field(default_factory=dict)
    saves: Mapping[int, Save] = field(default_factory=dict)
    standstill: Standstill | None = None
    known: bool = False
    """Whether it was read at all."""

    def unmoved_since(self, progress: Progress, seen: datetime, now: datetime) -> datetime:
        """Return since when a batch has not moved that was ``seen`` first then: since earlier if `reconcile` saw it."""
        batch, noted = progress.batch, self.standstill
        chunks = progress.chunks.values() if batch.chunks is not None else ()
        if noted is None or noted.snapshot != snapshot_of(batch, chunks):
            return seen
        return min(seen, now - timedelta(seconds=noted.seconds))


@dataclass(frozen=True, slots=True)
class Corrections:
    """A file of corrected rows, and the first attempt that has rows of it."""

    attempt: int
    file: CorrectionsFile


def read_history(reader: Reader, batch: Batch, now: datetime) -> History:
    """Return what is kept of the last attempts of a batch, in one request."""
    pk = batch_pk(batch.id)
    attempts = range(max(1, batch.attempt - MAX_ATTEMPTS + 1), batch.attempt + 1)
    keys = [(pk, sk) for attempt in attempts for sk in (export_sk(attempt), save_sk(attempt))]
    exports, saves, standstill = {}, {}, None
    for item in reader.items([*keys, (pk, WATCH_SK)]):
        sk = text_of(item, "sk")
        if sk == WATCH_SK:
            standstill = Standstill.from_item(item, now)
        elif sk.startswith(EXPORT_PREFIX):
            exports[number_of(item, "attempt")] = Export.from_item(item)
        else:
            saves[number_of(item, "attempt")] = Save.from_item(item)
    return History(exports=exports, saves=saves, standstill=standstill, known=True)


def corrections_of(reader: Reader, batch_id: str) -> Sequence[Corrections]:
    """Return the files of corrected rows that a batch names, by the attempt that used each first, in one query."""
    items = reader.repository.table.query(batch_pk(batch_id), CORRECTIONS_PREFIX)
    found = [Corrections(number_of(item, "attempt"), CorrectionsFile.from_item(item)) for item in items]
    return sorted(found, key=lambda each: (each.attempt, each.file.created_at))
