"""Findings of an examination: one line for each check, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The result of a check."""

    OK = "ok"  # as it should be
    SKIPPED = "skipped"  # there is nothing to check here, and that is fine: no alarms, a local stage
    UNKNOWN = "unknown"  # the check could not be made: a missing right, no record of what is expected
    WARNING = "warning"  # it works, and somebody should look
    FAILED = "failed"  # rows are lost, late or refused because of it


_SEVERITY = (State.SKIPPED, State.OK, State.UNKNOWN, State.WARNING, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    ``check`` is a stable name (``mapping.filters``), ``subject`` the resource, ``saw`` its state, ``action`` what to
    do; empty if there is nothing to do.
    """

    check: str
    subject: str
    state: State
    saw: str
    action: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "check": self.check,
            "subject": self.subject,
            "state": self.state.value,
            "saw": self.saw,
            "action": self.action,
        }

    def __str__(self) -> str:
        """Return the line for people, without its state."""
        action = f" -> {self.action}" if self.action else ""
        return f"{self.check}: {self.subject}: {self.saw}{action}"


def ok(check: str, subject: str, saw: str) -> Finding:
    """Return a check that passed."""
    return Finding(check=check, subject=subject, state=State.OK, saw=saw)


def skipped(check: str, subject: str, why: str) -> Finding:
    """Return a check that had nothing to check."""
    return Finding(check=check, subject=subject, state=State.SKIPPED, saw=why)


def unknown(check: str, subject: str, why: str, action: str) -> Finding:
    """Return a check that could not be made."""
    return Finding(check=check, subject=subject, state=State.UNKNOWN, saw=why, action=action)


def warning(check: str, subject: str, saw: str, action: str) -> Finding:
    """Return a check after which somebody should look."""
    return Finding(check=check, subject=subject, state=State.WARNING, saw=saw, action=action)


def failed(check: str, subject: str, saw: str, action: str) -> Finding:
    """Return a check that failed."""
    return Finding(check=check, subject=subject, state=State.FAILED, saw=saw, action=action)


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state of all; OK if there is none."""
    return max((finding.state for finding in findings), key=_SEVERITY.index, default=State.OK)
