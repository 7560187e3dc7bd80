"""The output of `make check` about its parts, with a program in the place of make."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests import conftest
from tools.check import Check
from tools.generated import REPO

_PROGRAM = """
import sys
part = sys.argv[1]
print(*(f"line {number} of {part}" for number in range(100)), sep="\\n")
print("trouble", file=sys.stderr)
sys.exit(part.startswith("bad"))
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def check(tmp_path: Path, said: list[str]) -> Check:
    command = (sys.executable, "-c", _PROGRAM)
    return Check(command=command, logs=tmp_path / "logs", at_once=2, say=said.append)


def test_a_run_that_holds_is_a_line_and_a_row_for_each_part(check: Check, said: list[str]) -> None:
    ended = check(["one", "two", "three"])
    assert sorted(line.split()[:2] for line in said) == [["ok", "one"], ["ok", "three"], ["ok", "two"]]
    header, *rows, last = check.summary(ended)
    assert header.split() == ["part", "result", "seconds", "from", "to"]
    assert [row.split()[:2] for row in rows] == [["one", "ok"], ["two", "ok"], ["three", "ok"]]
    assert last.startswith("3 of 3 parts hold, in ")


def test_a_part_that_fails_stops_no_other_and_its_last_lines_are_shown(check: Check, said: list[str]) -> None:
    ended = check(["bad", "good"])
    assert [each.returncode for each in ended] == [1, 0]
    assert sorted(line.split()[0] for line in said) == ["FAILED", "ok"]
    lines = check.summary(ended)
    assert lines[0] == f"--- bad failed; the end of {check.log('bad')}:"
    assert lines[1:41] == [*(f"line {number} of bad" for number in range(61, 100)), "trouble"]
    assert lines[-1].startswith("1 of 2 parts hold")
    assert not any("of good" in line for line in lines)


def test_the_output_of_each_part_is_whole_in_its_own_log(check: Check) -> None:
    check(["one", "two"])
    for part in ("one", "two"):
        written = check.log(part).read_text("utf-8").splitlines()
        assert written == [*(f"line {number} of {part}" for number in range(100)), "trouble"]


def test_parts_take_turns_in_their_order(tmp_path: Path) -> None:
    """With one at a time each begins when the one before has ended."""
    ticks = iter(range(100))
    check = Check(
        command=(sys.executable, "-c", ""),
        logs=tmp_path,
        at_once=1,
        say=lambda _: None,
        clock=lambda: next(ticks),
    )
    ended = check(["first", "second"])
    assert [(each.part, each.began, each.ended) for each in ended] == [("first", 1, 2), ("second", 3, 4)]


def test_the_first_part_has_priority(tmp_path: Path) -> None:
    """It is the one that waits for stages."""
    command = (sys.executable, "-c", "import os; print(os.nice(0))")
    check = Check(command=command, logs=tmp_path, at_once=2, say=lambda _: None)
    check(["first", "second"])
    first, second = (int(check.log(part).read_text("utf-8")) for part in ("first", "second"))
    assert first == os.nice(0)
    assert second == min(first + 5, 19)


def test_what_begins_first_is_there() -> None:
    """A module that is renamed is renamed in the order, too."""
    deployed = {path.stem for folder in ("e2e", "chaos") for path in (REPO / "tests" / folder).glob("test_*.py")}
    assert set(conftest._FIRST) - deployed == set()


def test_every_part_is_a_target_of_make() -> None:
    makefile = (REPO / "Makefile").read_text("utf-8")
    parts = re.search(r"^PARTS := (.*)$", makefile, re.MULTILINE)
    assert parts
    assert set(parts[1].split()) <= set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
