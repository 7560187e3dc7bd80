"""The runbook: a section for every alarm, and no command in it that does not exist."""

import re
import shlex
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from tally.cli import tally
from tally.testing.configuration import queues

REPO = Path(__file__).parents[4]
RUNBOOK = (REPO / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
COMMANDS = sorted(set(re.findall(r"(?:^|`|\|\s)(tally [a-z][^`|\n]*)", RUNBOOK, re.MULTILINE)))


def test_there_is_a_section_for_every_alarm_and_for_what_no_alarm_tells() -> None:
    assert SECTIONS == [
        "dead-letters", "dead-letters-ingest", "dead-letters-work", "dead-letters-heavy", "dead-letters-finished",
        "dead-letters-export", "dead-letters-save", "plan-failures", "stream-failures", "completions-dead-letters",
        "queue-behind",
        "completions-waiting", "stream-behind", "function-errors", "function-throttles", "batch-without-progress",
        "too-many-failures", "overcount-suspected", "correct-and-run-again",
    ]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_tells_what_it_means_where_to_look_what_to_do_and_when_it_is_over(section: str) -> None:
    """In this order, with a command to look with."""
    text = RUNBOOK.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    parts = re.findall(r"^\*\*(What it means|Look|Do|It is over when)\b", text, re.MULTILINE)
    assert parts == ["What it means", "Look", "Do", "It is over when"]
    assert "```sh\n" in text.partition("**Look")[2].partition("\n**Do")[0]


def test_the_beginning_of_the_page_leads_to_every_section() -> None:
    """By the alarm, or by what is seen without one."""
    first = RUNBOOK.partition("\n## ")[0]
    assert set(re.findall(r"\| \[[a-z-]+\]\(#([a-z-]+)\) \|$", first, re.MULTILINE)) == set(SECTIONS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_runbook_can_be_typed_as_it_stands(command: str) -> None:
    _, name, *arguments = shlex.split(command.partition(" > ")[0])
    known = tally.commands[name]
    a_file = REPO.joinpath("README.md").as_posix()
    arguments = [a_file if part in {"event.json", "corrected.csv"} else part for part in arguments]
    known.make_context(name, arguments, resilient_parsing=False)


def test_the_runbook_needs_no_function_of_the_shell() -> None:
    assert re.findall(r"^\w+\(\)", RUNBOOK, re.MULTILINE) == []


def test_every_link_within_the_runbook_leads_somewhere() -> None:
    assert set(re.findall(r"\]\(#([a-z-]+)\)", RUNBOOK)) <= set(SECTIONS)


def test_every_section_but_what_no_alarm_tells_is_linked_to_by_an_alarm() -> None:
    text = (REPO / "infra" / "observability.tf").read_text(encoding="utf-8")
    linked = {link for link in re.findall(r"\$\{local\.runbook\}([a-z-]+)", text) if not link.endswith("-")}
    linked |= {f"dead-letters-{name}" for name in queues()}
    assert linked == set(SECTIONS) - {"too-many-failures", "overcount-suspected", "correct-and-run-again"}


def test_every_command_of_the_aws_cli_is_an_operation_of_its_service() -> None:
    session = botocore.session.get_session()
    used = set(re.findall(r"aws ([a-z]+) ([a-z-]+)", RUNBOOK))
    assert len(used) > 3
    for service, command in used:
        operations = session.get_service_model(service).operation_names
        assert command in {xform_name(operation, "-") for operation in operations}, f"aws {service} {command}"
