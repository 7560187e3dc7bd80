"""A clause or a rule that is removed, and what must notice."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tests.model.configuration import Configuration
from tests.model.explorer import Explored


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One thing removed: what it was for, and the explorations, or the test, that must notice."""

    name: str
    protects: str
    module: Any
    attribute: str
    instead: Any
    found_by: Sequence[Configuration] = ()
    test: str = ""
    """A test that fails without it, where no exploration can tell: given as pytest takes it."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Run the block without it."""
        with patch.object(self.module, self.attribute, self.instead):
            yield

    def hunt(self) -> Explored | None:
        """Return the first exploration that finds a violation, None if none does."""
        with self.applied():
            found = (configuration.explore() for configuration in self.found_by)
            return next((explored for explored in found if explored.violation), None)


def never(clause: str) -> str:
    """Return what stands in for a clause of which one must hold: never true where there is an item, or none."""
    return f"(attribute_not_exists(pk) AND attribute_exists(pk) AND {clause})"


def always(clause: str) -> str:
    """Return what stands in for a clause of which each must hold."""
    return f"(attribute_not_exists(pk) OR attribute_exists(pk) OR {clause})"


def without(condition: str, clause: str, instead: Callable[[str], str] = never) -> str:
    assert clause in condition
    return condition.replace(clause, instead(clause))
