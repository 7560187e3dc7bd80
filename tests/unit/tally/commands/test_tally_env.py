"""The output of `tally env`: the functions' environment, for a shell to read, of a local stage and of one in AWS."""

import json
import os
import shlex
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from tally.cli import run
from tally.commands import options
from tally.errors import ExitCode
from tally.local.localaws import Server
from tally.stages.stage import Resources, Stage
from tally.testing.environment import VARIABLES

GIVEN = {name: value for name, value in VARIABLES.items() if name.startswith("TALLY_")} | {
    "TALLY_EVENT_BUS": 'it\'s a $bus `of` "quotes" :smile: [red]'
}
"""Characters that a shell, or rich, would take for something else."""


def stage(monkeypatch: pytest.MonkeyPatch, server: Server | None = None) -> None:
    """Have the command find a stage whose functions get these variables."""
    found = Stage(name="test", resources=Resources(table="tally-test", inbox_bucket="inbox"), server=server)
    answer = {"Environment": {"Variables": GIVEN}}
    functions = SimpleNamespace(get_function_configuration=lambda **_: answer)
    vars(found).update(functions=functions, session=SimpleNamespace(region_name="eu-central-1"))
    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: found)
    monkeypatch.setattr("tally.tools.chalice.ChaliceProject.environment", lambda _self: GIVEN)


def read_by_a_shell(printed: str) -> dict[str, str]:
    """Return the environment of a shell that has evaluated what was printed."""
    done = subprocess.run(
        ["bash", "-c", f"eval {shlex.quote(printed)}; env -0"],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "old"},
    )
    return dict(each.split("=", 1) for each in done.stdout.split("\0") if each)


def test_a_shell_gets_every_variable_of_the_functions_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the way to the local AWS, without what would lead past it."""
    stage(monkeypatch, Server(pid=1, port=2))
    assert run(["env", "--stage", "test"]) is ExitCode.OK
    seen = read_by_a_shell(capsys.readouterr().out)
    assert GIVEN.items() <= seen.items()
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:2"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & seen.keys()


def test_a_stage_in_aws_is_reached_by_the_callers_own_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(monkeypatch)
    assert run(["env", "--stage", "test"]) is ExitCode.OK
    seen = read_by_a_shell(capsys.readouterr().out)
    assert (seen["AWS_REGION"], seen["AWS_PROFILE"]) == ("eu-central-1", "mine")
    assert "AWS_ENDPOINT_URL" not in seen
    assert GIVEN.items() <= seen.items()


def test_json_has_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stage(monkeypatch)
    assert run(["env", "--stage", "test", "--json"]) is ExitCode.OK
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert GIVEN.items() <= shown.items()
