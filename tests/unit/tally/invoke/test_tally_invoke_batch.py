"""Events of a real batch: every handler takes them at any time, and a dry run of them leaves everything as it is."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import jobs, services
from chalicelib.handlers import HANDLERS
from chalicelib.keys import Key, KeySource
from chalicelib.settings import Settings
from chalicelib.store.items import Outcome
from chalicelib.store.table import Table
from tally.batch.reader import Reader
from tally.errors import ExitCode, OperatorError
from tally.invoke import dry, handlers
from tally.invoke.events import check
from tally.invoke.redelivery import Built, Redelivery
from tally.invoke.runner import Ran, Runner
from tally.invoke.watched import CHANGES, Log
from tally.testing import environment
from tally.testing.environment import VARIABLES
from tally.testing.jobs import in_place
from tally.testing.pipeline import Pipeline
from tests.support.builders import RETRY
from tests.support.redriving import redrive

REPO = Path(__file__).parents[4]
KNOWN = handlers.every(REPO / "app")
PARTS = "|".join(f"p{part}: word" for part in range(251))
CONTENT = (
    "document_id,title,parts\n"
    "D0,Minutes,opening: all are here|vote: yes\n"
    f"D1,Year book,{PARTS}\n"
    "D2,,a: b\n"
    "D3,Torn,name: one|name: two\n"
    "D4,Letter,a: b\n"
    "D5,Letter,a: b\n"
).encode()
"""Two chunks of four rows at most; the first has a heavy row, one that is rejected and one that fails."""
COUNTS = {"succeeded": 4, "failed": 1, "rejected": 1}


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Return a stage that writes files of results, and saves those of documents by key."""
    environment.handlers()
    exporting = msgspec.structs.replace(services.settings(), export=True)
    monkeypatch.setattr(services, "settings", lambda: exporting)
    keyed = replace(jobs.require("documents"), key=Key(name="document_id", source=KeySource.ROW))
    with in_place(keyed):
        yield Pipeline(monkeypatch)


def redelivery(pipeline: Pipeline, *, again: bool = False) -> Redelivery:
    client: Any = pipeline.dynamodb
    return Redelivery(
        reader=Reader(dynamodb=client, table="tally-test"),
        table=Table(dynamodb=client, name="tally-test", retry=RETRY),
        settings=Settings.from_env(VARIABLES),
        again=again,
    )


def run(name: str, event: Any, client: Callable[[str], Any]) -> tuple[Ran, Log]:
    log = Log(lambda _: None)
    settings = Settings.from_env(VARIABLES)
    runner = Runner(app=REPO / "app", settings=settings, variables=VARIABLES, client=client, environ={})
    return runner.run(name, event, log), log


def built(pipeline: Pipeline, name: str, of: str, *, again: bool = False) -> Built | None:
    """Return the event of a batch for a handler, held to what the handler takes; None if it gets none now."""
    try:
        made = redelivery(pipeline, again=again).build(KNOWN[name], of)
    except OperatorError:
        return None
    check(KNOWN[name], made.event, KNOWN, "the event that was built")
    return made


def states(pipeline: Pipeline) -> Iterator[str]:
    """Take a batch to its end, a delivery at a time; yields its id after each, so often as a plain batch has any."""
    batch = pipeline.upload("inbox/documents/a.csv", CONTENT)
    for _ in range(60):
        if work := pipeline.work():
            pipeline.deliver(work[0], most=1)
            yield batch
    pipeline.drain()


def everything(pipeline: Pipeline) -> Any:
    """Return a copy of all that is there."""
    dynamodb = pipeline.dynamodb
    kept = dynamodb.items, dynamodb.results, dynamodb.stream, pipeline.sqs.bodies, pipeline.events.details
    return copy.deepcopy([*kept, pipeline.uploads, pipeline.s3.objects, pipeline.s3.uploads])


def ended(pipeline: Pipeline) -> str:
    """Take a batch to its end; returns its id."""
    batch = pipeline.upload("inbox/documents/a.csv", CONTENT)
    pipeline.drain()
    return batch


EVERY = sorted(set(HANDLERS) - {"reconcile"})


@pytest.mark.parametrize("name", EVERY)
def test_an_event_of_a_batch_is_taken_at_any_time_and_every_row_counts_once(name: str, pipeline: Pipeline) -> None:
    """Run for real after each delivery: what it is, a delivery that came twice, never changes what is counted."""
    taken = 0
    for batch in states(pipeline):
        made = built(pipeline, name, batch) if pipeline.has_batch(batch) else None
        if made and name != "dead_letters":
            ran, _ = run(name, made.event, pipeline.clients.__getitem__)
            assert not ran.error, ran.traceback
        taken += made is not None
        pipeline.expire_leases()
    counts = pipeline.batch(batch).counts
    assert taken > 1
    assert {outcome: getattr(counts, outcome) for outcome in COUNTS} == COUNTS
    assert len(pipeline.outcomes(batch)) == 6
    assert {detail["event_id"] for detail in pipeline.events.details} == {f"{batch}#1", f"{batch}#1#exported"}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_a_dry_run_changes_nothing_at_any_time(name: str, again: bool, pipeline: Pipeline) -> None:
    for batch in states(pipeline):
        made = built(pipeline, name, batch, again=again) if pipeline.has_batch(batch) else None
        if made:
            before = everything(pipeline)
            ran, _ = run(name, made.event, dry.clients(pipeline.clients.__getitem__, made.items))
            assert not ran.error, ran.traceback
            assert everything(pipeline) == before


@pytest.mark.parametrize("name", EVERY)
def test_a_dry_run_shows_what_a_real_run_then_does(name: str, pipeline: Pipeline) -> None:
    """The same calls in the same order, those too that the table refuses, at any time."""
    compared = 0
    for batch in states(pipeline):
        made = built(pipeline, name, batch) if pipeline.has_batch(batch) else None
        if made is None:
            continue
        _, shown = run(name, made.event, dry.clients(pipeline.clients.__getitem__, made.items))
        before = everything(pipeline)
        _, done = run(name, made.event, pipeline.clients.__getitem__)
        assert [(change.operation, change.refused) for change in shown.changes] == [
            (change.operation, change.refused) for change in done.changes
        ]
        compared += len(done.changes)
        _restore(pipeline, before)
    assert compared or name in {"finish", "plan"}  # what they did they do not do twice


def _restore(pipeline: Pipeline, kept: Any) -> None:
    items, results, stream, bodies, details, uploads, objects, parts = kept
    pipeline.dynamodb.items, pipeline.dynamodb.results = items, results
    pipeline.dynamodb.stream[:] = stream
    pipeline.dynamodb.tokens.clear()
    pipeline.sqs.bodies.clear()
    pipeline.sqs.bodies.update(bodies)
    pipeline.events.details[:] = details
    pipeline.uploads[:] = uploads
    pipeline.s3.objects, pipeline.s3.uploads = objects, parts


AGAIN = {
    "plan": ["put_item", "transact_write_items", "update_item"],
    "dispatch": ["send_message_batch"],
    "ingest": ["batch_write_item", "transact_write_items"],
    "process": ["update_item", "send_message_batch"],
    "process_heavy": ["put_item", "change_message_visibility", "send_message_batch", "put_item"],
    "finish": ["transact_write_items"],
    "export": ["put_object", "transact_write_items", "put_object", "put_events", "update_item", "send_message_batch"],
    "save": ["put_item", "put_item", "put_item", "put_item", "put_item", "update_item", "delete_item", "update_item"],
    "settle": ["transact_write_items"],
    "dead_letters": ["send_message_batch"],
}


@pytest.mark.parametrize("name", EVERY)
def test_again_shows_all_that_a_handler_did_to_a_batch_that_has_ended(name: str, pipeline: Pipeline) -> None:
    """Without it there is nothing left to do; with it the chunk is as it was, and no write is refused."""
    batch = ended(pipeline)
    made = built(pipeline, name, batch if name == "plan" else f"{batch}:0", again=True)
    assert made is not None
    assert made.idle == ""
    ran, log = run(name, made.event, dry.clients(pipeline.clients.__getitem__, made.items))
    assert not ran.error, ran.traceback
    assert [change.operation for change in log.changes if not change.refused] == AGAIN[name]


def test_process_again_gives_the_rows_the_outcomes_that_they_have(pipeline: Pipeline) -> None:
    """Row 1 is heavy and row 2 was rejected: neither is a matter of process."""
    batch = ended(pipeline)
    made = built(pipeline, "process", f"{batch}:0", again=True)
    assert made is not None
    _, log = run("process", made.event, dry.clients(pipeline.clients.__getitem__, made.items))
    sent = json.loads(log.changes[-1].request["Entries"][0]["MessageBody"])
    assert [(found["row"], found["outcome"]) for found in sent["outcomes"]] == [(0, "succeeded"), (3, "failed")]


def test_a_chunk_with_work_is_chosen_before_one_without(pipeline: Pipeline) -> None:
    batch = pipeline.upload("inbox/documents/a.csv", CONTENT)
    for what in ("upload", "dispatch"):
        assert pipeline.deliver(what)
    assert pipeline.deliver("ingest", most=1)
    made = built(pipeline, "ingest", batch)
    assert made is not None
    assert (made.about, made.idle) == (f"chunk 1 of {batch}", "")


def test_a_chunk_with_rows_to_be_read_again_is_a_matter_of_ingest(pipeline: Pipeline) -> None:
    """Of a rejected row that was redriven: the dry run shows what reading it again then does."""
    batch = ended(pipeline)
    assert redrive(pipeline, batch, outcome=Outcome.REJECTED) == 1
    before = everything(pipeline)
    made, letter = built(pipeline, "ingest", batch), built(pipeline, "dead_letters", batch)
    assert made is not None
    assert letter is not None
    assert (made.about, made.idle) == (f"chunk 0 of {batch}", "")
    assert letter.event["Records"][0]["eventSourceARN"].endswith("-ingest-dlq")
    _, shown = run("ingest", made.event, dry.clients(pipeline.clients.__getitem__, made.items))
    assert everything(pipeline) == before
    _, done = run("ingest", made.event, pipeline.clients.__getitem__)
    assert [change.operation for change in shown.changes] == [change.operation for change in done.changes] != []


def test_names_of_batches_may_be_short(pipeline: Pipeline) -> None:
    """The beginning, the end, ``@``; each with a chunk or without."""
    batch = ended(pipeline)
    for name in (batch, batch[:14], batch[-6:], "@"):
        for of in (name, f"{name}:1"):
            made = redelivery(pipeline).build(KNOWN["process"], of)
            assert made.about == f"chunk {of[-1] if ':' in of else 0} of {batch}"


WRONG = [
    ("process", "nothing-00112233445566778899", "No batch nothing-00112233445566778899 in tally-test"),
    ("process", "nothing", "No batch nothing in tally-test"),
    ("process", "@:7", "has no chunk 7, its chunks are 0 to 1"),
    ("process", "@:x", "write BATCH or BATCH:CHUNK, the chunk a number from 0"),
    ("process", "@:", "write BATCH or BATCH:CHUNK"),
    ("plan", "@:0", "leave :0 out of --of @:0"),
    ("reconcile", "@", "reconcile is not about one batch: leave --of out"),
    ("process_heavy", "@:1", "has no heavy row: `tally invoke process` is for the others"),
]


@pytest.mark.parametrize(("name", "of", "said"), WRONG)
def test_what_cannot_be_built_says_why_and_what_to_do(name: str, of: str, said: str, pipeline: Pipeline) -> None:
    ended(pipeline)
    with pytest.raises(OperatorError, match=re.escape(said)) as error:
        redelivery(pipeline).build(KNOWN[name], of)
    assert error.value.code is ExitCode.USAGE


def test_what_a_handler_does_not_get_yet_says_what_is_next(pipeline: Pipeline) -> None:
    batch = pipeline.upload("inbox/documents/a.csv", CONTENT)
    pipeline.drain_uploads()
    said = {
        "process": "is planned, its rows are not read yet: ingest is next",
        "settle": "is planned, its rows are not read yet: settle gets a chunk of which nothing remains",
        "finish": "finish has counted nothing of chunk 0",
        "export": "is running, and attempt 1 of it has no export",
        "save": "is running, and nothing of its attempt 1 is saved by key",
    }
    for name, why in said.items():
        with pytest.raises(OperatorError, match=re.escape(why)):
            redelivery(pipeline).build(KNOWN[name], batch)


def test_a_batch_that_was_rejected_has_no_chunk_and_says_why(pipeline: Pipeline) -> None:
    batch = pipeline.upload("inbox/documents/a.csv", b"nonsense\n1\n")
    pipeline.drain()
    with pytest.raises(OperatorError, match=f"{batch} has no chunk, it is rejected: .*nonsense"):
        redelivery(pipeline).build(KNOWN["process"], batch)


def test_a_dry_run_unpacks_a_gzip_file_into_memory_and_plans_it(pipeline: Pipeline) -> None:
    """It would store the chunks of the real plan."""
    import gzip  # noqa: PLC0415

    batch = pipeline.upload("inbox/documents/a.csv.gz", gzip.compress(CONTENT))
    pipeline.drain()
    made = built(pipeline, "plan", batch, again=True)
    assert made is not None
    before = everything(pipeline)
    ran, log = run("plan", made.event, dry.clients(pipeline.clients.__getitem__, made.items))
    assert not ran.error, ran.traceback
    assert everything(pipeline) == before
    stored = [change for change in log.changes if change.service == "s3"]
    assert [change.request["Body"] for change in stored] == [f"{len(CONTENT):,} bytes"]
    (chunks,) = [change for change in log.changes if change.operation == "transact_write_items"]
    assert len(chunks.request["TransactItems"]) == 2


def test_a_dry_run_of_too_large_an_object_ends_before_memory_does(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "MAX_KEPT_BYTES", 10)
    client = dry.clients(pipeline.clients.__getitem__)("s3")
    with pytest.raises(OperatorError, match="at most 10 bytes"):
        client.put_object(Bucket="b", Key="k", Body=b"x" * 11)


@pytest.mark.parametrize("service", ["dynamodb", "sqs", "events", "s3", "lambda"])
def test_a_dry_run_refuses_a_call_that_it_does_not_know(service: str, pipeline: Pipeline) -> None:
    """So that a new call of a handler cannot slip through."""
    client = dry.clients(pipeline.clients.__getitem__)(service)
    for operation in ("delete_object", "purge_queue", "put_something", "create_table"):
        with pytest.raises(OperatorError, match=f"cannot show the call {operation}"):
            getattr(client, operation)


def test_every_call_of_the_handlers_that_is_no_read_is_shown() -> None:
    """Found in the sources: a client's operation is called by its name."""
    names = r"dynamodb|sqs|events|s3|lambda_client\(\)"
    source = "\n".join(path.read_text("utf-8") for path in (REPO / "app" / "chalicelib").rglob("*.py"))
    called = set(re.findall(rf"(?:self\.|= )(?:{names})\.(\w+)", source))
    assert len(called) > 10
    shown = {operation for operations in CHANGES.values() for operation in operations}
    unknown = {operation for operation in called if not operation.startswith(dry._READS)} - shown
    assert unknown == set()
    assert shown <= called
