"""A demo where no console can be left running."""

from io import StringIO
from pathlib import Path

import pytest

from tally.errors import OperatorError
from tally.local.console import INSTALL, LocalConsole
from tally.local.demo import Demo
from tally.local.stack import LocalStack
from tally.output import Output
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace

STAGE = Stage(name="local", resources=Resources(table="t", inbox_bucket="b"))


def test_without_a_console_a_demo_warns_and_processes_the_file_all_the_same(
    tmp_path: Path, output: Output, said: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_console: LocalConsole, _stage: Stage) -> None:
        raise OperatorError("The console needs NiceGUI, which is not installed", hint=INSTALL)

    monkeypatch.setattr(LocalConsole, "start", start)
    workspace = Workspace(repo=tmp_path, home=tmp_path / "home")
    stack = LocalStack(workspace=workspace, name="local", output=output, environ={})
    assert Demo(output=output, stack=stack, timeout=None)._serve(STAGE) is None
    assert "warning: There is no console." in said.getvalue()
    assert "pip install 'tally[ui]'" in said.getvalue()
