"""The page docs/cli.md: every command with its options, written from the command line itself.

``python -m tools.cli_reference`` writes it; with ``--check`` it exits with 1 if the page is not current.
"""

import inspect
import re
from collections.abc import Iterator

import click

from tally.cli import tally
from tally.commands.help import ENTRIES, Group
from tally.errors import EXIT_CODES_HELP
from tools.generated import REPO, write

PAGE = REPO / "docs" / "cli.md"
_WIDTH = 100
_HEAD = """# Commands

Written by `make docs` from the command line itself: `tally COMMAND --help` shows the same.

Every command takes `--stage` (or `TALLY_STAGE`; `local` by default), `--json` and `--debug`, which are left out below.
`ID` is the beginning or the end of a batch's id, or `@` for the newest batch.
What `--json` prints is in [json.md](json.md).
"""
_EVERYWHERE = frozenset({"stage", "as_json", "debug"})


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD, _exit_codes(), _contents()]
    for group in Group:
        members = _members(group)
        if members:
            parts.append(f"## {group.value}\n")
            parts.extend(_command(name) for name in members)
    return "\n".join(parts).rstrip() + "\n"


def _members(group: Group) -> list[str]:
    known = [name for name, entry in ENTRIES.items() if entry.group is group and name in tally.commands]
    others = sorted(set(tally.commands) - set(ENTRIES)) if group is Group.OTHER else []
    return known + others


def _contents() -> str:
    rows = [
        f"| {group.value} | {', '.join(f'[`{name}`](#tally-{name})' for name in _members(group))} |"
        for group in Group
        if _members(group)
    ]
    return "\n".join(["| what for | commands |", "|---|---|", *rows, ""])


def _exit_codes() -> str:
    return f"```text\n{EXIT_CODES_HELP.removeprefix(chr(8)).strip()}\n```\n"


def _command(name: str) -> str:
    command = tally.commands[name]
    context = click.Context(command, info_name=f"tally {name}", max_content_width=_WIDTH, terminal_width=_WIDTH)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    parts = [f"### tally {name}\n", f"```text\n{usage}\n```\n", *_text(command.help or "")]
    rows = [
        row for parameter in command.params if parameter.name not in _EVERYWHERE for row in _row(parameter, context)
    ]
    if rows:
        parts.append("\n".join(["| option | what it does |", "|---|---|", *rows, ""]))
    if name in ENTRIES:
        parts.append(f"```text\n{ENTRIES[name].example}\n```\n")
    return "\n".join(parts)


def _text(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; a paragraph that click must not wrap becomes a block."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```\n"
        else:
            yield f"{_cell(paragraph)}\n"


def _row(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    record = parameter.get_help_record(context)
    if record is not None and record[1]:
        left, right = record
        yield f"| `{_cell(left)}` | {_cell(right)} |"


def _cell(text: str) -> str:
    """Return a text with escapes for Markdown's markup outside of code."""
    joined = " ".join(text.split()).replace("|", "\\|")
    pieces = re.split(r"(`[^`]*`)", joined)
    return "".join(
        piece if index % 2 else re.sub(r"([*<>\[\]_])", r"\\\1", piece) for index, piece in enumerate(pieces)
    )


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the page is not current.")
def main(*, check: bool) -> None:
    """Write docs/cli.md."""
    write({PAGE: page()}, check=check)


if __name__ == "__main__":
    main()
