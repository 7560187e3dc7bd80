"""What can happen next in a state.

Between any two calls of an invocation any others may run. A read commutes with every call of others but for writes of
what it reads, so a read is made as late as possible: directly before such a write of another, or, together with the
reads before it, directly before the next call of its own that is no read. Every schedule can be brought into this form
by swapping neighbours that commute, and has the same tables in the same order. What is sent commutes with everything,
for a message may come at any later time, so it is sent at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tests.model.invocations import ORIGINS, BrokenError, Invocations, Kind, Lane, Left, Runnable, State, advanced
from tests.model.replay import UNHEARD, Call, Operation, Refused, conflict
from tests.model.table import WORLD, Snapshot, changed, targets

_MAX_CALLS = 400
_NOBODY = 0
"""The origin of a delivery more than needed: nothing comes again if it stops."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A state out of which a runnable has been taken, and in which others have read what is about to change."""

    tasks: tuple[int, ...]
    lanes: tuple[Lane, ...]
    left: Left
    waiting: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """Return what it changes of a state."""
        return {"tasks": self.tasks, "lanes": self.lanes, "left": self.left, "waiting": self.waiting}


@dataclass(slots=True)
class Moves:
    """The moves of one system."""

    on: Invocations
    lazy_reads: bool = True
    """Whether reads are made as late as possible; without it each is a move, for tests of this very thing."""
    log: Callable[[str], None] | None = None
    events: list[str] = field(default_factory=list)
    _conflicts: dict[int, int] = field(default_factory=dict)
    _unheard: int = 0
    _applied: int = 0

    def __post_init__(self) -> None:
        """Look up the answers that are always the same."""
        self._unheard = self.on.scripts.answers.number(UNHEARD)
        self._applied = self.on.scripts.answers.number({})

    def successors(self, state: State) -> Iterator[State]:
        """Return every state that a move leads to."""
        sender = next((task for task in state.tasks if self.on.kind(task // ORIGINS) is Kind.SEND), None)
        if sender is not None:
            yield from self._sending(state, sender)
            return
        runnables = list(self.on.runnables(state))
        for runnable in runnables:
            yield from self._act(state, runnable, runnables)
        for task in dict.fromkeys(state.tasks):
            yield from self._die(state, task)
            yield from self._dead_letter(state, task)
        yield from self._end_outage(state, runnables)

    # One invocation acts.

    def _act(self, state: State, runnable: Runnable, runnables: Sequence[Runnable]) -> Iterator[State]:
        """Return what the next calls of an invocation lead to: reads, and the first call that is none."""
        node = runnable.node
        reads = 0
        while self.on.kind(node) is Kind.READ and (self.lazy_reads or not reads):
            node = self._read(node, state.table, silent=True)
            reads += 1
            if len(self.on.scripts.nodes[node].answers) > _MAX_CALLS:
                raise BrokenError(f"{self.on.name(node)} makes more than {_MAX_CALLS} calls")
        if self.on.kind(node) is not Kind.WRITE or (reads and not self.lazy_reads):
            for started in self._started(state, runnable):
                self._say_reads(state.table, [(runnable, node)])
                yield self._settled(state._replace(**started.fields()), node, runnable.origin)
            return
        yield from self._write(state, runnable, node, runnables)

    def _write(self, state: State, runnable: Runnable, node: int, runnables: Sequence[Runnable]) -> Iterator[State]:
        """Return what a write leads to: heard or not, or refused, and before it what others have read."""
        scripts = self.on.scripts
        number = self._number(node)
        call = scripts.calls.values[number]
        written = self.on.tables.write(state.table, number, call)
        if not written.changed:
            for started in self._started(state, runnable):
                self._say_reads(state.table, [(runnable, node)])
                self._say(node, written.answer)
                yield self._stepped(state._replace(**started.fields()), node, runnable.origin, written.answer)
        else:
            table = changed(state.table, written.changed)
            for stale in self._overtaken(state, runnable, runnables, table):
                for started in self._started(state, runnable, stale):
                    # What is emitted waits behind what is being worked on.
                    lanes = self.on.emitted(started.lanes, written.records)
                    after = State(table, started.tasks, lanes, state.events, started.left, started.waiting)
                    self._say_reads(state.table, [*stale, (runnable, node)])
                    self._say(node, written.answer)
                    yield self._stepped(after, node, runnable.origin, written.answer)
                    if started.left.unheard:
                        left = started.left._replace(unheard=started.left.unheard - 1)
                        self._say_reads(state.table, [*stale, (runnable, node)])
                        self._say(node, self._unheard, " (it was applied)")
                        yield self._stepped(after._replace(left=left), node, runnable.origin, self._unheard)
        refused = self._conflict(number, call)
        if state.left.unheard and scripts.step(node, refused) != node:  # else nothing at all has happened
            left = state.left._replace(unheard=state.left.unheard - 1)
            for started in self._started(state._replace(left=left), runnable):
                self._say_reads(state.table, [(runnable, node)])
                self._say(node, refused)
                yield self._stepped(state._replace(**started.fields()), node, runnable.origin, refused)

    def _overtaken(
        self, state: State, writer: Runnable, runnables: Sequence[Runnable], after: Snapshot
    ) -> Iterator[Sequence[tuple[Runnable, int]]]:
        """Return who may have read, directly before a write, what it changes, and where each of them then stands."""
        if not self.lazy_reads:
            yield ()
            return
        held = Counter([*(("task", task) for task in state.tasks), *(("lane", lane[0]) for lane in state.lanes)])
        held.update(("command", command) for command in state.waiting)
        options = []
        for other in runnables:
            found = [(other, node) for node in self._readers(other, state.table, after)]
            # Tasks that are alike are one runnable: each of them may have read.
            many = held[_parts(other)[0]] if len(other.tasks) == 1 else 1
            options += [[None, *found]] * many if found else []
        for chosen in product(*options):
            stale = [each for each in chosen if each is not None]
            taken = Counter(part for each in (writer, *(other for other, _ in stale)) for part in _parts(each))
            if taken <= held:
                yield stale

    def _readers(self, runnable: Runnable, before: Snapshot, after: Snapshot) -> Iterator[int]:
        """Return where an invocation may stand that has just read what is about to change, and reads on or writes."""
        node = runnable.node
        while self.on.kind(node) is Kind.READ:
            node, changed = self._read(node, before, silent=True), self._read(node, after, silent=True)
            # One that sends or ends directly after its read may as well do that first.
            if node != changed and self.on.kind(node) in {Kind.READ, Kind.WRITE}:
                yield node

    def _read(self, node: int, table: Snapshot, *, silent: bool = False) -> int:
        number = self._number(node)
        answer = self.on.tables.read(table, number, self.on.scripts.calls.values[number])
        if not silent:
            self._say(node, answer)
        return self.on.scripts.step(node, answer)

    def _started(
        self, state: State, runnable: Runnable, stale: Sequence[tuple[Runnable, int]] = ()
    ) -> Iterator[_Started]:
        """Return the state without a runnable, with others that have read, and with each number of copies of all."""
        tasks = list(state.tasks)
        lanes = state.lanes
        waiting = state.waiting
        for taken in (runnable, *(other for other, _ in stale)):
            for task in taken.tasks:
                tasks.remove(task)
            if taken.lanes:
                lanes = tuple((lane[0], 1, *lane[2:]) if lane[0] in taken.lanes else lane for lane in lanes)
            if taken.command >= 0:
                waiting = tuple(command for command in waiting if command != taken.command)
        tasks += [node * ORIGINS + other.origin for other, node in stale]
        if not state.left.copies:
            yield _Started(tuple(sorted(tasks)), lanes, state.left, waiting)
            return
        beginning = [each for each in (runnable, *(other for other, _ in stale)) if self._may_come_again(each)]
        for counts in product(range(state.left.copies + 1), repeat=len(beginning)):
            if sum(counts) <= state.left.copies:
                copies = [
                    each.node * ORIGINS + _NOBODY
                    for each, many in zip(beginning, counts, strict=True)
                    for _ in range(many)
                ]
                left = state.left._replace(copies=state.left.copies - sum(counts))
                yield _Started(tuple(sorted([*tasks, *copies])), lanes, left, waiting)

    def _may_come_again(self, runnable: Runnable) -> bool:
        return bool(runnable.origin and runnable.command < 0 and not self.on.scripts.nodes[runnable.node].answers)

    def _stepped(self, state: State, node: int, origin: int, answer: int) -> State:
        return self._settled(state, self.on.scripts.step(node, answer), origin)

    def _settled(self, state: State, node: int, origin: int) -> State:
        """Return the state in which an invocation stands at a node, has ended, or has sent all that it was to send."""
        match self.on.kind(node):
            case Kind.ERROR:
                raise BrokenError(f"{self.on.name(node)} raises {self.on.scripts.nodes[node].error}")
            case Kind.END:
                return self._rested(self._ended(state, origin))
        return self._rested(state._replace(tasks=tuple(sorted((*state.tasks, node * ORIGINS + origin)))))

    def _ended(self, state: State, origin: int) -> State:
        match self.on.origins.values[origin]:
            case ("lanes", taken):
                return state._replace(lanes=advanced(state.lanes, taken))
        return state

    # What is sent.

    def _rested(self, state: State) -> State:
        """Return the state in which everything is sent, unless its sender may die before."""
        state = self._with_senders(state)
        for task in state.tasks:
            if self.on.kind(task // ORIGINS) is Kind.SEND and not (state.left.deaths and task % ORIGINS):
                return self._sent(state, task)
        return state

    def _with_senders(self, state: State) -> State:
        """Begin with each record of which the consumer's first call is to send."""
        for lane in state.lanes:
            if not lane[1]:
                found = self.on.of_lane(lane)
                if self.on.kind(found.node) is Kind.SEND:
                    (started,) = self._started(state._replace(left=state.left._replace(copies=0)), found)
                    tasks = tuple(sorted((*started.tasks, found.node * ORIGINS + found.origin)))
                    return self._with_senders(state._replace(tasks=tasks, lanes=started.lanes))
        return state

    def _sending(self, state: State, task: int) -> Iterator[State]:
        """Return what follows where the only question is whether a sender dies before it sends."""
        yield self._sent(state, task)
        yield from self._die(state, task, after_read=True)

    def _sent(self, state: State, task: int) -> State:
        node, origin = divmod(task, ORIGINS)
        tasks = list(state.tasks)
        tasks.remove(task)
        number = self._number(node)
        call = self.on.scripts.calls.values[number]
        self._say(node, self._applied)
        if call.operation is Operation.SEND:
            queue, body = call.request
            handler = self.on.system.queues.get(queue)
            tasks += self.on.message(handler, (body, 1)) if handler else ()
        elif call.operation is Operation.ANNOUNCE:
            event = self._event(call.request)
            state = state._replace(events=tuple(sorted({*state.events, event})))
        else:
            written = self.on.tables.write(state.table, number, call)
            state = state._replace(
                table=changed(state.table, written.changed), lanes=self.on.emitted(state.lanes, written.records)
            )
        return self._stepped(state._replace(tasks=tuple(sorted(tasks))), node, origin, self._applied)

    def _event(self, detail: str) -> int:
        if detail not in self.events:
            self.events.append(detail)
        return self.events.index(detail)

    # What may happen to an invocation, and to the world.

    def _die(self, state: State, task: int, *, after_read: bool = False) -> Iterator[State]:
        """Return the state in which an invocation has stopped where it stands, so that what it got comes again.

        Stopping after a read is the same as stopping before it, but for the number of deliveries.
        """
        node, origin = divmod(task, ORIGINS)
        answers = self.on.scripts.nodes[node].answers
        if not (state.left.deaths and origin and answers) or (self.on.scripts.nodes[node].has_read and not after_read):
            return
        tasks = list(state.tasks)
        tasks.remove(task)
        lanes = state.lanes
        match self.on.origins.values[origin]:
            case ("messages", handler, messages):
                for message in messages:
                    tasks += self.on.message(handler, message, more=1)
            case ("lanes", taken):
                lanes = advanced(lanes, [(lane, 0) for lane, _ in taken])
        self._note(f"{self.on.name(node)}: stops before {shown(self._call(node))}")
        left = state.left._replace(deaths=state.left.deaths - 1)
        yield self._rested(state._replace(tasks=tuple(sorted(tasks)), lanes=lanes, left=left))

    def _dead_letter(self, state: State, task: int) -> Iterator[State]:
        """Return the state in which a message that waits has gone to its dead-letter queue, as in an outage."""
        if not (state.left.dead_letters and task % ORIGINS and self.on.waits(task)):
            return
        if self.on.start.outage is not None and not self._outage(state):
            return
        match self.on.origins.values[task % ORIGINS]:
            case ("messages", handler, ((body, _),)) if handler != "dead_letters":
                tasks = list(state.tasks)
                tasks.remove(task)
                tasks += self.on.message("dead_letters", (f"{handler} {body}", 1))
                self._note(f"{self.on.name(task // ORIGINS)}: goes to the dead-letter queue")
                left = state.left._replace(dead_letters=state.left.dead_letters - 1)
                yield self._rested(state._replace(tasks=tuple(sorted(tasks)), left=left))

    def _end_outage(self, state: State, runnables: Sequence[Runnable]) -> Iterator[State]:
        """Return the states in which the outage is over; some have met it before and have not said so."""
        if not self._outage(state):
            return
        place = self.on.tables.place(WORLD)
        table = changed(state.table, ((place, 0),))
        nobody = Runnable(0, _NOBODY)
        for stale in self._overtaken(state, nobody, runnables, table):
            for started in self._started(state, nobody, stale):
                self._say_reads(state.table, stale)
                self._note("the outage is over")
                yield self._rested(state._replace(table=table, **started.fields()))

    def _outage(self, state: State) -> int:
        return self.on.tables.item(state.table, self.on.tables.place(WORLD))

    # Calls, and what is said of them.

    def _number(self, node: int) -> int:
        number = self.on.scripts.nodes[node].call
        assert number is not None, f"{self.on.name(node)} makes no call"
        return number

    def _call(self, node: int) -> Call:
        call: Call = self.on.scripts.calls.values[self._number(node)]
        return call

    def _conflict(self, number: int, call: Call) -> int:
        found = self._conflicts.get(number)
        if found is None:
            found = self._conflicts[number] = self.on.scripts.answers.number(conflict(call))
        return found

    def _say(self, node: int, answer: int, more: str = "") -> None:
        if self.log is not None:
            said = _shown_answer(self.on.scripts.answers.values[answer])
            self.log(f"{self.on.name(node)}: {shown(self._call(node))} -> {said}{more}")

    def _say_reads(self, table: Snapshot, readers: Sequence[tuple[Runnable, int]]) -> None:
        if self.log is not None:
            for reader, last in readers:
                node = reader.node
                while node != last:
                    node = self._read(node, table)

    def _note(self, line: str) -> None:
        if self.log is not None:
            self.log(line)


def _parts(runnable: Runnable) -> list[tuple[str, int]]:
    """Return what a runnable takes with it, by which two of them can be in each other's way."""
    return [
        *(("task", task) for task in runnable.tasks),
        *(("lane", lane) for lane in runnable.lanes),
        ("command", runnable.command),
    ][: None if runnable.command >= 0 else -1]


def shown(call: Call) -> str:
    """Return a call in words."""
    match call.operation:
        case Operation.GET:
            return f"reads {' '.join(call.request)}"
        case Operation.NEXT:
            pk, prefix, after = call.request
            return f"reads the next {pk} {prefix}* after {after or 'none'}"
        case Operation.WRITE:
            return f"writes {', '.join(' '.join(place) for place in targets(*call.request))}"
        case Operation.SEND:
            return f"sends {call.request[1]}"
        case Operation.ANNOUNCE:
            return "announces the end"
        case Operation.ASK:
            return f"runs the job for {call.request}"


def _shown_answer(answer: Any) -> str:
    if not isinstance(answer, Refused):
        return _shown_item(answer) if answer else "done" if answer == {} else "nothing there"
    codes = [reason["Code"] for reason in answer.response.get("CancellationReasons", [])]
    return f"refused, {codes or answer.response['Error']['Code']}"


def _shown_item(item: Any) -> str:
    shown = (
        "state",
        "status",
        "version",
        "generation",
        "attempt",
        "done",
        "remaining",
        "succeeded",
        "failed",
        "rejected",
    )
    found = {name: next(iter(item[name].values())) for name in shown if name in item}
    return ", ".join(f"{name} {value!r}" for name, value in found.items()) or str(item)
