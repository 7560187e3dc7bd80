"""The page of a batch in a real browser: where it stands, its chunks, attempts, failures and results."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from chalicelib.files.form import Form
from chalicelib.steps.reconcile import snapshot_of
from chalicelib.steps.standstill import WATCH_SK
from chalicelib.store.batch import BatchStatus
from chalicelib.store.exports import Export
from chalicelib.store.items import BATCH_SK, ChunkKey, Counts, batch_pk, key, number, text
from tally.batch.reader import Reader
from tally.stages.workspace import Workspace
from tally.testing import environment
from tests.support.builders import deployed_job
from tests.ui import worked
from tests.ui.batches import batch_item, large
from tests.ui.conftest import BUCKET, STAGE, Browser, Local
from tests.unit.tally import finished_batch


@pytest.fixture(scope="session")
def showing(serve: Callable[..., Any]) -> Any:
    """Start a console that shows data."""
    return serve("--show-data")


@pytest.fixture(scope="module")
def history(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a batch of three attempts, the last of them with a corrected row."""
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch, deployed_job(patch, folder, "reports", worked.JOB):
        yield worked.run(patch, local, folder)


@pytest.fixture
def halfway(local: Local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Return a batch of two attempts, with a failed and a rejected row left, for a test that changes it."""
    with deployed_job(monkeypatch, tmp_path, "reports", worked.JOB):
        yield worked.run(monkeypatch, local, tmp_path, f"{tmp_path.name}.csv", corrects=False)


def opened(browser: Browser, home: str, batch: str) -> None:
    browser.open(f"{home}batch/{batch}")
    browser.says("Why rows did not succeed")


def standing(local: Local, reader: Reader, batch: str, seconds: int, repairs: int = 0) -> None:
    """Note, as `reconcile` does, that a batch has been as it is now for so long."""
    found = reader.require(batch)
    snapshot = snapshot_of(found, reader.chunks(found).values())
    since = int(datetime.now(UTC).timestamp()) - seconds
    noted = {"snapshot": text(snapshot), "since": number(since), "repairs": number(repairs)}
    local.write([key(batch_pk(batch), WATCH_SK) | noted])


def test_a_standing_batch_says_where_since_when_and_what_to_do_until_it_moves(
    browser: Browser, inside: str, local: Local, reader: Reader
) -> None:
    local.write(large("standing", chunks=40))
    standing(local, reader, "standing", 720, repairs=2)
    opened(browser, inside, "standing")
    browser.says(
        "Stands at Process: 10,000 rows wait here, and nothing has moved for 12 min",
        "reconcile has repaired it 2 times without effect",
        "tally logs process --batch standing --stage ui",
        "stands still: 20",
    )
    pk = ChunkKey("standing", 30).pk
    finished_batch.change(local.client("dynamodb"), pk, "chunk", "version", number(9))
    browser.wait(lambda: "Stands at" not in browser.text, "it moves again")
    browser.says("ready, nothing counted: 20")


def test_a_batch_that_was_just_opened_is_not_called_standing(browser: Browser, inside: str, local: Local) -> None:
    local.write(large("begun", chunks=40))
    opened(browser, inside, "begun")
    browser.says("10,000 rows wait here", "ready, nothing counted: 20")
    assert "Stands at" not in browser.text


def test_a_paused_batch_waits_and_does_not_stand(browser: Browser, inside: str, local: Local, reader: Reader) -> None:
    local.write(large("resting", chunks=40))
    finished_batch.change(local.client("dynamodb"), batch_pk("resting"), BATCH_SK, "hold", text("paused"))
    standing(local, reader, "resting", 720)
    opened(browser, inside, "resting")
    browser.says("10,000 rows wait here, for the batch is paused")
    assert "Stands at" not in browser.text


def test_a_file_that_was_rejected_has_its_reason_and_no_empty_charts(
    browser: Browser, inside: str, local: Local
) -> None:
    batch = replace(finished_batch.BATCH, id="no-csv", status=BatchStatus.REJECTED, reason="the object is a PDF")
    local.write([batch.to_item()])
    browser.open(f"{inside}batch/no-csv")
    browser.says("rejected", "the object is a PDF", "none of its rows was processed", "rejected the file")
    assert not [title for title in ("Rows over time", "being planned", "Verify") if title in browser.text]


def test_what_is_wrong_can_be_read_in_the_dark(browser: Browser, inside: str, finished: str) -> None:
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    try:
        opened(browser, inside, finished)
        browser.says("Stands at Event")
        said = browser.driver.find_element(By.CSS_SELECTOR, ".text-negative[role=status]")
        assert said.value_of_css_property("color") == "rgba(255, 138, 128, 1)"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_an_end_that_is_not_announced_is_where_a_batch_stands(browser: Browser, inside: str, finished: str) -> None:
    opened(browser, inside, finished)
    browser.says("Stands at Event: the end is not announced yet", f"tally logs settle --batch {finished} --stage ui")


def test_every_attempt_says_why_it_ran_and_what_came_of_it(browser: Browser, inside: str, history: str) -> None:
    opened(browser, inside, history)
    browser.says("corrected by corrections-")
    cells = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in browser.driver.find_elements(By.XPATH, "//table[.//th[.='attempt']]//tbody/tr")
    ]
    assert [(row[0], row[2].partition(" ")[0], *row[4:]) for row in cells] == [
        ("3", "corrected", "completed_with_failures", "4", "1", "0", "2 files"),
        ("2", "redrive", "completed_with_failures", "3", "1", "1", "2 files"),
        ("1", "upload", "completed_with_failures", "2", "2", "1", "2 files"),
    ]
    assert all(row[1] and row[3] for row in cells)
    browser.says("Batch Completed", f"Batch Exported {history}: 5 rows: 2 succeeded, 2 failed, 1 rejected")
    browser.says("saved 4 of 4 by name")


def test_without_data_no_file_leaves_the_console_and_the_command_is_shown(
    browser: Browser, inside: str, history: str
) -> None:
    opened(browser, inside, history)
    browser.says(f"tally results {history} -o {history}.jsonl --stage ui")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "a[download]")
    for name in ("results", "failed"):
        assert fetched(browser, f"{inside}download/{history}/3/{name}")[0] == 403
    assert "ccccccccc" not in browser.text


def fetched(browser: Browser, address: str) -> tuple[int, str, str]:
    """Return what the browser gets from an address: status, Content-Disposition, text."""
    browser.driver.set_script_timeout(30)
    found = browser.driver.execute_async_script(
        "const done = arguments[1]; fetch(arguments[0]).then(async answer => done([answer.status, "
        "answer.headers.get('content-disposition'), await answer.text()]))",
        address,
    )
    return int(found[0]), str(found[1]), str(found[2])


def test_results_and_failed_rows_are_downloaded_as_they_were_written(
    browser: Browser, showing: Any, history: str
) -> None:
    browser.open(showing.url)
    opened(browser, showing.home, history)
    browser.says("Download the results (jsonl)", "Download failed.csv")
    links = [str(link.get_attribute("href")) for link in browser.driver.find_elements(By.CSS_SELECTOR, "a[download]")]
    status, name, body = fetched(browser, links[0])
    assert (status, name) == (200, f"attachment; filename*=UTF-8''{history}-attempt-3.jsonl")
    rows = [json.loads(line) for line in body.splitlines()]
    assert [(row["line"], row["outcome"]) for row in rows] == [
        (2, "succeeded"),
        (3, "succeeded"),
        (4, "failed"),
        (5, "succeeded"),
        (6, "succeeded"),
    ]
    status, name, body = fetched(browser, links[1])
    assert name.endswith(f"{history}-attempt-3-failed.csv")
    assert [line.partition(",")[0] for line in body.splitlines()] == ["tally_line", "4"]
    assert body.endswith(",c,3\n")
    assert fetched(browser, f"{showing.home}download/{history}/4/results")[0] == 404


def choose_attempt(browser: Browser, attempt: int) -> None:
    """Choose an attempt, once there is a choice."""

    def clicked(where: str) -> bool:
        element = browser.driver.find_element(By.XPATH, where)
        browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        return True

    for where in ("//input[@aria-label='Attempt']", f"//div[@role='option'][normalize-space(.)='{attempt}']"):
        browser.wait(partial(clicked, where), f"waited for {where}")


def test_the_files_of_an_earlier_attempt_are_downloaded_and_verified_as_it_left_them(
    browser: Browser, showing: Any, history: str
) -> None:
    browser.open(showing.url)
    opened(browser, showing.home, history)
    choose_attempt(browser, 1)
    browser.says(f"results: s3://inbox/results/reports/{history}/attempt-1/")
    links = [str(link.get_attribute("href")) for link in browser.driver.find_elements(By.CSS_SELECTOR, "a[download]")]
    status, name, body = fetched(browser, links[0])
    assert (status, name) == (200, f"attachment; filename*=UTF-8''{history}-attempt-1.jsonl")
    assert [json.loads(line)["outcome"] for line in body.splitlines()] == [
        "succeeded", "failed", "failed", "succeeded", "rejected",
    ]  # fmt: skip
    _, _, body = fetched(browser, links[1])
    assert [line.partition(",")[0] for line in body.splitlines()] == ["tally_line", "3", "4", "6"]
    browser.click("Verify")
    browser.says("5 rows, each once and in order", "2 succeeded, 2 failed, 1 rejected")


def test_the_command_that_fetches_an_earlier_attempt_is_shown_without_data(
    browser: Browser, inside: str, history: str
) -> None:
    opened(browser, inside, history)
    choose_attempt(browser, 2)
    browser.says(f"tally results {history} --attempt 2 -o {history}-2.jsonl --stage ui")


def test_an_earlier_attempt_without_files_says_why(browser: Browser, inside: str, local: Local) -> None:
    batch = replace(finished_batch.BATCH, id="redriven-early", attempt=3)
    export = Export(
        batch_id=batch.id, attempt=1, prefix="results/gone/", form=Form.JSONL, status="completed", chunks=1,
        completed_at=batch.completed_at, counts=Counts(), chunks_per_part=50, written=2,
        results_expire_at="2026-04-01T00:00:00+00:00",
    )  # fmt: skip
    exported = {"exported_at": text(batch.completed_at), "manifest_sha256": text("0")}
    ended = batch_item(batch, chunks=0, rows=0) | {"published_attempt": number(3)}
    local.write([ended, export.to_item() | exported])
    opened(browser, inside, batch.id)
    choose_attempt(browser, 1)
    browser.says("results: expired", "results expired 2026-04-01")
    choose_attempt(browser, 2)
    browser.says("the results of attempt 2 of redriven-early were not exported: the job says EXPORT = False")


def test_results_that_were_changed_in_the_bucket_are_refused_and_named_by_verify(
    browser: Browser, showing: Any, history: str, local: Local
) -> None:
    browser.open(showing.url)
    opened(browser, showing.home, history)
    browser.click("Verify")
    browser.says("5 rows, each once and in order; every file is as it was written")
    place = f"results/reports/{history}/attempt-3/results-000001.jsonl.gz"
    s3 = local.client("s3")
    before = s3.get_object(Bucket=BUCKET, Key=place)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=place, Body=before + b"x")
    try:
        browser.click("Verify")
        browser.says("results-000001.jsonl.gz has another SHA-256 than the manifest says")
        status, _, body = fetched(browser, f"{showing.home}download/{history}/3/results")
        assert (status, "another SHA-256" in body) == (404, True)
    finally:
        s3.put_object(Bucket=BUCKET, Key=place, Body=before)


def test_a_chain_leads_to_its_parent_and_its_child(browser: Browser, inside: str, local: Local) -> None:
    link = {
        "parent": text("first"), "parent_attempt": number(1), "depth": number(1),
        "chained_attempt": number(1), "then": text("offices"), "child": text("third"),
    }  # fmt: skip
    local.write([batch_item(finished_batch.BATCH, chunks=0, rows=0) | key(batch_pk("second"), BATCH_SK) | link])
    opened(browser, inside, "second")
    browser.says("made of", "results to")
    addresses = [each.get_attribute("href") for each in browser.driver.find_elements(By.CSS_SELECTOR, "main a, a")]
    assert {f"{inside}batch/first", f"{inside}batch/third"} <= set(addresses)


def drawn(browser: Browser, name: str) -> list[str]:
    """Return the texts that a chart has drawn."""
    found: list[str] = browser.run(
        f"""const place = document.querySelector('.chart-{name}');
        const texts = [];
        getElement(Number(place.id.replace('c', ''))).chart.getZr().storage.getDisplayList(true).forEach(
            each => {{ if (each.style && each.style.text) texts.push(each.style.text); }});
        return texts;"""
    )
    return found


def test_the_histogram_has_a_labelled_line_at_p50_and_at_p99(browser: Browser, inside: str, finished: str) -> None:
    opened(browser, inside, finished)
    browser.wait(lambda: {"p50 6 ms", "p99 7 ms"} <= set(drawn(browser, "durations")), "two lines with their values")


def square(browser: Browser, cell: int) -> tuple[float, float]:
    """Return where a square is drawn, from the middle of its chart."""
    found: list[float] = browser.run(
        f"""const place = document.querySelector('.chart-heat');
        place.scrollIntoView({{block: 'center'}});
        const chart = getElement(Number(place.id.replace('c', ''))).chart;
        const value = chart.getOption().series[0].data[{cell}].value;
        const [x, y] = chart.convertToPixel({{seriesIndex: 0}}, [value[0], value[1]]);
        return [x - place.clientWidth / 2, y - place.clientHeight / 2];"""
    )
    return found[0], found[1]


def test_a_click_on_a_square_shows_the_rows_of_its_chunk_without_their_values(
    browser: Browser, inside: str, history: str
) -> None:
    opened(browser, inside, history)
    browser.wait(lambda: "failed" in browser.chart("heat"), "the squares")
    x, y = square(browser, 0)
    chart = browser.driver.find_element(By.CSS_SELECTOR, ".chart-heat")
    ActionChains(browser.driver).move_to_element_with_offset(chart, int(x), int(y)).click().perform()
    browser.says("chunk 0, rows from line 2", "PermanentError: no such office: *", "tally redrive", "--rows 0:2")
    assert "ccccccccc" not in browser.text


def test_a_chunk_is_shown_by_its_number_and_one_that_is_not_there_is_said_to_be_none(
    browser: Browser, inside: str, finished: str
) -> None:
    opened(browser, inside, finished)
    browser.wait(lambda: browser.chart("heat").count("failed rows") == 2, "the squares")
    asked = browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Chunk']")
    asked.send_keys("1", Keys.ENTER)
    browser.says("chunk 1, rows from line 5", "3 rows: 1 succeeded, 1 failed, 1 rejected", "--rows 1:1 --stage ui")
    asked.send_keys(Keys.BACKSPACE, "7", Keys.ENTER)
    browser.says("Batch b has no chunk 7")


def test_the_tooltip_of_a_square_says_lines_state_failures_and_age(browser: Browser, inside: str, local: Local) -> None:
    local.write(large("pointed", chunks=40))
    opened(browser, inside, "pointed")
    browser.says("ready, nothing counted: 20")
    chart = browser.driver.find_element(By.CSS_SELECTOR, ".chart-heat")
    for cell, said in ((7, "500 rows: 499 succeeded, 1 failed, 0 rejected"), (30, "as it is since")):
        x, y = square(browser, cell)
        ActionChains(browser.driver).move_to_element_with_offset(chart, int(x), int(y)).perform()
        browser.wait(partial(tells, browser, said), f"a tooltip with {said}")
        assert any(f"chunk {cell}, rows from line {2 + 500 * cell:,} to" in each for each in drawn(browser, "heat"))


def tells(browser: Browser, said: str) -> bool:
    return any(said in each for each in drawn(browser, "heat"))


def test_groups_say_their_share_and_name_rows_but_no_value(browser: Browser, inside: str, finished: str) -> None:
    opened(browser, inside, finished)
    browser.says("2 failed, 50%", "2 rejected, 50%", "for example line 3, line 3", "for example line 4, line 4")


def test_all_rejected_rows_are_read_again_and_no_failed_one(
    browser: Browser, inside: str, halfway: str, reader: Reader
) -> None:
    opened(browser, inside, halfway)
    browser.confirm("Read rejected rows again")
    browser.says(f"tally redrive {halfway} --rejected --stage ui", "1 row is read again, in attempt 3")
    counts = reader.require(halfway).counts
    assert (counts.failed, counts.rejected) == (1, 0)
    browser.click("Close")
    browser.says("1 row of 1 chunk to be read")


def test_all_failed_rows_run_again_and_no_rejected_one(
    browser: Browser, inside: str, halfway: str, reader: Reader
) -> None:
    opened(browser, inside, halfway)
    browser.confirm("Redrive failed rows")
    browser.says(f"tally redrive {halfway} --stage ui", "1 row runs again, in attempt 3")
    counts = reader.require(halfway).counts
    assert (counts.failed, counts.rejected) == (0, 1)


def test_rejected_rows_of_a_file_that_is_gone_stay_as_they_are(
    browser: Browser, inside: str, finished: str, reader: Reader
) -> None:
    before = reader.require(finished)
    opened(browser, inside, finished)
    browser.confirm("Read rejected rows again")
    browser.says("upload the file again. Nothing was changed.")
    assert reader.require(finished) == before


def test_a_corrected_file_is_tried_first_and_runs_once_it_is_confirmed(
    browser: Browser, inside: str, halfway: str, reader: Reader, tmp_path: Path
) -> None:
    file = tmp_path / "corrected.csv"
    file.write_text("tally_line,tally_reason,name,users\n4,,q,3\n2,,taken,9\n", encoding="utf-8")
    opened(browser, inside, halfway)
    browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(file))
    browser.says("Dry run, nothing is changed", "1 row would run again, in attempt 3. Nothing was changed.", "line 3:")
    assert reader.require(halfway).attempt == 2
    browser.confirm("Run the corrected rows")
    browser.says(
        f"tally redrive {halfway} --from corrected.csv --skip-invalid --stage ui",
        "1 row runs again as corrected, in attempt 3",
    )
    assert reader.require(halfway).counts.failed == 0
    browser.click("Close")
    browser.says("corrected by corrections-")


def test_a_row_says_where_the_job_raised_and_no_value(browser: Browser, inside: str, history: str) -> None:
    opened(browser, inside, history)
    browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label^='Line']").send_keys("4", Keys.ENTER)
    browser.says("row: 0:2", "reason: PermanentError: no such office: *", "reports.py:", "raise PermanentError(")
    assert "ccccccccc" not in browser.text


def test_a_broken_counter_is_found_repaired_and_found_exact(
    browser: Browser, inside: str, finished: str, local: Local, reader: Reader
) -> None:
    """The repair is the one of the pipeline itself, with the settings of the stage's functions."""
    config = Workspace(repo=Path(), home=local.home).stage(STAGE).app / ".chalice" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"stages": {STAGE: {"environment_variables": environment.VARIABLES}}}))
    finished_batch.change(local.client("dynamodb"), batch_pk(finished), BATCH_SK, "failed", number(5))
    opened(browser, inside, finished)
    browser.click("Audit")
    browser.says("differs")
    browser.confirm("Audit and repair")
    browser.says("tally audit b --repair --stage ui", "audit exact: 6 rows in the markers of 2 chunks")
    assert reader.require(finished).counts.failed == 2
