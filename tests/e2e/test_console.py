"""The console of a deployed stage in a real browser: files from drop to end, and what goes wrong on the way."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from bench.recording import variables
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts, text
from tally.local import sample
from tally.local.console import LocalConsole
from tests.e2e.browsing import Patient, batch_of, demo, demonstrated, depth, purge, received, use_up, versions, written
from tests.e2e.conftest import STAGE, VARIABLES, Tally, standstill, wait_for
from tests.ui.batches import many
from tests.ui.conftest import chromium

pytestmark = pytest.mark.e2e

ROWS, FAILING = 2_000, 20
_JOB = """
import os

from chalicelib import rows
from chalicelib.errors import PermanentError

RATES = os.environ.get("RATES", "EUR,USD").split(",")


class Row(rows.Row, kw_only=True):
    number: int
    currency: str


def process(row: Row) -> str:
    if row.currency not in RATES:
        raise PermanentError(f"no rate for {row.currency}")
    return f"{row.number} in {row.currency}"
"""
"""A job whose rows of one currency fail until its rate is added, as an operator does without a change of the code."""


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def home(tally: Tally, driver: webdriver.Chrome) -> Iterator[str]:
    """Serve the stage's console as an operator does, enter it by its address, and return where its pages are."""
    with subprocess.Popen(
        [sys.executable, "-m", "tally", "ui", "--stage", STAGE, "--json"],
        env=tally.environ,
        cwd=tally.repo,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout
            url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
            driver.get(url)
            yield url.partition("?")[0]
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.fixture
def browser(home: str, driver: webdriver.Chrome) -> Iterator[Patient]:
    made = Patient(driver)
    made.size(1280)
    made.open(home)
    yield made
    made.open("about:blank")  # no page of a test polls while the next one runs


@pytest.fixture(scope="module")
def priced(tally: Tally) -> str:
    """Deploy the job of which one currency fails, and return its name."""
    tally.deploy_job("priced", _JOB)
    return "priced"


def one_percent_fails() -> bytes:
    rows = (f"{number},{'XXX' if number % (ROWS // FAILING) == 7 else 'EUR'}\n" for number in range(ROWS))
    return b"number,currency\n" + "".join(rows).encode()


FIRST_FAILING_LINE = 2 + 7


def with_every_rate(tally: Tally) -> AbstractContextManager[None]:
    """Add the rate that is missing, for the block."""
    return variables(tally.stage.functions, [f"tally-{STAGE}-process"], {"RATES": "EUR,USD,XXX"})


def offices(rows: int, bad: int) -> str:
    lines = [f"A{number},{'x' if number < bad else 2},5" for number in range(rows)]
    return "\n".join(["office_id,user_count,contract_count", *lines, ""])


def test_a_dropped_file_is_followed_to_its_end_on_one_page(browser: Patient, tally: Tally, home: str) -> None:
    """It is tried, confirmed and uploaded; the page that its link opens counts what is in the file and in the table."""
    before = versions(tally, "inbox/offices/offices.csv")
    browser.open(f"{home}submit")
    browser.drop("offices.csv", offices(ROWS, bad=3))
    browser.says("Dry run", "1,000 rows, 997 succeeded, 0 failed, 3 rejected")
    assert versions(tally, "inbox/offices/offices.csv") == before, "nothing is uploaded before it is confirmed"
    browser.confirm("Submit")
    browser.says("uploaded s3://")
    browser.click("Close")
    browser.follow("Open offices-")
    browser.stay()
    browser.says(
        "completed_with_failures", f"{ROWS:,} of {ROWS:,} rows (100 %): {ROWS - 3:,} succeeded, 0 failed, 3 rejected"
    )
    assert browser.stayed
    batch = tally.ended(batch_of(browser))
    assert batch.counts == Counts(succeeded=ROWS - 3, rejected=3)
    browser.wait(lambda: browser.chart("heat").count("rejected") >= 1, "a square for each chunk")
    browser.wait(lambda: "rejected" in browser.chart("over-time"), "rows over time")
    browser.wait(lambda: browser.chart("durations"), "how long rows took")


def test_a_chosen_file_of_the_sample_is_followed_to_its_results(
    browser: Patient, tally: Tally, home: str, tmp_path: Path
) -> None:
    """As many rows of each outcome as its maker knows, in the page, in the table, and in what was exported."""
    file = tmp_path / "transactions.csv"
    expected = sample.write_file(file, 1_000)
    browser.open(f"{home}submit")
    browser.says("Drop a file here")
    browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(file))
    browser.says("Dry run", f"1,000 rows, {expected.succeeded:,} succeeded")
    browser.confirm("Submit")
    browser.says("uploaded s3://")
    browser.click("Close")
    browser.follow("Open transactions-")
    browser.says(f"{expected.succeeded:,} succeeded, {expected.failed:,} failed, {expected.rejected:,} rejected")
    browser.says(f"tally results {batch_of(browser)} -o")
    browser.click("Verify")
    browser.says("1,000 rows, each once")
    counts = tally.ended(batch_of(browser)).counts
    assert (counts.succeeded, counts.failed, counts.rejected) == (
        expected.succeeded,
        expected.failed,
        expected.rejected,
    )


def test_a_batch_with_one_percent_failures_is_found_understood_and_redriven_in_the_browser_alone(
    browser: Patient, tally: Tally, home: str, priced: str
) -> None:
    """One group has the reason, a line of it shows its row, and the group runs again once its rate is there."""
    batch_id = tally.submit("browser.csv", one_percent_fails(), job=priced)
    browser.find(batch_id)
    browser.says("completed_with_failures", f"{FAILING}")
    browser.follow(batch_id)
    browser.stay()
    browser.says(f"{ROWS - FAILING:,} succeeded, {FAILING} failed, 0 rejected", f"{FAILING} failed")
    browser.says(
        "PermanentError: no rate for XXX", f"for example line {FIRST_FAILING_LINE}, line {FIRST_FAILING_LINE + 100}"
    )
    browser.ask_for_line(FIRST_FAILING_LINE)
    browser.says("outcome: failed", "reason: PermanentError: no rate for XXX", "raised in: jobs/priced.py:")
    with with_every_rate(tally):
        browser.confirm("Redrive")
        browser.says(f"tally redrive {batch_id} --reason", f"{FAILING} rows run again, in attempt 2")
        browser.click("Close")
        browser.says(f"{ROWS:,} of {ROWS:,} rows (100 %): {ROWS:,} succeeded, 0 failed, 0 rejected", "attempt 2")
        browser.wait(lambda: browser.status == "completed", "the end of the second attempt")
    assert browser.stayed
    batch = tally.ended(batch_id, attempt=2)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, Counts(succeeded=ROWS))
    browser.click("Audit")
    browser.says(f"audit exact: {ROWS:,} rows")


def test_a_batch_with_one_percent_failures_is_found_understood_and_redriven_in_the_terminal_alone(
    tally: Tally, priced: str, tmp_path: Path
) -> None:
    """Each command says what the next one needs."""

    def said(*arguments: str, status: int = 0) -> str:
        done = tally.run(*arguments)
        assert done.returncode == status, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    batch_id = tally.submit("terminal.csv", one_percent_fails(), job=priced)
    said("wait", batch_id, status=1)
    (line,) = [line for line in said("list").splitlines() if batch_id in line]
    assert "failures" in line
    status = said("status", batch_id)
    assert f"{FAILING} failed: PermanentError: no rate for XXX" in status
    assert f"tally failures {batch_id}" in status
    groups = said("failures", batch_id)
    assert "PermanentError: no rate for XXX" in groups
    assert f"tally redrive {batch_id} --reason 'PermanentError: no rate for XXX'" in groups
    row = said("row", batch_id, "--line", str(FIRST_FAILING_LINE))
    assert "no rate for XXX" in row
    assert "XXX" in row
    with with_every_rate(tally):
        again = said("redrive", batch_id, "--reason", "PermanentError: no rate for XXX")
        assert f"{FAILING} rows run again, in attempt 2" in again
        assert re.search(rf"^succeeded +{ROWS:,}$", said("wait", batch_id), re.MULTILINE)
    fetched = said("results", batch_id, "-o", str(tmp_path / "results"))
    assert f"{ROWS:,} rows" in fetched
    lines = [
        line
        for part in (tmp_path / "results").glob("results-*.jsonl.gz")
        for line in gzip.decompress(part.read_bytes()).decode().splitlines()
    ]
    assert len(lines) == ROWS
    assert sum("in XXX" in line for line in lines) == FAILING


def test_a_stuck_batch_is_seen_where_it_stands_paused_resumed_and_ends(
    browser: Patient, tally: Tally, home: str
) -> None:
    """Its queue's mapping is off: the page says where rows wait. A pause outlives the repair, until it is resumed."""
    with standstill(tally):
        batch_id = tally.submit("stuck.csv", offices(ROWS, bad=0).encode())
        browser.open(f"{home}batch/{batch_id}")
        browser.stay()
        browser.says("process runs the job", f"{ROWS:,} rows wait here", f"0 of {ROWS:,} rows", "0 rows/s")
        browser.confirm("Pause")
        browser.says(f"tally pause {batch_id}")
        browser.click("Close")
        browser.says("paused")
    wait_for(lambda: not depth(tally, "work"), what="the work to be taken")
    browser.says(f"0 of {ROWS:,} rows", "paused")
    browser.confirm("Resume")
    browser.says(f"tally resume {batch_id}")
    browser.click("Close")
    browser.says("completed", f"{ROWS:,} of {ROWS:,} rows (100 %): {ROWS:,} succeeded")
    assert browser.stayed
    assert tally.ended(batch_id).counts == Counts(succeeded=ROWS)


def test_a_stuck_batch_is_cancelled_and_ends_with_that_reason(browser: Patient, tally: Tally, home: str) -> None:
    """Every row that has no outcome fails as cancelled."""
    with standstill(tally):
        batch_id = tally.submit("cancelled.csv", offices(ROWS, bad=0).encode())
        browser.open(f"{home}batch/{batch_id}")
        browser.says(f"{ROWS:,} rows wait here")
        browser.confirm("Cancel")
        browser.says(f"tally cancel {batch_id}")
        browser.click("Close")
    browser.says("completed_with_failures", f"0 succeeded, {ROWS:,} failed, 0 rejected", "cancelled")
    assert tally.ended(batch_id).counts == Counts(failed=ROWS)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("offices.csv", "%PDF-1.7\n1 0 obj\n", "PDF"),
        ("offices.csv", "", "empty"),
        ("offices.csv", "1,2,5\n2,3,4\n", "office_id"),
        ("offices.csv", "office_id,users\nA,2\n", "user_count"),
    ],
    ids=["pdf", "empty", "no header", "other columns"],
)
def test_a_file_that_is_wrong_is_named_as_what_it_is_before_it_is_uploaded(
    browser: Patient, home: str, name: str, content: str, reason: str
) -> None:
    """The dry run says it, where the question would be."""
    browser.open(f"{home}submit")
    browser.drop(name, content)
    browser.says("Dry run", reason)


def test_a_file_whose_rows_are_all_rejected_ends_with_their_reason_on_its_page(
    browser: Patient, tally: Tally, home: str
) -> None:
    """An upload in spite of the dry run shows the same reason again."""
    browser.open(f"{home}submit")
    browser.drop("offices.csv", offices(40, bad=40))
    browser.says("Dry run", "40 rows, 0 succeeded, 0 failed, 40 rejected", "user_count")
    browser.confirm("Submit")
    browser.says("uploaded s3://")
    browser.click("Close")
    browser.follow("Open offices-")
    browser.says("0 succeeded, 0 failed, 40 rejected", "40 rejected", "user_count")
    assert tally.ended(batch_of(browser)).counts == Counts(rejected=40)


def test_a_file_that_is_rejected_as_a_whole_is_shown_with_its_reason(browser: Patient, tally: Tally, home: str) -> None:
    """A PDF that an uploader puts into the inbox is in the list, and its page says why."""
    batch_id = tally.submit("report.csv", b"%PDF-1.7\n1 0 obj\n")
    browser.find(batch_id)
    browser.says("rejected")
    browser.follow(batch_id)
    browser.says("rejected", "PDF")


def test_a_dead_letter_without_rows_is_sent_again_from_the_stage_page(
    browser: Patient, tally: Tally, home: str
) -> None:
    """Nobody took an announced end in time: it is back in the queue of completions after one confirmed click."""
    for queue in ("completions", "completions-dlq"):  # of other batches, whose ends nobody takes either
        purge(tally, queue)
    batch_id = tally.submit("announced.csv", offices(3, bad=0).encode())
    tally.ended(batch_id)
    use_up(tally, "completions", batch_id)
    browser.open(f"{home}stage")
    browser.click("Show dead letters")
    browser.says("completions-dlq", "waits until it is sent again")
    browser.confirm("Send completions-dlq again")
    browser.says("tally dead completions-dlq --redrive", "1 sent again")
    browser.click("Close")
    assert depth(tally, "completions-dlq") == 0
    assert any(batch_id in body for body in received(tally, "completions"))


def test_one_of_five_thousand_batches_is_found(browser: Patient, tally: Tally, home: str) -> None:
    """The list shows 25 of them at a time, however many the table has, and turns and filters while it reads on."""
    rejected = {"status": text(BatchStatus.REJECTED), "reason": text("the object is empty")}
    every = [item | rejected for item in many(5_000)]  # of which settle exports nothing
    wanted = every[2_500]["pk"]["S"].removeprefix("batch#")
    with written(tally, every):
        browser.open(home)
        browser.says("1 to 25 of")
        assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 25
        browser.click("Older")
        browser.says("26 to 50 of")
        browser.find(wanted)
        assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1
        browser.follow(wanted)
        browser.says("rejected", "the object is empty", "inbox/transactions/a.csv")


def test_two_demos_at_once_share_one_console_which_starts_again_after_a_kill(
    driver: webdriver.Chrome, tally: Tally
) -> None:
    """It outlives both, shows what they process, and is replaced by the next demo once it is gone."""
    console = LocalConsole(folder=tally.workspace.stage(STAGE), workspace=tally.workspace, environ=tally.environ)
    with demo(tally) as first:
        assert first.stderr
        begun = next(line for line in first.stderr if line.startswith("Console of stage "))
        with demo(tally) as second:
            shown = [demonstrated(each) for each in (first, second)]
    url = shown[0]["console"]
    assert url in begun
    assert shown[1]["console"] == url
    browser = Patient(driver)
    browser.open(url)
    browser.says(*(each["id"] for each in shown))

    (process,) = console._processes()
    os.kill(process.pid, signal.SIGKILL)
    third = tally.json("demo", "--rows", "100", *VARIABLES)
    assert third["console"] != url
    browser.open(third["console"])
    browser.says(third["id"])
