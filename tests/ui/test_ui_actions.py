"""What a click does to the ledger, also when it comes twice, and what the page says when it fails."""

from typing import Any

import msgspec
import pytest
from selenium.webdriver.common.by import By

from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from chalicelib.store.items import BATCH_SK, CHUNK_SK, ChunkKey, batch_pk, number, text
from tally.batch.reader import Reader
from tests.ui.batches import large
from tests.unit.tally import finished_batch


@pytest.mark.parametrize(
    ("label", "command", "counts"),
    [
        ("Redrive failed rows", "tally redrive b --stage ui", (1, 0, 1)),
        ("Redrive", "tally redrive b --reason 'ValueError: no good' --stage ui", (1, 0, 1)),
        ("Read again", "tally redrive b --rejected --reason", (1, 1, 0)),
    ],
)
def test_a_redrive_takes_back_the_rows_that_its_button_names(
    browser: Any, inside: str, finished: str, local: Any, label: str, command: str, counts: tuple[int, int, int]
) -> None:
    """Rejected rows are read again from the object, so there is one."""
    s3, reader = local.client("s3"), Reader(dynamodb=local.stage.dynamodb, table=finished_batch.TABLE)
    etag = s3.put_object(Bucket="inbox", Key=finished_batch.BATCH.source.key, Body=b"transaction_id,amount\n")["ETag"]
    for name, value in (("version_id", ""), ("etag", etag)):
        finished_batch.change(local.client("dynamodb"), batch_pk(finished), BATCH_SK, name, text(value))
    browser.open(f"{inside}batch/{finished}")
    browser.says("ValueError: no good")
    browser.confirm(label)
    browser.says(command, "2 rows", "in attempt 2")
    batch = reader.require(finished)
    assert batch.attempt == 2
    for chunk in reader.chunks(batch).values():
        assert (chunk.counts.succeeded, chunk.counts.failed, chunk.counts.rejected) == counts


def test_a_double_click_asks_once_and_acts_once(browser: Any, inside: str, finished: str, reader: Reader) -> None:
    """Both clicks are in one turn of the browser: the second comes before the page knows of the first."""
    browser.open(f"{inside}batch/{finished}")
    browser.says("ValueError: no good")
    twice = "arguments[0].click(); arguments[0].click()"
    browser.driver.execute_script(twice, browser.button("Redrive failed rows"))
    browser.says("Every failed row runs again.")
    browser.driver.execute_script(twice, browser.button("Confirm"))
    browser.says("in attempt 2")
    browser.says("2 rows wait here")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "[role=dialog]")) == 1
    said = browser.driver.find_element(By.CSS_SELECTOR, ".tally-said").text
    assert said.count("attempt 2") == 1, said
    assert "attempt 3" not in browser.text
    assert reader.require(finished).attempt == 2


def test_an_action_that_fails_says_why_and_leaves_the_page_usable(
    browser: Any, inside: str, local: Any, reader: Reader
) -> None:
    local.write(large("gone", chunks=2))
    browser.open(f"{inside}batch/gone")
    browser.says("rows wait here")
    local.forget("gone")
    browser.confirm("Pause")
    browser.says("error: ", "gone")
    browser.click("Close")
    browser.wait(lambda: not browser.driver.find_elements(By.CSS_SELECTOR, "[role=dialog]"), "the question is gone")
    local.write(large("gone", chunks=2))
    browser.confirm("Pause")
    browser.says("Batch gone")
    assert reader.require("gone").hold == "paused"


def test_a_question_stays_while_its_list_is_drawn_again(
    browser: Any, inside: str, finished: str, local: Any, reader: Reader
) -> None:
    """A batch under way whose rows fail for more reasons while somebody reads the question."""
    dynamodb, chunk = local.client("dynamodb"), ChunkKey(finished, 0)
    finished_batch.change(dynamodb, batch_pk(finished), BATCH_SK, "status", text(BatchStatus.RUNNING))
    finished_batch.change(dynamodb, chunk.pk, CHUNK_SK, "state", text(ChunkState.READY))
    browser.open(f"{inside}batch/{finished}")
    browser.says("ValueError: no good")
    browser.click("Redrive")
    browser.says("Exactly the rows of this group run again")
    other = msgspec.structs.replace(finished_batch.FAILED, row=0, reason="ValueError: something else")
    finished_batch.put_marker(dynamodb, chunk, 2, other)
    finished_batch.change(dynamodb, chunk.pk, CHUNK_SK, "version", number(1_000))  # no test before had it
    browser.says("ValueError: something else")
    browser.click("Confirm")
    browser.says("1 row runs again")
