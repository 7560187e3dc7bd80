"""Who can make a call in a state: what runs, what waits in a queue or in the stream, what may be started.

An invocation is a node of ``Scripts`` and an origin: what comes again if it dies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from tests.model.replay import Call, Interned, Operation, Scripts, Tape
from tests.model.system import Bounds, Message, Start, System
from tests.model.table import WORLD, Snapshot, Tables, targets

ORIGINS = 1 << 20
"""A task is one number: the node times this, plus the origin."""
_MAX_RECEIVES = 3
"""Above this no handler tells one delivery from the next."""
COMMAND = "command"

Lane = tuple[int, ...]
"""The stream of one item for one consumer: its number, whether it is being worked on, the records that wait."""


class Kind(IntEnum):
    """What an invocation does next."""

    READ = 0  # changes nothing
    WRITE = 1
    SEND = 2  # commutes with every call that others may make
    END = 3
    ERROR = 4


class Left(NamedTuple):
    """What is left of the bounds."""

    unheard: int
    deaths: int
    copies: int
    dead_letters: int


class State(NamedTuple):
    """What would survive if every function's process stopped, and where each invocation stands."""

    table: Snapshot
    tasks: tuple[int, ...]  # sorted
    lanes: tuple[Lane, ...]  # sorted
    events: tuple[int, ...]  # sorted
    left: Left
    waiting: tuple[int, ...]  # what may still be started


class Runnable(NamedTuple):
    """An invocation that can make a call, and what it takes with it: tasks that wait, lanes, a command."""

    node: int
    origin: int
    tasks: tuple[int, ...] = ()
    lanes: tuple[int, ...] = ()
    command: int = -1


class BrokenError(Exception):
    """A schedule has led to what must not be."""


@dataclass(slots=True)
class Invocations:
    """The invocations of one system."""

    system: System
    start: Start
    bounds: Bounds
    scripts: Scripts = field(init=False)
    tables: Tables = field(init=False)
    origins: Interned = field(default_factory=Interned)
    commands: tuple[str, ...] = ()
    _kinds: dict[int, Kind] = field(default_factory=dict)
    _tasks: dict[Any, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Let origin 0 be that of what nobody misses."""
        self.scripts = Scripts(self._run, self._view)
        self.tables = Tables(self.scripts.answers)
        self.origins.number(None)
        self.commands = (*self.start.schedule, *self.start.commands)

    def first(self) -> State:
        """Return the state in which schedules begin."""
        items = dict(self.start.items)
        if self.start.outage is not None:
            items[WORLD] = self.start.outage
        waiting = [self.message(self.system.queues[queue], (body, 1)) for queue, body in self.start.messages]
        left = Left(self.bounds.unheard, self.bounds.deaths, self.bounds.copies, self.bounds.dead_letters)
        tasks = tuple(sorted(task for tasks in waiting for task in tasks))
        return State(self.tables.snapshot(items), tasks, (), (), left, tuple(range(len(self.commands))))

    def kind(self, node: int) -> Kind:
        """Tell what an invocation does next."""
        found = self._kinds.get(node)
        if found is None:
            found = self._kinds[node] = self._kind(node)
        return found

    def _kind(self, node: int) -> Kind:
        found = self.scripts.nodes[node]
        if found.error:
            return Kind.ERROR
        if found.call is None:
            return Kind.END
        call: Call = self.scripts.calls.values[found.call]
        match call.operation:
            case Operation.SEND | Operation.ANNOUNCE:
                return Kind.SEND
            case Operation.WRITE:
                once = all(self.system.writes_once(place) for place in targets(*call.request))
                return Kind.SEND if once else Kind.WRITE
        return Kind.READ

    def waits(self, task: int) -> bool:
        """Tell whether a task is a message that waits in its queue."""
        return not self.scripts.nodes[task // ORIGINS].answers

    def runnables(self, state: State) -> Iterator[Runnable]:
        """Return everything that can make a call, of tasks that are alike only one."""
        last = -1
        for task in state.tasks:
            if task != last:
                yield Runnable(task // ORIGINS, task % ORIGINS, tasks=(task,))
            last = task
        free = [lane for lane in state.lanes if not lane[1]]
        for lane in free:
            yield self.of_lane(lane)
        outage = self.tables.item(state.table, self.tables.place(WORLD))
        for command in state.waiting:
            if command < len(self.start.schedule) or not outage:
                name = self.commands[command]
                node, origin = self._task((COMMAND, name), (COMMAND, name))
                yield Runnable(node, origin, command=command)
        if self.bounds.together:
            yield from self._together(state, free)

    def _together(self, state: State, free: Sequence[Lane]) -> Iterator[Runnable]:
        """Return the invocations that get all messages of a handler that wait, or all records that wait."""
        by_handler: dict[str, list[int]] = {}
        for task in state.tasks:
            if task % ORIGINS and self.waits(task) and self.origins.values[task % ORIGINS][0] == "messages":
                by_handler.setdefault(self.origins.values[task % ORIGINS][1], []).append(task)
        for handler, tasks in by_handler.items():
            if len(tasks) > 1 and handler != "dead_letters":
                messages = tuple(message for task in tasks for message in self.origins.values[task % ORIGINS][2])
                node, origin = self._task((handler, messages), ("messages", handler, messages))
                yield Runnable(node, origin, tasks=tuple(tasks))
        for consumer in range(len(self.system.consumers)):
            mine = [(lane, len(lane) - 2) for lane in free if lane[0] % len(self.system.consumers) == consumer]
            if sum(count for _, count in mine) > 1:
                yield self._of_lanes(mine)

    def of_lane(self, lane: Lane) -> Runnable:
        """Return the invocation that gets the oldest record of a lane."""
        return self._of_lanes([(lane, 1)])

    def _of_lanes(self, taken: Sequence[tuple[Lane, int]]) -> Runnable:
        records = tuple(record for lane, count in taken for record in lane[2 : 2 + count])
        consumer = self.system.consumers[taken[0][0][0] % len(self.system.consumers)]
        origin = ("lanes", tuple((lane[0], count) for lane, count in taken))
        node, number = self._task((consumer, records), origin)
        return Runnable(node, number, lanes=tuple(lane[0] for lane, _ in taken))

    def message(self, handler: str, message: Message, *, more: int = 0) -> tuple[int, ...]:
        """Return the task of a message, delivered ``more`` times than before; none if its handler does nothing."""
        body, receives = message
        delivered = (body, min(receives + more, _MAX_RECEIVES))
        node, origin = self._task((handler, (delivered,)), ("messages", handler, (delivered,)))
        return () if self.kind(node) is Kind.END else (node * ORIGINS + origin,)

    def emitted(self, lanes: tuple[Lane, ...], records: Sequence[tuple[int, int]]) -> tuple[Lane, ...]:
        """Return the lanes with more records, without those for which a consumer does nothing."""
        consumers = self.system.consumers
        found = {lane[0]: lane for lane in lanes}
        for place, record in records:
            for position, consumer in enumerate(consumers):
                lane = place * len(consumers) + position
                node, _ = self._task((consumer, (record,)), ("lanes", ((lane, 1),)))
                if self.kind(node) is not Kind.END:
                    found[lane] = (*found.get(lane, (lane, 0)), record)
        return tuple(sorted(found.values()))

    def _task(self, entry: Any, origin: Any) -> tuple[int, int]:
        found = self._tasks.get((entry, origin))
        if found is None:
            found = self._tasks[entry, origin] = self.scripts.root(entry), self.origins.number(origin)
        return found

    def _run(self, entry: tuple[str, Any], tape: Tape) -> None:
        kind, argument = entry
        if kind == COMMAND:
            self.system.command(argument, tape)
        elif kind in self.system.consumers:
            self.system.consume(kind, [self.tables.records.values[record] for record in argument], tape)
        else:
            self.system.deliver(kind, argument, tape)

    def _view(self, entry: tuple[str, Any], position: int, answer: Any) -> Any:
        kind, argument = entry
        return self.system.view(argument if kind == COMMAND else kind, position, answer) if _is_item(answer) else answer

    def name(self, node: int) -> str:
        """Return the name of an invocation, for schedules."""
        handler, argument = self.scripts.entries.values[self.scripts.nodes[node].root]
        if handler == COMMAND:
            return str(argument)
        if handler in self.system.consumers:
            keys = [self.tables.records.values[record]["dynamodb"]["Keys"] for record in argument]
            return f"{handler}({', '.join(key['pk']['S'] + ' ' + key['sk']['S'] for key in keys)})"
        return f"{handler}({', '.join(body for body, _ in argument)})"


def _is_item(answer: Any) -> bool:
    return isinstance(answer, dict) and "pk" in answer


def advanced(lanes: Sequence[Lane], taken: Sequence[tuple[int, int]]) -> tuple[Lane, ...]:
    """Return lanes free again, each without so many records as were done with."""
    done = dict(taken)
    moved = [(lane[0], 0, *lane[2 + done[lane[0]] :]) if lane[0] in done else lane for lane in lanes]
    return tuple(lane for lane in moved if len(lane) > 2)
