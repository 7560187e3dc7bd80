"""The costs of a row, in write units and requests: a regression here is money, a million times over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

import msgspec
import pytest

from bench.samples import incompressible, real_shape, without_failures
from chalicelib import services
from chalicelib.files.form import Form
from chalicelib.steps import begin_export
from chalicelib.steps.redrive import Redriver
from tally.batch import rough_cost
from tally.batch.cost import Worked, estimate
from tally.batch.export_use import ExportUse
from tally.batch.reader import Reader
from tally.local import sample
from tally.local.sample import Expected
from tally.testing import configuration, memory_dynamodb
from tally.testing.metering import Meter
from tally.testing.pipeline import Pipeline
from tests.support.builders import table

ROWS = 20_000
STORED, COUNTED = "batch_write_item rows", "transact_write_items mark"


def _defaults(*names: str) -> dict[str, int]:
    """Return the sizes that Terraform deploys unless it is told others."""
    return {name: configuration.default(name) for name in names}


@contextmanager
def _metered(write: Callable[[BytesIO, int], Expected], **sizes: int) -> Iterator[tuple[Meter, Pipeline, str]]:
    """Take a batch of the 16-column job from upload to event, no request going wrong, each one metered."""
    meter = Meter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_dynamodb, "PAGE", 1_000)  # short pages are for those who forget to turn them
        as_deployed = msgspec.structs.replace(services.settings(), **(_defaults("chunk_rows", "chunk_bytes") | sizes))
        patch.setattr(services, "settings", lambda: as_deployed)
        pipeline = Pipeline(patch)
        for name, client in pipeline.clients.items():
            pipeline.clients[name] = meter.meters(client._client)
        written = BytesIO()
        expected = write(written, ROWS)
        batch = pipeline.upload("inbox/transactions/sample.csv", written.getvalue())
        pipeline.drain()
        assert pipeline.batch(batch).counts.total == expected.rows == ROWS
        yield meter, pipeline, batch


@pytest.fixture(scope="module")
def metered() -> Iterator[tuple[Meter, Pipeline, str]]:
    """Take a batch without failures."""
    with _metered(without_failures) as found:
        yield found


@pytest.fixture(scope="module")
def meter(metered: tuple[Meter, Pipeline, str]) -> Meter:
    """Return what the batch took."""
    return metered[0]


def test_a_row_costs_no_more_than_an_eighth_of_a_unit(meter: Meter) -> None:
    """Most of it is its share of the rows item; one item a row took 3.03 units."""
    assert meter.units.total() / ROWS <= 0.12


def test_a_chunk_takes_one_write_for_its_rows_and_two_transactions_that_count(meter: Meter) -> None:
    """One for the rows that never were valid, one for all the others; and two chunks and more close in one write."""
    chunks = ROWS // _defaults("chunk_rows")["chunk_rows"]
    assert meter.requests[STORED] == chunks
    assert meter.requests[COUNTED] == 2 * chunks
    assert meter.requests["transact_write_items chunk"] <= 2 * chunks


@pytest.mark.parametrize("chunk_rows", [500, 1000])
@pytest.mark.parametrize(("write", "most"), [(without_failures, 0.12), (real_shape, 0.08), (incompressible, 0.35)])
def test_what_a_row_costs_follows_from_how_well_it_compresses(
    write: Callable[[BytesIO, int], Expected], most: float, chunk_rows: int
) -> None:
    """A row like its neighbours takes some 30 bytes, one of 200 random bytes takes them; chunks of half the rows do."""
    with _metered(write, chunk_rows=chunk_rows) as (meter, _, _):
        assert meter.units.total() / ROWS <= most


def test_all_requests_of_a_row_are_a_fiftieth(metered: tuple[Meter, Pipeline, str]) -> None:
    """Those that Lambda makes for the queues are among them, as if each message was received and deleted alone."""
    meter, pipeline, _ = metered
    delivered = sum(received.total() for received in pipeline.received.values())
    assert delivered == 3 * len(pipeline.chunks(metered[2]))
    assert (meter.requests.total() + 2 * delivered) / ROWS <= 0.02


def test_requests_are_made_for_chunks_not_for_rows(meter: Meter) -> None:
    """Writes, reads, messages, ranges of the file and events: a hundredth of a request a row."""
    assert meter.requests.total() / ROWS <= 0.01


def test_the_estimate_of_a_batch_has_its_second_attempt_in_it() -> None:
    """Twenty failures taken back and tried again; chunks that close together share a write, so a quarter may be off."""
    with _metered(sample.write) as (meter, pipeline, batch):
        reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
        once, metered_once = estimate(reader, reader.require(batch), Worked(functions={})), meter.units.total()
        redriven = Redriver(table=table(pipeline.clients["dynamodb"])).redrive(batch, on_chunk=lambda: None)
        pipeline.drain()
        assert pipeline.batch(batch).attempt == 2
        cost = estimate(reader, reader.require(batch), Worked(functions={}))
    assert cost.redriven == redriven.rows > 0
    assert cost.write_units - once.write_units == pytest.approx(meter.units.total() - metered_once, rel=0.25)


@pytest.mark.parametrize("write", [without_failures, real_shape])
def test_the_rough_cost_of_a_batch_is_near_its_estimate(write: Callable[[BytesIO, int], Expected]) -> None:
    """A list shows it of thousands of batches, and has read no chunk of them. Lambda's part needs the logs."""
    with _metered(write) as (_, pipeline, batch):
        reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
        found = reader.require(batch)
        cost = estimate(reader, found, Worked(functions={}))
    without_functions = {name: amount for name, amount in cost.dollars.items() if name not in {"Lambda", "logs"}}
    rough = rough_cost.rough(found)
    assert sum(rough.dollars[name] for name in without_functions) == pytest.approx(
        sum(without_functions.values()), rel=0.3
    )
    assert rough.dollars["Lambda"] == pytest.approx(0.011 * ROWS / 1e6, rel=0.3), "docs/performance.md has the figure"


def test_the_estimate_of_a_batch_is_what_was_metered(metered: tuple[Meter, Pipeline, str]) -> None:
    """Within two in a hundred, from ten of its chunks: nothing was written down while it ran."""
    meter, pipeline, batch = metered
    reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
    cost = estimate(reader, reader.require(batch), Worked(functions={}))
    dynamodb = sum(
        count
        for name, count in meter.requests.items()
        if name.partition(" ")[0] not in {"send_message_batch", "put_events", "get_object"}
    )
    assert cost.rows == ROWS
    assert cost.sampled < cost.chunks
    assert cost.write_units == pytest.approx(meter.units.total(), rel=0.02)
    assert cost.dynamodb_requests == pytest.approx(dynamodb, rel=0.1)
    assert cost.s3_requests == pytest.approx(meter.requests["get_object"], abs=2)
    delivered = sum(received.total() for received in pipeline.received.values())
    sqs = meter.requests["send_message_batch"] + 2 * delivered
    # What is billed: the outcomes of a chunk take two requests of 64 KB to send, and two to receive.
    assert cost.sqs_requests == pytest.approx(sqs + 2 * cost.chunks, rel=0.1)


@pytest.mark.parametrize("form", [Form.JSONL, Form.CSV])
@pytest.mark.parametrize("chunks_per_part", [4, 50])
def test_the_estimate_has_what_writing_results_takes_in_it(
    monkeypatch: pytest.MonkeyPatch, form: Form, chunks_per_part: int
) -> None:
    """Of one part and of many, with failures in some chunks: all of it beyond what the batch takes without."""
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", chunks_per_part)
    monkeypatch.setattr(begin_export, "_form", lambda _batch: form)
    with _metered(sample.write) as (plain, without, _):
        messages = sum(received.total() for received in without.received.values())
    with _metered(sample.write, export=True) as (meter, pipeline, batch):
        reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
        found = reader.require(batch)
        cost = estimate(reader, found, Worked(functions={}))
        export = cost.exported
        stored = [len(body) for (key, _), body in pipeline.s3.objects.items() if key.startswith("results/")]
        received = sum(received.total() for received in pipeline.received.values()) - messages
    more = meter.requests - plain.requests
    s3 = {name: more.pop(name, 0) for name in ("get_object", "put_object")}
    sent = more.pop("send_message_batch")
    del more["put_events"]
    assert export.write_units == meter.units.total() - plain.units.total()
    assert export.dynamodb_requests == pytest.approx(more.total(), abs=1)
    assert export.read_units == pytest.approx(meter.read_units - plain.read_units, rel=0.1)
    assert (export.s3_gets, export.s3_puts) == (s3["get_object"], s3["put_object"])
    assert export.sqs_requests == sent + 2 * received
    assert export.kept_bytes == sum(stored) - min(stored)  # but for the manifest
    assert export.kept_gb_months == pytest.approx(export.kept_bytes / 10**9 * 3)


@pytest.mark.parametrize("form", Form)
def test_results_of_a_million_rows_take_a_two_hundredth_of_a_request_a_row(form: Form) -> None:
    """With failures in every chunk; by what the test above holds to a meter."""
    chunks = 1_000_000 // _defaults("chunk_rows")["chunk_rows"]
    parts = chunks // begin_export.CHUNKS_PER_PART
    export = ExportUse.of(
        parts=parts, chunks=chunks, with_failures=chunks, form=form, read_units_of_chunk=15, sizes=[], days=90
    )
    assert export.write_units <= 0.002 * 1_000_000
    assert export.dynamodb_requests + export.sqs_requests + export.s3_gets + export.s3_puts <= 0.005 * 1_000_000
