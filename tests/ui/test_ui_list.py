"""The list of batches in a real browser: what each cost, its job, and the chain that it is part of."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from chalicelib.store.batch import BatchStatus
from chalicelib.store.chains import Parent
from chalicelib.store.items import number, text
from tests.ui import yards
from tests.ui.batches import batch_item, large
from tests.ui.yards import LOCAL, Yard
from tests.unit.tally import finished_batch

DAY = 86_400
AT = 1_772_323_200
"""When the batch of ``finished_batch`` was created, in seconds."""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yield from yards.yard(tmp_path_factory.mktemp("list"))


@pytest.fixture(scope="module")
def listed(yard: Yard) -> str:
    """Write a chain of three batches, one that ended and one under way, and return the address of their list."""
    kept = replace(finished_batch.BATCH, expires_at=AT + 30 * DAY, status=BatchStatus.COMPLETED)
    first = batch_item(replace(kept, id="first", job="offices"), chunks=1, rows=3, succeeded=3)
    parent = Parent(batch_id="first", attempt=1, depth=1)
    second = batch_item(replace(kept, id="second", job="documents", parent=parent), chunks=1, rows=3, succeeded=2)
    chained = {"chained_attempt": number(1), "then": text("documents")}
    million = replace(kept, id="million", size=150_000_000)
    half = replace(million, id="half", status=BatchStatus.RUNNING, completed_at="")
    items: list[dict[str, Any]] = [
        first | chained | {"child": text("second")},
        second | chained | {"then": text("transactions"), "not_chained": text("failures")},
        batch_item(million, chunks=1000, rows=1_000_000, succeeded=1_000_000),
        batch_item(half, chunks=1000, rows=1_000_000, succeeded=500_000) | {"remaining": number(500)},
    ]
    costly, *chunks = large("costly", chunks=60)
    ended = {"status": text(BatchStatus.COMPLETED), "remaining": number(0), "listing": text("ended")}
    items += [costly | ended | {"completed_at": text(kept.completed_at), "succeeded": number(20_000)}, *chunks]
    yards.write(yard, LOCAL, items)
    return yard.console(LOCAL).url


def cells(browser: Any, batch: str) -> dict[str, str]:
    """Return the row of a batch by the titles of its columns."""

    def found() -> dict[str, str] | None:
        titles = [each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, "thead th")]
        for line in browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr"):
            texts = [cell.text for cell in line.find_elements(By.TAG_NAME, "td")]
            if texts and texts[0].split("\n")[0] == batch:
                return dict(zip(titles, texts, strict=True))
        return None

    row: dict[str, str] = browser.wait(found, f"the row of {batch}")
    return row


def test_the_cost_of_a_batch_is_about_until_its_page_has_computed_it(browser: Any, listed: str) -> None:
    browser.open(listed)
    about = float(cells(browser, "million")["cost"].removeprefix("about $"))
    assert about == pytest.approx(0.083, rel=0.1), "docs/performance.md has what a million rows cost"
    so_far = float(cells(browser, "half")["cost"].removeprefix("about $"))
    assert so_far == pytest.approx(about / 2, rel=0.01)
    assert cells(browser, "first")["cost"] == "under $0.0001"

    assert cells(browser, "costly")["cost"].startswith("about $")
    browser.open(f"{listed.partition('?')[0]}batch/costly")
    browser.click("Estimate")
    browser.says("dollars, ", "a million rows, at the prices of")
    exact = next(line for line in browser.text.splitlines() if "a million rows, at the prices of" in line)
    browser.open(listed)
    assert cells(browser, "costly")["cost"] == f"${float(exact.split(' dollars')[0]):.4f}"


def test_a_batch_leads_to_the_others_of_its_chain(browser: Any, listed: str) -> None:
    browser.open(listed)
    assert cells(browser, "first")["batch"] == "first\nto second"
    assert cells(browser, "second")["batch"] == "second\nof first\nnot to transactions: failures"
    assert cells(browser, "million")["batch"] == "million"
    browser.driver.find_element(By.CSS_SELECTOR, "td a[href='/batch/second']").click()
    browser.wait(lambda: browser.driver.current_url.endswith("/batch/second"), "the page of the child")


def test_the_list_is_filtered_by_job_and_by_the_chain(browser: Any, listed: str) -> None:
    browser.open(listed)
    assert cells(browser, "first")["job"] == "offices"
    browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Job']").click()
    option = "//div[@role='option'][contains(., 'documents')]"
    browser.wait(lambda: browser.driver.find_element(By.XPATH, option).click() or True, "the choice of jobs")
    browser.says("1 to 1 of 1")
    assert cells(browser, "second")["job"] == "documents"
    browser.open(listed)
    cells(browser, "first")
    browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Find']").send_keys("to second")
    browser.says("1 to 1 of 1")
    cells(browser, "first")
