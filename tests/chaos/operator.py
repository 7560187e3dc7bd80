"""An operator in a hurry: redrives and repairs batches while they run, through the same faults as the functions."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from chalicelib.errors import TallyError
from chalicelib.steps.redrive import Redriver

if TYPE_CHECKING:
    from chalicelib.services import Services

_PAUSE_SECONDS = 5.0
_REDRIVES = 8
"""How often each batch is redriven at most: bad rows fail each time, so with no end of redrives it has none."""


@dataclass(slots=True)
class Commands:
    """What the operator did."""

    redriven: int = 0
    """Rows taken back to run again, at least: an answer that was not heard is not counted."""
    repairs: int = 0
    mended: list[str] = field(default_factory=list)
    """Counters that a repair set to what the markers prove: none, unless Tally has a fault."""
    refused: int = 0
    """Commands that ended in an error, which the operator gives again."""


@dataclass(slots=True)
class Operator:
    """Gives the commands of ``tally redrive``, a few times, and ``tally audit --repair``, until ``stop``."""

    services: "Services"
    batches: Sequence[str]
    done: Commands = field(default_factory=Commands)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin: two hands, so that a repair may sleep in the middle of a redrive and the other way round."""
        self._threads = [
            threading.Thread(target=self._over_and_over, args=(command, most), name="operator")
            for command, most in ((self.redrive, _REDRIVES), (self._repair, None))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when the commands under way have ended."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def redrive(self, batch_id: str) -> None:
        """Run the failed rows of a batch again; they fail again, for there is nothing that could help them."""
        table = self.services.reconciler.table
        self.done.redriven += Redriver(table=table).redrive(batch_id, on_chunk=lambda: None).rows

    def _repair(self, batch_id: str) -> None:
        repairs = self.services.reconciler.repair(batch_id, thorough=True)
        self.done.repairs += 1
        self.done.mended += repairs.counters_repaired

    def _over_and_over(self, command: Callable[[str], None], most: int | None) -> None:
        for _ in count() if most is None else range(most):
            if self._ended.wait(_PAUSE_SECONDS):
                return
            for batch_id in self.batches:
                if self._ended.is_set():
                    return
                try:
                    command(batch_id)
                except TallyError:  # not planned yet, or a fault that lasted
                    self.done.refused += 1
