"""The console in a real browser: what is seen, and what a click does to the batch."""

import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from chalicelib.store.batch import Hold
from tally.batch.reader import Reader
from tests.ui import checks
from tests.ui.batches import HOSTILE, hostile, large, many
from tests.unit.tally import finished_batch


def test_a_new_stage_says_what_to_do_first(browser: Any, serve: Callable[..., Any], local: Any) -> None:
    """Seen by a console of its own, which has not read the batches of other tests."""
    dynamodb = local.client("dynamodb")
    for page in dynamodb.get_paginator("scan").paginate(TableName=finished_batch.TABLE, ProjectionExpression="pk, sk"):
        for key in page["Items"]:
            dynamodb.delete_item(TableName=finished_batch.TABLE, Key=key)
    browser.open(serve().url)
    browser.says("No batch yet.", "tally submit FILE --job JOB")


def test_without_the_token_no_page_is_shown(browser: Any, inside: str) -> None:
    other = inside.replace("127.0.0.1", "localhost")  # where the browser has no cookie of the console
    browser.open(other)
    browser.says("Refused", "tally ui")
    assert "Batches" not in browser.text


def test_the_list_shows_a_batch_and_leads_to_it(browser: Any, inside: str, finished: str) -> None:
    browser.open(inside)
    browser.says("completed_with_failures")
    browser.wait(lambda: browser.driver.find_element(By.CSS_SELECTOR, "a[href='/batch/b']").click() or True, "link")
    browser.says("6 of 6 rows (100 %): 2 succeeded, 2 failed, 2 rejected")


def test_every_chart_of_a_batch_has_its_data(browser: Any, inside: str, finished: str) -> None:
    checks.charts_have_data(browser, inside, finished)


def test_a_group_of_failures_is_redriven_from_the_page_and_no_other_row(
    browser: Any, inside: str, finished: str, reader: Reader
) -> None:
    checks.a_redrive_is_done(browser, inside, finished)
    browser.says("tally redrive b --reason 'ValueError: no good' --stage ui")
    batch = reader.require(finished)
    assert (batch.attempt, batch.status.final) == (2, False)
    for chunk in reader.chunks(batch).values():
        assert (chunk.counts.succeeded, chunk.counts.failed, chunk.counts.rejected) == (1, 0, 1)
    browser.click("Close")
    browser.says("running", "2 rows wait here")


def test_a_stuck_batch_is_paused_resumed_and_cancelled(browser: Any, inside: str, local: Any, reader: Reader) -> None:
    local.write(large("stuck-one", chunks=40))
    browser.open(f"{inside}batch/stuck-one")
    browser.says("10,000 rows wait here", "0 rows/s")
    for label, command, hold in (
        ("Pause", "tally pause stuck-one --stage ui", Hold.PAUSED),
        ("Resume", "tally resume stuck-one --stage ui", None),
        ("Cancel", "tally cancel stuck-one --stage ui", Hold.CANCELLED),
    ):
        browser.confirm(label)
        browser.says(command, "Batch stuck-one")
        assert reader.require("stuck-one").hold is hold
        browser.click("Close")


def test_cancelling_a_question_changes_nothing(browser: Any, inside: str, finished: str, reader: Reader) -> None:
    before = reader.require(finished)
    checks.a_button_asks(browser, inside, finished)
    assert reader.require(finished) == before


def test_a_row_is_found_by_its_line_without_its_values(browser: Any, inside: str, finished: str) -> None:
    checks.values_are_hidden(browser, inside, finished)
    checks.look_up(browser, "0:9")
    browser.says("batch b has no row 0:9")


def test_the_audits_verdict_is_shown(browser: Any, inside: str, finished: str) -> None:
    browser.open(f"{inside}batch/{finished}")
    browser.click("Audit")
    browser.says("audit exact: 6 rows in the markers of 2 chunks")


def test_every_reason_is_read_on_demand(browser: Any, inside: str, finished: str) -> None:
    browser.open(f"{inside}batch/{finished}")
    browser.click("Read every reason")
    browser.says("2 failed, 2 rejected")


def test_nothing_from_outside_is_markup(browser: Any, serve: Callable[..., Any], local: Any) -> None:
    """Ids, jobs, files, reasons, tracebacks, headers, cells and results, in every place where a page has them."""
    hostile_id = f"{HOSTILE}`${{window.hacked=1}}`{{{{window.hacked=1}}}}"
    local.write(hostile(hostile_id))
    shown = serve("--show-data")
    browser.open(shown.url)
    checks.markup_is_text(browser, shown.home, hostile_id)
    local.forget(hostile_id)


def test_a_console_that_only_reads_offers_no_action(browser: Any, serve: Callable[..., Any], finished: str) -> None:
    shown = serve("--read-only")
    browser.open(shown.url)
    browser.open(f"{shown.home}batch/{finished}")
    browser.says("ValueError: no good", "read-only")
    labels = {each.text for each in browser.driver.find_elements(By.TAG_NAME, "button")}
    assert labels.isdisjoint({"Pause", "Resume", "Cancel", "Redrive", "Redrive failed rows", "Audit and repair"})
    browser.open(f"{shown.home}submit")
    browser.wait(lambda: "Drop a file" not in browser.text, "no page to submit")


def test_five_thousand_batches_are_turned_over_and_filtered(browser: Any, inside: str, local: Any) -> None:
    local.write(many(5000))
    browser.open(inside)
    browser.says("1 to 25 of")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert len(rows) == 25
    browser.click("Older")
    browser.says("26 to 50 of")
    found = browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Find']")
    found.send_keys("offices-")
    browser.says("1 to ")
    browser.wait(
        lambda: all("offices-" in each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")),
        "only what fits",
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", ["", "batch/b", "submit", "stage"])
def test_no_page_is_wider_than_a_phone(browser: Any, inside: str, finished: str, path: str, *, dark: bool) -> None:
    browser.size(390, 844)
    browser.colours(dark=dark)
    browser.open(f"{inside}{path}")
    browser.says("Tally")
    browser.wait(lambda: browser.run("return document.querySelectorAll('.q-page *').length > 5"), "the page")
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.run("return document.body.classList.contains('body--dark')") is dark


def test_a_dropped_file_is_tried_confirmed_and_uploaded(browser: Any, inside: str, local: Any, tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    file.write_text("office_id,user_count,contract_count\nA,2,5\nB,x,1\n", encoding="utf-8")

    def uploaded() -> set[tuple[str, datetime]]:
        found = local.client("s3").list_objects_v2(Bucket="inbox").get("Contents", [])
        return {(each["Key"], each["LastModified"]) for each in found}

    before = uploaded()
    browser.open(f"{inside}submit")
    browser.says("Drop a file here")
    browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(file))
    browser.says("Dry run", "2 rows, 1 succeeded, 0 failed, 1 rejected")
    assert uploaded() == before, "nothing is uploaded before it is confirmed"
    browser.confirm("Submit")
    browser.says("tally submit offices.csv --job offices --stage ui", "uploaded s3://inbox/inbox/offices/offices.csv")
    (new,) = uploaded() - before
    assert new[0] == "inbox/offices/offices.csv"


def test_a_file_that_is_none_is_said_to_be_none_before_it_is_sent(browser: Any, inside: str, tmp_path: Path) -> None:
    file = tmp_path / "offices.csv"
    file.write_text("something,else\n1,2\n", encoding="utf-8")
    browser.open(f"{inside}submit")
    browser.says("Drop a file here")
    browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(file))
    browser.says("Dry run", "office_id")
    browser.click("Submit anyway")
    browser.says("The dry run found that no row of it can be processed.")


def test_nothing_is_loaded_from_elsewhere_and_no_script_fails(browser: Any, inside: str, finished: str) -> None:
    browser.driver.get_log("browser")
    for path in ("", f"batch/{finished}", "stage", "submit"):
        browser.open(f"{inside}{path}")
        browser.says("Tally")
        loaded = browser.run("return performance.getEntriesByType('resource').map(each => each.name)")
        assert [each for each in loaded if not each.startswith((inside, "data:", "blob:"))] == []
    assert [each["message"] for each in browser.driver.get_log("browser") if each["level"] == "SEVERE"] == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_console_cleanly_with_a_page_open(
    browser: Any, serve: Callable[..., Any], finished: str, ending: signal.Signals
) -> None:
    shown = serve()
    browser.open(shown.url)
    browser.says("completed_with_failures")
    shown.process.send_signal(ending)
    _, errors = shown.process.communicate(timeout=120)
    shown.ended.append(shown.process.returncode)
    assert shown.process.returncode == 0, errors
    assert "Traceback" not in errors
