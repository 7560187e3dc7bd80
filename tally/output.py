"""Output for the operator: steps with their time, tables, one-line errors; with ``--json`` JSON alone on stdout."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from tally.errors import ExitCode, OperatorError
from tally.look import Column, Lines, Meaning, hang, lay_out, printable, shorten

_MAX_DETAIL_LINES = 60
_DUMB = {"dumb", "unknown"}
"""Values of TERM that rich takes for a terminal, but on which nothing can be redrawn."""
_PIPED_WIDTH = 10_000
"""A pipe has no width: each row of a table is a line, unless COLUMNS is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Writes for people to stdout; with ``as_json`` only the result goes to stdout, the rest to stderr."""

    console: Console
    as_json: bool
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def make(cls, *, as_json: bool, data_on_stdout: bool = False) -> Self:
        """Return the output of this process; with ``data_on_stdout`` all of it goes to stderr."""
        return cls(console=make_console(stderr=as_json or data_on_stdout), as_json=as_json)

    @property
    def live(self) -> bool:
        """Tell whether lines can be redrawn."""
        return self.console.is_interactive

    def say(self, text: str) -> None:
        """Write a line; on a terminal it is broken between words, but never in a command between backticks."""
        self._write(Text(printable(text)), hanging=len(text) - len(text.lstrip(" ")))

    def command(self, text: str) -> None:
        """Write a line to be copied; only the terminal itself wraps it."""
        self.console.print(Text(printable(text)))

    def warn(self, text: str) -> None:
        """Write a line that must not be overlooked."""
        self._write(Text.assemble(("warning:", Meaning.TO_LOOK_AT), " ", printable(text)))

    def mark(self, mark: str, style: str, text: str) -> None:
        """Write a line with a coloured word before it."""
        self._write(Text.assemble((f"{mark:<8}", style), " ", printable(text)), hanging=9)

    def _write(self, text: Text, *, hanging: int = 0) -> None:
        lines = hang(text, self.console.width, hanging) if self.console.is_terminal else [text]
        for line in lines:
            self.console.print(line)

    @contextmanager
    def step(self, what: str) -> Iterator["Step"]:
        """Announce a step, show that it is running, and write at its end its result and its time."""
        began = self.clock()
        step = Step()
        try:
            if self.live:
                with self.console.status(escape(printable(what)), spinner="line") as status:
                    step.show = lambda line: status.update(self._doing(what, line))
                    yield step
            else:
                self._write(Text(f"-> {printable(what)}"))
                yield step
        except BaseException as error:
            failed = isinstance(error, Exception)
            how = ("failed", Meaning.FAILED) if failed else ("interrupted", Meaning.TO_LOOK_AT)
            self._ended(how, what, began)
            raise
        self._ended((step.ended, step.style), f"{what}: {step.note}" if step.note else what, began)

    def _ended(self, how: tuple[str, str], what: str, began: float) -> None:
        took = (f"({self.clock() - began:.1f} s)", Meaning.ASIDE)
        self._write(Text.assemble(how, " ", printable(what), " ", took))

    def _doing(self, what: str, line: str) -> str:
        room = self.console.width - len(what) - 4  # the spinner, and a space on either side
        return f"{escape(printable(what))} [dim]{escape(shorten(line, room))}[/dim]"

    @contextmanager
    def progress(
        self, description: str, total: int | None, *, in_bytes: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Show a bar while the block runs; yields a function that advances it, callable from any thread.

        With no ``total`` it shows only how much is done.
        """
        with Lines(self.console, in_bytes=in_bytes, disable=not self.live) as progress:
            task = progress.add_task(description, total=total)
            yield lambda count: progress.advance(task, count)

    def table(self, title: str, columns: Sequence[Column | str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table; columns of numbers are set to the right."""
        if title:
            self._write(Text(printable(title), "italic"))
        for line in lay_out(columns, rows, self.console.width):
            self.console.print(line)

    def document(self, data: Any) -> None:
        """Write one of several results as a line of JSON, as it comes."""
        sys.stdout.write(json.dumps(data) + "\n")
        sys.stdout.flush()

    def result(self, data: Any) -> None:
        """Write the result as JSON, if ``--json`` was given."""
        if self.as_json:
            print_json(data)


class Step:
    """A running step: ``show`` takes its present activity; ``note`` is its result, ``ended`` the word before it."""

    def __init__(self) -> None:
        self.note = ""
        self.ended = "ok"
        self.style: str = Meaning.AS_HOPED
        self.show: Callable[[str], None] = lambda _line: None


def make_console(*, stderr: bool = False) -> Console:
    """Return the console of stdout or stderr; only a terminal is redrawn, even if colours are forced on a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a locale without UTF-8 must not end a command
    terminal = stream.isatty()
    dumb = os.environ.get("TERM", "").lower() in _DUMB
    console = Console(stderr=stderr, highlight=False, soft_wrap=True, force_interactive=terminal and not dumb)
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or not int(columns):
        if not terminal:
            console.width = _PIPED_WIDTH
        elif dumb:
            console.width = shutil.get_terminal_size().columns  # rich takes any dumb terminal for 80 wide
    return console


def print_json(data: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def print_error(error: OperatorError) -> None:
    """Write an error to stderr: its line, then the output of the tool that failed."""
    console = make_console(stderr=True)
    interrupted = error.code is ExitCode.INTERRUPTED
    word = ("interrupted:", Meaning.TO_LOOK_AT) if interrupted else ("error:", Meaning.FAILED)
    console.print(Text.assemble(word, " ", printable(str(error))))  # as one line: what to do may be to copy a command
    if error.detail:
        lines = error.detail.splitlines()
        if len(lines) > _MAX_DETAIL_LINES:
            lines = ["[...]", *lines[-_MAX_DETAIL_LINES:]]
        console.print(Text(printable("\n".join(f"  {line}" for line in lines))))
