"""A short bar, and a progress line with one."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import DownloadColumn, Progress, Task
from rich.text import Text

from tally.look.meanings import Meaning
from tally.look.words import shorten

MAX_BAR = 40
ECHO = 2
"""Cells that stay free at the end of a line that is redrawn: a terminal echoes Ctrl-C there, and must not wrap."""
_MIN_BAR = 8
_MIN_DESCRIPTION = 16
_GAP = "  "
_HOURS_OF_DAYS = 48
"""From so many hours on, a duration is one of days."""
_SIXTY = 60
_SECOND = 1000


def bar(completed: float, total: float, width: int, *, ascii_only: bool) -> Text:
    """Return a bar of ``width`` cells; done and left differ without colours too."""
    full, empty = ("#", "-") if ascii_only else ("\u2588", "\u2591")
    done = min(width, int(width * completed / total)) if total > 0 else 0
    return Text(full * done, Meaning.TO_WAIT_FOR.value).append(empty * (width - done), Meaning.ASIDE.value)


def share(completed: float, total: float) -> str:
    """Return the share that is done, in percent; 100 only if nothing is left."""
    return f"{int(100 * completed / total) if total > 0 else 0:3d} %"


def duration(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), _SIXTY)
    hours, minutes = divmod(minutes, _SIXTY)
    if hours >= _HOURS_OF_DAYS:
        days, hours = divmod(hours, 24)
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def milliseconds(took: float) -> str:
    """Return a short duration for people."""
    return f"{took:,.0f} ms" if took < _SECOND else f"{took / _SECOND:,.1f} s"


@dataclass(frozen=True, slots=True)
class _Line:
    """One task's line; where room is short, the ETA goes first, then rate, bar, and the description's middle."""

    task: Task
    figures: str
    in_bytes: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        task = self.task
        further = [each for each in (self._rate, self._eta) if each]
        room = options.max_width - ECHO - len(self.figures) - len(_GAP)
        description = shorten(task.description, max(min(room, _MIN_DESCRIPTION), room - _MIN_BAR - len(_GAP)))
        room -= cell_len(description)
        line = Text(description)
        if task.total and room >= _MIN_BAR + len(_GAP):
            # A short bar, if rate and ETA fit beside it then.
            beside = sum(len(_GAP) + len(each) for each in further)
            cells = min(MAX_BAR, max(_MIN_BAR, room - len(_GAP) - beside))
            line.append(_GAP).append_text(bar(task.completed, task.total, cells, ascii_only=options.ascii_only))
            room -= len(_GAP) + cells
        line.append(_GAP).append(self.figures)
        for each in further:
            if room >= len(_GAP) + len(each):
                line.append(_GAP).append(each, Meaning.ASIDE.value)
                room -= len(_GAP) + len(each)
        yield line

    @property
    def _rate(self) -> str:
        speed = self.task.finished_speed or self.task.speed
        if speed is None:
            return ""
        return f"{speed / 1e6:,.1f} MB/s" if self.in_bytes else f"{speed:,.0f}/s"

    @property
    def _eta(self) -> str:
        left = self.task.time_remaining
        if left is None:
            return duration(self.task.elapsed) if self.task.total is None else ""
        return f"ETA {duration(left)}"


class Lines(Progress):
    """A progress display with one line a task, cut to the terminal's width."""

    def __init__(self, console: Console, *, in_bytes: bool, disable: bool) -> None:
        super().__init__(console=console, disable=disable, transient=True)
        self._in_bytes = in_bytes
        self._bytes = DownloadColumn()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the line of each task."""
        for task in self.tasks:
            total = "?" if task.total is None else f"{task.total:,.0f}"
            figures = self._bytes.render(task).plain if self._in_bytes else f"{task.completed:,.0f}/{total}"
            yield _Line(task, figures, self._in_bytes)
