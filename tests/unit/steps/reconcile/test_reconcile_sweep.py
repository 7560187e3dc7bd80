"""A sweep looks at every open batch, and repairs those that stand still."""

from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chalicelib.errors import TallyError
from chalicelib.logs import logger
from chalicelib.metrics import Metric
from chalicelib.steps.reconcile import Repairs
from chalicelib.store.batch import Hold, Listing
from chalicelib.store.items import ChunkKey, Counts, batch_pk, text
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import NOW, Time, deployed_job, killed, table
from tests.support.plain import (
    AFTER,
    COUNTED,
    PATIENCE,
    READ,
    batch_item,
    ends_exact,
    failed_and_ended,
    lose,
    reconciler_of,
    redrive,
    sweep,
    upload,
)


def test_nothing_is_repaired_before_patience_is_over(pipeline: Pipeline, time: Time) -> None:
    """The first look only remembers; what moves is looked at again."""
    batch_id = upload(pipeline, "upload", "dispatch")
    lose(pipeline, "ingest")
    assert sweep(time) == []
    time.pass_by(PATIENCE.total_seconds() - 1)
    assert sweep(time) == []
    time.pass_by(1)
    assert sweep(time) == [Repairs(batch_id, chunks_sent=2)]
    ends_exact(pipeline, batch_id)


MOVES = ["work", "work", "heavy"]


def test_a_batch_that_moves_is_given_patience_again(pipeline: Pipeline, time: Time) -> None:
    """However slowly: a row counted, a chunk closed, and nothing is sent twice."""
    upload(pipeline, *READ)
    for step in MOVES:
        assert sweep(time) == []
        time.pass_by(PATIENCE.total_seconds() * 0.9)
        for what in (step, "finished", "settle"):
            if what in pipeline.work():
                assert pipeline.deliver(what, most=1000)
    assert sweep(time) == []


def test_a_batch_that_waits_its_turn_is_sent_again_ever_more_seldom(pipeline: Pipeline, time: Time) -> None:
    """Two hours behind another's rows: a copy of all its own every five minutes makes a queue that never ends."""
    batch_id = upload(pipeline, *READ)
    waiting = len(pipeline.waiting("work"))
    for _ in range(24):
        sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("work")) <= 6 * waiting
    ends_exact(pipeline, batch_id)


def test_a_paused_batch_is_left_alone(pipeline: Pipeline, time: Time) -> None:
    """It stands still because somebody wants it to."""
    batch_id = upload(pipeline, *READ)
    batch_item(pipeline, batch_id)["hold"] = text(Hold.PAUSED)
    for _ in range(3):
        assert sweep(time) == []
        time.pass_by(PATIENCE.total_seconds())


@pytest.mark.parametrize("hold", [Hold.CANCELLED, Hold.THRESHOLD])
def test_a_batch_that_was_stopped_is_brought_to_its_end(pipeline: Pipeline, time: Time, hold: Hold) -> None:
    """Its rows are to fail; if the messages are lost nobody fails them."""
    batch_id = upload(pipeline, *READ)
    lose(pipeline, "work", "heavy")
    batch_item(pipeline, batch_id)["hold"] = text(hold)
    sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    assert len(sweep(time)) == 1
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=5, rejected=1)


def test_a_batch_that_has_ended_and_was_announced_is_left_alone(pipeline: Pipeline, time: Time) -> None:
    """Not even a look is remembered."""
    batch_id = upload(pipeline)
    pipeline.drain()
    for _ in range(3):
        assert sweep(time) == []
        time.pass_by(PATIENCE.total_seconds())
    assert (batch_pk(batch_id), "watch") not in pipeline.dynamodb.items


def test_an_event_that_was_never_put_is_put_when_patience_is_over(pipeline: Pipeline, time: Time) -> None:
    """The stream gave it up, or its record expired."""
    batch_id = upload(pipeline, *COUNTED, "settle", "settle")
    lose(pipeline, "settle")
    sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    assert sweep(time) == [Repairs(batch_id, events_published=1)]
    assert sweep(time) == []
    ends_exact(pipeline, batch_id)


def test_the_log_of_a_repair_says_all_that_it_did(
    pipeline: Pipeline, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it only put the event: without that field it would seem to have done nothing."""
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(logger, "warning", lambda _event, extra: logged.append(extra))
    batch_id = upload(pipeline, *COUNTED, "settle", "settle")
    lose(pipeline, "settle")
    sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    sweep(time)
    (fields,) = logged
    assert {name: value for name, value in fields.items() if value} == {"batch_id": batch_id, "events_published": 1}


def test_a_redrive_whose_rows_were_lost_is_pushed_on(pipeline: Pipeline) -> None:
    """The image of the chunk was its outbox; a row without an outcome is to run, no matter who took it away."""
    batch_id = failed_and_ended(pipeline)
    assert redrive(pipeline, batch_id) == 2
    lose(pipeline, "dispatch")
    assert reconciler_of().repair(batch_id).rows_sent == 2
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).attempt) == (AFTER, 2)


def test_a_batch_that_cannot_be_repaired_does_not_keep_the_others_waiting(pipeline: Pipeline, time: Time) -> None:
    """It is the newest, so it comes first, at every sweep; here its object cannot be read for want of a right."""
    upload(pipeline, "upload", "dispatch")
    lose(pipeline, "ingest")
    broken = upload(pipeline, name="broken")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.faults = lambda operation: Fault.ERROR_BEFORE if operation == "get_object" else Fault.NONE
    batch_item(pipeline, broken)["created_at"] = text("2999-01-01")
    for _ in range(2):
        with suppress(TallyError):
            sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_a_batch_that_cannot_be_read_does_not_keep_the_others_waiting(pipeline: Pipeline, time: Time) -> None:
    """It is the newest, and somebody has changed a chunk of it by hand. It counts as stalled, for which an alarm is."""
    upload(pipeline, "upload", "dispatch")
    lose(pipeline, "ingest")
    broken = upload(pipeline, "upload", name="broken")
    batch_item(pipeline, broken)["created_at"] = text("2999-01-01")
    chunk = next(item for (pk, _), item in pipeline.dynamodb.items.items() if pk == ChunkKey(broken, 0).pk)
    chunk["start"] = text("not a number")
    reconciler = reconciler_of(time)
    reconciler.sweep([pipeline.batch(broken)])
    assert reconciler.metrics._totals[Metric.BATCHES_STALLED] == 1
    for _ in range(2):
        sweep(time)
        time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_a_batch_whose_job_cannot_be_imported_does_not_keep_the_others_waiting(
    pipeline: Pipeline, time: Time, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A deployment has broken its module while it was planned; whatever that raises, it is its own matter."""
    upload(pipeline, "upload", "dispatch")
    lose(pipeline, "ingest")
    with deployed_job(monkeypatch, tmp_path, "broken", "import nothing_that_there_is"):
        broken = upload(pipeline, name="broken")
        pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
        assert not pipeline.deliver("upload")
        pipeline.faults = lambda _: Fault.NONE
        batch_item(pipeline, broken).update(created_at=text("2999-01-01"), key=text("inbox/broken/day.csv"))
        for _ in range(2):
            with suppress(Exception):
                sweep(time)
            time.pass_by(PATIENCE.total_seconds())
    assert len(pipeline.waiting("ingest")) == 2


def test_all_open_batches_are_looked_at_newest_first_and_no_others(pipeline: Pipeline) -> None:
    """More than a page of them; those that have ended are in a list of their own until a redrive opens them again."""
    made = [failed_and_ended(pipeline, name=f"day-{position}") for position in range(20)]
    found = [pk for pk, _ in table(pipeline.dynamodb).newest(Listing.ENDED)]
    assert found == [batch_pk(batch_id) for batch_id in reversed(made)]
    assert reconciler_of().open_batches() == []
    redriven = made[:15]
    for batch_id in redriven:
        redrive(pipeline, batch_id)
    fresh = [upload(pipeline, "upload", name=f"fresh-{position}") for position in range(5)]
    assert [batch.id for batch in reconciler_of().open_batches()] == [*reversed(fresh), *reversed(redriven)]


def test_each_chunk_is_told_of(pipeline: Pipeline) -> None:
    """Somebody watches a bar."""
    told: list[None] = []
    batch_id = upload(pipeline, *READ)
    reconciler_of().repair(batch_id, on_chunk=lambda: told.append(None))
    assert len(told) == 2


def test_the_watch_of_a_batch_goes_with_time() -> None:
    """Nothing depends on it after the batch has ended."""
    with pytest.MonkeyPatch.context() as patch:
        pipeline = Pipeline(patch)
        batch_id = upload(pipeline, *READ)
        sweep(Time())
        watch = pipeline.dynamodb.items[batch_pk(batch_id), "watch"]
        assert int(watch["since"]["N"]) == int(NOW.timestamp())
        assert int(watch["expires_at"]["N"]) > int(NOW.timestamp())


def test_a_sweep_that_is_killed_in_a_repair_gives_the_other_batches_their_turn(pipeline: Pipeline, time: Time) -> None:
    """A batch too large to repair in one invocation was tried: next time it waits as if that had moved nothing."""
    other = upload(pipeline, *READ)
    large = upload(pipeline, *READ, name="large")
    lose(pipeline, "work", "heavy", "ingest", "finished")
    sweep(time)
    time.pass_by(PATIENCE.total_seconds())
    queries = count()  # the first one lists the open batches
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "query" and next(queries) else Fault.NONE
    assert killed(lambda: sweep(time))
    pipeline.faults = lambda _: Fault.NONE
    assert [repairs.batch_id for repairs in sweep(time)] == [other]
    time.pass_by(2 * PATIENCE.total_seconds())
    assert large in [repairs.batch_id for repairs in sweep(time)]
