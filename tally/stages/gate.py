"""How fast requests may follow one another, where AWS or a viewer's budget has a limit."""

import threading
import time
from collections import deque
from collections.abc import Callable


class Gate:
    """Lets so many requests of all threads pass within any second; the others wait."""

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most, self._clock, self._sleep = most, clock, sleep
        self._passed: deque[float] = deque(maxlen=most)
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the caller may pass."""
        with self._lock:  # also while it sleeps: those behind it have to wait longer anyway
            if len(self._passed) == self._most:
                while (left := self._passed[0] + 1.0 - self._clock()) > 0:
                    self._sleep(left)
            self._passed.append(self._clock())
