"""The console in the background: which process is ours, when another one starts, and that none is left."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tally.errors import OperatorError
from tally.local import console, localaws
from tally.local.console import LocalConsole
from tally.local.localaws import Server
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace

STAGE = Stage(name="local", resources=Resources(table="t", inbox_bucket="b"), server=Server(pid=1, port=4567))
SERVES = """
import http.server, json, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(303 if "token=secret" in self.path else 403)
        self.end_headers()

    def log_message(self, *_):
        pass

STUBBORN and signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"stage": sys.argv[1], "url": f"http://127.0.0.1:{server.server_port}/?token=secret"}), flush=True)
print("token=secret", file=sys.stderr, flush=True)
server.serve_forever()
"""
"""A console as far as starting and ending it needs one."""


def program(text: str = SERVES, *, stubborn: bool = False) -> tuple[str, str]:
    return "-c", text.replace("STUBBORN", str(stubborn))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LocalConsole]]:
    """Make consoles of stages; those that still run at the end are ended."""
    made: list[LocalConsole] = []

    def make_one(name: str = "local", **options: object) -> LocalConsole:
        workspace = Workspace(repo=tmp_path, home=tmp_path / "a höme")
        folder = workspace.stage(name)
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.server.write_text(json.dumps({"pid": 1, "port": 4567}))
        found = LocalConsole(folder=folder, workspace=workspace, environ=os.environ, program=program())
        made.append(replace(found, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for each in made:
        each.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(console, "_STOP_SECONDS", 0.3)


def lives(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False)
    return shown.stdout.strip()[:1] not in {"", "Z"}


def test_a_console_is_left_running_and_a_second_start_finds_it(make: Callable[..., LocalConsole]) -> None:
    one = make()
    first = one.start(STAGE)
    assert one.start(STAGE) == first
    assert lives(first.pid)


def test_its_token_is_in_no_file_that_others_may_read(make: Callable[..., LocalConsole]) -> None:
    one = make()
    one.start(STAGE)
    with_it = [path for path in one.folder.root.rglob("*") if path.is_file() and "token=" in path.read_text()]
    assert {path.name for path in with_it} == {"console.json", "console.log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in with_it} == {0o600}


def test_it_sees_the_local_aws_and_nothing_of_the_callers_own(make: Callable[..., LocalConsole]) -> None:
    """Another table in the environment would have it show another stage."""
    caller = os.environ | {"AWS_PROFILE": "production", "TALLY_TABLE": "other", "TALLY_HOME": "elsewhere"}
    seen = make(environ=caller)._environment()
    assert not {"AWS_PROFILE", "TALLY_TABLE"} & seen.keys()
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4567"
    assert seen["TALLY_HOME"].endswith("a höme")


@pytest.mark.parametrize(
    "changed",
    [
        replace(STAGE, server=Server(pid=1, port=4568)),
        replace(STAGE, resources=Resources(table="t", inbox_bucket="b", results_table="r")),
    ],
    ids=["server", "resources"],
)
def test_it_starts_again_when_the_stage_has_changed(make: Callable[..., LocalConsole], changed: Stage) -> None:
    one = make()
    before = one.start(STAGE)
    after = one.start(changed)
    assert after.pid != before.pid
    assert not lives(before.pid)


def test_it_starts_again_when_the_sources_have_changed(make: Callable[..., LocalConsole]) -> None:
    one = make()
    before = one.start(STAGE)
    (one.workspace.repo / "tally").mkdir()
    (one.workspace.repo / "tally" / "new.py").write_text("")
    assert one.start(STAGE).pid != before.pid
    assert not lives(before.pid)


def test_a_killed_one_is_started_again_in_spite_of_its_record(make: Callable[..., LocalConsole]) -> None:
    one = make()
    before = one.start(STAGE)
    os.kill(before.pid, signal.SIGKILL)
    after = one.start(STAGE)
    assert after.url != before.url
    assert lives(after.pid)


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"url": "http://127.0.0.1:1/?token=secret"}'])
def test_one_whose_record_is_lost_or_torn_is_replaced(make: Callable[..., LocalConsole], record: str | None) -> None:
    """As after `rm -rf` of a stage's folder: its process is known by its command line."""
    one = make()
    before = one.start(STAGE)
    one.folder.console.unlink()
    if record is not None:
        one.folder.console.write_text(record)
    after = one.start(STAGE)
    assert after.pid != before.pid
    assert not lives(before.pid)


@pytest.mark.usefixtures("impatient")
def test_one_that_answers_nothing_is_replaced(make: Callable[..., LocalConsole]) -> None:
    one = make()
    before = one.start(STAGE)
    os.kill(before.pid, signal.SIGSTOP)
    assert one.start(STAGE).pid != before.pid
    assert not lives(before.pid)


@pytest.mark.usefixtures("impatient")
def test_one_that_does_not_end_when_asked_is_killed(make: Callable[..., LocalConsole]) -> None:
    one = make(program=program(stubborn=True))
    running = one.start(STAGE)
    assert one.stop() == [running.pid]
    assert not lives(running.pid)
    assert not one.folder.console.exists()


def test_two_that_a_killed_command_left_are_both_ended(make: Callable[..., LocalConsole]) -> None:
    one = make()
    left = [one._start("a").pid, one._start("b").pid]
    assert sorted(one.stop()) == sorted(left)
    assert not any(map(lives, left))


def test_one_that_ends_at_once_is_an_error_with_what_it_said(make: Callable[..., LocalConsole]) -> None:
    one = make(program=program("import sys; sys.exit('no port left')"))
    with pytest.raises(OperatorError, match=r"exit status 1.*console\.log") as raised:
        one.start(STAGE)
    assert raised.value.detail == "no port left"


def test_one_that_does_not_answer_is_an_error_and_is_not_left(
    make: Callable[..., LocalConsole], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_READY_SECONDS", 1)
    one = make(program=program("import time; time.sleep(60)"))
    with pytest.raises(OperatorError, match="did not answer"):
        one.start(STAGE)
    assert one.stop() == []


def test_without_its_library_none_is_started_and_the_error_says_what_to_install(
    make: Callable[..., LocalConsole], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_LIBRARY", "a_library_that_is_not_there")
    with pytest.raises(OperatorError, match=r"pip install 'tally\[ui\]'"):
        make().start(STAGE)


def test_consoles_of_other_stages_and_strangers_are_left_alone(make: Callable[..., LocalConsole]) -> None:
    """`two` is not a part of `two-more`, and a `tally ui` that somebody started is theirs."""
    other = make("two-more")
    running = other.start(STAGE)
    argv = [sys.executable, *program(), "two"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as stranger:
        assert make("two").stop() == []
        assert lives(running.pid)
        assert stranger.poll() is None
        stranger.kill()
    assert localaws.recorded(other.folder) == STAGE.server
