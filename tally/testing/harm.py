"""Faults for the test of a job: deliveries that come twice, workers that die, lost answers."""

from collections import Counter
from dataclasses import dataclass, field

from tally.testing.faults import Fault, Killed

WRITES = frozenset(
    {
        "batch_write_item",
        "delete_item",
        "put_events",
        "put_item",
        "send_message",
        "send_message_batch",
        "transact_write_items",
        "update_item",
    }
)


@dataclass(slots=True)
class Faults:
    """No fault. Subclass it for a fault of your own; each run has a copy.

    A step is ``upload``, a queue (``ingest``, ``work``, ``heavy``, ``finished``), ``dispatch`` or ``settle``.
    """

    def comes_again(self, step: str) -> bool:  # noqa: ARG002  the argument is for subclasses
        """Tell whether a delivery to a step is repeated, although the step has answered."""
        return False

    def of_call(self, step: str, operation: str) -> Fault:  # noqa: ARG002
        """Return the fault of a call that a step makes to AWS."""
        return Fault.NONE

    def in_process(self, idempotency_key: str) -> None:
        """Act after the job has run for a row and before its outcome is sent; raise Killed to end the worker."""


@dataclass(slots=True)
class Redelivered(Faults):
    """Every upload, message and stream record is delivered twice: ``process`` runs at least twice for each row."""

    def comes_again(self, step: str) -> bool:  # noqa: ARG002
        """Repeat every delivery."""
        return True


@dataclass(slots=True)
class WorkersDie(Faults):
    """At each step a worker dies after its first call of each operation of AWS, and the next one before it."""

    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of_call(self, step: str, operation: str) -> Fault:
        """Kill the first two workers."""
        self._seen[step, operation] += 1
        return {1: Fault.KILLED_AFTER, 2: Fault.KILLED_BEFORE}.get(self._seen[step, operation], Fault.NONE)


@dataclass(slots=True)
class DiesInProcess(Faults):
    """The worker dies right after the job ran for a row, ``times`` per row: its side effects have happened."""

    times: int = 1
    _seen: Counter[str] = field(default_factory=Counter)

    def in_process(self, idempotency_key: str) -> None:
        """Kill the worker."""
        self._seen[idempotency_key] += 1
        if self._seen[idempotency_key] <= self.times:
            raise Killed


@dataclass(slots=True)
class Ambiguous(Faults):
    """Of each write of each step the first answer is a 500 and the second a timeout, and both were applied."""

    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of_call(self, step: str, operation: str) -> Fault:
        """Lose the first two answers."""
        if operation not in WRITES:
            return Fault.NONE
        self._seen[step, operation] += 1
        return {1: Fault.ERROR_AFTER, 2: Fault.TIMEOUT_AFTER}.get(self._seen[step, operation], Fault.NONE)


@dataclass(slots=True)
class Refused(Faults):
    """Each step's first call of each operation is throttled, its second meets a conflict, its third a 500."""

    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of_call(self, step: str, operation: str) -> Fault:
        """Refuse the first three."""
        self._seen[step, operation] += 1
        faults = {1: Fault.THROTTLED, 2: Fault.CONFLICT, 3: Fault.ERROR_BEFORE}
        return faults.get(self._seen[step, operation], Fault.NONE)


EVERY_FAULT = (Redelivered(), WorkersDie(), DiesInProcess(), Ambiguous(), Refused())
"""For ``pytest.mark.parametrize``: one run for each."""
