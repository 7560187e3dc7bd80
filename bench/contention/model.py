"""Finishers that count in one DynamoDB table, in simulated time: their conflicts on items, and the cost of these.

The rules are the documented ones. A transaction that meets a running transaction on any of its items is cancelled, and
nothing of it is applied; neither waits. One that compares a version, as Tally's do, is refused as well when somebody
else has raised it; the refusal brings the item, so that the next try follows at once. Markers are items of their own:
only counters and chunks can be met.
"""

import random
from collections import defaultdict
from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import simpy

from chalicelib.retry import ATTEMPTS, BASE_SECONDS, CAP_SECONDS

TRANSACTION_SECONDS = (0.010, 0.025)
REFUSAL_SECONDS = (0.003, 0.008)
VISIBILITY_SECONDS = 180.0
MAX_RECEIVES = 5
MESSAGES_AT_ONCE = 10
"""Messages of one invocation of ``finish``; those of one chunk are counted together."""
SETTLERS = 1
SETTLED_AT_ONCE = 10
"""Chunks that one invocation of ``settle`` closes: its records of the stream."""

Steps = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The place where messages are counted: one of ``shards`` counters at random, or the item of their chunk.

    ``pieces`` is the number of messages with the outcomes of a chunk: one, unless its rows are slow.
    """

    name: str
    shards: int = 0
    pieces: int = 1


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result of a run; ``seconds`` until everything that can be counted was counted."""

    messages: int
    transactions: int = 0
    conflicts: int = 0
    stale: int = 0
    redeliveries: int = 0
    dead_messages: int = 0
    seconds: float = 0.0

    @property
    def tries(self) -> float:
        """Transactions sent for each one applied."""
        return (self.transactions + self.conflicts + self.stale) / max(1, self.transactions)


class Answer(StrEnum):
    """The answer to a transaction."""

    APPLIED = "applied"
    CONFLICT = "conflict"  # another one was running on an item
    STALE = "stale"  # the version has moved


@dataclass(slots=True)
class _Table:
    env: simpy.Environment
    rng: random.Random
    outcome: Outcome
    held: set[Hashable] = field(default_factory=set)
    versions: defaultdict[Hashable, int] = field(default_factory=lambda: defaultdict(int))

    def transact(self, items: Sequence[Hashable], version: int | None = None) -> Steps:
        """Apply to all items or to none, if the first still has the version; returns the answer."""
        answer = Answer.APPLIED
        if self.held.intersection(items):
            answer = Answer.CONFLICT
            self.outcome.conflicts += 1
        elif version is not None and self.versions[items[0]] != version:
            answer = Answer.STALE
            self.outcome.stale += 1
        if answer is not Answer.APPLIED:
            yield self.env.timeout(self.rng.uniform(*REFUSAL_SECONDS))
            return answer
        self.held.update(items)
        yield self.env.timeout(self.rng.uniform(*TRANSACTION_SECONDS))
        self.held.difference_update(items)
        for item in items:
            self.versions[item] += 1
        self.outcome.transactions += 1
        return answer

    def retried(self, items: Sequence[Hashable], version: int | None = None, *, attempts: float = ATTEMPTS) -> Steps:
        """Transact with Tally's own full jitter over conflicts; returns the last Answer."""
        attempt = 0
        while (answer := (yield from self.transact(items, version))) is Answer.CONFLICT:
            attempt += 1
            if attempt >= attempts:
                break
            yield self.env.timeout(self.rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt, 20))))
        return answer


@dataclass(slots=True)
class _Message:
    """Outcomes of a chunk; its worker read the chunk before anything was counted in it."""

    chunk: int
    received: int = 0


@dataclass(slots=True)
class _Run:
    design: Design
    table: _Table
    queue: simpy.Store
    to_settle: simpy.Store
    remaining: dict[int, int]
    waiting: int
    all_done: simpy.Event

    def finisher(self) -> Steps:
        """Count ten messages at a time; a message that is not counted becomes visible again, or a dead letter."""
        while True:
            found = [(yield self.queue.get())]
            while self.queue.items and len(found) < MESSAGES_AT_ONCE:
                found.append((yield self.queue.get()))
            for messages in self._together(found):
                for message in messages:
                    message.received += 1
                if (yield from self._count(messages[0].chunk)):
                    self._counted(messages[0].chunk, len(messages))
                else:
                    self._put_back(messages)

    def settler(self) -> Steps:
        """Close counted chunks, as many at once as wait: each changes its batch's counter."""
        while True:
            chunks = [(yield self.to_settle.get())]
            while self.to_settle.items and len(chunks) < SETTLED_AT_ONCE:
                chunks.append((yield self.to_settle.get()))
            yield from self.table.retried([*chunks, "batch"], attempts=float("inf"))  # a stream comes again
            self._done(len(chunks))

    def _together(self, found: Iterable[_Message]) -> Iterable[list[_Message]]:
        if self.design.shards:
            return [[message] for message in found]
        groups: defaultdict[int, list[_Message]] = defaultdict(list)
        for message in found:
            groups[message.chunk].append(message)
        return groups.values()

    def _count(self, chunk: int) -> Steps:
        """Count messages in one chunk; returns whether they were counted."""
        if self.design.shards:
            counter = f"shard {self.table.rng.randrange(self.design.shards)}"
            return (yield from self.table.retried([counter])) is Answer.APPLIED
        version = 0
        while (answer := (yield from self.table.retried([chunk], version))) is Answer.STALE:
            version = self.table.versions[chunk]
        return answer is Answer.APPLIED

    def _counted(self, chunk: int, messages: int) -> None:
        if self.design.shards:
            self._done(messages)
            return
        self.remaining[chunk] -= messages
        if not self.remaining[chunk]:
            self.to_settle.put(chunk)

    def _put_back(self, messages: list[_Message]) -> None:
        for message in messages:
            if message.received < MAX_RECEIVES:
                self.table.outcome.redeliveries += 1
                self.table.env.process(self._again(message))
            else:
                self.table.outcome.dead_messages += 1
                self._counted(message.chunk, 1)

    def _again(self, message: _Message) -> Steps:
        yield self.table.env.timeout(VISIBILITY_SECONDS)
        yield self.queue.put(message)

    def _done(self, number: int) -> None:
        self.waiting -= number
        if not self.waiting:
            self.all_done.succeed()


def run(design: Design, finishers: int, *, messages_each: int = 10, seed: int = 1) -> Outcome:
    """Let so many finishers count ``messages_each`` messages each, all waiting from the start, in random order."""
    env = simpy.Environment()
    messages = finishers * messages_each
    rng = random.Random(seed)
    table = _Table(env, rng, Outcome(messages=messages))
    queue = [_Message(number // design.pieces) for number in range(messages)]
    sizes: defaultdict[int, int] = defaultdict(int)
    for message in queue:
        sizes[message.chunk] += 1
    rng.shuffle(queue)  # a queue that is no FIFO
    waiting = messages if design.shards else len(sizes)
    state = _Run(design, table, simpy.Store(env), simpy.Store(env), dict(sizes), waiting, env.event())
    for message in queue:
        state.queue.put(message)
    for _ in range(finishers):
        env.process(state.finisher())
    for _ in range(SETTLERS):
        env.process(state.settler())
    env.run(until=state.all_done)
    table.outcome.seconds = env.now
    return table.outcome
