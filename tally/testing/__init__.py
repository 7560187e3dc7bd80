r"""Tally in memory: the real handlers over AWS in this process, for the tests of a job and of Tally itself.

``run`` processes a file with a job and returns the outcome of every row, also under faults::

    from tally import testing

    def test_a_reading_is_counted_once_although_everything_comes_twice():
        batch = testing.run("weather", "id,temp\n1,20\n", faults=testing.Redelivered())
        assert batch.succeeded == 1
"""

from typing import TYPE_CHECKING, Any

from tally.testing.faults import Fault, Killed
from tally.testing.harm import EVERY_FAULT, Ambiguous, DiesInProcess, Faults, Redelivered, Refused, WorkersDie

if TYPE_CHECKING:
    from tally.testing.running import Batch, Clock, Row, run

__all__ = [
    "EVERY_FAULT",
    "Ambiguous",
    "Batch",
    "Clock",
    "DiesInProcess",
    "Fault",
    "Faults",
    "Killed",
    "Redelivered",
    "Refused",
    "Row",
    "WorkersDie",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what runs jobs when it is asked for: it brings the handlers, which other users of AWS in memory do not."""
    if name in {"Batch", "Clock", "Row", "run"}:
        from tally.testing import running  # noqa: PLC0415

        return getattr(running, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
