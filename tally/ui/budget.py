"""How much the console asks of AWS while somebody looks: a few requests a second, whatever there is to see."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tally.stages.stage import Stage

MAX_REQUESTS_A_SECOND = 3
_MAX_ATTEMPTS = 2


class Gate:
    """Lets so many requests of all threads pass within any second; the others wait."""

    def __init__(
        self,
        most: int = MAX_REQUESTS_A_SECOND,
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


def paced(stage: Stage, gate: Gate) -> Stage:
    """Return the same stage with clients of its own, each of whose requests, retries too, passes the gate.

    They try again once: a page reads again anyway, and its reader should soon know that the stage does not answer.
    """
    made = replace(stage, max_attempts=_MAX_ATTEMPTS)

    def wait(**_event: Any) -> None:
        gate.wait()

    # Before it is signed, for a signature is of its second; clients copy the session's handlers when they are made.
    made.session.events.register_first("request-created", wait)
    return made
