"""The launch settings of VS Code and PyCharm: each starts what it says, with arguments that the command takes."""

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from chalicelib.handlers import HANDLERS
from tally.cli import tally

REPO = Path(__file__).parents[4]
CODE: dict[str, Any] = json.loads((REPO / ".vscode" / "launch.json").read_text("utf-8"))
INPUTS = {each["id"]: each for each in CODE["inputs"]}
PYCHARM = sorted((REPO / ".run").glob("*.run.xml"))


def filled(argument: str) -> str:
    """Return an argument of VS Code's as it is with ``tests/events/process.json`` open, and the inputs' defaults."""
    variables = {"file": "tests/events/process.json", "fileBasenameNoExtension": "process", "workspaceFolder": "."}
    values = {f"input:{name}": each["default"] for name, each in INPUTS.items()}
    return re.sub(r"\$\{([\w:]+)\}", lambda found: (variables | values)[found[1]], argument)


def test_every_handler_can_be_picked() -> None:
    assert INPUTS["handler"]["options"] == list(HANDLERS)


@pytest.mark.parametrize("configuration", CODE["configurations"], ids=lambda each: str(each["name"]))
def test_a_configuration_of_vs_code_starts_a_module_that_is_there(configuration: dict[str, Any]) -> None:
    """By the debugger's present name (``python`` is the one before it), from the repository, into libraries too."""
    assert (configuration["type"], configuration["request"]) == ("debugpy", "launch")
    assert (configuration["cwd"], configuration["justMyCode"]) == ("${workspaceFolder}", False)
    assert find_spec(configuration["module"])
    if configuration["module"] == "tally":
        _takes([filled(argument) for argument in configuration["args"]])


def _pycharm(path: Path) -> dict[str, str]:
    configuration = ET.fromstring(path.read_text("utf-8")).find("configuration")  # noqa: S314  our own file
    assert configuration is not None
    assert configuration.get("type") == "PythonConfigurationType"
    assert f"{configuration.get('name')}.run.xml" == path.name
    return {option.attrib["name"]: option.attrib["value"] for option in configuration.iter("option")}


@pytest.mark.parametrize("path", PYCHARM, ids=lambda path: str(path.name))
def test_a_configuration_of_pycharm_starts_a_module_that_is_there(path: Path) -> None:
    options = _pycharm(path)
    assert (options["MODULE_MODE"], options["WORKING_DIRECTORY"]) == ("true", "$PROJECT_DIR$")
    assert find_spec(options["SCRIPT_NAME"])
    _takes(shlex.split(options["PARAMETERS"]))


def test_what_needs_no_stage_runs_as_it_stands() -> None:
    """The configurations for samples: their handler answers, from the repository's root."""
    commands = [[filled(argument) for argument in each["args"]] for each in CODE["configurations"] if _is_sample(each)]
    commands += [shlex.split(_pycharm(path)["PARAMETERS"]) for path in PYCHARM if "--of" not in path.read_text("utf-8")]
    assert len(commands) == 4
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", "tally", *arguments], cwd=REPO, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        assert 'answer {"batchItemFailures": []}' in done.stdout


def _is_sample(configuration: dict[str, Any]) -> bool:
    return configuration["module"] == "tally" and "--of" not in configuration["args"]


def _takes(arguments: list[str]) -> None:
    """Fail unless the command takes the arguments, and knows the handler."""
    name, handler, *_ = arguments
    assert handler in HANDLERS
    tally.commands[name].make_context(name, arguments[1:])
