"""The cost of a batch has the saves by key of every attempt."""

from typing import Any

import pytest

from chalicelib.steps.redrive import Redriver
from chalicelib.store.saves import Saves
from tally.batch.cost import Worked, estimate
from tally.batch.reader import Reader
from tally.batch.save_use import SaveUse, of_batch
from tally.testing.metering import Meter
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.saving import PLACE, rows, until
from tests.unit.steps.save.conftest import job, pipeline

__all__ = ["job", "pipeline"]

KEYS = [f"office-{number}" for number in range(40)]


def test_a_save_takes_what_was_metered_in_every_attempt(
    pipeline: Pipeline, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row fails at first; then the second attempt puts all of them, and each put is paid."""
    job.failing.add(KEYS[0])
    meter, unmetered = Meter(), pipeline.clients["dynamodb"]
    batch_id = pipeline.upload(PLACE, rows(*KEYS))
    for attempt in (1, 2):
        if attempt == 2:
            job.failing.clear()
            Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
        until(pipeline, "save")
        monkeypatch.setitem(pipeline.clients, "dynamodb", meter.meters(unmetered._client))
        pipeline.deliver("save")
        monkeypatch.setitem(pipeline.clients, "dynamodb", unmetered)
    reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
    batch = reader.require(batch_id)
    chunks = len(reader.chunks(batch))
    used = of_batch(Saves(table=table(pipeline.dynamodb)), batch_id, 2, chunks=chunks, read_units=1)
    assert meter.requests["put_item result"] == 2 * len(KEYS) - 1
    assert used.write_units == pytest.approx(meter.units.total(), abs=2 * 2)
    assert used.dynamodb_requests == pytest.approx(meter.requests.total(), abs=2 * 2)
    assert used.read_units == pytest.approx(meter.read_units, abs=2 * 2)
    with_saves = estimate(reader, batch, Worked(functions={}))
    monkeypatch.setattr("tally.batch.cost.save_use.of_batch", lambda *_, **__: SaveUse())
    without = estimate(reader, batch, Worked(functions={}))
    assert with_saves.write_units - without.write_units == used.write_units
    assert with_saves.dynamodb_requests - without.dynamodb_requests == used.dynamodb_requests


def test_a_batch_of_a_job_without_a_key_has_no_save(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload("inbox/offices/day.csv", b"id\n")
    pipeline.drain()
    assert of_batch(Saves(table=table(pipeline.dynamodb)), batch_id, 1, chunks=1, read_units=1) == SaveUse()
