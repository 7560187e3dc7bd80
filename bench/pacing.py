"""A thousand reports for a table of five write units, in simulated time: paced, tried again, or given up.

``python -m bench.pacing`` prints the saved reports and the time. The table is DynamoDB's: capacity accrues by the
second and is kept for 300 seconds at most, and none is left at the beginning, as after any busy minutes.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

from chalicelib.retry import ATTEMPTS, BASE_SECONDS, CAP_SECONDS
from chalicelib.store.pacing import Pacer, item_size, write_units

REPORTS = 1_000
WRITERS = 10
CAPACITY_UNITS = 5
KEPT_SECONDS = 300
REQUEST_SECONDS = (0.004, 0.012)
REPORT = {"pk": {"S": "report#2026-03-01"}, "sk": {"S": "office#000123"}, "body": {"S": "x" * 450}}
"""About 500 bytes."""

SDK_ATTEMPTS = 3
SDK_CAP_SECONDS = 20.0
SDK_QUOTA = 500
SDK_RETRY_COST = 5
"""Standard mode of botocore: the points of a client, what a retry takes of them, and gives back when it succeeds."""

Steps = Generator[simpy.Event, Any, Any]


@dataclass(slots=True, kw_only=True)
class Result:
    """The result for the reports; ``quota`` is the smallest quota that any client had left."""

    saved: int = 0
    surfaced: int = 0
    throttled: int = 0
    seconds: float = 0.0
    quota: int = SDK_QUOTA


@dataclass(slots=True)
class _Bucket:
    """The table's write capacity."""

    env: simpy.Environment
    units: float = 0.0
    at: float = 0.0

    def take(self, units: int) -> bool:
        self.units = min(self.units + (self.env.now - self.at) * CAPACITY_UNITS, CAPACITY_UNITS * KEPT_SECONDS)
        self.at = self.env.now
        if self.units < units - 1e-9:
            return False
        self.units -= units
        return True


@dataclass(slots=True)
class _World:
    env: simpy.Environment
    bucket: _Bucket
    rng: random.Random
    result: Result
    units: int = write_units(item_size(REPORT))

    def put(self) -> Steps:
        """Put a report; returns whether the table took it."""
        yield self.env.timeout(self.rng.uniform(*REQUEST_SECONDS))
        taken = self.bucket.take(self.units)
        self.result.throttled += not taken
        return taken

    def done(self, saved: bool) -> None:
        self.result.saved += saved
        self.result.surfaced += not saved
        self.result.seconds = self.env.now


def no_retry(world: _World, _share: float) -> Steps:
    """Put each report once."""
    for _ in range(REPORTS // WRITERS):
        world.done((yield from world.put()))


def sdk_retry(world: _World, _share: float) -> Steps:
    """Put as the SDK does by itself, while its quota lasts."""
    quota = SDK_QUOTA
    for _ in range(REPORTS // WRITERS):
        attempt, spent = 1, 0
        while not (saved := (yield from world.put())) and attempt < SDK_ATTEMPTS and quota >= SDK_RETRY_COST:
            quota -= SDK_RETRY_COST
            spent = SDK_RETRY_COST
            world.result.quota = min(world.result.quota, quota)
            yield world.env.timeout(world.rng.uniform(0, min(SDK_CAP_SECONDS, 2 ** (attempt - 1))))
            attempt += 1
        if saved:
            quota = min(SDK_QUOTA, quota + (spent or 1))
        world.done(saved)


def backoff(world: _World, _share: float) -> Steps:
    """Put with full jitter, as Tally's retries do."""
    for _ in range(REPORTS // WRITERS):
        attempt = 1
        while not (saved := (yield from world.put())) and attempt < ATTEMPTS:
            yield world.env.timeout(world.rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt)))
            attempt += 1
        world.done(saved)


def paced(world: _World, share: float) -> Steps:
    """Wait for this writer's share, then put."""
    rate = CAPACITY_UNITS * share / WRITERS
    pacer = Pacer(units_per_second=lambda: rate, clock=lambda: float(world.env.now))
    for _ in range(REPORTS // WRITERS):
        yield world.env.timeout(pacer.reserve(world.units))
        world.done((yield from world.put()))


STRATEGIES: dict[str, Callable[[_World, float], Steps]] = {
    "no retry": no_retry,
    "SDK retry": sdk_retry,
    "backoff": backoff,
    "paced": paced,
}


def run(strategy: Callable[[_World, float], Steps], *, share: float = 1.0, seed: int = 1) -> Result:
    """Let ten writers save a hundred reports each."""
    env = simpy.Environment()
    world = _World(env, _Bucket(env), random.Random(seed), Result())
    for _ in range(WRITERS):
        env.process(strategy(world, share))
    env.run()
    return world.result


def limit(share: float) -> float:
    """Return the seconds that the capacity needs."""
    return REPORTS * write_units(item_size(REPORT)) / (CAPACITY_UNITS * share)


def main() -> None:
    """Print the table."""
    table = Table(
        title=f"{REPORTS:,} reports of {item_size(REPORT)} bytes, {WRITERS} writers, {CAPACITY_UNITS} write units"
    )
    for name in ("strategy", "share", "saved", "errors surfaced", "requests refused", "quota left", "s", "limit"):
        table.add_column(name, justify="left" if name == "strategy" else "right", no_wrap=True)
    for name, strategy in STRATEGIES.items():
        for share in (1.0, 0.8, 0.5) if strategy is paced else (1.0,):
            result = run(strategy, share=share)
            table.add_row(
                name,
                f"{share:.0%}",
                f"{result.saved:,}",
                f"{result.surfaced:,}",
                f"{result.throttled:,}",
                f"{result.quota:,}" if strategy is sdk_retry else "",
                f"{result.seconds:,.1f}",
                f"{limit(share):,.0f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
