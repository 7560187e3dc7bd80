"""A command or an option that a sentence names exists: in the pages, and in what the code says to people."""

import ast
import re
from collections.abc import Iterator, Mapping

import click
import pytest

from tally.cli import tally
from tests.support.inventory import MADE_UP, REPO, sources

BLOCK = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^|[ (])tally ([a-z][a-z-]*)((?: [^|&;)]*)?)")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
EVERYWHERE = {"--help"}
OF_OTHER_TOOLS = {
    "aws": {
        "--alarm-names", "--enabled", "--notification-endpoint", "--protocol", "--queue-url", "--topic-arn", "--uuid",
        "--versioning-configuration", "--wait-time-seconds",
    },
    "bench": {"--keep", "--part"},
    "chalice": {"--project-dir"},
    "css": {"--q-negative", "--q-primary"},
    "ruff": {"--stdin-filename"},
}  # fmt: skip
"""Options in texts that are not those of the command line."""


def pages() -> dict[str, str]:
    """Return the sentences of each page: what is in no code block."""
    found = (*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *REPO.glob("infra/**/README.md"))
    return {
        path.relative_to(REPO).as_posix(): BLOCK.sub("", path.read_text(encoding="utf-8"))
        for path in sorted(found)
        if path.name != "CHANGELOG.md" and ".terraform" not in path.parts
    }


def said(found: Mapping[str, str]) -> dict[str, str]:
    """Return the texts in each source file, docstrings and messages; what is put into a message is a placeholder."""
    return {path: "\n".join(_texts(ast.parse(text))) for path, text in found.items()}


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "ID" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | EVERYWHERE


def complaints(text: str, commands: Mapping[str, click.Command]) -> list[str]:
    """Return a line for each command in a text, and each option of it, that does not exist."""
    found = []
    for code in re.findall(r"`([^`\n]+)`", text):
        for name, rest in COMMAND.findall(code):
            if name not in commands:
                found.append(f"`{code}`: there is no command {name}")
                continue
            unknown = set(OPTION.findall(QUOTED.sub("", rest))) - options(commands[name])
            found += [f"`{code}`: {name} has no option {each}" for each in sorted(unknown)]
    return found


TEXTS = pages() | said(sources("app", "tally"))
NAMING = sorted(name for name, text in TEXTS.items() if re.search(r"`tally [a-z]", text))


@pytest.mark.parametrize("name", NAMING)
def test_every_command_that_a_sentence_names_exists(name: str) -> None:
    assert complaints(TEXTS[name], tally.commands) == []


@pytest.mark.parametrize("name", NAMING)
def test_a_command_that_is_gone_is_found_wherever_it_was_named(name: str) -> None:
    """A mutant of the command line has none of the commands."""
    assert complaints(TEXTS[name], {})


def unknown_options(text: str) -> set[str]:
    """Return the options that a text names, in code or not, and that neither a command nor another tool has.

    A name that begins with ``--q-`` is a variable of the console's style.
    """
    known = set().union(*OF_OTHER_TOOLS.values(), *(options(command) for command in tally.commands.values()))
    return set(re.findall(r"(?<![\w-])--(?!q-)[a-z][a-z-]+", text)) - known


def test_every_option_that_stands_alone_in_a_sentence_exists() -> None:
    alone = {name: "\n".join(re.findall(r"`(-[^`\n]+)`", text)) for name, text in TEXTS.items() if name.endswith(".md")}
    in_code = {name: text for name, text in TEXTS.items() if name.startswith("tally/")}
    found = {name: unknown_options(text) for name, text in (alone | in_code).items()}
    assert {name: options for name, options in found.items() if options} == {}
    assert unknown_options("--skip-invalid and --dry-run, not --skip-all") == {"--skip-all"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"Run `tally {MADE_UP.replace('_', '-')} ID`.", "there is no command made-up"),
        ("Run `tally list --all`.", "list has no option --all"),
        ('Run `eval "$(tally env --shell)"`.', "env has no option --shell"),
        ("Run `. x && tally audit ID -f`.", "audit has no option -f"),
    ],
)
def test_a_command_or_an_option_that_never_was_is_found(text: str, wrong: str) -> None:
    (found,) = complaints(text, tally.commands)
    assert found.endswith(wrong)
