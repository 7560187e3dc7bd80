"""What an action says while it runs, for a page instead of a terminal."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO

from rich.console import Console

from tally.errors import ExitCode, OperatorError
from tally.output import Output

_WIDTH = 10_000
"""The page wraps lines, not the console."""


@dataclass(slots=True)
class Told:
    """What was said so far, and how far the work is; written by one thread, read by another."""

    text: StringIO = field(default_factory=StringIO)
    doing: str = ""
    done: int = 0
    total: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def lines(self) -> list[str]:
        """The lines so far."""
        return self.text.getvalue().splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Output):
    """An output that keeps its lines; raises OperatorError in an action that has a progress and is stopped."""

    told: Told

    @classmethod
    def begin(cls) -> "Report":
        """Return one that has nothing to tell yet."""
        told = Told()
        console = Console(file=told.text, width=_WIDTH, soft_wrap=True, highlight=False, color_system=None)
        return cls(console=console, as_json=False, told=told)

    @contextmanager
    def progress(
        self, description: str, total: int | None, *, in_bytes: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Note how far the block is."""
        del in_bytes
        told, lock = self.told, threading.Lock()
        told.doing, told.done, told.total = description, 0, total or 0

        def advance(count: int) -> None:
            if told.stopped.is_set():
                raise OperatorError("The console was stopped", code=ExitCode.INTERRUPTED)
            with lock:
                told.done += count

        yield advance
        told.doing = ""
