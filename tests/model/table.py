"""The table of a state: a tuple of small numbers, one an item; what a write does to them is computed once.

``tally/testing/memory_dynamodb.py`` computes it: there is one fake, with one meaning of a condition.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.model.replay import Call, Interned, Operation, Refused

Item = Mapping[str, Any]
Place = tuple[str, str]
"""Partition key and sort key."""
WORLD: Place = ("world", "")
"""Where a table keeps what the job meets outside. It is no item of DynamoDB's."""
Snapshot = tuple[int, ...]
"""The number of the item in each place, 0 if there is none; without zeros at its end."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: its answer, the items that it changed, and the stream records of them by place."""

    answer: int
    changed: tuple[tuple[int, int], ...] = ()
    records: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Tables:
    """All tables of an exploration."""

    answers: Interned
    items: Interned = field(default_factory=Interned)
    records: Interned = field(default_factory=Interned)
    places: list[Place] = field(default_factory=list)
    _numbers: dict[Place, int] = field(default_factory=dict)
    _writes: dict[tuple[int, tuple[int, ...]], Written] = field(default_factory=dict)
    _targets: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _ranges: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    _answers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Let 0 be the number of no item."""
        self.items.number(None)

    def snapshot(self, items: Mapping[Place, Item]) -> Snapshot:
        """Return a table that holds these items."""
        numbers = {self.place(place): self.items.number(item) for place, item in items.items()}
        return tuple(numbers.get(place, 0) for place in range(max(numbers, default=-1) + 1))

    def place(self, place: Place) -> int:
        """Return the position of a place in a snapshot."""
        found = self._numbers.get(place)
        if found is None:
            found = self._numbers[place] = len(self.places)
            self.places.append(place)
        return found

    def contents(self, table: Snapshot) -> Iterator[tuple[Place, Item]]:
        """Return every item of a table with its place."""
        return ((self.places[place], self.items.values[item]) for place, item in enumerate(table) if item)

    def item(self, table: Snapshot, place: int) -> int:
        """Return the number of the item in a place."""
        return table[place] if place < len(table) else 0

    def read(self, table: Snapshot, number: int, call: Call) -> int:
        """Return the answer to a read of one item."""
        item = 0
        for place in self._range(number, call):
            item = self.item(table, place)
            if item:
                break
        found = self._answers.get(item)
        if found is None:
            found = self._answers[item] = self.answers.number(self.items.values[item])
        return found

    def write(self, table: Snapshot, number: int, call: Call) -> Written:
        """Return what a write does to a table."""
        places = self._targets.get(number)
        if places is None:
            places = self._targets[number] = tuple(map(self.place, targets(*call.request)))
        before = tuple([self.item(table, place) for place in places])
        written = self._writes.get((number, before))
        if written is None:
            written = self._writes[number, before] = self._write(call, places, before)
        return written

    def _write(self, call: Call, places: tuple[int, ...], before: tuple[int, ...]) -> Written:
        dynamodb = MemoryDynamoDB()
        held = zip(places, before, strict=True)
        dynamodb.items = {self.places[place]: copy.deepcopy(self.items.values[item]) for place, item in held if item}
        name, request = call.request
        try:
            answer = getattr(dynamodb, name)(**copy.deepcopy(request))
        except ClientError as error:
            return Written(self.answers.number(Refused(error.response)))
        after = [self.items.number(dynamodb.items.get(self.places[place])) for place in places]
        return Written(
            self.answers.number(answer),
            tuple((place, new) for place, old, new in zip(places, before, after, strict=True) if old != new),
            tuple(
                (self.place(_place(record["dynamodb"]["Keys"])), self.records.number(record))
                for record in dynamodb.stream
            ),
        )

    def _range(self, number: int, call: Call) -> tuple[int, ...]:
        """Return the places that a read looks at, in order; more of them become known as items are written."""
        known, found = self._ranges.get(number, (0, ()))
        if call.operation is not Operation.NEXT:
            if not known:
                found = (self.place(WORLD if call.operation is Operation.ASK else call.request),)
                self._ranges[number] = 1, found
        elif known != len(self.places):
            pk, prefix, after = call.request
            fitting = sorted(
                place for place in self.places if place[0] == pk and place[1] > after and place[1].startswith(prefix)
            )
            found = tuple(map(self.place, fitting))
            self._ranges[number] = len(self.places), found
        return found


def changed(table: Snapshot, changes: tuple[tuple[int, int], ...]) -> Snapshot:
    """Return a table with some of its items changed."""
    items = list(table)
    for place, item in changes:
        items.extend([0] * (place + 1 - len(items)))
        items[place] = item
    while items and not items[-1]:
        items.pop()
    return tuple(items)


def targets(name: str, request: Any) -> Iterator[Place]:
    """Return the places that a write changes, in order."""
    if name == "transact_write_items":
        for action in request["TransactItems"]:
            ((_, part),) = action.items()
            yield from targets("", part)
    else:
        yield _place(request["Key"] if "Key" in request else request["Item"])


def _place(key: Any) -> Place:
    return key["pk"]["S"], key["sk"]["S"]
