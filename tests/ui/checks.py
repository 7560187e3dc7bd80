"""What the tests of the console look for, so that tests/ui/test_ui_mutants.py can show that a broken one is noticed."""

import http.client
import re
from typing import Any
from urllib.parse import quote

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.ui.batches import HOSTILE

_MARKED = "return document.querySelectorAll('img, #app b, .q-dialog b').length"


def charts_have_data(browser: Any, home: str, batch: str) -> None:
    """Read the data that each chart of the finished batch says that it has drawn."""
    browser.open(f"{home}batch/{batch}")
    browser.says("p50", "p99")
    browser.wait(lambda: browser.chart("heat").count("failed rows") == 2, "a square a chunk")
    browser.wait(lambda: re.search(r"< 5 ms is 2, 2", browser.chart("durations")), "two rows took 4 ms")
    browser.wait(lambda: "Line chart representing rejected" in browser.chart("over-time"), "three lines")


def a_button_asks(browser: Any, home: str, batch: str) -> None:
    """Check that a button asks first; a question that is cancelled changes nothing."""
    browser.open(f"{home}batch/{batch}")
    browser.says("ValueError: no good")
    browser.click("Redrive failed rows")
    browser.says("Every failed row runs again.")
    browser.click("Cancel")
    browser.wait(lambda: "Every failed row runs again." not in browser.text, "the question is gone")


def a_redrive_is_done(browser: Any, home: str, batch: str) -> None:
    """Redrive exactly the failed rows of the finished batch, in its next attempt."""
    browser.open(f"{home}batch/{batch}")
    browser.says("ValueError: no good")
    browser.confirm("Redrive")
    browser.says("2 rows run again, in attempt 2")


def values_are_hidden(browser: Any, home: str, batch: str) -> None:
    """Find a row by its line; nothing that its uploader wrote is shown."""
    browser.open(f"{home}batch/{batch}")
    look_up(browser, "3")
    browser.says("row: 0:1", "outcome: failed", "tries: 3", "reason: ValueError: no good")
    assert "cell " not in browser.text, "cells are shown"


def look_up(browser: Any, row: str) -> None:
    """Ask for a row on the page of a batch."""
    asked = browser.wait(lambda: browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label^='Line']"), "the field")
    asked.send_keys(Keys.CONTROL, "a")
    asked.send_keys(row, Keys.ENTER)


def markup_is_text(browser: Any, home: str, batch: str) -> None:
    """Look wherever a page has what comes from outside: list, batch, row, tooltip, question. It is never markup."""
    browser.driver.get_log("browser")
    browser.open(home)
    as_text(browser, batch)
    browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Job']").click()
    browser.wait(lambda: browser.driver.find_elements(By.CSS_SELECTOR, ".q-menu .q-item"), "the jobs")
    no_markup(browser)
    browser.open(f"{home}batch/{quote(batch, safe='')}")
    as_text(browser, f"inbox/transactions/{HOSTILE}.csv", "ValueError: <b>bad</b>")
    assert browser.driver.title.startswith(batch)
    for row in ("2", "0:1"):
        look_up(browser, row)
        browser.says("row: 0:1" if row == "0:1" else "outcome: failed")
    for name in ("over-time", "heat", "durations"):
        browser.wait(lambda name=name: browser.chart(name), "the chart")
        drawn = browser.run(
            f"return getElement(+document.querySelector('.chart-{name}').id.slice(1)).chart.getOption()"
        )
        assert drawn["tooltip"][0]["renderMode"] == "richText", f"the tooltip of {name} is markup"
    no_markup(browser)
    browser.click("Read every reason")
    browser.says("1 failed, 0 rejected")
    browser.click("Redrive")
    browser.says("Exactly the rows of this group run again")
    no_markup(browser)


def as_text(browser: Any, *texts: str) -> None:
    """Wait for texts, or for elements that came of them instead."""
    browser.wait(
        lambda: browser.run(_MARKED) or all(each in browser.text for each in texts), f"waited for {texts} as text"
    )
    no_markup(browser)


def no_markup(browser: Any) -> None:
    """Check that no element and no script came of the text, and that no script of the page failed of it."""
    assert browser.run("return window.hacked") is None, "markup ran"
    assert not browser.run(_MARKED), "markup is shown"
    assert [each["message"] for each in browser.driver.get_log("browser") if each["level"] == "SEVERE"] == []


def another_host_is_refused(home: str, cookie: str) -> None:
    """Send the token with the name of another site, which is refused, and with the console's own."""
    host, port = home.removeprefix("http://").strip("/").split(":")
    for name, status in ((f"{host}:{port}", 200), (f"evil.example:{port}", 403)):
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        try:
            connection.request("GET", "/", headers={"Host": name, "Cookie": cookie})
            assert connection.getresponse().status == status, name
        finally:
            connection.close()
