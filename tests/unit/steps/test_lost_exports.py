"""Lost exports: results that were asked for are written, whichever message was lost, and nothing else is sent."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import app
from chalicelib import services
from chalicelib.errors import UnknownOutcomeError
from chalicelib.metrics import Metric
from chalicelib.steps import begin_export
from chalicelib.steps.lost_exports import EXPORT_WATCH_SK, LostExports
from chalicelib.steps.reconcile import Reconciler, Repairs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.exports import EXPORTING, Exports
from chalicelib.store.items import batch_pk, number
from chalicelib.transport.messages import ExportMessage, decode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import Time, deployed_job, killed, table
from tests.support.exports import exporting
from tests.unit.test_app import TICK, Context

JOB = """
from chalicelib import rows

class Row(rows.Row):
    name: str
    count: int

def process(row):
    if row.name == "bad":
        raise ValueError(row.name)
    return row.count

ATTEMPTS = 1
"""
CONTENT = b"name,count\n" + b"".join(b"a,%d\n" % row for row in range(7)) + b"bad,1\n"
"""Two chunks of four rows."""
PATIENCE = 300


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory, with exports of a part a chunk."""
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    return exporting(monkeypatch)


@pytest.fixture
def batch_id(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return a batch that has ended, and whose three pieces are asked for."""
    with deployed_job(monkeypatch, tmp_path, "counted", JOB):
        found = pipeline.upload("inbox/counted/day.csv", CONTENT)
        while work := [what for what in pipeline.work() if what != "export"]:
            for what in work:
                assert pipeline.deliver(what, most=1000)
    assert len(pipeline.waiting("export")) == 3
    return found


@pytest.fixture
def time(pipeline: Pipeline, batch_id: str) -> Time:
    """Give a clock that begins when the batch had ended."""
    time = Time()
    time.now = datetime.fromisoformat(pipeline.batch(batch_id).completed_at)
    return time


@pytest.fixture
def lost(pipeline: Pipeline, time: Time) -> LostExports:
    found = services.Services.of(None).lost_exports
    assert found is not None
    return LostExports(
        table=table(pipeline.dynamodb), starter=found.starter, patience=timedelta(seconds=PATIENCE), clock=time
    )


def asked(pipeline: Pipeline) -> list[int]:
    """Return the pieces that the messages in the queue ask for."""
    return sorted(piece for body in pipeline.waiting("export") for piece in decode(body, ExportMessage).pieces)


def manifests(pipeline: Pipeline, batch_id: str) -> list[str]:
    """Return the keys of the manifests of a batch."""
    return sorted(key for key, _ in pipeline.s3.objects if batch_id in key and key.endswith("/manifest.json"))


def stalled(lost: LostExports) -> float:
    """Return what the sweeps have counted as stalled since the last look."""
    return lost.metrics._totals.pop(Metric.BATCHES_STALLED, 0)


@pytest.mark.parametrize("delivered", [0, 1, 2])
def test_only_pieces_that_are_missing_are_asked_for_again(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time, delivered: int
) -> None:
    for _ in range(delivered):
        assert pipeline.deliver("export")
    missing = asked(pipeline)
    pipeline.waiting("export").clear()
    assert lost.sweep() == 0
    time.pass_by(PATIENCE)
    assert lost.sweep() == len(missing)
    assert asked(pipeline) == missing
    pipeline.drain()
    assert len(manifests(pipeline, batch_id)) == 1


def test_a_manifest_that_nobody_wrote_is_written_though_every_piece_is_there(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    """The last worker died after its transaction, and its message was lost."""
    for _ in range(2):
        assert pipeline.deliver("export")
    pipeline.faults = lambda operation: Fault.KILLED_AFTER if operation == "transact_write_items" else Fault.NONE
    assert not pipeline.deliver("export")
    pipeline.faults = lambda _: Fault.NONE
    pipeline.waiting("export").clear()
    assert manifests(pipeline, batch_id) == []
    lost.sweep()
    time.pass_by(PATIENCE)
    assert lost.sweep() == 1
    pipeline.drain()
    assert len(manifests(pipeline, batch_id)) == 1


def test_an_export_that_was_never_begun_is_begun_with_the_event_of_its_batch(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    """The stream record of the batch's end was lost: nothing of it was done."""
    pipeline.waiting("export").clear()
    for place in [place for place in pipeline.dynamodb.items if place[1].startswith("export#")]:
        del pipeline.dynamodb.items[place]
    item = pipeline.dynamodb.items[batch_pk(batch_id), "batch"]
    del item["published_attempt"]
    item["listing"] = {"S": "open"}
    reconciler = services.Services.of(None).reconciler
    assert reconciler.repair(batch_id).events_published == 1
    pipeline.drain()
    assert len(manifests(pipeline, batch_id)) == 1


def test_an_export_whose_pieces_come_one_by_one_is_left_alone(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    for _ in range(2):
        assert lost.sweep() == 0
        time.pass_by(PATIENCE - 1)
        assert lost.sweep() == 0
        assert pipeline.deliver("export")
    assert stalled(lost) == 0


def test_an_export_that_is_written_is_looked_at_no_more(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    pipeline.drain()
    assert table(pipeline.dynamodb).newest(EXPORTING) == []
    assert lost.sweep() == 0
    assert (batch_pk(batch_id), EXPORT_WATCH_SK) not in pipeline.dynamodb.items


def test_an_export_that_fails_is_asked_for_ever_more_seldom(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    """A dead letter of it is an operator's; a copy every five minutes would hide it."""
    pipeline.waiting("export").clear()
    for _ in range(24):
        lost.sweep()
        time.pass_by(PATIENCE)
    assert len(asked(pipeline)) in range(3 * 4, 3 * 6)
    assert stalled(lost) >= 20


def test_an_export_that_a_redrive_has_overtaken_is_left_alone(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    """The next attempt has an export of its own once it ends."""
    pipeline.waiting("export").clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    for _ in range(3):
        assert lost.sweep() == 0
        time.pass_by(PATIENCE)
    assert Exports(table=table(pipeline.dynamodb)).unwritten() == []
    assert asked(pipeline) == []


def test_an_export_whose_markers_have_expired_is_given_up_once(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time
) -> None:
    pipeline.waiting("export").clear()
    time.now = datetime.fromtimestamp(pipeline.batch(batch_id).expires_at, time.now.tzinfo)
    assert lost.sweep() == lost.sweep() == 0
    assert Exports(table=table(pipeline.dynamodb)).unwritten() == []


def test_an_export_of_a_batch_that_was_deleted_is_given_up(
    pipeline: Pipeline, batch_id: str, lost: LostExports
) -> None:
    del pipeline.dynamodb.items[batch_pk(batch_id), "batch"]
    assert lost.sweep() == 0
    assert Exports(table=table(pipeline.dynamodb)).unwritten() == []


def test_an_export_that_cannot_be_looked_at_does_not_keep_the_others_waiting(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with deployed_job(monkeypatch, tmp_path, "counted", JOB):
        other = pipeline.upload("inbox/counted/other.csv", CONTENT)
        while work := [what for what in pipeline.work() if what != "export"]:
            for what in work:
                assert pipeline.deliver(what, most=1000)
    pipeline.waiting("export").clear()
    pipeline.dynamodb.items[batch_pk(batch_id), EXPORT_WATCH_SK] = {"snapshot": number(1)}
    lost.sweep()
    assert stalled(lost) == 1, "for which an alarm is"
    time.pass_by(PATIENCE)
    assert lost.sweep() == 3
    assert {decode(body, ExportMessage).batch for body in pipeline.waiting("export")} == {other}


def test_a_repair_on_demand_asks_at_once_and_only_for_what_is_missing(pipeline: Pipeline, batch_id: str) -> None:
    reconciler = services.Services.of(None).reconciler
    assert pipeline.deliver("export")
    pipeline.waiting("export").clear()
    assert reconciler.repair(batch_id, thorough=True).pieces_sent == 2
    pipeline.drain()
    assert len(manifests(pipeline, batch_id)) == 1
    assert reconciler.repair(batch_id, thorough=True) == Repairs(batch_id)


def test_the_schedule_asks_again(pipeline: Pipeline, batch_id: str) -> None:
    pipeline.waiting("export").clear()
    app.reconcile(TICK, Context())
    watch = pipeline.dynamodb.items[batch_pk(batch_id), EXPORT_WATCH_SK]
    watch["since"] = number(int(watch["since"]["N"]) - PATIENCE)
    app.reconcile(TICK, Context())
    assert asked(pipeline) == [0, 1, 2]


@pytest.mark.parametrize("position", range(12))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_sweep_that_is_cut_anywhere_is_made_up_for_by_the_next(
    pipeline: Pipeline, batch_id: str, lost: LostExports, time: Time, fault: Fault, position: int
) -> None:
    pipeline.waiting("export").clear()
    cut = replace(
        lost,
        table=table(pipeline.clients["dynamodb"]),
        starter=replace(lost.starter, table=table(pipeline.clients["dynamodb"])),
    )
    cut.sweep()
    time.pass_by(PATIENCE)
    calls = iter(range(1000))
    pipeline.faults = lambda _: fault if next(calls) == position else Fault.NONE
    killed(cut.sweep)
    pipeline.faults = lambda _: Fault.NONE
    pipeline.drain()
    time.pass_by(2 * PATIENCE)
    lost.sweep()
    time.pass_by(2 * PATIENCE)
    lost.sweep()
    pipeline.drain()
    assert len(manifests(pipeline, batch_id)) == 1


def test_batches_that_cannot_be_listed_keep_no_results_from_being_asked_for(
    pipeline: Pipeline, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are an error of the function, which alarms."""

    def unlisted(_: Reconciler) -> None:
        raise UnknownOutcomeError("nobody answers")

    pipeline.waiting("export").clear()
    app.reconcile(TICK, Context())
    watch = pipeline.dynamodb.items[batch_pk(batch_id), EXPORT_WATCH_SK]
    watch["since"] = number(int(watch["since"]["N"]) - PATIENCE)
    monkeypatch.setattr(Reconciler, "open_batches", unlisted)
    with pytest.raises(UnknownOutcomeError):
        app.reconcile(TICK, Context())
    assert asked(pipeline) == [0, 1, 2]
