"""The explorations that take seconds, and the kill table: what is explored must be able to find a violation."""

from pathlib import Path

import pytest

from tests.model.configuration import Configuration
from tests.model.configurations import CONFIGURATIONS
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"


@pytest.mark.parametrize("configuration", [each for each in CONFIGURATIONS if each.quick], ids=lambda each: each.name)
def test_no_schedule_breaks_an_invariant(configuration: Configuration) -> None:
    """Whatever is unheard, comes again, dies or sleeps within the bound: each row is counted once, and all ends."""
    explored = configuration.explore()
    assert not explored.violation, "\n".join(explored.schedule)
    assert explored.complete
    assert explored.rests


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.found_by], ids=lambda each: each.name)
def test_a_clause_that_is_removed_is_missed(mutant: Mutant) -> None:
    """With the shortest schedule that needs it, and not because AWS would refuse the request without it."""
    explored = mutant.hunt()
    assert explored is not None
    assert explored.schedule
    assert "ValidationException" not in explored.violation


def test_every_clause_is_found_by_something() -> None:
    """By an exploration, or by a test that is named."""
    assert all(mutant.found_by or mutant.test for mutant in MUTANTS)


def test_the_page_lists_every_exploration_and_every_clause() -> None:
    """It is what `make model` printed."""
    page = PAGE.read_text(encoding="utf-8")
    assert [each.name for each in (*CONFIGURATIONS, *MUTANTS) if each.name not in page] == []
