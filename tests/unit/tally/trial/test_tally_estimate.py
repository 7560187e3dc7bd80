"""The estimate of ``tally try`` is what the pipeline then takes, within 15 in a hundred."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.samples import incompressible, real_shape
from chalicelib import services
from chalicelib.files.form import Form
from tally.local import sample
from tally.testing import memory_dynamodb
from tally.testing.configuration import default
from tally.testing.metering import Meter
from tally.testing.pipeline import Pipeline
from tally.trial.estimate import Estimate, estimate
from tally.trial.loading import load
from tally.trial.stage import MAX_TOGETHER
from tally.trial.trial import Trial
from tally.trial.watch import Durations, Watch
from tests.support.builders import deployed_job

ROWS = 6_000
NEAR = 0.15
JOB = """
from chalicelib import rows

class Row(rows.Row):
    number: int
    text: str

def heavy(row):
    return row.number % 200 == 0

def process(row):
    if row.number % 10 == 3:
        raise ConnectionError(f"no answer for {row.number}")
    return {"number": row.number, "text": row.text[::-1]}
"""


@pytest.fixture(autouse=True)
def shaky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with deployed_job(monkeypatch, tmp_path, "shaky", JOB):
        yield


def _shaky(target: BytesIO, rows: int) -> None:
    """Write rows of which a tenth use up their tries; one in two hundred is heavy."""
    target.write(b"number,text\n" + b"".join(b"%d,text of %d\n" % (n, n * n) for n in range(rows)))


def _tried(job: str, file: Path, most: int | None = None, watch: Watch | None = None) -> Estimate:
    trial = Trial(watch or Watch(load(job)), file, file.with_suffix(".unpacked"), most=most)
    with trial.planning() as planning:
        trial.over(planning, planning.planned(MAX_TOGETHER))
    found = estimate(trial, planning)
    assert found
    return found


class _Billed:
    """Counts what SQS bills for sending and receiving, a request for each 64 KB of it."""

    def __init__(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        send, deliver = pipeline.sqs.send_message_batch, pipeline._deliver_messages

        def sent(**request: Any) -> Any:
            self.requests += _steps(sum(len(entry["MessageBody"].encode()) for entry in request["Entries"]))
            return send(**request)

        def delivered(queue: str, start: int, most: int, *, again: bool) -> None:
            before = pipeline.received[queue].copy()
            deliver(queue, start, most, again=again)
            now = pipeline.received[queue] - before
            self.requests += sum(_steps(len(body.encode())) * times for body, times in now.items())

        monkeypatch.setattr(pipeline.sqs, "send_message_batch", sent)
        monkeypatch.setattr(pipeline, "_deliver_messages", delivered)


def _steps(size: int) -> int:
    return math.ceil(size / 65_536)


@pytest.mark.parametrize("most", [None, 4_500, 1_500, 300])
@pytest.mark.parametrize(
    ("job", "write"),
    [
        ("transactions", sample.write),
        ("transactions", real_shape),
        ("transactions", incompressible),
        ("shaky", _shaky),
    ],
)
def test_units_and_requests_are_those_that_are_metered(
    job: str, write: Callable[[BytesIO, int], object], most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all rows were tried or some: rejected, failed, tried again, heavy, and of every way to compress."""
    written = BytesIO()
    write(written, ROWS)
    file = tmp_path / "file.csv"
    file.write_bytes(written.getvalue())
    found = _tried(job, file, most)

    meter = Meter()
    monkeypatch.setattr(memory_dynamodb, "PAGE", 1_000)  # short pages are for those who forget to turn them
    sizes = {name: default(name) for name in ("chunk_rows", "chunk_bytes")}
    as_deployed = msgspec.structs.replace(services.settings(), export=True, **sizes)
    monkeypatch.setattr(services, "settings", lambda: as_deployed)
    pipeline = Pipeline(monkeypatch)
    for name, client in pipeline.clients.items():
        pipeline.clients[name] = meter.meters(client._client)
    billed = _Billed(pipeline, monkeypatch)
    batch = pipeline.upload(f"inbox/{job}/file.csv", written.getvalue())
    pipeline.drain()

    delivered = sum(received.total() for received in pipeline.received.values())
    others = {"send_message_batch", "put_events", "get_object", "put_object", "change_message_visibility"}
    dynamodb = sum(count for name, count in meter.requests.items() if name.partition(" ")[0] not in others)
    near = NEAR if most is None or most >= 1_000 else 2 * NEAR  # a few hundred rows compress less well
    assert found.cost.rows == pytest.approx(pipeline.batch(batch).counts.total, rel=0.01)
    assert found.cost.chunks == len(pipeline.chunks(batch))
    assert found.cost.write_units == pytest.approx(meter.units.total(), rel=near)
    assert found.cost.dynamodb_requests == pytest.approx(dynamodb, rel=near)
    # What is billed: a request for each 64 KB that is sent or received, and one for each message that is deleted.
    sqs = billed.requests + meter.requests["change_message_visibility"] + delivered
    assert found.cost.sqs_requests == pytest.approx(sqs, rel=near)
    if most is None or most >= ROWS // 4:  # of less no chunk is whole
        assert found.cost.s3_requests + found.cost.exported.s3_puts == pytest.approx(
            meter.requests["get_object"] + meter.requests["put_object"], abs=2
        )
        files = [len(body) for (key, _), body in pipeline.s3.objects.items() if "/results-" in key or "/failed" in key]
        assert found.cost.exported.kept_bytes == pytest.approx(sum(files), rel=2 * NEAR)


@pytest.mark.parametrize("form", [None, Form.JSONL, Form.CSV])
def test_what_a_job_exports_is_in_the_time_of_functions_and_in_what_is_kept(tmp_path: Path, form: Form | None) -> None:
    file = tmp_path / "shaky.csv"
    with file.open("wb") as target:
        target.write(b"number,text\n" + b"".join(b"%d,text of %d\n" % (n, n * n) for n in range(0, 10_000, 10)))
    found = _tried("shaky", file, watch=Watch(replace(load("shaky"), export=form)))
    assert ("export" in found.cost.functions) is (form is not None)
    assert (found.cost.exported.kept_bytes > 0) is (form is not None)
    assert found.cost.exported.s3_gets == {None: 0, Form.JSONL: 1, Form.CSV: 2}[form]


def _slow(file: Path, seconds: float, rows: int) -> Estimate:
    """Return the estimate for rows that wait so long each, by a clock that nobody waits for."""
    file.write_bytes(b"number,text\n" + b"1,a\n" * rows)
    now = [0.0]

    def process(_: object) -> int:
        now[0] += seconds
        return 1

    watch = Watch(replace(load("shaky"), process=process), clock=lambda: now[0], processor_clock=lambda: 0.0)
    return _tried("shaky", file, watch=watch)


def test_a_slow_job_takes_its_time_divided_by_the_workers(tmp_path: Path) -> None:
    """A hundred thousand seconds in fifty workers at once; functions are paid for while they wait."""
    found = _slow(tmp_path / "slow.csv", seconds=10.0, rows=10_000)
    assert found.limit == "process"
    assert found.seconds == pytest.approx(10_000 * 10 / 50, rel=NEAR)
    assert found.cost.job_seconds == pytest.approx(100_000)
    assert found.cost.functions["process"][1] == pytest.approx(100_000 * 512 / 1024, rel=NEAR)


def test_one_row_that_is_slow_is_waited_for_however_many_workers_there_are(tmp_path: Path) -> None:
    assert 50 <= _slow(tmp_path / "slow.csv", seconds=50.0, rows=1).seconds <= 60


def test_the_waits_for_retries_are_in_the_time(tmp_path: Path) -> None:
    """Two waits one after the other, of up to 4 and up to 8 whole seconds; fifty rows in chunks of one wait longest."""
    file = tmp_path / "shaky.csv"
    file.write_bytes(b"number,text\n" + b"3,a\n" * 50)
    job = replace(load("shaky"), chunk_rows=1)
    found = _tried("shaky", file, watch=Watch(job))
    assert 4 <= found.longest_wait <= 12
    assert found.seconds >= found.longest_wait


def test_quantiles_are_right_within_two_in_a_hundred() -> None:
    took = Durations()
    for number in range(1, 1_001):
        took.add(number / 1_000)
    assert took.quantile(0.5) == pytest.approx(0.5, rel=0.02)
    assert took.quantile(0.99) == pytest.approx(0.99, rel=0.02)
    assert (took.quantile(1.0), took.longest, took.calls) == (1.0, 1.0, 1_000)
    assert Durations().quantile(0.5) == 0.0
