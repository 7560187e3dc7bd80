"""A picture that is drawn in place again and again, on a terminal that may be resized meanwhile."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class Redrawn:
    """Shows the last picture until the block ends, and removes it then, the cursor shown.

    ``again`` writes what should stand above the picture after a resize: the screen is cleared then, because a terminal
    may have wrapped the lines of the last picture, and nothing tells how many lines they have become.
    """

    def __init__(self, console: Console, again: Callable[[], None]) -> None:
        self._console, self._again = console, again
        self._live = self._begun()

    def _begun(self) -> Live:
        self._size = self._console.size
        return Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, picture: RenderableType) -> None:
        """Draw a picture in place of the last one."""
        if self._console.size != self._size:
            self._live.stop()
            self._console.clear()
            self._again()
            self._live = self._begun()
            self._live.start()
        self._live.update(picture, refresh=True)
