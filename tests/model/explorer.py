"""All schedules of a system within its bounds, breadth first: the violation found first has a shortest schedule."""

from array import array
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import process_time

from tests.model.invocations import BrokenError, Invocations, State
from tests.model.moves import Moves
from tests.model.replay import freeze
from tests.model.system import Bounds, Start, System
from tests.model.table import Place, Snapshot

_NONE = -1
"""A path that ends in a state instead of a move that raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What an exploration came to. ``schedule`` leads to the violation, a call a line.

    ``complete`` says that every schedule was followed to its end; ``rests`` counts states in which nothing is on its
    way.
    """

    states: int
    moves: int
    tables: int
    rests: int
    seconds: float
    complete: bool
    violation: str = ""
    schedule: tuple[str, ...] = ()


@dataclass(slots=True)
class Explorer:
    """Explores one system from one start."""

    system: System
    start: Start
    bounds: Bounds
    lazy_reads: bool = True
    max_states: int = 5_000_000
    on: Invocations = field(init=False)
    moves: Moves = field(init=False)
    _checked: dict[tuple[Snapshot, Snapshot], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self.on = Invocations(self.system, self.start, self.bounds)
        self.moves = Moves(self.on, self.lazy_reads)

    def explore(self) -> Explored:
        """Visit every state within the bounds, or every one before the first violation."""
        began = process_time()
        first = self.on.first()
        seen = {hash(first)}
        tables = {first.table}
        parents, choices = array("L", [0]), array("L", [0])
        waiting = deque([(0, first)])
        moves = rests = number = 0
        last = _NONE
        violation = self._violation(first.table, first.table)
        while waiting and not violation and len(seen) < self.max_states:
            number, state = waiting.popleft()
            if not state.tasks and not state.lanes:
                rests += 1
                violation = self._unrest(state)
                if violation:
                    break
            choice = 0
            try:
                for choice, found in enumerate(self.moves.successors(state)):
                    moves += 1
                    if found.table != state.table:
                        tables.add(found.table)
                        violation = self._violation(state.table, found.table)
                        if violation:
                            last = choice
                            break
                    key = hash(found)
                    if key not in seen:
                        seen.add(key)
                        waiting.append((len(parents), found))
                        parents.append(number)
                        choices.append(choice)
            except BrokenError as error:
                violation, last = str(error), choice + 1
        return Explored(
            states=len(seen),
            moves=moves,
            tables=len(tables),
            rests=rests,
            seconds=process_time() - began,
            complete=not waiting and not violation,
            violation=violation,
            schedule=tuple(self._schedule(first, [*_path(number, parents, choices), last])) if violation else (),
        )

    def tables(self) -> set[frozenset[tuple[Place, Hashable]]]:
        """Return every table that a schedule leads to, in a form that two explorers share."""
        first = self.on.first()
        seen, waiting = {first}, [first]
        while waiting:
            found = set(self.moves.successors(waiting.pop())) - seen
            seen |= found
            waiting += found
        snapshots = {state.table for state in seen}
        return {
            frozenset((place, freeze(item)) for place, item in self.on.tables.contents(table)) for table in snapshots
        }

    def _violation(self, before: Snapshot, after: Snapshot) -> str:
        key = before, after
        found = self._checked.get(key)
        if found is None:
            contents = self.on.tables.contents
            found = self._checked[key] = self.system.violation(dict(contents(before)), dict(contents(after)))
        return found

    def _unrest(self, state: State) -> str:
        events = [self.moves.events[event] for event in state.events]
        return self.system.unrest(dict(self.on.tables.contents(state.table)), events)

    def _schedule(self, first: State, path: Sequence[int]) -> Iterator[str]:
        """Return the calls on a path of moves."""
        state = first
        for choice in path:
            if choice == _NONE:
                return
            lines: list[str] = []
            self.moves.log = lines.append
            successors = self.moves.successors(state)
            try:
                for position in count():
                    lines.clear()
                    state = next(successors)
                    if position == choice:
                        break
            except BrokenError:
                pass
            self.moves.log = None
            yield from lines


def _path(number: int, parents: "array[int]", choices: "array[int]") -> list[int]:
    path = []
    while number:
        path.append(choices[number])
        number = parents[number]
    return path[::-1]
