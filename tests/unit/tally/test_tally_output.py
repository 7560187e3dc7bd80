"""The output of commands: bars only where lines can be redrawn."""

from io import StringIO

import pytest
from rich.console import Console

from tally.output import Output


def _live(said: StringIO) -> Output:
    return Output(console=Console(file=said, width=120, force_terminal=True), as_json=False)


@pytest.mark.parametrize(
    ("in_bytes", "total", "steps", "shown"),
    [(False, 4, (1, 2), "3/4"), (False, None, (1, 2), "3/?"), (True, 4000, (1000, 2000), "3.0/4.0 kB")],
)
def test_a_bar_shows_how_far_it_was_moved(
    said: StringIO, in_bytes: bool, total: int | None, steps: tuple[int, ...], shown: str
) -> None:
    with _live(said).progress("reading", total, in_bytes=in_bytes) as advance:
        for step in steps:
            advance(step)
    assert shown in said.getvalue()


def test_a_file_name_with_brackets_is_shown_as_it_is(said: StringIO) -> None:
    with _live(said).progress("upload [bold]day[/bold].csv", 1, in_bytes=True):
        pass
    assert "upload [bold]day[/bold].csv" in said.getvalue()


def test_a_pipe_gets_no_bar(said: StringIO, output: Output) -> None:
    with output.progress("chunks", 4) as advance:
        advance(1)
    assert said.getvalue() == ""


@pytest.mark.parametrize(("error", "how"), [(ValueError("x"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_a_step_that_does_not_end_says_how_and_after_what_time(
    said: StringIO, output: Output, error: BaseException, how: str
) -> None:
    with pytest.raises(type(error)), output.step("terraform apply"):
        raise error
    assert said.getvalue().splitlines()[-1].startswith(f"{how} terraform apply (")
    assert "ok" not in said.getvalue()
