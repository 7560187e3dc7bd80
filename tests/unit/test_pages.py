"""The pages that are generated are current, and no command, option, setting, metric or alarm is without a line in one."""

import click
import pytest

from tally.cli import tally
from tools import cli_reference
from tools.generated import stale


def _options() -> list[tuple[str, str]]:
    return [
        (name, option.opts[0])
        for name, command in tally.commands.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and option.name not in {"stage", "as_json", "debug"}
    ]


def test_the_command_reference_is_current() -> None:
    assert stale({cli_reference.PAGE: cli_reference.page()}) == []


@pytest.mark.parametrize(("command", "option"), _options())
def test_every_option_has_a_help_text(command: str, option: str) -> None:
    """The reference is written from it."""
    found = next(one for one in tally.commands[command].params if option in one.opts)
    assert isinstance(found, click.Option)
    assert found.help
