"""A stage that is not there, goes away or refuses: the page says what to do, and recovers by itself."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tally.local import localaws
from tests.support.tables import make_table
from tests.ui import yards
from tests.ui.batches import batch_item
from tests.ui.conftest import end
from tests.ui.yards import CLOUD, LOCAL, Yard
from tests.unit.tally import finished_batch


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yield from yards.yard(tmp_path_factory.mktemp("trouble"))


def add_batch(yard: Yard, stage: str, batch_id: str) -> None:
    batch = replace(finished_batch.BATCH, id=batch_id)
    yards.write(yard, stage, [batch_item(batch, chunks=1, rows=3, succeeded=3)])


def recovered(browser: Any, batch_id: str) -> None:
    browser.wait(lambda: batch_id in browser.text and "The page tries again." not in browser.text, "it recovers")


def test_a_local_stage_that_goes_away_is_found_again_on_another_port(browser: Any, tmp_path: Path) -> None:
    made = yards.start(tmp_path)
    folder = made.workspace.stage(LOCAL)
    begun = [made]
    try:
        made.fill(LOCAL)
        add_batch(made, LOCAL, "before-it-went")
        browser.open(made.console(LOCAL).url)
        browser.says("before-it-went")
        localaws.stop(folder)
        browser.says("The local stage yard is not up: run `tally up --stage yard`.", "The page tries again.")

        again = yards.start(tmp_path)
        begun.append(again)
        assert again.server.port != made.server.port
        again.fill(LOCAL)
        add_batch(again, LOCAL, "after-it-came")
        recovered(browser, "after-it-came")
        assert "before-it-went" not in browser.text, "that was another table"

        localaws.stop(folder)
        shutil.move(folder.root, tmp_path / "aside")
        browser.says("The local stage yard was taken down: run `tally up --stage yard`.")
    finally:
        end([served for each in begun for served in each.consoles])
        if (tmp_path / "aside").exists():
            shutil.move(tmp_path / "aside", folder.root)
        localaws.stop(folder)


def test_a_stage_that_is_not_deployed_says_so_until_it_is(browser: Any, yard: Yard) -> None:
    browser.open(yard.console("later", "--table", "tally-later", "--bucket", "inbox", environ=yard.in_cloud()).url)
    browser.says("There is no table tally-later: stage later is not deployed, or was taken down.")
    browser.says("`tally deploy --stage later` deploys it.")
    make_table(yard.client("dynamodb"), "tally-later")
    browser.says("No batch yet.")
    assert "There is no table" not in browser.text


def test_credentials_that_aws_does_not_take_are_taken_from_the_profile_once_they_are_renewed(
    browser: Any, yard: Yard, tmp_path: Path
) -> None:
    add_batch(yard, CLOUD, "seen-by-both")
    file = tmp_path / "credentials"
    write_credentials(file, "OLDKEY")
    with refusing(yard, lambda sent: "OLDKEY" in sent.get("Authorization", ""), _BAD_TOKEN) as endpoint:
        environ = yard.in_cloud(endpoint) | {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del environ[name]
        browser.open(yard.console(CLOUD, environ=environ).url)
        browser.says("AWS does not take your credentials (UnrecognizedClientException). Renew them", "aws sso login")
        write_credentials(file, "NEWKEY")
        recovered(browser, "seen-by-both")


def test_a_missing_right_and_a_lost_connection_are_named_until_they_are_back(browser: Any, yard: Yard) -> None:
    add_batch(yard, CLOUD, "seen-in-the-end")
    refused = {"Query"}

    def denied(sent: dict[str, str]) -> bool:
        return sent.get("X-Amz-Target", "").rpartition(".")[2] in refused

    with refusing(yard, denied, _DENIED) as endpoint:
        browser.open(yard.console(CLOUD, environ=yard.in_cloud(endpoint)).url)
        browser.says("You have no right to call Query", "Rights of operators")
        refused.clear()
        recovered(browser, "seen-in-the-end")
    browser.says("The stage does not answer", "Check network, proxy and region.")
    with refusing(yard, denied, _DENIED, port=int(endpoint.rpartition(":")[2])):
        recovered(browser, "seen-in-the-end")


def test_the_page_of_an_empty_stage_says_that_nothing_has_run(browser: Any, yard: Yard) -> None:
    url = yard.console(LOCAL).url
    browser.open(url)
    browser.open(f"{url.partition('?')[0]}stage")
    browser.says("This stage has no figures since", "no function has run")
    browser.click("Show dead letters")
    browser.says("There are no dead letters.")


_BAD_TOKEN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
_DENIED = ("AccessDeniedException", "User is not authorized to perform: dynamodb:Query")


def write_credentials(path: Path, key: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n", encoding="utf-8")


@contextmanager
def refusing(yard: Yard, refuses: Any, answer: tuple[str, str], port: int = 0) -> Iterator[str]:
    """Serve an AWS that refuses some requests as DynamoDB does, and has the local AWS answer all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items())
            if refuses(headers):
                code, message = answer
                text = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": message}).encode()
                self._send(400, text, "application/x-amz-json-1.0")
                return
            request = urllib.request.Request(  # noqa: S310  loopback
                yard.endpoint + self.path, data=body, headers=headers, method="POST"
            )
            try:
                with urllib.request.urlopen(request) as found:  # noqa: S310  as above
                    self._send(found.status, found.read(), found.headers["Content-Type"])
            except urllib.error.HTTPError as error:
                self._send(error.code, error.read(), error.headers["Content-Type"])

        def _send(self, status: int, text: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
