"""How tests look at a deployed stage through its console, and what they do to the stage behind it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.conftest import STAGE, VARIABLES, Tally, wait_for
from tests.ui.conftest import Browser

_WAIT_SECONDS = 180


class Patient(Browser):
    """A browser that waits as long as functions may take."""

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        return WebDriverWait(self.driver, _WAIT_SECONDS, ignored_exceptions=[Exception]).until(
            lambda _driver: condition(), message=f"{what}; the page says: {self.text[:3000]}"
        )

    def stay(self) -> None:
        """Remember that the page was not loaded again since."""
        self.run("window.stayed = true")

    @property
    def stayed(self) -> bool:
        return bool(self.run("return window.stayed === true"))

    @property
    def status(self) -> str:
        """The status of the batch whose page is shown."""
        return str(self.driver.find_element(By.CSS_SELECTOR, ".q-badge").text)

    def drop(self, name: str, content: str) -> None:
        """Drop a file on the page, as a person does who drags it in from elsewhere."""
        uploader = self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, ".q-uploader"), "where to drop")
        self.driver.execute_script(_DRAG, "dragover", uploader, name, content)
        over = self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, ".q-uploader__dnd"), "a place to drop")
        self.driver.execute_script(_DRAG, "drop", over, name, content)

    def follow(self, text: str) -> None:
        """Click a link, and wait for the page of a batch."""

        def clicked() -> bool:
            self.driver.find_element(By.PARTIAL_LINK_TEXT, text).click()
            return True

        self.wait(clicked, f"waited for a link {text}")
        self.wait(lambda: "/batch/" in self.run("return location.pathname"), "waited for the page of a batch")

    def find(self, text: str) -> None:
        """Have the list show only what has a text, which is one batch."""
        asked = self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Find']"), "a filter")
        asked.send_keys(text)
        self.says("1 to 1 of 1", text)

    def ask_for_line(self, line: int) -> None:
        asked = self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, "input[aria-label^='Line']"), "the field")
        asked.send_keys(str(line), Keys.ENTER)


_DRAG = """
const [kind, target, name, content] = arguments
const carried = new DataTransfer()
carried.items.add(new File([content], name, {type: 'text/csv'}))
target.dispatchEvent(new DragEvent(kind, {dataTransfer: carried, bubbles: true, cancelable: true}))
"""


def batch_of(browser: Patient) -> str:
    """Return the id of the batch whose page is shown."""
    return str(browser.run("return location.pathname")).rpartition("/")[2]


def versions(tally: Tally, key: str) -> int:
    """Return how often an object was uploaded."""
    found = tally.stage.s3.list_object_versions(Bucket=tally.stage.resources.inbox_bucket, Prefix=key)
    return len(found.get("Versions", []))


def depth(tally: Tally, queue: str) -> int:
    """Return how many messages of a queue nobody has taken."""
    answer = _sqs(tally).get_queue_attributes(
        QueueUrl=_url(tally, queue), AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def received(tally: Tally, queue: str) -> list[str]:
    """Receive messages of a queue as a consumer does that fails at once: they are visible again."""
    answer = _sqs(tally).receive_message(QueueUrl=_url(tally, queue), MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [str(message["Body"]) for message in answer.get("Messages", [])]


def purge(tally: Tally, queue: str) -> None:
    """Delete all messages of a queue."""
    _sqs(tally).purge_queue(QueueUrl=_url(tally, queue))


def use_up(tally: Tally, queue: str, text: str) -> None:
    """Receive a message that has a text until it is a dead letter."""
    wait_for(lambda: any(text in body for body in received(tally, queue)), what=f"a message in {queue}")
    wait_for(lambda: not any(text in body for body in received(tally, queue)), what=f"a dead letter of {queue}")


def _sqs(tally: Tally) -> Any:
    return tally.stage.client("sqs")


def _url(tally: Tally, queue: str) -> str:
    return str(_sqs(tally).get_queue_url(QueueName=f"tally-{STAGE}-{queue}")["QueueUrl"])


@contextmanager
def written(tally: Tally, items: list[dict[str, Any]]) -> Iterator[None]:
    """Have items in the stage's table for the block."""
    keys = [{"pk": item["pk"], "sk": item["sk"]} for item in items]
    dynamodb, table = tally.stage.dynamodb, tally.stage.resources.table
    try:
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            dynamodb.batch_write_item(RequestItems={table: puts})  # type: ignore[dict-item]
        yield
    finally:
        for start in range(0, len(keys), 25):
            deletes = [{"DeleteRequest": {"Key": key}} for key in keys[start : start + 25]]
            dynamodb.batch_write_item(RequestItems={table: deletes})  # type: ignore[dict-item]


def demo(tally: Tally) -> "subprocess.Popen[str]":
    """Start a demo of few rows."""
    return subprocess.Popen(
        [sys.executable, "-m", "tally", "demo", "--rows", "100", "--json", *VARIABLES, "--stage", STAGE],
        env=tally.environ,
        cwd=tally.repo,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def demonstrated(process: "subprocess.Popen[str]") -> dict[str, Any]:
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(said)
    return found
