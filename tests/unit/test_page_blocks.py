"""Every code block of every page: what can be checked without a stage is checked, and no command is mistyped."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import hcl2
import pytest
import yaml  # type: ignore[import-untyped]  # moto brings it

from tally.cli import tally
from tests.support.pages import Block, blocks

REPO = Path(__file__).parents[2]
PAGES = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted(REPO.glob("docs/*.md")) if page.name != "cli.md"),  # written from the command line
    *sorted(REPO.glob("infra/**/README.md")),
]
LANGUAGES = {"sh", "python", "json", "hcl", "yaml", "text", ""}
BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
PLACEHOLDERS = {"ID": "@", "ID:CHUNK": "@:0", "CHUNK:ROW": "0:0", "QUEUE": "work-dlq", "LETTER": "0123"}

NOT_RUN = re.compile(r"^ *<!-- not run", re.MULTILINE)
ON_AWS = "acts on a stage in AWS: only held to the command line"
ON_FILES = "acts on files and batches of the reader: only held to the command line"
SHELL = {
    "README.md": "its parts are make targets that other tests run: tests/e2e",
    "capacity.md": ON_AWS,
    "command-line.md": ON_FILES,
    "console.md": ON_FILES,
    "debugging.md": "tests/e2e/test_debugging.py",
    "deploy.md": ON_AWS,
    "events.md": ON_AWS,
    "failures.md": ON_FILES,
    "jobs.md": ON_FILES,
    "releasing.md": "tests/unit/test_release.py",
    "results.md": ON_FILES,
    "runbook.md": "tests/e2e/test_runbook.py",
    "tutorial.md": "tests/e2e/test_tutorial.py",
}
"""The tests of a page's shell blocks beside their syntax: a test by name, or the reason why there is none."""


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands() -> Iterator[tuple[str, str]]:
    """Yield where each ``tally`` command of a shell block is, and the command."""
    for block in of("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for found in re.findall(r"(?:^|&& |\| |\(|-m )(tally [a-z][^|)>]*)", line):
                yield str(block), found.strip()


def test_every_block_is_of_a_language_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_it_is_stated_how_a_shell_block_is_tested(block: Block) -> None:
    """By the page, or above the block."""
    how = SHELL.get(block.page, "")
    assert block.not_run or how or "infra" in block.folder
    assert not how.startswith("tests/") or (REPO / how).is_file()


@pytest.mark.parametrize("page", [page for page in PAGES if NOT_RUN.search(page.read_text("utf-8"))], ids=str)
def test_a_block_that_is_not_run_has_the_reason_above_it(page: Path) -> None:
    """A comment without a reason, or above no block, is a mistake."""
    reasons = [block.not_run for block in blocks(page) if block.not_run]
    assert len(reasons) == len(NOT_RUN.findall(page.read_text(encoding="utf-8")))
    assert [reason for reason in reasons if len(reason) < 10] == []


def test_the_list_of_pages_with_shell_blocks_names_none_that_is_gone() -> None:
    assert set(SHELL) <= {block.page for block in of("sh")}


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("hcl"), ids=str)
def test_terraform_is_terraform(block: Block) -> None:
    hcl2.loads(block.text)


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_is_yaml(block: Block) -> None:
    yaml.safe_load(block.text)


@pytest.mark.parametrize(("place", "line"), sorted(set(commands())))
def test_every_command_can_be_typed_as_it_stands(place: str, line: str, tmp_path: Path) -> None:
    """A file that the page has is stood in for by one that exists here."""
    file = tmp_path / "a.csv"
    file.touch()
    _, name, *arguments = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True)]
    command = tally.commands[name]
    context = click.Context(command, info_name=name)
    paths = {
        option
        for parameter in command.params
        if isinstance(parameter.type, click.Path) and parameter.type.exists
        for option in parameter.opts
    }
    for index, word in enumerate(arguments):
        is_file = re.fullmatch(r"[\w./-]+\.(csv|csv\.gz|json|jsonl|tfvars)|results|FILE", word)
        if is_file and (index == 0 or arguments[index - 1] in paths or not arguments[index - 1].startswith("-")):
            arguments[index] = str(tmp_path if word == "results" else file)
    command.make_context(context.info_name, arguments)
