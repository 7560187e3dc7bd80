"""The checks of the console fail when the console is broken: each mutant is noticed by the check that should."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException

from tests.ui import checks
from tests.ui.batches import hostile
from tests.ui.broken import MUTANTS
from tests.ui.test_ui_budget import hold_back

PATIENCE_SECONDS = 5
"""How long a check waits for what a broken console does not do."""
HOSTILE_ID = "<b>hostile"

KILLED_BY: dict[str, tuple[Callable[..., None], str]] = {
    "a chart without data": (checks.charts_have_data, "two rows took 4 ms"),
    "a button without a handler": (checks.a_button_asks, "Every failed row runs again"),
    "a reason that is markup": (checks.markup_is_text, "markup"),
    "a list whose names are markup": (checks.markup_is_text, "markup"),
    "a tooltip that is markup": (checks.markup_is_text, "the tooltip of over-time is markup"),
    "cells that are always shown": (checks.values_are_hidden, "cells are shown"),
    "a confirmation that does nothing": (checks.a_redrive_is_done, "2 rows run again"),
}
"""Which check notices it, and what that says; the one that changes the batch is the last."""


@pytest.fixture(scope="module")
def mutant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that says how the console is broken."""
    file = tmp_path_factory.mktemp("mutant") / "name"
    file.write_text("", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def broken(serve: Callable[..., Any], mutant: Path) -> Any:
    return serve(program=("-m", "tests.ui.broken", str(mutant)))


@pytest.fixture
def entered(browser: Any, broken: Any, mutant: Path) -> Iterator[str]:
    browser.open(broken.url)
    yield broken.home
    mutant.write_text("", encoding="utf-8")


@pytest.mark.parametrize("name", KILLED_BY)
def test_a_broken_page_is_noticed(
    browser: Any, entered: str, local: Any, finished: str, mutant: Path, name: str
) -> None:
    check, words = KILLED_BY[name]
    local.write(hostile(HOSTILE_ID))
    browser.patience = PATIENCE_SECONDS
    mutant.write_text(name, encoding="utf-8")
    with pytest.raises((AssertionError, TimeoutException), match=words):
        check(browser, entered, HOSTILE_ID if check is checks.markup_is_text else finished)


def test_the_same_console_passes_while_nothing_is_broken(browser: Any, entered: str, local: Any, finished: str) -> None:
    local.write(hostile(HOSTILE_ID))
    for check in dict.fromkeys(check for check, _ in KILLED_BY.values()):
        check(browser, entered, HOSTILE_ID if check is checks.markup_is_text else finished)


def test_a_guard_without_its_check_of_the_host_is_noticed(browser: Any, entered: str, mutant: Path) -> None:
    pairs = "; ".join(f"{each['name']}={each['value']}" for each in browser.driver.get_cookies())
    checks.another_host_is_refused(entered, pairs)
    mutant.write_text("no check of the Host", encoding="utf-8")
    with pytest.raises(AssertionError):
        checks.another_host_is_refused(entered, pairs)


def test_a_gate_that_holds_nothing_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_back(3)
    monkeypatch.setattr("tally.stages.gate.Gate.wait", lambda _gate: None)
    with pytest.raises(AssertionError):
        hold_back(3)


def test_every_mutant_has_a_check() -> None:
    assert set(KILLED_BY) | {"no check of the Host"} == set(MUTANTS)
