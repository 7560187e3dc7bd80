"""The console by keys alone, and for those who hear it: focus, names, contrast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tally.batch.reader import Reader
from tests.ui.accessibility import violations

MOST_STOPS = 60
_FOCUSED = """const at = document.activeElement;
return [(at.getAttribute("aria-label") || at.innerText || at.labels?.[0]?.innerText || "").trim(),
  getComputedStyle(at.closest(".q-field__control") || at).outlineStyle, !!at.closest("[role=dialog]")];"""

_NOWHERE = "return document.activeElement === document.body"


def press(browser: Any, *keys: str) -> None:
    """Press keys wherever the focus is."""
    ActionChains(browser.driver).send_keys(*keys).perform()


def tab_to(browser: Any, name: str) -> None:
    """Press Tab until something of that name has the focus."""
    seen = []
    for _ in range(MOST_STOPS):
        press(browser, Keys.TAB)
        seen.append(browser.run(_FOCUSED)[0])
        if seen[-1] == name:
            return
    pytest.fail(f"Tab never came to {name!r}, only to {seen}")


def in_dialog(browser: Any) -> bool:
    return bool(browser.run(_FOCUSED)[2])


def no_dialog(browser: Any) -> bool:
    return bool(browser.run("return !document.querySelector('[role=dialog]')"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "completed_with_failures"),
        ("batch/b", "ValueError: no good"),
        ("submit", "Drop a file"),
        ("stage", "Doctor"),
    ],
)
def test_axe_finds_nothing_wrong_with_a_page(
    browser: Any, inside: str, finished: str, path: str, words: str, *, dark: bool
) -> None:
    browser.colours(dark=dark)
    browser.open(f"{inside}{path}")
    browser.says(words)
    assert violations(browser) == ""


def test_failed_rows_are_redriven_by_keys_alone(browser: Any, inside: str, finished: str, reader: Reader) -> None:
    browser.open(inside)
    browser.says("completed_with_failures")
    tab_to(browser, finished)
    press(browser, Keys.ENTER)
    browser.says("ValueError: no good")
    browser.button("Redrive failed rows")
    tab_to(browser, "Redrive failed rows")
    press(browser, Keys.ENTER)
    browser.says("Every failed row runs again.")
    tab_to(browser, "Confirm")
    press(browser, Keys.SPACE)
    browser.says("2 rows run again, in attempt 2")
    assert reader.require(finished).attempt == 2
    tab_to(browser, "Close")
    press(browser, Keys.ENTER)
    browser.wait(lambda: no_dialog(browser), "the question is gone")


def test_escape_closes_a_question_and_the_focus_goes_back(
    browser: Any, inside: str, finished: str, reader: Reader
) -> None:
    browser.open(f"{inside}batch/{finished}")
    browser.says("ValueError: no good")
    browser.button("Redrive failed rows")
    tab_to(browser, "Redrive failed rows")
    press(browser, Keys.ENTER)
    browser.wait(lambda: in_dialog(browser), "the question has the focus")
    for _ in range(12):  # after the last button the focus may be at the browser's own, and then comes back
        press(browser, Keys.TAB)
        assert in_dialog(browser) or browser.run(_NOWHERE), "Tab leads out of the question"
    press(browser, Keys.ESCAPE)
    browser.wait(lambda: no_dialog(browser), "the question is gone")
    browser.wait(lambda: browser.run(_FOCUSED)[0] == "Redrive failed rows", "the focus is where it was")
    assert reader.require(finished).attempt == 1


def test_a_file_is_submitted_by_keys_alone(browser: Any, inside: str, local: Any, tmp_path: Path) -> None:
    """The operating system's own window, which chooses the file, is not the page's."""
    file = tmp_path / "offices.csv"
    file.write_text("office_id,user_count,contract_count\nA,2,5\n", encoding="utf-8")
    browser.open(f"{inside}submit")
    browser.says("Drop a file here")
    tab_to(browser, "Drop a file here, or choose one")
    browser.driver.switch_to.active_element.send_keys(str(file))
    browser.says("1 rows, 1 succeeded")
    tab_to(browser, "Submit")
    press(browser, Keys.ENTER)
    browser.says("The same on the command line:")
    tab_to(browser, "Confirm")
    press(browser, Keys.ENTER)
    browser.says("uploaded s3://inbox/inbox/offices/offices.csv", "Open offices-")


@pytest.mark.parametrize("path", ["", "batch/b", "submit", "stage"])
def test_every_stop_of_tab_has_a_name_and_is_seen(browser: Any, inside: str, finished: str, path: str) -> None:
    browser.open(f"{inside}{path}")
    browser.wait(
        lambda: browser.run("return document.querySelectorAll('#content button, #content input').length"), "the page"
    )
    press(browser, Keys.TAB)
    first, stops = browser.run(_FOCUSED), []
    assert first[0] == "Skip to the content"
    for _ in range(MOST_STOPS):
        name, outline, _ = browser.run(_FOCUSED)
        if browser.run(_NOWHERE):
            break
        stops.append((name, outline != "none"))
        press(browser, Keys.TAB)
    assert len(stops) > 5
    assert [stop for stop in stops if not all(stop)] == []


def test_the_skip_link_leads_past_the_head(browser: Any, inside: str, finished: str) -> None:
    browser.open(f"{inside}batch/{finished}")
    browser.says("ValueError: no good")
    press(browser, Keys.TAB, Keys.ENTER, Keys.TAB)
    assert browser.run("return !!document.activeElement.closest('#content')")
    assert "#" not in browser.driver.current_url


def test_a_slash_goes_to_the_field_that_finds(browser: Any, inside: str, finished: str) -> None:
    browser.open(inside)
    browser.says("completed_with_failures")
    press(browser, "/")
    assert browser.run(_FOCUSED)[0] == "Find"
    press(browser, "x/y")
    assert browser.run("return document.activeElement.value") == "x/y"


def test_light_or_dark_turns_at_once_and_stays_on_other_pages(browser: Any, serve: Callable[..., Any]) -> None:
    """A system that prefers dark has it turned off by the first click; in a console of its own, which keeps it."""
    console = serve()
    browser.open(console.url)
    browser.colours(dark=True)
    dark = "return document.body.classList.contains('body--dark')"
    browser.open(f"{console.home}stage")
    browser.wait(lambda: browser.run(dark), "dark")
    try:
        tab_to(browser, "Light or dark")
        press(browser, Keys.ENTER)
        browser.wait(lambda: not browser.run(dark), "light")
        browser.open(console.home)
        browser.says("Batches")
        assert not browser.run(dark)
    finally:
        browser.colours(dark=False)
