"""The help: commands in groups, each with an example that can be typed, whole at every width; shell completion."""

import shlex

import click
import pytest

from tally.cli import run, tally
from tally.commands.help import ENTRIES, Group
from tally.errors import ExitCode


def test_every_command_is_in_a_group_and_has_an_example() -> None:
    assert sorted(ENTRIES) == sorted(tally.commands)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_example_is_of_its_command_and_can_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = ENTRIES[name].example.removeprefix('eval "$(').removesuffix(')"')
    program, command, *arguments = shlex.split(example)
    assert (program, command) == ("tally", name)
    files = ("offices.csv", "event.json", "weather.csv")
    tally.commands[name].make_context(name, [__file__ if part in files else part for part in arguments])
    assert run([name, "--help"]) is ExitCode.OK
    assert ENTRIES[name].example in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_help_names_every_command_below_its_group_and_cuts_no_sentence(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["--help"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "..." not in shown.replace("[ARGS]...", "")
    assert [line[:-1] for line in shown.splitlines() if line in {f"{group}:" for group in Group}] == [
        "Run", "Look", "Act", "Operate", "Develop",
    ]  # fmt: skip
    assert all(any(line.startswith(f"  {name} ") for line in shown.splitlines()) for name in ENTRIES)


def test_a_command_in_no_group_is_shown_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tally.commands, "novel", click.Command("novel", help="Make a new thing."))
    run(["--help"])
    assert "Other:\n  novel  Make a new thing.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "completed"),
    [("tally que", {"queues"}), ("tally logs proc", {"process", "process_heavy"}), ("tally rows --out", {"--outcome"})],
)
def test_a_shell_completes_commands_options_and_handlers(
    words: str, completed: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TALLY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        run([])
    assert {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()} == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_set_up_as_the_readme_says(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda *_arguments: None)
    monkeypatch.setenv("_TALLY_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        run([])
    assert "_TALLY_COMPLETE" in capsys.readouterr().out
