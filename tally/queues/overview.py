"""Every queue of a stage in one view: waiting, in flight, dead."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tally.output import Output
from tally.queues.dead import DeadQueue, dead_queues
from tally.queues.depth import Depth, depth_of, name_of
from tally.stages.expected import Expected

_WORKERS = 8
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A queue; ``depth`` is None where it does not exist, ``dead`` where it has no dead-letter queue."""

    name: str
    url: str
    depth: Depth | None
    oldest_seconds: float | None = None
    dead: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        depth = self.depth
        return {
            "name": self.name,
            "queue": name_of(self.url),
            "url": self.url,
            "visible": depth.visible if depth else None,
            "in_flight": depth.in_flight if depth else None,
            "delayed": depth.delayed if depth else None,
            "oldest_seconds": self.oldest_seconds,
            "dead_letters": self.dead,
        }


def overview(
    sqs: Any, expected: Expected, others: list[DeadQueue], age: Callable[[str], float | None]
) -> list[QueueState]:
    """Return the queues of work, then those of dead letters; all are asked at once.

    ``age`` returns the age of a queue's oldest message; it is called for queues with messages.
    """
    dead = [*(queue for queue in dead_queues(expected) if not queue.source_url), *others]
    urls = [url for queue in expected.queues.values() for url in (queue.url, queue.dlq_url)]
    urls += [queue.url for queue in dead]
    with ThreadPoolExecutor(_WORKERS) as pool:
        depths = dict(zip(urls, pool.map(lambda url: depth_of(sqs, url), urls), strict=True))

    def state(name: str, url: str, dlq_url: str = "") -> QueueState:
        depth, letters = depths[url], depths.get(dlq_url)
        oldest = age(name_of(url)) if depth and depth.visible else None
        return QueueState(
            name=name, url=url, depth=depth, oldest_seconds=oldest, dead=letters.total if letters else None
        )

    states = [state(name, queue.url, queue.dlq_url) for name, queue in expected.queues.items()]
    return states + [state(queue.name, queue.url) for queue in dead]


def show(output: Output, states: list[QueueState]) -> None:
    """Write a line for each queue."""
    columns = ["queue", "visible", "in flight", "delayed", "oldest", "dead letters"]
    output.table("", columns, [cells(state) for state in states])


def cells(state: QueueState) -> tuple[str | int, ...]:
    """Return the cells of a queue's line, in the order of the columns."""
    if state.depth is None:
        return (state.name, "missing", _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)
    depth = state.depth
    oldest = f"{state.oldest_seconds:,.0f} s" if state.oldest_seconds is not None else _UNKNOWN
    dead = f"{state.dead:,}" if state.dead is not None else _UNKNOWN
    return (state.name, f"{depth.visible:,}", f"{depth.in_flight:,}", f"{depth.delayed:,}", oldest, dead)
