"""Groups that keep to a limit of a service: so many bytes, so many parts."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

P = TypeVar("P")


def grouped(
    parts: Iterable[P], *, size: Callable[[P], int], max_bytes: int, max_parts: int = sys.maxsize
) -> Iterator[list[P]]:
    """Fill groups in order, each of at most ``max_parts`` parts and ``max_bytes`` bytes.

    A part that is larger than a group is a group by itself: who makes parts keeps them below.
    """
    group: list[P] = []
    room = max_bytes
    for part in parts:
        length = size(part)
        if group and (length > room or len(group) >= max_parts):
            yield group
            group, room = [], max_bytes
        group.append(part)
        room -= length
    if group:
        yield group
