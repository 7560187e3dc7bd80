"""The runbook on a stage: each command with which an operator looks runs as it stands, and finds what is there."""

import shlex
from pathlib import Path

import pytest

from tests.e2e.conftest import Tally
from tests.support.pages import blocks

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
LOOKS = [line for line, text in enumerate(PAGE.read_text("utf-8").splitlines(), 1) if text.startswith("**Look")]
COMMANDS = sorted(
    {
        line.partition(" > ")[0]
        for block in blocks(PAGE)
        if block.language == "sh" and any(0 < block.line - look < 8 for look in LOOKS)
        for line in block.text.splitlines()
        if line.startswith("tally ") and ("tally logs " not in line or "tally logs process " in line)
    }
)
"""Of ``logs`` one stands for all: it differs by the function alone, which the command line checks."""
CONTENT = b"office_id,user_count,contract_count\na,2,5\nb,none,1\n"


@pytest.fixture(scope="module")
def batch(tally: Tally) -> str:
    """Return a batch that has ended, with a rejected row."""
    found = tally.submit("looked-at.csv", CONTENT)
    tally.ended(found)
    return found


def test_there_is_a_command_to_look_with_in_most_sections() -> None:
    assert {command.split()[1] for command in COMMANDS} >= {
        "audit",
        "dead",
        "failures",
        "list",
        "logs",
        "queues",
        "tune",
    }
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_runbook_that_looks_works_on_a_stage(
    tally: Tally, batch: str, command: str, tmp_path: Path
) -> None:
    """With the id of a batch where the page has ``ID``; nothing that it prints is an error."""
    _, *arguments = shlex.split(command.replace(" ID", f" {batch}").replace("-o results", f"-o {tmp_path / 'results'}"))
    done = tally.run(*arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip()
