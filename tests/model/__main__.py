"""Explore the protocol, then remove each of its clauses in turn: ``make model``."""

import os
import re
import shlex
import subprocess
import sys
from time import process_time

import tests.conftest  # noqa: F401  the settings that the code reads at import
from tests.model.configurations import CONFIGURATIONS
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS

MUTANT = "TALLY_MUTANT"
"""Names the mutant that a test run is to be without."""


def main() -> int:
    """Print what was explored and the kill table; returns 1 if a violation was found, or a mutant survives."""
    _say("| explored | states | moves | tables | seconds | |")
    _say("|---|---|---|---|---|---|")
    wrong = 0
    for configuration in CONFIGURATIONS:
        explored = configuration.explore()
        fine = explored.complete and not explored.violation
        wrong += not fine
        said = "all schedules" if fine else explored.violation or "not all schedules"
        counts = f"{explored.states:,} | {explored.moves:,} | {explored.tables:,} | {explored.seconds:.1f}"
        _say(f"| {configuration.name} | {counts} | {said} |")
        for line in explored.schedule:
            _say(line)
    _say("\n| removed | it protects | found by | calls | seconds |")
    _say("|---|---|---|---|---|")
    for mutant in MUTANTS:
        began = process_time()
        by, calls = found(mutant)
        wrong += not by
        took = process_time() - began
        _say(f"| {mutant.name} | {mutant.protects} | {by or '**nothing**'} | {calls or ''} | {took:.1f} |")
    return min(wrong, 1)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def found(mutant: Mutant) -> tuple[str, int]:
    """Return what notices that something is gone, and how many calls lead to it; empty if nothing does."""
    explored = mutant.hunt()
    if explored:
        return _short(explored.violation), len(explored.schedule)
    if mutant.test and fails(mutant):
        return f"`{mutant.test}`", 0
    return "", 0


def _short(violation: str) -> str:
    """Return the first thing that a violation says, without the bodies of messages."""
    return re.sub(r"\(\{.*?\}\)", "", violation.partition("; ")[0])[:100]


def fails(mutant: Mutant) -> bool:
    """Run the test of a mutant without what it removes; tells whether it fails, as it must."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *shlex.split(mutant.test)]
    run = subprocess.run(command, env={**os.environ, MUTANT: mutant.name}, capture_output=True, check=False)
    return run.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
