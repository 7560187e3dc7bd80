"""The time, injected wherever it matters."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, aware and in UTC."""

    def __call__(self) -> datetime:
        """Return the current time."""


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)
