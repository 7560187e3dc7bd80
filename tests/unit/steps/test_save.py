"""The save step: each key has its newest row, whatever dies in between, at the pace that the table has."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import jobs, pacers, services
from chalicelib.errors import ThrottledError
from chalicelib.keys import Unsaved
from chalicelib.retry import Retry
from chalicelib.settings import ResultsTable as Setting
from chalicelib.steps import save as step
from chalicelib.steps.redrive import Redriver
from chalicelib.steps.save import MAX_STALLS, Saver
from chalicelib.store.exports import Exports
from chalicelib.store.leases import SaverLease
from chalicelib.store.pacing import Pacer, item_size, write_units
from chalicelib.store.results_table import KeyedResult, ResultsTable
from chalicelib.store.saves import Save, Saves, UnsavedRow
from chalicelib.transport.messages import SaveMessage, decode
from tally.testing import environment
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB, client_error
from tally.testing.pipeline import Pipeline
from tests.support.builders import NOW, Time, at_call, calls_of, deployed_job, table

HEADER = b"office_id,users\n"
PLACE = "inbox/reports/day.csv"
JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

KEY = "office_id"

class Row(rows.Row):
    office_id: str
    users: int

failing = set()
texts = {}

def process(row):
    if row.office_id in failing:
        raise PermanentError("not today")
    return texts.get(row.office_id, {"users": row.users, "mean": row.users / 8})
"""


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Deploy a job with a key and return its module: rows of ``failing`` keys raise, ``texts`` has results by key."""
    with deployed_job(monkeypatch, tmp_path, "reports", JOB):
        yield sys.modules[jobs.require("reports").process.__module__]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, job: Any) -> Pipeline:
    return saving(monkeypatch, Setting(name="tally-test-results"))


def saving(monkeypatch: pytest.MonkeyPatch, results_table: Setting | None) -> Pipeline:
    """Return a pipeline that exports and saves."""
    environment.handlers()
    settings = msgspec.structs.replace(services.settings(), export=True, results_table=results_table)
    monkeypatch.setattr(services, "settings", lambda: settings)
    monkeypatch.setattr(pacers, "_made", {})
    return Pipeline(monkeypatch)


def rows(*keys: str, first: int = 1) -> bytes:
    """Return a file with a row for each key; the users count the rows."""
    return HEADER + b"".join(b"%s,%d\n" % (key.encode(), users) for users, key in enumerate(keys, start=first))


def found(pipeline: Pipeline) -> dict[str, KeyedResult]:
    """Return what the results table has, by key."""
    return {item["key"]["S"]: KeyedResult.from_item(item) for item in pipeline.dynamodb.results.values()}


def save_of(pipeline: Pipeline, batch_id: str, attempt: int = 1) -> Save:
    """Return how far a save is."""
    return Saves(table=table(pipeline.dynamodb)).require(batch_id, attempt)


def until(pipeline: Pipeline, queue: str) -> None:
    """Deliver everything but the messages of a queue."""
    while work := [what for what in pipeline.work() if what != queue]:
        for what in work:
            assert pipeline.deliver(what, most=1000)


def test_each_key_has_one_item_with_its_result_and_where_it_is_from(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, rows("a", "b", "c"))
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert found(pipeline)["b"] == KeyedResult(
        key="b",
        job="reports",
        batch_id=batch_id,
        batch_created_at=batch.created_at,
        attempt=1,
        line=3,
        result={"users": 2, "mean": 0.25},
    )
    assert found(pipeline).keys() == {"a", "b", "c"}
    item = pipeline.dynamodb.results["b", "reports"]
    assert item["result"] == {"M": {"users": {"N": "2"}, "mean": {"N": "0.25"}}}
    assert "expires_at" not in item


def test_only_rows_that_succeeded_are_saved(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b", "c") + b"d,x\n")
    pipeline.drain()
    assert found(pipeline).keys() == {"a", "c"}
    assert (save_of(pipeline, batch_id).rows, save_of(pipeline, batch_id).done.saved) == (2, 2)


@pytest.mark.parametrize("keys", ["aab", "abcdeabcde", "aaaaaaaaa"])
def test_the_row_that_comes_last_in_the_file_wins(pipeline: Pipeline, keys: str) -> None:
    """Within a chunk, which has four rows here, and over chunks."""
    batch_id = pipeline.upload(PLACE, rows(*keys))
    pipeline.drain()
    last = {key: 1 + max(at for at, each in enumerate(keys, start=1) if each == key) for key in keys}
    assert {key: each.line for key, each in found(pipeline).items()} == last
    done = save_of(pipeline, batch_id).done
    assert (done.saved, done.superseded) == (len(last), len(keys) - len(last))


def test_no_reader_ever_sees_an_older_row_of_the_file_follow_a_newer_one(pipeline: Pipeline, job: Any) -> None:
    """Also not when the next attempt writes every row of the file again."""
    job.failing.add("f")
    batch_id = pipeline.upload(PLACE, rows(*"abcdeabcdef"))
    pipeline.drain()
    lines: list[tuple[str, int]] = []

    def watch(operation: str) -> Fault:
        lines.extend((key, each.line) for key, each in found(pipeline).items())
        return Fault.NONE

    job.failing.clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    until(pipeline, "save")
    pipeline.faults = watch
    assert pipeline.deliver("save")
    assert len(set(lines)) == len(found(pipeline)) == 6
    assert {each.attempt for each in found(pipeline).values()} == {2}


def test_an_older_batch_that_is_saved_late_changes_nothing(pipeline: Pipeline) -> None:
    old = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "save")
    late = pipeline.waiting("save").copy()
    pipeline.waiting("save").clear()
    new = pipeline.upload("inbox/reports/next.csv", rows("b", "c", first=10))
    pipeline.drain()
    pipeline.waiting("save")[:] = late
    pipeline.drain()
    assert {key: each.batch_id for key, each in found(pipeline).items()} == {"a": old, "b": new, "c": new}
    assert (save_of(pipeline, old).done.saved, save_of(pipeline, old).done.superseded) == (1, 1)


def test_a_redrive_saves_the_next_attempt(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    pipeline.drain()
    assert found(pipeline).keys() == {"a"}
    job.failing.clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    pipeline.drain()
    assert {key: each.attempt for key, each in found(pipeline).items()} == {"a": 2, "b": 2}
    assert save_of(pipeline, batch_id, 2).done.saved == 2


def test_a_message_from_before_a_redrive_saves_nothing(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("b")
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "save")
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    assert pipeline.deliver("save")
    assert found(pipeline) == {}
    assert not save_of(pipeline, batch_id).saved_at
    pipeline.drain()
    assert found(pipeline).keys() == {"a"}


def test_a_redrive_in_the_middle_ends_the_save_of_the_attempt_before(pipeline: Pipeline, job: Any) -> None:
    job.failing.add("a")
    batch_id = pipeline.upload(PLACE, rows(*"abcdefghi"))
    until(pipeline, "save")
    queries = 0

    def redrive_at_second_query(operation: str) -> Fault:
        nonlocal queries
        queries += operation == "query"
        if operation == "query" and queries == 2:
            Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
        return Fault.NONE

    pipeline.faults = redrive_at_second_query
    assert pipeline.deliver("save")
    assert found(pipeline).keys() == {"i"}
    job.failing.clear()
    pipeline.drain()
    assert {each.attempt for each in found(pipeline).values()} == {2}
    assert found(pipeline).keys() == set("abcdefghi")


def test_a_row_without_an_item_is_named_and_keeps_no_other_from_being_saved(pipeline: Pipeline, job: Any) -> None:
    job.texts |= {"large": "x" * 200_000, "deep": json.loads("[" * 40 + "]" * 40)}
    long = "k" * 2_049
    content = HEADER + f"a,1\n,2\nlarge,3\n{long},4\ndeep,5\nb,6\n".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chalicelib.store.results_table.MAX_ITEM_BYTES", 100_000)
        batch_id = pipeline.upload(PLACE, content)
        pipeline.drain()
    assert found(pipeline).keys() == {"a", "b"}
    save = save_of(pipeline, batch_id)
    assert save.done.unsaved == {Unsaved.TOO_LARGE: 1, Unsaved.KEY_TOO_LONG: 1, Unsaved.NOT_STORABLE: 1}
    assert save.done.rows == save.rows == 5
    kept = list(Saves(table=table(pipeline.dynamodb)).unsaved(save))
    assert [(row.line, row.code) for row in kept] == [
        (4, Unsaved.TOO_LARGE),
        (5, Unsaved.KEY_TOO_LONG),
        (6, Unsaved.NOT_STORABLE),
    ]
    assert "bytes" in kept[0].reason


def test_items_expire_after_the_stages_retention(monkeypatch: pytest.MonkeyPatch, job: Any) -> None:
    pipeline = saving(monkeypatch, Setting(name="tally-test-results", retention_days=400))
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    ended = datetime.fromisoformat(pipeline.batch(batch_id).completed_at)
    assert found(pipeline)["a"].expires_at == int((ended + timedelta(days=400)).timestamp())


def test_a_job_without_a_key_is_not_saved(pipeline: Pipeline) -> None:
    pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\nA,1,2\n")
    until(pipeline, "save")
    assert pipeline.waiting("save") == []


def test_a_stage_without_a_results_table_saves_nothing_and_exports_all_the_same(
    monkeypatch: pytest.MonkeyPatch, job: Any
) -> None:
    pipeline = saving(monkeypatch, None)
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    assert pipeline.waiting("save") == []
    export = Exports(table=table(pipeline.dynamodb)).require(batch_id, 1)
    assert export.exported_at


def test_the_export_says_when_its_results_were_saved(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, rows("a"))
    pipeline.drain()
    saved_at = save_of(pipeline, batch_id).saved_at
    assert saved_at
    assert pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]["saved_at"]["S"] == saved_at


def test_a_file_without_rows_is_saved_at_once(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(PLACE, HEADER)
    pipeline.drain()
    assert save_of(pipeline, batch_id).saved_at
    assert found(pipeline) == {}


def test_a_job_that_does_not_load_keeps_its_files_from_nobody(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then whether it has a key: the message comes again until it is deployed right, and asks."""
    batch_id = pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "export")

    def broken(_name: str) -> Any:
        raise SyntaxError

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "find", broken)
        for _ in range(2):
            pipeline.deliver("export")
            assert pipeline.waiting("export")
            assert Exports(table=table(pipeline.dynamodb)).require(batch_id, 1).exported_at
    assert [event["type"] for event in pipeline.events.details].count("Batch Exported") == 1
    pipeline.drain()
    assert found(pipeline).keys() == {"a", "b"}


def test_an_exporter_that_dies_before_it_asks_for_the_save_asks_later(
    pipeline: Pipeline,
) -> None:
    """It dies after the event, at the item of the save, at the message, and at the note: each time all is saved."""
    pipeline.upload(PLACE, rows("a", "b"))
    until(pipeline, "export")
    asked = pipeline.waiting("export").copy()
    before = dict(pipeline.dynamodb.items)

    def history(faults: Callable[[str], Fault]) -> None:
        pipeline.dynamodb.items.clear()
        pipeline.dynamodb.items.update(before)
        pipeline.dynamodb.results.clear()
        pipeline.waiting("save").clear()
        pipeline.waiting("export")[:] = asked
        pipeline.faults = faults
        pipeline.deliver("export")

    calls = calls_of(history)
    for at in range(calls.index("put_events"), len(calls)):
        for fault in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER):
            history(at_call(at, fault))
            pipeline.drain()
            assert found(pipeline).keys() == {"a", "b"}


def test_a_saver_may_die_at_any_call_and_every_row_is_saved_and_counted_once(pipeline: Pipeline, job: Any) -> None:
    """Each call of a run is where a worker dies, before and after it was applied; its message comes again."""
    job.texts["large"] = json.loads("[" * 40 + "]" * 40)
    keys = [*"abcdabcd", "large", *"efgh"]
    batch_id = pipeline.upload(PLACE, rows(*keys))
    until(pipeline, "save")
    asked = pipeline.waiting("save").copy()
    before = dict(pipeline.dynamodb.items)

    def history(faults: Callable[[str], Fault]) -> None:
        pipeline.dynamodb.items.clear()
        pipeline.dynamodb.items.update(before)
        pipeline.dynamodb.results.clear()
        pipeline.waiting("save")[:] = asked
        pipeline.faults = faults
        pipeline.deliver("save")

    calls = calls_of(history)
    whole = dict(pipeline.dynamodb.results)
    assert len(calls) > 15
    for at in range(len(calls)):
        for fault in (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TIMEOUT_AFTER, Fault.ERROR_BEFORE):
            history(at_call(at, fault))
            pipeline.drain()
            assert pipeline.dynamodb.results == whole, (calls[at], fault)
            save = save_of(pipeline, batch_id)
            assert save.saved_at
            assert (save.done.saved, save.done.superseded, save.done.unsaved_rows) == (8, 4, 1), (calls[at], fault)
            assert "saved_at" in pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]


# From here on the saver itself, over a table with a capacity and a clock that moves.


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
