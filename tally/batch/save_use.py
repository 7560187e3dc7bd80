"""The requests and units of saving results by key, from the counters of each save.

The step is ``chalicelib.steps.save``; a test compares this with a meter.
"""

from dataclasses import dataclass
from typing import Self

from chalicelib.store.saves import MAX_KEPT_UNSAVED, Save, Saves

_LEASED = 2
"""Requests for the lease: it is taken, and released."""
_NOTED = 3
"""The save is begun, has come to its end, and is noted on its export."""
_READ = 2
"""The save itself, and the batch."""
_A_CHUNK = 2
"""Its items are read, and then it is read whether the attempt still stands."""
_MESSAGE = 3
"""It is sent, received and deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveUse:
    """The use of saves, in one run each: a save that waits for capacity or time takes a few requests more per run."""

    write_units: int = 0
    read_units: float = 0.0
    dynamodb_requests: int = 0
    sqs_requests: int = 0

    @classmethod
    def of(cls, save: Save, *, chunks: int, read_units_of_chunk: float) -> Self:
        """Return the use of one save so far; the batch has so many chunks.

        A row whose key is on a newer row of the same chunk is not written; it is counted here as if it were.
        """
        seen = chunks - save.place.chunks_left
        kept = min(save.done.unsaved_rows, MAX_KEPT_UNSAVED)
        puts = save.done.saved + save.done.superseded + kept
        return cls(
            write_units=save.done.units + _NOTED + _LEASED + kept,
            read_units=_READ + (read_units_of_chunk + 1) * seen,
            dynamodb_requests=_LEASED + _NOTED + _READ + _A_CHUNK * seen + puts,
            sqs_requests=_MESSAGE,
        )

    def __add__(self, other: Self) -> Self:
        """Return the sum of both."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


def of_batch(saves: Saves, batch_id: str, attempts: int, *, chunks: int, read_units: float) -> SaveUse:
    """Return the use of the saves of all attempts of a batch; ``read_units`` are those of a chunk's partition."""
    found = filter(None, (saves.find(batch_id, attempt) for attempt in range(1, attempts + 1)))
    return sum((SaveUse.of(save, chunks=chunks, read_units_of_chunk=read_units) for save in found), SaveUse())
