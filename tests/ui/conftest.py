"""A console in a process of its own, over a local AWS without functions, and a headless Chromium in front of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from chalicelib.store.items import BATCH_SK, batch_pk, key
from tally.batch.reader import Reader
from tally.local import localaws
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace
from tests.support.tables import make_table
from tests.unit.tally import finished_batch

STAGE = "ui"
BUCKET = "inbox"
_REPO = Path(__file__).resolve().parents[2]
_WAIT_SECONDS = 120


def programs() -> tuple[str, str]:
    """Return Chromium and its driver; skips where there is none, and fails where CI should have installed it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    message = "no browser: `apt-get install chromium chromium-driver` has the tests of the console run"
    if os.environ.get("TALLY_BROWSER") == "required":
        pytest.fail(message)
    pytest.skip(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A local AWS with a table and an inbox, which `tally` takes for the stage ``ui``."""

    home: Path
    server: localaws.Server

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    @property
    def stage(self) -> Stage:
        """The stage, with clients of its own."""
        return Stage(
            name=STAGE, resources=Resources(table=finished_batch.TABLE, inbox_bucket=BUCKET), server=self.server
        )

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TALLY_", "PYTEST"))}
        return kept | {"TALLY_HOME": str(self.home), "PYTHONPATH": f"{_REPO / 'app'}{os.pathsep}{_REPO}"}

    def client(self, service: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=localaws.REGION,
            aws_access_key_id=localaws.CREDENTIAL,
            aws_secret_access_key=localaws.CREDENTIAL,
        )

    def write(self, items: list[dict[str, Any]]) -> None:
        """Write items, 25 to a request."""
        dynamodb = self.client("dynamodb")
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            dynamodb.batch_write_item(RequestItems={finished_batch.TABLE: puts})

    def forget(self, batch_id: str) -> None:
        """Delete the item of a batch."""
        self.client("dynamodb").delete_item(TableName=finished_batch.TABLE, Key=key(batch_pk(batch_id), BATCH_SK))


@contextmanager
def local_aws(home: Path) -> Iterator[Local]:
    """Run a local AWS with an empty table and an empty inbox."""
    folder = Workspace(repo=_REPO, home=home).stage(STAGE)
    folder.root.mkdir(parents=True, exist_ok=True)
    server = localaws.start(folder, port=None)
    try:
        made = Local(home=home, server=server)
        make_table(made.client("dynamodb"), finished_batch.TABLE)
        made.client("s3").create_bucket(Bucket=BUCKET)
        Resources(table=finished_batch.TABLE, inbox_bucket=BUCKET).save(folder.outputs)
        yield made
    finally:
        localaws.stop(folder)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Run the local AWS that the tests of the console share."""
    with local_aws(tmp_path_factory.mktemp("console")) as made:
        yield made


@dataclass(kw_only=True)
class Served:
    """A console that was started."""

    process: "subprocess.Popen[str]"
    url: str
    ended: list[int] = field(default_factory=list)

    @property
    def home(self) -> str:
        return self.url.partition("?")[0]

    def end(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        if not self.ended:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=_WAIT_SECONDS)
            self.ended.append(self.process.returncode)
        return self.ended[0]


def launch(stage: str, environ: dict[str, str], *options: str, program: tuple[str, ...] = ("-m", "tally")) -> Served:
    """Start a console of a stage, and return it once it serves."""
    process = subprocess.Popen(
        [sys.executable, *program, "ui", "--stage", stage, "--json", *options],
        env=environ,
        cwd=_REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    lines = ""
    while not lines.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        lines += line
    return Served(process=process, url=json.loads(lines)["url"])


def end(consoles: list[Served]) -> None:
    """End consoles that were not ended, all at once: each takes seconds."""
    with ThreadPoolExecutor(len(consoles) or 1) as pool:
        list(pool.map(Served.end, consoles))


@pytest.fixture(scope="session")
def serve(local: Local) -> Iterator[Callable[..., Served]]:
    """Start consoles; those that were not ended are, at the end."""
    begun: list[Served] = []

    def start(*options: str, of: Local = local, program: tuple[str, ...] = ("-m", "tally")) -> Served:
        begun.append(launch(STAGE, of.environ, *options, program=program))
        return begun[-1]

    try:
        yield start
    finally:
        end(begun)


class Browser:
    """A browser, and how a test looks and clicks."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.patience = _WAIT_SECONDS

    def open(self, url: str) -> None:
        self.driver.get(url)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what ``condition`` returns once it is true."""
        return WebDriverWait(self.driver, self.patience, ignored_exceptions=[Exception]).until(
            lambda _driver: condition(), message=f"{what}; the page says: {self.text[:2000]}"
        )

    @property
    def text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def says(self, *texts: str) -> None:
        self.wait(lambda: all(text in self.text for text in texts), f"waited for {texts}")

    def button(self, label: str) -> WebElement:
        """Return the last button of a label, once it can be clicked."""

        def found() -> WebElement | None:
            every = self.driver.find_elements(By.XPATH, f"//button[normalize-space(.)='{label}']")
            shown = [each for each in every if each.is_displayed() and each.is_enabled()]
            return shown[-1] if shown else None

        element: WebElement = self.wait(found, f"waited for the button {label}")
        return element

    def click(self, label: str) -> None:
        """Click a button; one that the page has drawn again since it was found is looked for again."""

        def clicked() -> bool:
            element = self.button(label)
            try:
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
            except StaleElementReferenceException:
                return False
            return True

        while not clicked():
            pass

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def confirm(self, label: str) -> None:
        """Click a button that asks, and confirm."""
        self.click(label)
        self.says("The same on the command line:")
        self.click("Confirm")

    def size(self, width: int, height: int = 1000) -> None:
        """Emulate a window, also one that is narrower than Chromium lets its own be."""
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def colours(self, *, dark: bool) -> None:
        """Emulate a system that prefers dark colours, or light ones."""
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)

    def chart(self, name: str) -> str:
        """Return what ECharts says that it has drawn: the description that it makes of the data for screen readers."""
        drawn = self.driver.find_elements(By.CSS_SELECTOR, f".chart-{name} canvas")
        described = self.driver.find_element(By.CSS_SELECTOR, f".chart-{name}").get_attribute("aria-label")
        return (described or "") if drawn else ""


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a headless browser for the block."""
    browser, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    try:
        made.set_window_size(1280, 1000)
        yield made
    finally:
        made.quit()


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as made:
        yield made


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    made = Browser(driver)
    made.size(1280)
    yield made
    made.open("about:blank")  # no page of a test polls while the next one runs


@pytest.fixture(scope="session")
def console(serve: Callable[..., Served]) -> Served:
    """Start the console that most tests share."""
    return serve()


@pytest.fixture(scope="session")
def inside(console: Served, driver: webdriver.Chrome) -> str:
    """Enter the console by its address, and return where its pages are."""
    driver.get(console.url)
    return console.home


@pytest.fixture
def finished(local: Local) -> str:
    """Write the batch ``b`` as it was when it had ended, and return its id."""
    finished_batch.write(local.client("dynamodb"))
    return "b"


@pytest.fixture
def reader(local: Local) -> Reader:
    return Reader(dynamodb=local.stage.dynamodb, table=finished_batch.TABLE)
