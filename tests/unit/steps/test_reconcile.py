"""Reconcile: what was lost is sent again, and what the markers prove wrong is repaired, no more and no sooner."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chalicelib import services
from chalicelib.errors import TallyError
from chalicelib.metrics import Metric
from chalicelib.steps.reconcile import Reconciler, Repairs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus, Hold, Listing
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Counts, batch_pk, bits, number, rows_sk, text
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    NOW,
    Time,
    at_call,
    count_rows,
    deployed_job,
    failed,
    killed,
    succeeded,
    table,
)

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

def heavy(row):
    return row.kind == "heavy"

def process(row):
    return row.kind
"""
KINDS = ["fine", "fine", "heavy", "too,many", "fine", "fine"]
"""Chunks of four rows."""
AFTER = Counts(succeeded=5, rejected=1)
PATIENCE = timedelta(minutes=5)
READ = ["upload", "dispatch", "ingest", "dispatch"]
COUNTED = [*READ, "work", "work", "heavy", "finished"]


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job with heavy rows."""
    with deployed_job(monkeypatch, tmp_path, "plain", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


@pytest.fixture
def time() -> Time:
    """Give a clock that a test moves."""
    return Time()


def _upload(pipeline: Pipeline, *steps: str, name: str = "day") -> str:
    batch_id = pipeline.upload(f"inbox/plain/{name}.csv", ("kind\n" + "\n".join(KINDS)).encode())
    for step in steps:
        assert pipeline.deliver(step, most=1000)
    return batch_id


def _reconciler(time: Callable[[], Any] | None = None) -> Reconciler:
    made = services.Services.of(None).reconciler
    return replace(made, clock=time, patience=PATIENCE) if time else made


def _sweep(time: Time) -> list[Repairs]:
    reconciler = _reconciler(time)
    return reconciler.sweep(reconciler.open_batches())


def _ends_exact(pipeline: Pipeline, batch_id: str) -> None:
    """Deliver what there is and hold the end to the file."""
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.rows, batch.counts) == (BatchStatus.COMPLETED_WITH_FAILURES, 6, AFTER)
    assert batch.published_attempt == 1
    assert len(pipeline.outcomes(batch_id)) == 6
    assert {detail["event_id"] for detail in pipeline.events.details} == {f"{batch_id}#1"}


def _chunk_item(pipeline: Pipeline, batch_id: str, position: int = 0) -> dict[str, Any]:
    return pipeline.dynamodb.items[ChunkKey(batch_id, position).pk, "chunk"]


def _batch_item(pipeline: Pipeline, batch_id: str) -> dict[str, Any]:
    return pipeline.dynamodb.items[batch_pk(batch_id), "batch"]


def _lose(pipeline: Pipeline, *names: str) -> None:
    """Lose messages, or what a stream's handler has not seen."""
    for name in names:
        if name in pipeline.positions:
            pipeline.positions[name] = len(pipeline.dynamodb.stream)
        else:
            pipeline.waiting(name).clear()


LOSSES: dict[str, tuple[list[str], list[str], Repairs]] = {
    "chunk messages": (["upload", "dispatch"], ["ingest"], Repairs("", chunks_sent=2)),
    "one of the chunk messages": (["upload", "dispatch"], [], Repairs("", chunks_sent=2)),
    "the chunks, before they were dispatched": (["upload"], ["dispatch"], Repairs("", chunks_sent=2)),
    "work messages": (READ, ["work"], Repairs("", rows_sent=5)),
    "heavy messages": ([*READ, "work", "work", "finished"], ["heavy"], Repairs("", rows_sent=1, chunks_closed=1)),
    "the rows, before they were dispatched": (["upload", "dispatch", "ingest"], ["dispatch"], Repairs("", rows_sent=5)),
    "finished messages": ([*READ, "work", "work", "heavy"], ["finished"], Repairs("", rows_sent=5)),
    "that chunks were counted": (COUNTED, ["settle"], Repairs("", chunks_closed=2, completed=True, events_published=1)),
    "that the batch has no open chunk": (
        [*COUNTED, "settle"],
        ["settle"],
        Repairs("", completed=True, events_published=1),
    ),
    "that the batch has ended": ([*COUNTED, "settle", "settle"], ["settle"], Repairs("", events_published=1)),
    "everything that was under way": (
        ["upload", "dispatch", "ingest", "dispatch", "work"],
        ["ingest", "work", "heavy", "finished", "dispatch", "settle"],
        Repairs("", rows_sent=5),
    ),
}


@pytest.mark.parametrize("what", list(LOSSES))
def test_whatever_was_lost_is_found_and_the_batch_ends_exact(pipeline: Pipeline, what: str) -> None:
    """One repair, which does what was missing and nothing else, and whatever follows from it."""
    steps, lost, wanted = LOSSES[what]
    batch_id = _upload(pipeline, *steps)
    _lose(pipeline, *lost)
    assert _reconciler().repair(batch_id) == replace(wanted, batch_id=batch_id)
    _ends_exact(pipeline, batch_id)
    assert not _reconciler().repair(batch_id).any


def test_a_plan_that_died_is_made_to_the_end(pipeline: Pipeline) -> None:
    """Its event was acknowledged, or given up: the object is still there."""
    batch_id = _upload(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda _: Fault.NONE
    pipeline.uploads.clear()
    assert pipeline.batch(batch_id).status is BatchStatus.PLANNING
    repairs = _reconciler().repair(batch_id)
    assert (repairs.planned_again, repairs.chunks_sent) == (True, 2)
    _ends_exact(pipeline, batch_id)


def test_a_gzip_upload_whose_plan_died_is_handed_to_another_plan(pipeline: Pipeline, time: Time) -> None:
    """Reconcile has less time than plan, and would reject what is only large; while bytes are read, it waits."""
    content = gzip.compress(("kind\n" + "\n".join(KINDS)).encode())
    batch_id = pipeline.upload("inbox/plain/day.csv.gz", content)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "put_object" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.uploads.clear()
    pipeline.faults = lambda _: Fault.NONE
    assert pipeline.batch(batch_id).status is BatchStatus.UNPACKING
    assert _sweep(time) == []
    time.pass_by(300)
    _batch_item(pipeline, batch_id).update({"unpack_read": number(9), "unpack_upload_id": text("u")})
    assert _sweep(time) == []
    time.pass_by(300)
    assert _sweep(time) == [Repairs(batch_id, planned_again=True)]
    assert len(pipeline.uploads) == 1
    _ends_exact(pipeline, batch_id)


def test_a_plan_that_died_and_whose_object_is_gone_is_rejected_with_its_event(pipeline: Pipeline) -> None:
    """Nobody will ever know how many rows it had."""
    batch_id = _upload(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda _: Fault.NONE
    pipeline.uploads.clear()
    pipeline.s3.objects.clear()
    assert _reconciler().repair(batch_id) == Repairs(batch_id, planned_again=True, events_published=1)
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED


def test_rows_that_are_missing_get_an_outcome_that_says_so(pipeline: Pipeline) -> None:
    """Somebody has deleted an item: the batch does not wait for it for ever."""
    batch_id = _upload(pipeline, *READ)
    _lose(pipeline, "work", "heavy")
    del pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, rows_sk(0)]
    assert _reconciler().repair(batch_id) == Repairs(batch_id, rows_sent=5)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2, failed=3, rejected=1)


def test_a_repair_of_a_batch_that_runs_well_changes_nothing_but_sends_twice(pipeline: Pipeline) -> None:
    """At every step of its life: a duplicate is what every consumer takes."""
    for steps in range(1, len(COUNTED) + 1):
        batch_id = _upload(pipeline, *COUNTED[:steps], name=f"day-{steps}")
        _reconciler().repair(batch_id)
        pipeline.drain()
        assert pipeline.batch(batch_id).counts == AFTER
        assert _reconciler().repair(batch_id) == Repairs(batch_id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"succeeded": number(4)},
        {"succeeded": number(1), "remaining": number(1)},
        {"rejected": number(0), "failed": number(1)},
        {"remaining": number(-1)},
        {"remaining": number(2)},
        {"failed": number(7)},
        {"done": bits(RowBits.of([3]))},
        {"done": bits(RowBits.first(3))},
        {"version": number(1)},
    ],
)
def test_counters_of_a_chunk_that_its_markers_prove_wrong_are_repaired(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """Somebody's hand was in the table: the markers are the truth."""
    batch_id = _upload(pipeline, *COUNTED)
    _lose(pipeline, "settle")
    _chunk_item(pipeline, batch_id).update(wrong)
    repairs = _reconciler().repair(batch_id)
    assert repairs.counters_repaired == [ChunkKey(batch_id, 0).pk]
    _ends_exact(pipeline, batch_id)


@pytest.mark.parametrize(
    "wrong", [{"succeeded": number(4)}, {"remaining": number(1)}, {"remaining": number(-1), "rejected": number(2)}]
)
def test_counters_of_a_batch_that_its_closed_chunks_prove_wrong_are_repaired(
    pipeline: Pipeline, wrong: dict[str, Any]
) -> None:
    """And then it ends."""
    batch_id = _upload(pipeline, *COUNTED, "settle")
    _lose(pipeline, "settle")
    _batch_item(pipeline, batch_id).update(wrong)
    repairs = _reconciler().repair(batch_id)
    assert (repairs.counters_repaired, repairs.completed) == ([batch_pk(batch_id)], True)
    _ends_exact(pipeline, batch_id)


def test_right_counters_are_left_alone(pipeline: Pipeline) -> None:
    """Not even written: a write would wake the stream."""
    batch_id = _upload(pipeline, *READ, "work", "finished")
    length = len(pipeline.dynamodb.stream)
    assert _reconciler().repair(batch_id).counters_repaired == []
    assert len(pipeline.dynamodb.stream) == length


def _once(operation: str, act: Callable[[], object], *, call: int = 1) -> Callable[[str], Fault]:
    """Let something happen just before a call reaches AWS."""
    calls: list[str] = []

    def fault(name: str) -> Fault:
        calls.append(name)
        if name == operation and calls.count(name) == call:
            act()
        return Fault.NONE

    return fault


def test_counters_that_move_meanwhile_are_not_repaired(pipeline: Pipeline) -> None:
    """A marker that came between the two reads looks like a counter that lags: it is too early to say."""
    batch_id = _upload(pipeline, *READ)
    _lose(pipeline, "work", "heavy")
    key = ChunkKey(batch_id, 0)
    pipeline.faults = _once("query", lambda: count_rows(pipeline.dynamodb, key, succeeded(0), succeeded(1)))
    assert _reconciler().repair(batch_id).counters_repaired == []
    chunk = pipeline.chunks(batch_id)[0]
    assert (chunk.counts, chunk.remaining) == (Counts(succeeded=2, rejected=1), 1)
    pipeline.faults = lambda _: Fault.NONE
    _ends_exact(pipeline, batch_id)


def test_wrong_counters_that_move_meanwhile_are_repaired_the_next_time(pipeline: Pipeline) -> None:
    """They are wrong by as much after as before; what moved stays counted."""
    batch_id = _upload(pipeline, *READ)
    _chunk_item(pipeline, batch_id)["failed"] = number(5)
    key = ChunkKey(batch_id, 0)
    pipeline.faults = _once("transact_write_items", lambda: count_rows(pipeline.dynamodb, key, succeeded(0)))
    assert _reconciler().repair(batch_id).counters_repaired == []
    pipeline.faults = lambda _: Fault.NONE
    assert _reconciler().repair(batch_id).counters_repaired == [key.pk]
    assert pipeline.chunks(batch_id)[0].counts == Counts(succeeded=1, rejected=1)
    _ends_exact(pipeline, batch_id)


def test_wrong_counters_of_a_batch_to_which_a_chunk_is_added_meanwhile_are_repaired_the_next_time(
    pipeline: Pipeline,
) -> None:
    """Setting them would lose what was added after they were read."""
    batch_id = _upload(pipeline, *READ, "work", "work", "finished")
    _batch_item(pipeline, batch_id)["failed"] = number(9)
    _lose(pipeline, "dispatch")
    reconciler = _reconciler()
    closing = pipeline.chunks(batch_id)[1]
    assert closing.complete
    pipeline.faults = _once("update_item", lambda: _settled(pipeline))
    repairs = Repairs(batch_id)
    reconciler._repair_batch(batch_id, repairs)
    assert repairs.counters_repaired == []
    batch = pipeline.batch(batch_id)
    assert (batch.remaining, batch.counts) == (1, Counts(succeeded=2, failed=9))
    pipeline.faults = lambda _: Fault.NONE
    assert _reconciler().repair(batch_id).counters_repaired == [batch_pk(batch_id)]
    _ends_exact(pipeline, batch_id)


def test_a_chunk_that_closes_meanwhile_is_added_up_once(pipeline: Pipeline) -> None:
    """Its batch's counters were read before; the chunk was read after."""
    for call in range(1, 4):
        batch_id = _upload(pipeline, *COUNTED, name=f"day-{call}")
        pipeline.faults = _once("batch_get_item", lambda: _settled(pipeline), call=call)
        _reconciler().repair(batch_id)
        pipeline.faults = lambda _: Fault.NONE
        pipeline.drain()
        batch = pipeline.batch(batch_id)
        assert (batch.counts, batch.remaining, batch.rows) == (AFTER, 0, 6)


def _settled(pipeline: Pipeline) -> None:
    faults, pipeline.faults = pipeline.faults, lambda _: Fault.NONE
    while "settle" in pipeline.work():
        assert pipeline.deliver("settle", most=1000)
    pipeline.faults = faults


@pytest.mark.parametrize("position", range(18))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.THROTTLED])
def test_a_repair_that_is_cut_or_disturbed_anywhere_is_exact(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """What it did not come to is found by the next."""
    batch_id = _upload(pipeline, *COUNTED[:-1])
    _lose(pipeline, "finished", "settle")
    _chunk_item(pipeline, batch_id, 1)["failed"] = number(5)
    pipeline.faults = at_call(position, fault)
    killed(lambda: _reconciler().repair(batch_id))
    pipeline.faults = lambda _: Fault.NONE
    pipeline.drain()
    for _ in range(3):
        _reconciler().repair(batch_id)
        pipeline.drain()
    _ends_exact(pipeline, batch_id)


def test_nothing_is_repaired_before_patience_is_over(pipeline: Pipeline, time: Time) -> None:
    """The first look only remembers; what moves is looked at again."""
    batch_id = _upload(pipeline, "upload", "dispatch")
    _lose(pipeline, "ingest")
    assert _sweep(time) == []
    time.pass_by(PATIENCE.total_seconds() - 1)
    assert _sweep(time) == []
    time.pass_by(1)
    assert _sweep(time) == [Repairs(batch_id, chunks_sent=2)]
    _ends_exact(pipeline, batch_id)


MOVES = ["work", "work", "heavy"]


def test_a_batch_that_moves_is_given_patience_again(pipeline: Pipeline, time: Time) -> None:
    """However slowly: a row counted, a chunk closed, and nothing is sent twice."""
    _upload(pipeline, *READ)
    for step in MOVES:
        assert _sweep(time) == []
        time.pass_by(PATIENCE.total_seconds() * 0.9)
        for what in (step, "finished", "settle"):
            if what in pipeline.work():
                assert pipeline.deliver(what, most=1000)
    assert _sweep(time) == []


def test_a_batch_that_waits_its_turn_is_sent_again_ever_more_seldom(pipeline: Pipeline, time: Time) -> None:
    """Two hours behind another's rows: a copy of all its own every five minutes makes a queue that never ends."""
    batch_id = _upload(pipeline, *READ)
    waiting = len(pipeline.waiting("work"))
    for _ in range(24):
        _sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("work")) <= 6 * waiting
    _ends_exact(pipeline, batch_id)


def test_a_paused_batch_is_left_alone(pipeline: Pipeline, time: Time) -> None:
    """It stands still because somebody wants it to."""
    batch_id = _upload(pipeline, *READ)
    _batch_item(pipeline, batch_id)["hold"] = text(Hold.PAUSED)
    for _ in range(3):
        assert _sweep(time) == []
        time.pass_by(PATIENCE.total_seconds())


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_batch_that_was_stopped_is_brought_to_its_end(pipeline: Pipeline, time: Time, hold: Hold) -> None:
    """Its rows are to fail; if the messages are lost nobody fails them."""
    batch_id = _upload(pipeline, *READ)
    _lose(pipeline, "work", "heavy")
    _batch_item(pipeline, batch_id)["hold"] = text(hold)
    _sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    assert len(_sweep(time)) == 1
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=5, rejected=1)


def test_a_batch_that_has_ended_and_was_announced_is_left_alone(pipeline: Pipeline, time: Time) -> None:
    """Not even a look is remembered."""
    batch_id = _upload(pipeline)
    pipeline.drain()
    for _ in range(3):
        assert _sweep(time) == []
        time.pass_by(PATIENCE.total_seconds())
    assert (batch_pk(batch_id), "watch") not in pipeline.dynamodb.items


def test_an_event_that_was_never_put_is_put_when_patience_is_over(pipeline: Pipeline, time: Time) -> None:
    """The stream gave it up, or its record expired."""
    batch_id = _upload(pipeline, *COUNTED, "settle", "settle")
    _lose(pipeline, "settle")
    _sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    assert _sweep(time) == [Repairs(batch_id, events_published=1)]
    assert _sweep(time) == []
    _ends_exact(pipeline, batch_id)


def test_a_redrive_whose_rows_were_lost_is_pushed_on(pipeline: Pipeline) -> None:
    """The image of the chunk was its outbox; a row without an outcome is to run, no matter who took it away."""
    batch_id = _failed_and_ended(pipeline)
    assert _redrive(pipeline, batch_id) == 2
    _lose(pipeline, "dispatch")
    assert _reconciler().repair(batch_id).rows_sent == 2
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).attempt) == (AFTER, 2)


def _failed_and_ended(pipeline: Pipeline, name: str = "day") -> str:
    """Return a batch that has ended with two failed rows; run again they succeed."""
    batch_id = _upload(pipeline, *READ, name=name)
    count_rows(pipeline.dynamodb, ChunkKey(batch_id, 0), failed(0), failed(1))
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=3, failed=2, rejected=1)
    return batch_id


def _redrive(pipeline: Pipeline, batch_id: str) -> int:
    return Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows


def test_a_batch_that_cannot_be_repaired_does_not_keep_the_others_waiting(pipeline: Pipeline, time: Time) -> None:
    """It is the newest, so it comes first, at every sweep; here its object cannot be read for want of a right."""
    _upload(pipeline, "upload", "dispatch")
    _lose(pipeline, "ingest")
    broken = _upload(pipeline, name="broken")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda operation: Fault.ERROR_BEFORE if operation == "get_object" else Fault.NONE
    _batch_item(pipeline, broken)["created_at"] = text("2999-01-01")
    for _ in range(2):
        with suppress(TallyError):
            _sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_a_batch_that_cannot_be_read_does_not_keep_the_others_waiting(pipeline: Pipeline, time: Time) -> None:
    """It is the newest, and somebody has changed a chunk of it by hand. It counts as stalled, for which an alarm is."""
    _upload(pipeline, "upload", "dispatch")
    _lose(pipeline, "ingest")
    broken = _upload(pipeline, "upload", name="broken")
    _batch_item(pipeline, broken)["created_at"] = text("2999-01-01")
    chunk = next(item for (pk, _), item in pipeline.dynamodb.items.items() if pk == ChunkKey(broken, 0).pk)
    chunk["start"] = text("not a number")
    reconciler = _reconciler(time)
    reconciler.sweep([pipeline.batch(broken)])
    assert reconciler.metrics._totals[Metric.BATCHES_STALLED] == 1
    for _ in range(2):
        _sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_a_batch_whose_job_cannot_be_imported_does_not_keep_the_others_waiting(
    pipeline: Pipeline, time: Time, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A deployment has broken its module while it was planned; whatever that raises, it is its own matter."""
    _upload(pipeline, "upload", "dispatch")
    _lose(pipeline, "ingest")
    with deployed_job(monkeypatch, tmp_path, "broken", "import nothing_that_there_is"):
        broken = _upload(pipeline, name="broken")
        pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
        assert not pipeline.deliver("upload")
        pipeline.faults = lambda _: Fault.NONE
        _batch_item(pipeline, broken).update(created_at=text("2999-01-01"), key=text("inbox/broken/day.csv"))
        for _ in range(2):
            with suppress(Exception):
                _sweep(time)
            time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_all_open_batches_are_looked_at_newest_first_and_no_others(pipeline: Pipeline) -> None:
    """More than a page of them; those that have ended are in a list of their own until a redrive opens them again."""
    made = [_failed_and_ended(pipeline, name=f"day-{position}") for position in range(20)]
    found = [pk for pk, _ in table(pipeline.dynamodb).newest(Listing.ENDED)]
    assert found == [batch_pk(batch_id) for batch_id in reversed(made)]
    assert _reconciler().open_batches() == []
    redriven = made[:15]
    for batch_id in redriven:
        _redrive(pipeline, batch_id)
    fresh = [_upload(pipeline, "upload", name=f"fresh-{position}") for position in range(5)]
    assert [batch.id for batch in _reconciler().open_batches()] == [*reversed(fresh), *reversed(redriven)]


def test_each_chunk_is_told_of(pipeline: Pipeline) -> None:
    """Somebody watches a bar."""
    told: list[None] = []
    batch_id = _upload(pipeline, *READ)
    _reconciler().repair(batch_id, on_chunk=lambda: told.append(None))
    assert len(told) == 2


def test_the_watch_of_a_batch_goes_with_time() -> None:
    """Nothing depends on it after the batch has ended."""
    with pytest.MonkeyPatch.context() as patch:
        pipeline = Pipeline(patch)
        batch_id = _upload(pipeline, *READ)
        _sweep(Time())
        watch = pipeline.dynamodb.items[batch_pk(batch_id), "watch"]
        assert int(watch["since"]["N"]) == int(NOW.timestamp())
        assert int(watch["expires_at"]["N"]) > int(NOW.timestamp())


def test_a_sweep_that_is_killed_in_a_repair_gives_the_other_batches_their_turn(pipeline: Pipeline, time: Time) -> None:
    """A batch too large to repair in one invocation was tried: next time it waits as if that had moved nothing."""
    other = _upload(pipeline, *READ)
    large = _upload(pipeline, *READ, name="large")
    _lose(pipeline, "work", "heavy", "ingest", "finished")
    _sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    queries = count()  # the first one lists the open batches
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "query" and next(queries) else Fault.NONE
    assert killed(lambda: _sweep(time))
    pipeline.faults = lambda _: Fault.NONE
    assert [repairs.batch_id for repairs in _sweep(time)] == [other]
    time.pass_by(2 * PATIENCE.total_seconds())
    assert large in [repairs.batch_id for repairs in _sweep(time)]
