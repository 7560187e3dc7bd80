"""The README's way from a file to its results, on a fresh copy of the repository, as it is written there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clone import Clone, clone

pytestmark = pytest.mark.e2e

SECTION = re.compile(r"## Write a job\n.*?```sh\n(.*?)```", re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Clone]:
    made = clone(tmp_path / "clone")
    yield made
    made.tally("down")


def test_the_commands_of_the_tutorial_lead_from_a_file_to_its_results(copy: Clone) -> None:
    """Nobody edits anything in between; the test that was written passes."""
    found = SECTION.search((copy.repo / "README.md").read_text("utf-8"))
    assert found
    commands = [shlex.split(line, comments=True) for line in found[1].splitlines()]
    assert [command[:2] for command in commands] == [["tally", name] for name in ("new", "try", "submit")]
    for command in commands:
        done = copy.tally(*command[1:])
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "120" in done.stdout
    tested = copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs")
    assert tested.returncode == 0, tested.stdout
