"""Reading ahead: calls that are made a few at a time, with their answers in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


def ahead(call: Callable[[A], T], arguments: Iterable[A], *, at_once: int) -> Generator[T]:
    """Return what ``call`` answers for each argument, in order, with the next ones being asked for.

    No more answers than ``at_once`` are kept; the first that raises is raised in its place.
    """
    if at_once == 1:
        yield from map(call, arguments)
        return
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        waiting: deque[Future[T]] = deque()
        for argument in arguments:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(call, argument))
        while waiting:
            yield waiting.popleft().result()
