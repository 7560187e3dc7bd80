"""The saver keeps to the table's write units, and saves every row."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.errors import ThrottledError
from chalicelib.keys import Unsaved
from chalicelib.retry import Retry
from chalicelib.steps import save as step
from chalicelib.steps.save import MAX_STALLS, Saver
from chalicelib.store.leases import SaverLease
from chalicelib.store.pacing import Pacer, item_size, write_units
from chalicelib.store.results_table import ResultsTable
from chalicelib.store.saves import Saves, UnsavedRow
from chalicelib.transport.messages import SaveMessage, decode
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tally.testing.pipeline import Pipeline
from tests.support.builders import NOW, Time, table
from tests.support.saving import PLACE, rows, until


@dataclass
class World:
    """A stage's clients, a clock, and a results table of ``capacity`` write units a second, with none kept.

    ``refused`` counts puts that DynamoDB did not take, ``puts`` those that it took.
    """

    dynamodb: MemoryDynamoDB
    capacity: float = float("inf")
    time: Time = field(default_factory=Time)
    sqs: MemorySQS = field(default_factory=MemorySQS)
    refused: int = 0
    puts: int = 0
    units: float = 0.0
    at: datetime = NOW
    ends_at: datetime = NOW
    runs: int = 0
    share: float = 1.0
    busy: Callable[[], bool] = lambda: False
    delays: list[int] = field(default_factory=list)

    def __getattr__(self, operation: str) -> Any:
        return getattr(self.dynamodb, operation)

    def put_item(self, **request: Any) -> Any:
        """Put an item; one of the results table takes units, which accrue by the second and are kept for 300."""
        if "key" not in request["Item"]:
            return self.dynamodb.put_item(**request)
        if self.capacity < float("inf"):
            accrued = (self.time.now - self.at).total_seconds() * self.capacity
            self.units, self.at = min(self.units + accrued, 300 * self.capacity), self.time.now
            needed = write_units(item_size(request["Item"]))
            if self.busy() or self.units < needed - 1e-6:
                self.refused += 1
                raise client_error("ProvisionedThroughputExceededException")
            self.units -= needed
        self.puts += 1
        return self.dynamodb.put_item(**request)

    def remaining(self) -> float:
        """Return what is left of this run's time."""
        return (self.ends_at - self.time.now).total_seconds()

    def saver(self, owner: str = "one", *, seconds: float = 298) -> Saver:
        """Return a saver of an invocation that has so many seconds."""
        self.ends_at = self.time.now + timedelta(seconds=seconds)
        retry = Retry(remaining_seconds=self.remaining, sleep=self.time.pass_by, random=lambda _, high: high)
        ledger = replace(table(self), retry=retry)
        pacer = Pacer(
            units_per_second=lambda: self.capacity * self.share,
            clock=lambda: float(self.time.now.timestamp()),
            sleep=self.time.pass_by,
        )
        client: Any = self.sqs
        return Saver(
            table=ledger,
            results=ResultsTable(table=replace(ledger, name="tally-test-results")),
            pacer=pacer,
            lease=SaverLease(table=ledger, owner=owner, clock=self.time),
            sqs=client,
            queue_url="save",
            retry=retry,
            clock=self.time,
        )

    def run(self, *, seconds: float = 298, most: int = 1_000) -> None:
        """Deliver messages until none is left, each to an invocation of its own."""
        while waiting := self.sqs.bodies["save"]:
            self.runs += 1
            assert self.runs <= most, "never comes to rest"
            message = decode(waiting.pop(0), SaveMessage)
            self.saver(f"run {self.runs}", seconds=seconds).save(message)


@pytest.fixture
def reports(pipeline: Pipeline, job: Any) -> Callable[[int, int], tuple[World, str]]:
    """Return what processes a file of so many reports of so many bytes, up to its save."""

    def made(count: int, size: int) -> tuple[World, str]:
        keys = [f"office-{number:06d}" for number in range(count)]
        job.texts |= {key: {"text": "x" * size} for key in keys}
        batch_id = pipeline.upload(PLACE, rows(*keys))
        until(pipeline, "save")
        world = World(pipeline.dynamodb)
        world.sqs.bodies["save"] = pipeline.waiting("save").copy()
        return world, batch_id

    return made


def test_a_thousand_reports_at_five_write_units_are_all_saved_with_nothing_refused_in_200_s(
    reports: Callable[[int, int], tuple[World, str]],
) -> None:
    world, batch_id = reports(1_000, 360)
    world.capacity = 5
    world.run()
    assert {item_size(item) for item in world.dynamodb.results.values()} <= set(range(450, 551))
    assert len(world.dynamodb.results) == world.puts == 1_000
    assert world.refused == 0
    assert 200 <= (world.time.now - NOW).total_seconds() <= 205
    save = Saves(table=table(world.dynamodb)).require(batch_id, 1)
    assert (save.done.saved, save.done.units) == (1_000, 1_000)


def test_a_save_of_many_runs_is_paced_over_all_of_them(reports: Callable[[int, int], tuple[World, str]]) -> None:
    """Each run begins where the one before noted that it was: nothing is written twice, and nothing refused."""
    world, batch_id = reports(200, 300)
    world.capacity, world.share = 2, 0.5
    world.run(seconds=30)
    assert world.runs > 6
    assert (len(world.dynamodb.results), world.puts, world.refused) == (200, 200, 0)
    assert Saves(table=table(world.dynamodb)).require(batch_id, 1).done.saved == 200


def test_two_batches_at_once_keep_to_the_capacity_together(
    pipeline: Pipeline, reports: Callable[[int, int], tuple[World, str]]
) -> None:
    """One saver has the lease; the other's message waits its turn."""
    world, _ = reports(20, 300)
    first = world.sqs.bodies["save"].pop()
    pipeline.waiting("save").clear()
    pipeline.upload("inbox/reports/next.csv", rows(*[f"next-{number}" for number in range(20)]))
    until(pipeline, "save")
    second = pipeline.waiting("save").pop()
    world.capacity = 1
    saver, other = world.saver("one"), world.saver("other")
    met: list[bool] = []

    def deliver_the_other_meanwhile() -> bool:
        if not met:
            met.append(other.save(decode(second, SaveMessage)).waiting)
        return False

    world.busy = deliver_the_other_meanwhile
    assert saver.save(decode(first, SaveMessage)).finished
    assert met == [True]
    world.run()
    assert (len(world.dynamodb.results), world.refused) == (40, 0)


def test_throttled_puts_are_tried_again_and_none_is_dropped(reports: Callable[[int, int], tuple[World, str]]) -> None:
    """Somebody else uses the table up for minutes; the save gets no further, and ends when it can."""
    world, batch_id = reports(30, 300)
    world.capacity = 5
    free_at = NOW + timedelta(minutes=4)
    world.busy = lambda: world.time.now < free_at
    world.run(seconds=60)
    assert world.refused > 8
    assert len(world.dynamodb.results) == 30
    save = Saves(table=table(world.dynamodb)).require(batch_id, 1)
    assert (save.done.saved, bool(save.saved_at)) == (30, True)


def test_a_table_that_refuses_everything_is_a_dead_letter_in_the_end(
    reports: Callable[[int, int], tuple[World, str]],
) -> None:
    world, _ = reports(5, 300)
    world.capacity = 5
    world.busy = lambda: True
    with pytest.raises(ThrottledError):
        world.run(most=MAX_STALLS + 1)
    assert world.runs == MAX_STALLS + 1


def test_a_row_too_large_for_what_is_left_of_the_time_is_left_to_the_next_run(
    reports: Callable[[int, int], tuple[World, str]],
) -> None:
    """A row of 100 units takes 20 s at five a second: a run that has fewer left asks for it to be done by another."""
    world, _ = reports(6, 100_000)
    world.capacity = 5
    world.run(seconds=50)
    assert (len(world.dynamodb.results), world.refused, world.puts) == (6, 0, 6)
    assert world.runs == 3


def test_a_saver_that_slept_until_its_lease_was_over_writes_nothing_more(
    reports: Callable[[int, int], tuple[World, str]],
) -> None:
    world, _ = reports(40, 300)
    world.capacity = 1
    message = decode(world.sqs.bodies["save"].pop(), SaveMessage)
    slow = world.saver("slow", seconds=10_000)
    taken: list[bool] = []

    def sleep_once() -> bool:
        if world.puts == 10 and not taken:
            world.time.pass_by(600)
            taken.append(SaverLease(table=table(world), owner="other", clock=world.time).take(60))
        return False

    world.busy = sleep_once
    slow.save(message)
    assert taken == [True]
    assert world.puts < 20
    assert len(world.sqs.bodies["save"]) == 1


def test_many_puts_at_once_save_the_same(
    reports: Callable[[int, int], tuple[World, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, batch_id = reports(100, 50)
    monkeypatch.setattr(step, "WRITERS", 8)
    world.run()
    assert len(world.dynamodb.results) == 100
    assert Saves(table=table(world.dynamodb)).require(batch_id, 1).done.saved == 100


def test_of_many_rows_without_an_item_all_are_counted_and_some_are_kept(
    reports: Callable[[int, int], tuple[World, str]], job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_KEPT_UNSAVED", 3)
    monkeypatch.setattr("chalicelib.store.results_table.MAX_ITEM_BYTES", 100)
    world, batch_id = reports(12, 300)
    world.run()
    saves = Saves(table=table(world.dynamodb))
    save = saves.require(batch_id, 1)
    assert save.done.unsaved == {Unsaved.TOO_LARGE: 12}
    kept = list(saves.unsaved(save))
    assert all(isinstance(row, UnsavedRow) for row in kept)
    assert len(kept) == 3
