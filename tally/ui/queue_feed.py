"""What waits in the queues that batches go through: read a queue at a time, for all who look at a batch."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from tally.errors import OperatorError
from tally.queues.depth import Depth, depth_of
from tally.stages.expected import Expected
from tally.stages.stage import Stage

FRESH_SECONDS = 10.0
"""A queue that was asked within this time is not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The queues of a stage by name, as far as they were read; ``unknown`` says why they cannot be."""

    depths: Mapping[str, Depth] = field(default_factory=dict)
    unknown: str = ""


@dataclass(kw_only=True)
class QueueFeed:
    """Reads the queues of a stage; a step makes one request at most, whatever the number of batches and viewers."""

    stage: Stage
    clock: Callable[[], float] = time.monotonic
    known: Queues = field(default_factory=Queues)
    _asked_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, names: Iterable[str]) -> bool:
        """Ask the one of these queues that was not asked for longest; tells whether any had to be asked.

        What AWS refuses is noted, for a batch can be shown without it. Raises what the SDK does where AWS does not
        answer.
        """
        with self._lock:
            now = self.clock()
            stale = [name for name in names if now - self._asked_at.get(name, float("-inf")) >= FRESH_SECONDS]
            if not stale:
                return False
            name = min(stale, key=lambda name: self._asked_at.get(name, float("-inf")))
            self._asked_at[name] = now
            return self._ask(name)

    def _ask(self, name: str) -> bool:
        try:
            url = self._urls.get(name)
            found = depth_of(self._sqs, url) if url else None
        except (ClientError, OperatorError) as error:
            self.known = Queues(unknown=str(error))
            return isinstance(error, ClientError)
        others = {other: depth for other, depth in self.known.depths.items() if other != name}
        self.known = Queues(depths=others | ({name: found} if found else {}))
        return url is not None

    @cached_property
    def _sqs(self) -> Any:
        return self.stage.client("sqs")

    @cached_property
    def _urls(self) -> Mapping[str, str]:
        wanted = Expected.require(self.stage.resources.expected, self.stage.name)
        return {name: queue.url for name, queue in wanted.queues.items()}
