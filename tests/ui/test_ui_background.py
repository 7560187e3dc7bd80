"""The console that a demo leaves running: a real one, beside one that an operator starts."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tally.local import localaws
from tally.local.console import LocalConsole
from tally.stages.stage import Resources, Stage, find
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


def test_taking_a_stage_down_leaves_no_process_of_it(local: Local, tmp_path: Path) -> None:
    """Neither its local AWS nor its console, and no file with the token; a second time there is nothing to do."""
    environ = local.environ | {"TALLY_HOME": str(tmp_path)}
    workspace = Workspace.find(environ)
    folder = workspace.stage("down")
    folder.root.mkdir()
    resources = Resources(table="none", inbox_bucket="none")
    resources.save(folder.outputs)  # the console finds the stage by them
    server = localaws.start(folder, port=None)
    running = LocalConsole(folder=folder, workspace=workspace, environ=environ).start(
        Stage(name="down", resources=resources, server=server)
    )
    down = [sys.executable, "-m", "tally", "down", "--stage", "down", "--json"]
    first, second = (
        json.loads(subprocess.run(down, env=environ, capture_output=True, check=True).stdout) for _ in range(2)
    )
    assert first == [{"stage": "down", "stopped": server.pid, "console": running.pid, "removed": str(folder.root)}]
    assert second == [{"stage": "down", "stopped": None, "console": None, "removed": None}]
    every = ["ps", "-axww", "-o", "pid=,command="]
    listed = subprocess.run(every, capture_output=True, encoding="utf-8", check=True).stdout
    left = [line for line in listed.splitlines() if str(folder.root) in line or line.split()[0] == str(running.pid)]
    assert [line for line in left if "defunct" not in line] == []
    assert not folder.root.exists()
