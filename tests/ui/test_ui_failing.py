"""What a page says when AWS refuses, when the stage is gone, and when the console was started again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tally.local import localaws
from tally.stages.workspace import Workspace
from tests.ui.batches import large
from tests.ui.conftest import STAGE, Local, local_aws

_EXPIRED = b'{"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}'


class _Expired(BaseHTTPRequestHandler):
    """Answers as DynamoDB does when the operator's session has run out."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400)
        self.send_header("Content-Length", str(len(_EXPIRED)))
        self.end_headers()
        self.wfile.write(_EXPIRED)

    def log_message(self, *_args: Any) -> None: ...


@contextmanager
def expired(port: int) -> Iterator[None]:
    """Have every request to a port of loopback answered with expired credentials."""
    server = ThreadingHTTPServer((localaws.HOST, port), _Expired)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Local]:
    """Run a local AWS that a test may stop."""
    with local_aws(tmp_path) as made:
        yield made


def test_an_action_without_credentials_says_so_and_the_page_stays_usable(
    browser: Any, serve: Callable[..., Any], own: Local
) -> None:
    own.write(large("one", chunks=2))
    shown = serve(of=own)
    browser.open(shown.url)
    browser.open(f"{shown.home}batch/one")
    browser.says("rows wait here")
    localaws.stop(Workspace(repo=Path(), home=own.home).stage(STAGE))
    with expired(own.server.port):
        browser.confirm("Pause")
        browser.says("error: ", "expired")
        browser.click("Close")
        browser.says("The page tries again.", "rows wait here")
        browser.click("Audit")
        browser.says("error: ", "expired")
        assert browser.button("Cancel").is_enabled()


def test_an_interrupt_ends_a_console_whose_stage_is_gone(browser: Any, serve: Callable[..., Any], own: Local) -> None:
    """A page that was open reads again and again: the end must not wait for its retries."""
    own.write(large("one", chunks=2))
    shown = serve(of=own)
    browser.open(shown.url)
    browser.open(f"{shown.home}batch/one")
    browser.says("rows wait here")
    localaws.stop(Workspace(repo=Path(), home=own.home).stage(STAGE))
    browser.says("The page tries again.")
    assert shown.end() == 0


def test_a_page_of_a_console_that_was_started_again_says_where_to_go(
    browser: Any, serve: Callable[..., Any], finished: str
) -> None:
    """The new console has another token, so that the page's connection is refused for good."""
    shown = serve()
    browser.open(shown.url)
    browser.says("completed_with_failures")
    port = shown.home.rstrip("/").rpartition(":")[2]
    shown.end()
    browser.says("The console does not answer.")
    serve("--port", port)
    browser.says("started again", "tally ui")
    browser.open(shown.home)
    browser.says("Refused", "tally ui")
