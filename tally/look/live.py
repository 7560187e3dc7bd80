"""A picture that is redrawn in place, on a terminal that may be resized meanwhile."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back interrupts until the block has ended.

    An interrupt in the middle of drawing would leave rich's console with a buffer that nothing writes any more: the
    picture would stay, and the cursor hidden. A thread other than the main one is never interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: came.append(got)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held_back in came:
            signal.raise_signal(held_back)


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
        with undisturbed():
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        with undisturbed():
            self._live.stop()

    def show(self, picture: RenderableType) -> None:
        """Draw a picture in place of the last one; an interrupt comes after it."""
        with undisturbed():
            if self._console.size != self._size:
                self._live.stop()
                self._console.clear()
                self._again()
                self._live = self._begun()
                self._live.start()
            self._live.update(picture, refresh=True)
