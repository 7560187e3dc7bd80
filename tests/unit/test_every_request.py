"""Every request that the functions make: all of them are made here, and AWS would take each."""

import gzip
import random
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import app
from chalicelib import jobs, services
from chalicelib.chaining import Then
from chalicelib.files.dialect import Format, Layout
from chalicelib.steps import unpack
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, number, text, timestamp
from chalicelib.store.pacing import Share
from chalicelib.store.repository import Repository
from chalicelib.store.waiting import note_waiting
from tally.testing import strict
from tally.testing.faults import Fault
from tally.testing.jobs import in_place
from tally.testing.memory_aws import LONG_AGO
from tally.testing.pipeline import Pipeline
from tests.support import builders
from tests.support.builders import RETRY, message_event, plant_deaths

LIBRARY = Path(services.__file__).parent
HEADER = b"office_id,user_count,contract_count\n"
CLIENTS = {"dynamodb": "dynamodb", "sqs": "sqs", "s3": "s3", "events": "events", "lambda_client()": "lambda"}
"""The names of the library's clients, and the service of each."""
CALL = re.compile(rf"(?<!chalicelib\.)(?<!/)\b({'|'.join(map(re.escape, CLIENTS))})\.([a-z_]+)")


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def _calls() -> set[tuple[str, str]]:
    """Return every operation that the source of the library names, with its service."""
    sources = [path.read_text(encoding="utf-8") for path in LIBRARY.rglob("*.py")]
    return {(CLIENTS[name], operation) for source in sources for name, operation in CALL.findall(source)}


def test_every_call_of_the_functions_is_made_and_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is new in the library fails here until a run makes it; expressions are built, so a run has to."""
    strict.checked.clear()
    strict.writes.clear()
    exporting = msgspec.structs.replace(services.settings(), export=True)
    monkeypatch.setattr(services, "settings", lambda: exporting)
    pipeline = Pipeline(monkeypatch)
    _run(pipeline)
    _unpack(pipeline, monkeypatch)
    _lose(pipeline)
    _chain(pipeline)
    dynamodb = services.Services.of(None).client("dynamodb")
    assert Share(dynamodb=dynamodb, table="tally-test", share=1, retry=RETRY).units_per_second() == float("inf")
    calls = _calls()
    assert {("s3", "list_parts"), ("lambda", "invoke"), ("dynamodb", "describe_table")} <= calls
    assert calls - set(strict.checked) == set()
    assert len(strict.writes) >= 30
    assert strict.refused == []


def _chain(pipeline: Pipeline) -> None:
    """Upload results for a next job, without hearing that they are there; then keep those of a file with a bad row."""
    job = jobs.require("offices")
    after = replace(job, name="after", schema=job.schema.laid_out(Layout(format=Format.JSONL)))
    with in_place(after), in_place(replace(job, then=Then(job="after"))):
        chained = pipeline.upload("inbox/offices/chained.csv", HEADER + b"o1,1,2\n")
        kept = pipeline.upload("inbox/offices/kept.csv", HEADER + b"o1,x,2\n")
        pipeline.faults = lambda operation: (
            Fault.KILLED_AFTER if operation == "complete_multipart_upload" else Fault.NONE
        )
        for _ in range(20):
            for what in pipeline.work():
                pipeline.deliver(what, most=1000)
        pipeline.drain()
    found = [pipeline.batch(batch_id).chained for batch_id in (chained, kept)]
    assert [bool(each and each.child) for each in found] == [True, False]


def _run(pipeline: Pipeline) -> None:
    """Process a batch, reject another, and let everything happen to two more."""
    gone = pipeline.upload("inbox/offices/gone.csv", HEADER + b"o1,1,2\n")
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "update_item" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    ended = pipeline.upload("inbox/offices/day.csv", HEADER + b"o1,1,2\no2,x,2\n")
    pipeline.drain()
    assert pipeline.batch(gone).status is BatchStatus.REJECTED
    assert pipeline.batch(ended).status is BatchStatus.COMPLETED_WITH_FAILURES
    _operate(pipeline, ended)


def _operate(pipeline: Pipeline, ended: str) -> None:
    """Let everything happen to batches that an operator or a loss can do to them."""
    made = services.Services.of(None)
    table = builders.table(pipeline.dynamodb)
    holds, redriver, repository = Holds(table=table), Redriver(table=table), Repository(table=table)
    leases = made.heavy_processor.leases
    leases.take(ChunkKey(ended, 0), 0)
    leases.release(ChunkKey(ended, 0), 0)
    repository.markers(ChunkKey(ended, 0), data=False)
    content = HEADER + b"o1,1,2\no2,1,2\n"
    unread, stopped = (pipeline.upload(f"inbox/offices/{name}.csv", content) for name in ("unread", "stopped"))
    pipeline.drain_uploads()
    holds.hold(unread, Hold.PAUSED)
    holds.resume(unread)
    holds.hold(unread, Hold.CANCELLED)
    for step in ("dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    note_waiting(table, pipeline.chunks(stopped)[0], {0: "ValueError: x"}, attempt=2, delay_seconds=1)
    holds.hold(stopped, Hold.CANCELLED)
    pipeline.drain()
    for batch_id in (unread, stopped):
        assert pipeline.batch(batch_id).counts == Counts(failed=2)
        redriver.redrive(batch_id, rows=[(0, 0)], on_chunk=lambda: None)
        redriver.redrive(batch_id, on_chunk=lambda: None)
    _miscount(pipeline, stopped)
    pipeline.positions["dispatch"] = len(pipeline.dynamodb.stream)
    made.reconciler.sweep(made.reconciler.open_batches())
    assert len(made.reconciler.repair(stopped).counters_repaired) == 2
    made.reconciler.repair(unread)
    pipeline.drain()
    assert [pipeline.batch(batch_id).status for batch_id in (unread, stopped)] == [BatchStatus.COMPLETED] * 2
    _miscount(pipeline, stopped)
    assert made.reconciler.repair(stopped, thorough=True).counters_repaired
    (marker,) = repository.markers(ChunkKey(stopped, 0))
    del pipeline.dynamodb.items[marker.chunk.pk, f"mark#{marker.version:06d}"]
    made.reconciler.repair(stopped, thorough=True)
    pipeline.drain()
    assert (pipeline.batch(stopped).status, pipeline.batch(stopped).attempt) == (BatchStatus.COMPLETED, 3)


def _miscount(pipeline: Pipeline, batch_id: str) -> None:
    """Break the counters of a chunk and of its batch."""
    pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]["failed"] = number(7)
    pipeline.dynamodb.items[f"batch#{batch_id}", "batch"]["failed"] = number(7)


def _unpack(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpack a file of one part, one of many in two tries, and one that is damaged after the second part."""
    monkeypatch.setattr(unpack, "PART_BYTES", 100)
    generator = random.Random(1)
    file = HEADER + b"".join(b"o%d,%d,2\n" % (row, generator.randrange(10**9)) for row in range(40))
    packed = gzip.compress(file, mtime=0)
    pipeline.upload("inbox/offices/small.csv.gz", gzip.compress(HEADER, mtime=0))
    pipeline.upload("inbox/offices/damaged.csv.gz", packed[:-20])
    pipeline.drain()
    whole = pipeline.upload("inbox/offices/whole.csv.gz", packed)
    parts = iter([Fault.NONE, Fault.NONE, Fault.KILLED_BEFORE])
    pipeline.faults = lambda operation: next(parts) if operation == "upload_part" else Fault.NONE
    assert not pipeline.deliver("upload")
    pipeline.drain()
    assert pipeline.batch(whole).counts == Counts(succeeded=40)


def _lose(pipeline: Pipeline) -> None:
    """Let messages die, an event be lost, and a heavy row be delivered twice."""
    documents = b"document_id,title,parts\n1,a," + b"|".join(b"p%d: x" % part for part in range(300)) + b"\n"
    pipeline.upload("inbox/documents/day.csv", documents)
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    assert pipeline.deliver("heavy", again=True)
    pipeline.deliver("heavy")
    pipeline.drain()
    batch = pipeline.upload("inbox/offices/dead.csv", HEADER + b"o1,1,2\n")
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        assert pipeline.deliver(step, most=1000)
    bodies = [pipeline.waiting("work").pop(), "no message"]
    arn = services.settings().queues["work-dlq"].arn
    unbegun = message_event(*bodies, arn=arn)
    assert app.dead_letters(unbegun, _Context())["batchItemFailures"]  # sent again, and no message is none
    letter = pipeline.waiting("work").pop()
    plant_deaths(pipeline.dynamodb, letter, message_id="message-0")
    assert app.dead_letters(message_event(letter, arn=arn), _Context()) == {"batchItemFailures": []}
    pipeline.drain()
    assert pipeline.batch(batch).counts == Counts(failed=1)
    made = services.Services.of(None)
    made.lost_uploads.sweep()
    pipeline.dynamodb.items["stage", "inbox"]["since"] = text(timestamp(LONG_AGO))
    lost = pipeline.upload("inbox/offices/lost.csv", HEADER + b"o1,1,2\n")
    pipeline.uploads.clear()
    pipeline.s3.modified["inbox/offices/lost.csv", "v1"] = made.lost_uploads.clock() - 2 * made.lost_uploads.patience
    made.lost_uploads.sweep()
    pipeline.drain()
    assert pipeline.batch(lost).counts == Counts(succeeded=1)
