"""One exploration: a small file from a small start, with as much going wrong as a bound allows."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.model.explorer import Explored, Explorer
from tests.model.protocol import Tally, content
from tests.model.system import Bounds, Start
from tests.model.table import Item

ONE, TWO = "A,1,2\nB,1,2\n", "C,1,2\nD,1,2\n"
"""Two chunks of two rows."""
OUTAGE: Item = {"outage": {"S": "on"}}
"""While it lasts the job raises for row A, the results table takes nothing, or the next job is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One exploration: its name, the chunks of the file, where it starts and how far it goes."""

    name: str
    chunks: tuple[str, ...]
    start: Start
    bounds: Bounds = Bounds()  # noqa: RUF009  frozen
    corrected: bool = False
    """Whether a job that takes every row was deployed since the file was read."""
    system: Callable[..., Tally] = Tally
    """What it is of, if results are written, saved or chained too."""
    quick: bool = True
    """Whether it takes a few seconds, and is a test too."""

    def explore(self) -> Explored:
        """Visit every state within the bounds."""
        flaky = frozenset({"A"}) if self.start.outage and self.system is Tally else frozenset[str]()
        system = self.system(
            content=content(*self.chunks),
            flaky=flaky,
            corrected=self.corrected,
            judges_failures="redrive rejected" not in self.start.commands,
        )
        return Explorer(system, self.start, self.bounds).explore()
