"""The console that a demo leaves running: a real one, beside one that an operator starts."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tally.local.console import LocalConsole
from tally.stages.stage import find
from tally.stages.workspace import Workspace
from tests.ui.conftest import STAGE, Local


@pytest.fixture
def left(local: Local) -> Iterator[LocalConsole]:
    workspace = replace(Workspace.find(local.environ), home=local.home)
    made = LocalConsole(folder=workspace.stage(STAGE), workspace=workspace, environ=local.environ)
    yield made
    made.stop()


def test_it_serves_until_it_is_stopped_and_starts_again_after_a_kill(
    left: LocalConsole, local: Local, browser: Any, serve: Callable[..., Any]
) -> None:
    """It has a port and a token of its own, so that a console beside it is independent."""
    stage = find(left.workspace, STAGE, environ=local.environ)
    first = left.start(stage)
    assert left.start(stage) == first
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(first.pid)], capture_output=True, check=True)
    assert b"-m tally ui" in shown.stdout
    assert b"token" not in shown.stdout

    beside = serve()
    for url in (beside.url, first.url):
        browser.open(url)
        browser.says("Batches", "Submit", "ui (local)")
    assert beside.end() == 0
    browser.open(first.url)
    browser.says("Batches", "ui (local)")

    os.kill(first.pid, signal.SIGKILL)
    second = left.start(stage)
    assert second.url != first.url
    browser.open(second.url)
    browser.says("Batches", "ui (local)")
    assert left.stop() == [second.pid]
    assert left.stop() == []
