"""What the list of batches knows: the newest at once, the older ones a hundred a request until all are known."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.store.batch import Batch, Listing, is_known
from chalicelib.store.items import BATCH_SK, batch_pk
from chalicelib.store.table import MAX_KEYS
from tally.batch import chains
from tally.batch.reader import Reader
from tally.batch.watch import Meter

_NEW = MAX_KEYS
"""Each step looks at so many of the newest batches."""
_RELIST_SECONDS = 60.0
_STEP_SECONDS = 1.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which batches are shown: those that fit all of it."""

    job: str = ""
    status: str = ""
    text: str = ""

    def fits(self, batch: Batch) -> bool:
        """Tell whether a batch is wanted.

        ``text`` is looked for in its id, its file, why it was rejected, and the batches of its chain.
        """
        where = f"{batch.id}\n{batch.source.key}\n{batch.reason}\n{chains.in_short(batch)}".lower()
        held = batch.hold.value if batch.hold and not batch.status.final else ""
        return (
            self.job in {"", batch.job}
            and self.status in {"", batch.status.value, held}
            and self.text.strip().lower() in where
        )


@dataclass(kw_only=True)
class ListFeed:
    """Reads all batches for all who look at the list.

    A step makes three requests; one a minute lists all batches, which takes a request for some thousands of them.
    """

    reader: Reader
    clock: Callable[[], float] = time.monotonic
    _batches: dict[str, Batch] = field(default_factory=dict)
    _of_other_versions: set[str] = field(default_factory=set)
    _order: list[str] = field(default_factory=list)
    """The id of every batch, newest first of the open ones, then of the ended ones."""
    _open: set[str] = field(default_factory=set)
    _meters: dict[str, Meter] = field(default_factory=dict)
    _stepped_at: float = float("-inf")
    _listed_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> None:
        """Read what is new and what moves, and some of what is not known yet. Raises as the reader does."""
        with self._lock:
            if self.clock() - self._stepped_at < _STEP_SECONDS:
                return
            self._read()
            self._stepped_at = self.clock()

    def refresh(self) -> None:
        """Have the next step read even if it has just been read."""
        self._stepped_at = float("-inf")

    @property
    def listed(self) -> bool:
        """Tell whether it is known which batches there are."""
        return self._stepped_at > float("-inf")

    @property
    def total(self) -> int:
        """How many batches there are, known or not."""
        return len(self._order) - len(self._of_other_versions)

    @property
    def unknown(self) -> int:
        """Batches that were not read yet."""
        return sum(batch_id not in self._batches for batch_id in self._order) - len(self._of_other_versions)

    @property
    def of_other_versions(self) -> int:
        """Batches that another version of Tally made, and that cannot be read."""
        return len(self._of_other_versions)

    def jobs(self) -> list[str]:
        """Return the jobs of the batches that are known."""
        return sorted({batch.job for batch in self._batches.values()})

    def shown(self, wanted: Wanted, page: int, size: int) -> tuple[list[Batch], int]:
        """Return a page of the known batches that are wanted, newest first, and how many there are."""
        fitting = [batch for batch in self._batches.values() if wanted.fits(batch)]
        fitting.sort(key=lambda batch: batch.created_at, reverse=True)
        return fitting[page * size : (page + 1) * size], len(fitting)

    def meter(self, batch_id: str) -> Meter:
        """Return how fast the chunks of a batch close."""
        return self._meters.setdefault(batch_id, Meter())

    def _read(self) -> None:
        table = self.reader.repository.table
        limit = _NEW
        relist = self.clock() - self._listed_at >= _RELIST_SECONDS and bool(self._batches)
        listed = {
            listing: [pk.removeprefix(batch_pk("")) for pk, _ in table.newest(listing, limit=None if relist else limit)]
            for listing in Listing
        }
        if relist:
            self._listed_at = self.clock()
            self._order = [*listed[Listing.OPEN], *listed[Listing.ENDED]]
            kept = set(self._order)
            self._batches = {name: batch for name, batch in self._batches.items() if name in kept}
            self._of_other_versions &= kept
        else:
            known = set(self._order)
            new = [name for name in (*listed[Listing.OPEN], *listed[Listing.ENDED]) if name not in known]
            self._order = [*dict.fromkeys(new), *self._order]
        was_open, self._open = self._open, set(listed[Listing.OPEN])
        moving = [*listed[Listing.OPEN][:MAX_KEYS], *(was_open - self._open)]
        unknown = [name for name in self._order if name not in self._batches and name not in self._of_other_versions]
        # What moves has half of the room, so that the rest is read too.
        half = MAX_KEYS // 2 if unknown else MAX_KEYS
        chosen = list(dict.fromkeys([*moving[:half], *unknown, *moving]))[:MAX_KEYS]
        for item in table.get_all((batch_pk(name), BATCH_SK) for name in chosen):
            if not is_known(item):
                self._of_other_versions.add(item["pk"]["S"].removeprefix(batch_pk("")))
                continue
            batch = Batch.from_item(item)
            self._batches[batch.id] = batch
            if not batch.status.final:
                self.meter(batch.id).add(self.clock(), batch.counts.total)
