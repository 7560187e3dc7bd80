"""A million rows on a table of so many write units, in simulated time: paced at the example's minimum, and on demand.

``python -m bench.capacity`` prints the time, the most units taken in one second, and the refused writes. Units are
those of the sample (docs/capacity.md). An on-demand table takes the units that accrue in a second and no more. One with
provisioned capacity was idle for a minute before, and keeps unused units for five minutes.
"""

import random
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

from chalicelib.retry import BASE_SECONDS, CAP_SECONDS
from chalicelib.store.pacing import Pacer

CHUNKS = 1_000
"""Chunks of a thousand rows each."""
PLANNED, ROWS, TOTALS, COUNTED, CLOSED = 2, 45, 1, 30, 3
"""Write units of a chunk of the sample."""
PLAN_SECONDS = 0.01
"""Seconds to plan a chunk; S3 could deliver more than a chunk in that time."""
INGEST_SECONDS = (0.2, 0.3)
"""Seconds to read, check and pack a thousand rows with 512 MB, on the fast side."""
PROCESS_SECONDS = (0.2, 0.4)
FINISH_SECONDS = (0.02, 0.04)
ON_DEMAND_UNITS = 4_000
"""Write units a second of a new on-demand table."""
WRITE_SHARE = 0.8

Steps = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The size of the table and the concurrency; ``writers`` share the units with ``finish``, 0 means unpaced."""

    units: int
    ingest: int
    finish: int
    process: int = 50
    writers: int = 0
    kept_seconds: int = 1
    idle_seconds: int = 0


EXAMPLE = Stage(units=200, ingest=8, finish=8, process=200, writers=8 + 5 * 2, kept_seconds=300, idle_seconds=60)
"""``infra/examples/prod.example.tfvars`` at its minimum: five mappings of dead_letters with two each, all idle."""
ON_DEMAND = Stage(units=ON_DEMAND_UNITS, ingest=10, finish=50)
"""A new stage by default; as many of finish as process can keep busy."""


@dataclass(slots=True)
class Result:
    """The result of taking a million rows."""

    seconds: float = 0.0
    counted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)

    @property
    def busiest(self) -> int:
        """The most units taken in one second."""
        return max(self.taken.values())


@dataclass(slots=True)
class _World:
    env: simpy.Environment
    stage: Stage
    rng: random.Random
    result: Result
    units: float
    at: float = 0.0

    def write(self, who: str, units: int) -> Steps:
        """Write, and try again with full jitter, as ``Retry`` does, until the table takes it."""
        attempt = 1
        while not self._take(units):
            self.result.refused[who] += 1
            yield self.env.timeout(self.rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt)))
            attempt += 1
        self.result.taken[int(self.env.now)] += units

    def _take(self, units: int) -> bool:
        accrued = self.units + (self.env.now - self.at) * self.stage.units
        self.units = min(accrued, self.stage.units * self.stage.kept_seconds)
        self.at = self.env.now
        if self.units < units - 1e-9:
            return False
        self.units -= units
        return True


def run(stage: Stage, *, seed: int = 1) -> Result:
    """Take a million rows from the plan to the last closed chunk."""
    env = simpy.Environment()
    world = _World(env, stage, random.Random(seed), Result(), float(stage.units * stage.idle_seconds))
    planned, ready, finished, counted = (simpy.Store(env) for _ in range(4))
    env.process(_plan(world, planned))
    for _ in range(stage.ingest):
        env.process(_ingest(world, planned, ready))
    for _ in range(stage.process):
        env.process(_process(world, ready, finished))
    for _ in range(stage.finish):
        env.process(_finish(world, finished, counted))
    env.run(until=env.process(_settle(world, counted)))
    world.result.seconds = env.now
    return world.result


def _pacer(world: _World, writers: int) -> Pacer | None:
    if not world.stage.writers:
        return None
    rate = world.stage.units * WRITE_SHARE / 2 / writers
    return Pacer(units_per_second=lambda: rate, clock=lambda: float(world.env.now))


def _plan(world: _World, planned: simpy.Store) -> Steps:
    for chunk in range(CHUNKS):
        yield world.env.timeout(PLAN_SECONDS)
        yield from world.write("plan", PLANNED)
        yield planned.put(chunk)


def _ingest(world: _World, planned: simpy.Store, ready: simpy.Store) -> Steps:
    pacer = _pacer(world, world.stage.ingest)
    while True:
        chunk = yield planned.get()
        yield world.env.timeout(world.rng.uniform(*INGEST_SECONDS))
        for units in (ROWS, TOTALS):
            if pacer:
                yield world.env.timeout(pacer.reserve(units, 58))
            yield from world.write("ingest", units)
        yield ready.put(chunk)


def _process(world: _World, ready: simpy.Store, finished: simpy.Store) -> Steps:
    while True:
        chunk = yield ready.get()
        yield world.env.timeout(world.rng.uniform(*PROCESS_SECONDS))
        yield finished.put(chunk)


def _finish(world: _World, finished: simpy.Store, counted: simpy.Store) -> Steps:
    pacer = _pacer(world, world.stage.writers)
    while True:
        chunk = yield finished.get()
        yield world.env.timeout(world.rng.uniform(*FINISH_SECONDS))
        if pacer:
            yield world.env.timeout(pacer.reserve(COUNTED, 118))
        yield from world.write("finish", COUNTED)
        world.result.counted += 1
        yield counted.put(chunk)


def _settle(world: _World, counted: simpy.Store) -> Steps:
    for _ in range(CHUNKS):
        yield counted.get()
        yield from world.write("settle", CLOSED)


def main() -> None:
    """Print the table."""
    table = Table(title="A million rows of the sample")
    for name in ("table", "ingest", "seconds", "busiest second", "refused: plan", "ingest", "finish", "settle"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for name, stage in (
        ("prod.example.tfvars at its minimum", EXAMPLE),
        ("new, on demand", ON_DEMAND),
        ("new, on demand", Stage(units=ON_DEMAND_UNITS, ingest=20, finish=50)),
    ):
        result = run(stage)
        refused = (f"{result.refused[who]:,}" for who in ("plan", "ingest", "finish", "settle"))
        busiest = f"{result.busiest:,} of {stage.units:,}"
        table.add_row(name, f"{stage.ingest}", f"{result.seconds:,.0f}", busiest, *refused)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
