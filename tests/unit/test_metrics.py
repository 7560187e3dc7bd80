"""Metrics: one line an invocation, the stage its only dimension, and what is in it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.errors import ThrottledError
from chalicelib.metrics import Metric, Metrics
from chalicelib.services import Services
from chalicelib.steps.reconcile import Reconciler
from chalicelib.store.items import Counts
from tally.testing.pipeline import Pipeline
from tests.support.builders import Time

OFFICES = b"office_id,user_count,contract_count\nA,1,2\nB,x,1\nC,1,1\nD,2,2\n"
"""One chunk of four rows, one of them rejected."""


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the lines of Embedded Metric Format written since the last look."""
    written = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"'))
    return list(written)


def _values(line: dict[str, Any]) -> dict[str, float]:
    (described,) = line["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: line[metric["Name"]][0] for metric in described["Metrics"]}


def test_a_line_names_the_stage_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """A dimension for each batch would be a metric, and a price, for each batch; the environment must not add one."""
    metrics = Metrics()
    metrics.add(Metric.BATCHES_OPEN, 2)
    metrics.add(Metric.BATCHES_OPEN, 1)
    metrics.time_rows(4, 2.0)
    metrics.flush("prod")
    (line,) = _lines(capsys)
    (described,) = line["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == "Tally"
    assert described["Dimensions"] == [["stage"]]
    assert line["stage"] == "prod"
    assert described["Metrics"] == [
        {"Name": "BatchesOpen", "Unit": "Count"},
        {"Name": "RowSeconds", "Unit": "Seconds"},
    ]
    assert _values(line) == {"BatchesOpen": 3, "RowSeconds": 0.5}


def test_an_invocation_leaves_nothing_to_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics that were written are not written again; without any there is no line."""
    metrics = Metrics()
    metrics.add_rows(Counts(succeeded=1))
    metrics.flush("prod")
    metrics.flush("prod")
    assert len(_lines(capsys)) == 1


def test_rows_are_counted_once_when_their_chunk_closes(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """However often the stream tells of the chunk: by outcome, and the batch once."""
    pipeline.upload("inbox/offices/day.csv", OFFICES)
    pipeline.drain()
    pipeline.positions["settle"] = 0
    pipeline.drain()
    totals: dict[str, float] = {}
    for line in _lines(capsys):
        for name, value in _values(line).items():
            totals[name] = totals.get(name, 0) + value
    assert {name: totals[name] for name in totals if name != "RowSeconds"} == {
        "RowsSucceeded": 3,
        "RowsFailed": 0,
        "RowsRejected": 1,
        "BatchesCompleted": 1,
    }


def test_process_says_how_long_a_row_takes(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """One value an invocation, below what the whole test took."""
    pipeline.upload("inbox/offices/day.csv", OFFICES)
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step)
    _lines(capsys)
    assert pipeline.deliver("work")
    (line,) = _lines(capsys)
    assert 0 <= _values(line)["RowSeconds"] < 60


def test_what_was_closed_is_told_although_the_handler_raises(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next delivery finds the chunk closed and will not count it: its rows must be told of now."""

    def handle() -> None:
        with Services.metered(None) as services:
            services.metrics.add_rows(Counts(succeeded=3, rejected=1))
            raise ThrottledError("the bus")

    with pytest.raises(ThrottledError):
        handle()
    (line,) = _lines(capsys)
    assert _values(line) == {"RowsSucceeded": 3, "RowsFailed": 0, "RowsRejected": 1}


def _sweep(pipeline: Pipeline, time: Time, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    services = Services.of(None)
    reconciler = Reconciler(
        table=services.reconciler.table,
        planner=services.planner,
        dispatcher=services.dispatcher,
        settler=services.settler,
        patience=timedelta(minutes=5),
        metrics=services.metrics,
        clock=time,
    )
    reconciler.sweep(reconciler.open_batches())
    services.metrics.flush("test")
    lines = _lines(capsys)
    assert len(lines) <= 1
    return _values(lines[0]) if lines else {}


def test_a_batch_is_stalled_from_its_first_repair_until_it_moves(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Repairs come ever more rarely; the alarm must not go out between them."""
    time = Time()
    pipeline.upload("inbox/offices/day.csv", OFFICES)
    assert pipeline.deliver("upload")
    _lines(capsys)
    assert _sweep(pipeline, time, capsys) == {"BatchesOpen": 1, "BatchesStalled": 0}
    for _ in range(4):
        time.now += timedelta(minutes=5)
        assert _sweep(pipeline, time, capsys) == {"BatchesOpen": 1, "BatchesStalled": 1}
    for step in ("dispatch", "ingest"):
        assert pipeline.deliver(step)
    _lines(capsys)
    assert _sweep(pipeline, time, capsys) == {"BatchesOpen": 1, "BatchesStalled": 0}


def test_an_idle_stage_writes_no_metric(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """A custom metric costs by the hour that it is written in, and `reconcile` runs in every one."""
    assert _sweep(pipeline, Time(), capsys) == {}
