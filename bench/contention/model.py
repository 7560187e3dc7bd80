"""Finishers that count in one DynamoDB table, in simulated time: who meets whom on which counter, and what it costs.

The rules are the documented ones. A transaction that meets a running transaction on any of its items is cancelled, and
nothing of it is applied. A plain write that meets a running transaction on its item is refused. Neither waits. Markers
are items of their own, so only counters can be met.
"""

import random
from collections.abc import Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from chalicelib.retry import _ATTEMPTS, _BASE_SECONDS, _CAP_SECONDS

PACK_ROWS = 250
"""Rows whose outcomes come in one message, consecutive in the file."""
GROUP_ROWS = 99
"""Markers of one transaction, beside its counter."""
TRANSACTION_SECONDS = (0.015, 0.035)
PLAIN_WRITE_SECONDS = (0.003, 0.008)
VISIBILITY_SECONDS = 180.0
MAX_RECEIVES = 5
SETTLERS = 2
SETTLED_AT_ONCE = 99

Steps = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Where rows are counted: on one of ``shards`` counters at random, or, with ``chunk_rows``, on their chunk's."""

    name: str
    shards: int = 1
    chunk_rows: int | None = None


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run came to; ``seconds`` until everything that can be counted was."""

    rows: int
    transactions: int = 0
    conflicts: int = 0
    plain_conflicts: int = 0
    redeliveries: int = 0
    dead_rows: int = 0
    seconds: float = 0.0

    @property
    def tries(self) -> float:
        """Transactions that were sent for each that was applied."""
        return (self.transactions + self.conflicts) / max(1, self.transactions)


@dataclass(slots=True)
class _Table:
    env: simpy.Environment
    rng: random.Random
    outcome: Outcome
    held: set[Hashable] = field(default_factory=set)

    def transact(self, items: Sequence[Hashable]) -> Steps:
        """Apply to all items or to none; returns whether it was."""
        if self.held.intersection(items):
            self.outcome.conflicts += 1
            yield self.env.timeout(self.rng.uniform(*PLAIN_WRITE_SECONDS))
            return False
        self.held.update(items)
        yield self.env.timeout(self.rng.uniform(*TRANSACTION_SECONDS))
        self.held.difference_update(items)
        self.outcome.transactions += 1
        return True

    def update(self, item: Hashable) -> Steps:
        """Apply to one item without a transaction; returns whether it was."""
        refused = item in self.held
        self.outcome.plain_conflicts += refused
        yield self.env.timeout(self.rng.uniform(*PLAIN_WRITE_SECONDS))
        return not refused

    def retried(self, write: Any, what: Any, *, attempts: float = _ATTEMPTS) -> Steps:
        """Write with Tally's own full jitter; returns whether any attempt was applied."""
        attempt = 0
        while not (yield from write(what)):
            attempt += 1
            if attempt >= attempts:
                return False
            yield self.env.timeout(self.rng.uniform(0, min(_CAP_SECONDS, _BASE_SECONDS * 2 ** min(attempt, 20))))
        return True


@dataclass(slots=True)
class _Message:
    groups: list[tuple[int, int]]  # first row, rows
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
        """Count message by message; what cannot be counted in time becomes visible again, or a dead letter."""
        while True:
            message: _Message = yield self.queue.get()
            message.received += 1
            while message.groups:
                first, rows = message.groups[0]
                if not (yield from self.table.retried(self.table.transact, [self._counter(first)])):
                    break
                message.groups.pop(0)
                self._counted(first, rows)
            if message.groups and message.received < MAX_RECEIVES:
                self.table.outcome.redeliveries += 1
                self.table.env.process(self._again(message))
            elif message.groups:
                lost = sum(rows for _, rows in message.groups)
                self.table.outcome.dead_rows += lost
                self._done(lost)

    def settler(self) -> Steps:
        """Close chunks that are counted, as many at once as wait: each moves its batch's counter."""
        while True:
            chunks = [(yield self.to_settle.get())]
            while self.to_settle.items and len(chunks) < SETTLED_AT_ONCE:
                chunks.append((yield self.to_settle.get()))
            items = ["batch", *chunks]
            yield from self.table.retried(self.table.transact, items, attempts=float("inf"))  # a stream comes again
            self._done(len(chunks))

    def total(self, chunk: int) -> Steps:
        """Set a chunk's total, as ingest does, with a plain write at about the time when its rows are counted."""
        yield self.table.env.timeout(self.table.rng.uniform(0, 1))
        yield from self.table.retried(self.table.update, chunk, attempts=float("inf"))

    def _counter(self, row: int) -> Hashable:
        if self.design.chunk_rows:
            return row // self.design.chunk_rows
        return self.table.rng.randrange(self.design.shards)

    def _counted(self, first: int, rows: int) -> None:
        if not self.design.chunk_rows:
            self._done(rows)
            return
        chunk = first // self.design.chunk_rows
        self.remaining[chunk] -= rows
        if not self.remaining[chunk]:
            self.to_settle.put(chunk)

    def _again(self, message: _Message) -> Steps:
        yield self.table.env.timeout(VISIBILITY_SECONDS)
        yield self.queue.put(message)

    def _done(self, number: int) -> None:
        self.waiting -= number
        if not self.waiting:
            self.all_done.succeed()


def run(design: Design, finishers: int, *, messages_each: int = 2, seed: int = 1) -> Outcome:
    """Let so many finishers count ``messages_each`` messages each, all there from the start, in the file's order."""
    env = simpy.Environment()
    rows = finishers * messages_each * PACK_ROWS
    outcome = Outcome(rows=rows)
    table = _Table(env, random.Random(seed), outcome)
    sizes = dict(_chunks(rows, design.chunk_rows)) if design.chunk_rows else {}
    waiting = len(sizes) or rows
    state = _Run(design, table, simpy.Store(env), simpy.Store(env), dict(sizes), waiting, env.event())
    for first in range(0, rows, PACK_ROWS):
        state.queue.put(_Message(list(_groups(first, PACK_ROWS, design.chunk_rows))))
    for _ in range(finishers):
        env.process(state.finisher())
    if sizes:
        for _ in range(SETTLERS):
            env.process(state.settler())
        for chunk in sizes:
            env.process(state.total(chunk))
    env.run(until=state.all_done)
    outcome.seconds = env.now
    return outcome


def _chunks(rows: int, size: int) -> Iterable[tuple[int, int]]:
    for chunk, first in enumerate(range(0, rows, size)):
        yield chunk, min(size, rows - first)


def _groups(first: int, rows: int, chunk_rows: int | None) -> Iterable[tuple[int, int]]:
    """Cut the rows of a message into transactions: of one chunk each."""
    end = first + rows
    while first < end:
        border = (first // chunk_rows + 1) * chunk_rows if chunk_rows else end
        size = min(GROUP_ROWS, end - first, border - first)
        yield first, size
        first += size
