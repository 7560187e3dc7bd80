"""Problems that keep lines of a corrected file from running: counted by kind, the first ones kept."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_SHOWN = 50
"""Lines that are shown, and kept in memory; all are counted."""


class Kind(StrEnum):
    """The reason why a line of a corrected file cannot run."""

    UNREADABLE = "unreadable"  # it is no row of the file's layout, or has other columns than its header
    UNNAMED = "unnamed"  # it does not say which line of the upload it replaces
    INVALID = "invalid"  # the job would reject it
    TWICE = "twice"  # another line of the file replaces the same row
    TOO_LARGE = "too_large"  # the corrected rows of its chunk are too large to be read together
    UNKNOWN = "unknown"  # no row of the batch begins at the line
    SUCCEEDED = "succeeded"  # the row has succeeded
    PENDING = "pending"  # the row has no outcome yet


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem of one line of a corrected file; ``line`` is where it begins in that file."""

    line: int
    kind: Kind
    what: str


@dataclass(slots=True)
class Problems:
    """All problems of a corrected file."""

    counts: Counter[Kind] = field(default_factory=Counter)
    first: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Count one problem."""
        self.counts[problem.kind] += 1
        if len(self.first) < MAX_SHOWN:
            self.first.append(problem)

    @property
    def total(self) -> int:
        """The number of problems."""
        return self.counts.total()

    def lines(self) -> list[str]:
        """Return lines for people: the counts, then the first problems in the order of the file."""
        shown = sorted(self.first, key=lambda problem: problem.line)
        left = self.total - len(shown)
        return [
            ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items())),
            *(f"line {problem.line:,}: {problem.what}" for problem in shown),
            *([f"and {left:,} more"] if left else []),
        ]

    def as_json(self) -> list[dict[str, Any]]:
        """Return the first problems for ``--json``."""
        shown = sorted(self.first, key=lambda problem: problem.line)
        return [{"line": each.line, "kind": each.kind.value, "what": each.what} for each in shown]
