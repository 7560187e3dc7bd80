"""What the operator sees: steps with their time, tables, one line for an error; JSON alone on stdout if asked for."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from tally.errors import OperatorError

_MAX_DETAIL_LINES = 60
_PIPED_WIDTH = 240
"""A pipe has no width: wide enough for a table of batches not to be folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Writes for people, to stdout, or, with ``as_json``, the result alone to stdout and the rest to stderr."""

    console: Console
    as_json: bool
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def make(cls, *, as_json: bool) -> Self:
        """Return the output of this process."""
        console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        if not console.is_terminal:
            console.width = _PIPED_WIDTH
        return cls(console=console, as_json=as_json)

    @property
    def live(self) -> bool:
        """Tell whether lines can be redrawn."""
        return self.console.is_terminal

    def say(self, text: str) -> None:
        """Write a line."""
        self.console.print(escape(text))

    def warn(self, text: str) -> None:
        """Write a line that must not be overlooked."""
        self.console.print(f"[yellow]warning:[/yellow] {escape(text)}")

    def mark(self, mark: str, style: str, text: str) -> None:
        """Write a line with a coloured word before it."""
        self.console.print(f"[{style}]{escape(mark):<8}[/{style}] {escape(text)}")

    @contextmanager
    def step(self, what: str) -> Iterator["Step"]:
        """Announce a step, show that it is running, and say at its end how it ended and how long it took."""
        began = self.clock()
        step = Step()
        try:
            if self.live:
                with self.console.status(escape(what), spinner="line") as status:
                    step.show = lambda line: status.update(f"{escape(what)} [dim]{escape(line[:100])}[/dim]")
                    yield step
            else:
                self.console.print(f"-> {escape(what)}")
                yield step
        except BaseException as error:
            how = "[red]failed[/red]" if isinstance(error, Exception) else "[yellow]interrupted[/yellow]"
            self.console.print(f"{how} {escape(what)} [dim]({self.clock() - began:.1f} s)[/dim]")
            raise
        note = f": {step.note}" if step.note else ""
        text = f"{escape(what)}{escape(note)} [dim]({self.clock() - began:.1f} s)[/dim]"
        self.console.print(f"[{step.style}]{escape(step.ended)}[/{step.style}] {text}")

    @contextmanager
    def progress(
        self, description: str, total: int | None, *, in_bytes: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Show a bar while the block runs; yields a function that advances it, which any thread may call.

        With no ``total`` the bar only shows that work is under way.
        """
        figures = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *figures)
        with Progress(*columns, console=self.console, disable=not self.live, transient=True) as progress:
            task = progress.add_task(description, total=total)
            yield lambda count: progress.advance(task, count)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write a table; a cell that is a number is set to the right."""
        table = Table(title=escape(title) if title else None, title_justify="left", box=None, pad_edge=False)
        numeric = [
            bool(rows) and all(isinstance(row[position], int) for row in rows) for position in range(len(columns))
        ]
        for column, right in zip(columns, numeric, strict=True):
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(f"{cell:,}" if isinstance(cell, int) else escape(str(cell)) for cell in row))
        self.console.print(table, soft_wrap=False)

    def result(self, data: Any) -> None:
        """Write the result as JSON, if that was asked for."""
        if self.as_json:
            print_json(data)


class Step:
    """A running step: ``show`` takes what it does now; ``note`` is its result, ``ended`` the word before it."""

    def __init__(self) -> None:
        self.note = ""
        self.ended, self.style = "ok", "green"
        self.show: Callable[[str], None] = lambda _line: None


def print_json(data: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def print_error(error: OperatorError) -> None:
    """Write an error to stderr: its line, then the failed tool's own words."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[red]error:[/red] {escape(str(error))}")
    if error.detail:
        lines = error.detail.splitlines()
        if len(lines) > _MAX_DETAIL_LINES:
            lines = ["[...]", *lines[-_MAX_DETAIL_LINES:]]
        console.print(escape("\n".join(f"  {line}" for line in lines)))
