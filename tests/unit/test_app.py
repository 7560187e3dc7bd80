"""The handlers: each on its own source, thin, and cheap to import."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import app
from chalicelib import handlers, services
from chalicelib.errors import UnknownOutcomeError
from chalicelib.steps.run import Processed, Run
from chalicelib.store.batch import BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.items import Counts, number, text, timestamp
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode, encode
from tally.testing.faults import Fault, Killed
from tally.testing.memory_aws import LONG_AGO
from tally.testing.pipeline import Pipeline
from tests.support.builders import killed, message_event, plant_deaths

APP = Path(app.__file__).parent
EVENTS = Path(__file__).parents[1] / "events"
FILE = b"office_id,user_count,contract_count\n" + b"".join(b"o%d,1,2\n" % row for row in range(6)) + b"bad,x,1\n"
ARN = "arn:aws:sqs:us-east-1:000000000000:tally-test-"
READY = ("upload", "dispatch", "ingest", "dispatch")
"""The deliveries until each chunk, of four and three rows, waits to be processed."""
COUNTED = (*READY, "work", "work", "finished")
HEAVY = {
    "boto3",
    "s3transfer",
    "urllib3",
    "ssl",
    "asyncio",
    "aws_xray_sdk",
    "pydantic",
    "cryptography",
    "xml",
    "unittest",
}
HEAVY_UTILITIES = tuple(
    f"aws_lambda_powertools.utilities.{name}"
    for name in ("batch", "data_classes", "idempotency", "parser", "validation")
)
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/tally-test/stream/1"


class Context:
    """Lambda's context of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory, one upload waiting."""
    made = Pipeline(monkeypatch)
    made.upload("inbox/offices/day.csv", FILE)
    return made


def _records(pipeline: Pipeline, queue: str, *others: str) -> dict[str, Any]:
    bodies = [*others, *pipeline.waiting(queue)]
    arn = services.settings().queues[queue].arn
    return {
        "Records": [
            {"messageId": f"m{position}", "body": body, "eventSourceARN": arn} for position, body in enumerate(bodies)
        ]
    }


def _until(pipeline: Pipeline, *steps: str) -> None:
    for step in steps:
        assert pipeline.deliver(step, most=1000)


def test_each_handler_has_its_own_source() -> None:
    """A queue on the wrong function would refuse every message of it."""
    sources = {source.handler_string: vars(source) for source in app.app.event_sources}
    assert {name: source.get("queue_arn") or source.get("stream_arn") for name, source in sources.items()} == {
        "app.plan": None,
        "app.dispatch": STREAM,
        "app.ingest": f"{ARN}ingest",
        "app.process": f"{ARN}work",
        "app.process_heavy": f"{ARN}heavy",
        "app.dead_letters": f"{ARN}work-dlq",
        "app.reconcile": None,
        "app.finish": f"{ARN}finished",
        "app.export": f"{ARN}export",
        "app.save": f"{ARN}save",
        "app.settle": STREAM,
    }
    assert (sources["app.plan"]["bucket"], sources["app.plan"]["prefix"]) == ("inbox", "inbox/")
    assert sources["app.plan"]["events"] == ["s3:ObjectCreated:*"]


def test_streams_are_read_from_their_beginning() -> None:
    """The default, LATEST, misses what is written before the mapping is there."""
    streams = [vars(source) for source in app.app.event_sources if hasattr(source, "stream_arn")]
    assert [stream["starting_position"] for stream in streams] == ["TRIM_HORIZON"] * 2


def test_triggers_are_those_of_the_settings() -> None:
    """A deploy would set them back to Chalice's defaults otherwise."""
    queues = [source for source in map(vars, app.app.event_sources) if "batch_size" in source]
    assert len(queues) == 9
    assert {source["batch_size"] for source in queues} == {10}
    assert {source["maximum_batching_window_in_seconds"] for source in queues} == {0}


def test_plan_makes_the_batch_of_an_upload(pipeline: Pipeline) -> None:
    """S3 event in, batch and chunks out."""
    _until(pipeline, "upload")
    ((batch, _),) = [key for key in pipeline.dynamodb.items if key[1] == "batch"]
    assert len(pipeline.chunks(batch.removeprefix("batch#"))) == 2


def test_dispatch_sends_chunks_to_be_read_and_then_to_be_processed(pipeline: Pipeline) -> None:
    """Stream in, messages out: first one to read each chunk, then, when its rows are there, one to process it."""
    _until(pipeline, "upload", "dispatch")
    assert (len(pipeline.waiting("ingest")), len(pipeline.waiting("work"))) == (2, 0)
    _until(pipeline, "ingest")
    assert (len(pipeline.waiting("ingest")), len(pipeline.waiting("work"))) == (0, 0)
    _until(pipeline, "dispatch")
    assert [decode(body, WorkMessage).rows for body in pipeline.waiting("work")] == [None, None]


def test_process_hands_the_outcomes_of_a_message_on_together(pipeline: Pipeline) -> None:
    """A chunk's rows become one message of outcomes, acknowledged when that is durable."""
    _until(pipeline, *READY, "work")
    (body,) = pipeline.waiting("finished")
    assert [found.row for found in decode(body, FinishedMessage).outcomes] == [0, 1, 2, 3]
    assert len(pipeline.waiting("work")) == 1


def _die(_: Run, __: RowBits) -> Processed:
    raise Killed


def test_process_takes_a_message_apart_that_lambda_says_comes_again(pipeline: Pipeline) -> None:
    """Its id and receive count reach the processor: that it came before is no proof, but that its worker died."""
    _until(pipeline, *READY)
    event = _records(pipeline, "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "over", _die)
        assert killed(lambda: app.process(event, Context()))
    event["Records"] = [{**event["Records"][0], "attributes": {"ApproximateReceiveCount": "2"}}]
    app.process(event, Context())
    assert not pipeline.waiting("finished")
    assert [decode(body, WorkMessage).rows for body in pipeline.waiting("work")[2:]] == [[0, 1], [2, 3]]


def _heavy(pipeline: Pipeline) -> str:
    """Return a message for the first row of the first chunk, as if it were heavy."""
    work = decode(pipeline.waiting("work")[0], WorkMessage)
    return encode(msgspec.structs.replace(work, rows=[0]))


def test_process_heavy_runs_a_row_from_its_own_queue(pipeline: Pipeline) -> None:
    """Leased until it is counted, its message put off by the heartbeat."""
    _until(pipeline, *READY)
    answer = app.process_heavy(_records(pipeline, "heavy", _heavy(pipeline)), Context())
    assert answer == {"batchItemFailures": []}
    (body,) = pipeline.waiting("finished")
    assert [found.row for found in decode(body, FinishedMessage).outcomes] == [0]
    assert [sk for _, sk in pipeline.dynamodb.items if sk.startswith("lease#")] == ["lease#000000"]


def test_process_heavy_puts_a_row_back_that_somebody_works_on(pipeline: Pipeline) -> None:
    """The mapping reports partial batches, so the message is put back by its name: nothing went wrong."""
    _until(pipeline, *READY)
    app.process_heavy(_records(pipeline, "heavy", _heavy(pipeline)), Context())
    answer = app.process_heavy(_records(pipeline, "heavy", _heavy(pipeline)), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def _letters(queue: str, *bodies: str) -> dict[str, Any]:
    return message_event(*bodies, arn=f"{ARN}{queue}")


def test_the_handler_tells_queues_apart_by_the_arn_that_the_letters_come_from(pipeline: Pipeline) -> None:
    """One function for all dead-letter queues: Chalice declares one mapping, Terraform adds the others."""
    _until(pipeline, "upload", "dispatch")
    letter = pipeline.waiting("ingest").pop(0)
    plant_deaths(pipeline.dynamodb, letter, message_id="message-0")
    assert app.dead_letters(_letters("ingest-dlq", letter), Context()) == {"batchItemFailures": []}
    assert pipeline.waiting("dead-letters") == [letter]
    pipeline.drain()
    ((pk, _),) = [key for key in pipeline.dynamodb.items if key[1] == "batch"]
    assert pipeline.batch(pk.removeprefix("batch#")).counts == Counts(succeeded=2, failed=4, rejected=1)


def test_the_handler_leaves_what_cannot_be_mapped_in_its_queue(pipeline: Pipeline) -> None:
    """The others of its delivery are dealt with."""
    _until(pipeline, *READY)
    letter = encode(msgspec.structs.replace(decode(pipeline.waiting("work").pop(), WorkMessage), rows=[0]))
    plant_deaths(pipeline.dynamodb, letter, message_id="message-1")
    answer = app.dead_letters(_letters("work-dlq", "not JSON", letter), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert pipeline.waiting("dead-letters") == [letter]


def test_a_plan_that_failed_waits_in_its_queue_and_is_asked_for_again(pipeline: Pipeline) -> None:
    """Until it is due the message is put back, which is no error of the function."""
    failure = _letters("plan-failures", json.dumps({"requestPayload": pipeline.uploads.pop()}))
    assert app.dead_letters(failure, Context()) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    ((pk, sk),) = pipeline.dynamodb.items
    assert sk == "plan#message-0"
    pipeline.dynamodb.items[pk, sk]["noted_at"] = text(timestamp(LONG_AGO))
    assert app.dead_letters(failure, Context()) == {"batchItemFailures": []}
    pipeline.drain()
    assert pipeline.batch(pk.removeprefix("batch#")).status is BatchStatus.COMPLETED_WITH_FAILURES


TICK = {
    **dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), "x"),
    "detail": {},
    "resources": [],
}


def test_reconcile_plans_an_upload_whose_event_was_lost(pipeline: Pipeline) -> None:
    """On its schedule, if it came after the first run."""
    (place,) = pipeline.s3.objects
    pipeline.uploads.clear()
    pipeline.s3.modified[place] = datetime.now(UTC) - timedelta(minutes=10)
    app.reconcile(TICK, Context())
    assert not pipeline.uploads
    pipeline.dynamodb.items["stage", "inbox"]["since"] = text(timestamp(LONG_AGO))
    app.reconcile(TICK, Context())
    assert len(pipeline.uploads) == 1


def test_an_inbox_that_cannot_be_listed_keeps_no_batch_from_being_repaired(pipeline: Pipeline) -> None:
    """And is an error of the function, which alarms."""
    _until(pipeline, "upload", "dispatch")
    pipeline.faults = lambda operation: Fault.ERROR_BEFORE if operation == "list_object_versions" else Fault.NONE
    with pytest.raises(UnknownOutcomeError):
        app.reconcile(TICK, Context())
    assert "watch" in {sk for _, sk in pipeline.dynamodb.items}


def test_reconcile_repairs_what_stands_still_and_leaves_the_rest(pipeline: Pipeline) -> None:
    """On its schedule: the first run looks, a later one, when patience is over, sends again what was lost."""
    _until(pipeline, "upload", "dispatch")
    pipeline.waiting("ingest").clear()
    app.reconcile(TICK, Context())
    assert not pipeline.waiting("ingest")
    ((pk, _),) = [key for key in pipeline.dynamodb.items if key[1] == "batch"]
    watch = pipeline.dynamodb.items[pk, "watch"]
    watch["since"] = number(int(watch["since"]["N"]) - 5 * 60)
    app.reconcile(TICK, Context())
    assert len(pipeline.waiting("ingest")) == 2
    pipeline.drain()
    assert pipeline.batch(pk.removeprefix("batch#")).status is BatchStatus.COMPLETED_WITH_FAILURES


def test_finish_counts_and_settle_ends_the_batch(pipeline: Pipeline) -> None:
    """The last two steps, and the event."""
    _until(pipeline, *COUNTED)
    ((pk, _),) = [key for key in pipeline.dynamodb.items if key[1] == "batch"]
    batch = pk.removeprefix("batch#")
    assert len(pipeline.outcomes(batch)) == 7
    assert pipeline.batch(batch).status is BatchStatus.RUNNING
    _until(pipeline, "settle", "settle", "settle")
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED_WITH_FAILURES
    assert pipeline.batch(batch).counts == Counts(succeeded=6, rejected=1)
    assert [detail["batch_id"] for detail in pipeline.events.details] == [batch]


@pytest.mark.parametrize(
    ("queue", "steps"),
    [
        ("ingest", ["upload", "dispatch"]),
        ("work", READY),
        ("heavy", READY),
        ("finished", [*READY, "work"]),
    ],
)
def test_a_message_that_is_none_fails_alone(pipeline: Pipeline, queue: str, steps: list[str]) -> None:
    """The others of its delivery are done, so that what they asked for is there."""
    _until(pipeline, *steps)
    handler = {"ingest": app.ingest, "work": app.process, "heavy": app.process_heavy, "finished": app.finish}[queue]
    if queue == "heavy":
        pipeline.waiting("heavy").append(_heavy(pipeline))
    before = len(pipeline.dynamodb.stream) + len(pipeline.waiting("finished"))
    answer = handler(_records(pipeline, queue, "not JSON"), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert len(pipeline.dynamodb.stream) + len(pipeline.waiting("finished")) > before


def test_outcomes_that_cannot_be_sent_fail_their_message_and_no_others(pipeline: Pipeline) -> None:
    """The outcomes of the others are in the queue; only their messages are deleted."""
    _until(pipeline, *READY)
    event = _records(pipeline, "work")
    calls: list[str] = []

    def first_send_fails(operation: str) -> Fault:
        calls.append(operation)
        fails = operation == "send_message_batch" and calls.count(operation) <= 8
        return Fault.ERROR_BEFORE if fails else Fault.NONE

    pipeline.faults = first_send_fails
    answer = app.process(event, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    (body,) = pipeline.waiting("finished")
    assert decode(body, FinishedMessage).chunk == decode(event["Records"][1]["body"], WorkMessage).chunk == 1


def test_a_mapping_that_does_not_report_gets_all_messages_again(pipeline: Pipeline) -> None:
    """Before Terraform has adopted it, a partial answer would lose messages."""
    pipeline.lambda_.reports = False
    _until(pipeline, "upload", "dispatch")
    pipeline.waiting("ingest").append("not JSON")
    assert not pipeline.deliver("ingest")
    assert len(pipeline.waiting("ingest")) == 3


@pytest.mark.parametrize(("name", "steps"), [("dispatch", READY), ("settle", COUNTED)])
def test_a_stream_handler_that_cannot_do_its_work_raises(pipeline: Pipeline, name: str, steps: tuple[str, ...]) -> None:
    """Its position stays: what returned would be lost."""
    _until(pipeline, *steps)
    pipeline.positions[name] = 0
    pipeline.faults = lambda _: Fault.ERROR_BEFORE
    assert not pipeline.deliver(name, most=1000)
    assert pipeline.positions[name] == 0


def test_an_event_with_several_uploads_plans_each(pipeline: Pipeline) -> None:
    """Chalice shows the first record only."""
    pipeline.upload("inbox/offices/other.csv", FILE)
    event = {"Records": [record for upload in pipeline.uploads for record in upload["Records"]]}
    app.plan(event, Context())
    assert len([key for key in pipeline.dynamodb.items if key[1] == "batch"]) == 2


def test_an_invocation_keeps_time_to_answer() -> None:
    """A function that is killed while it waits to try again answers for none of its messages."""
    assert services.Services.of(Context()).retry.remaining_seconds() == 58.0


def test_the_functions_own_name_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda says it in the environment."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally-test-finish")
    assert services.Services.of(Context()).partial_batch_response.function_name == "tally-test-finish"


def test_clients_say_their_retries_and_timeouts() -> None:
    """The SDK's own defaults changed in 2026, and its quota runs out under sustained 500s."""
    made = services.Services.of(Context()).client("sqs")
    assert made.meta.config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert (made.meta.config.connect_timeout, made.meta.config.read_timeout) == (2, 10)
    assert services.Services.of(Context()).client("sqs") is made


def test_app_py_stays_thin() -> None:
    """Decode, call, encode."""
    assert len((APP / "app.py").read_text(encoding="utf-8").splitlines()) < 180


def test_the_library_imports_no_chalice() -> None:
    """It runs wherever Python does."""
    program = "import sys, chalicelib.services; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    assert "'chalice'" not in _in_a_new_interpreter(program)


def test_importing_app_loads_neither_the_sdk_nor_a_job() -> None:
    """Every deploy pays for imports; a job that cannot be imported must not break the others."""
    program = "import sys, app; print(*sys.modules, sep='\\n')"
    loaded = _in_a_new_interpreter(program).split()
    assert "chalicelib.jobs" in loaded
    assert [name for name in loaded if name.startswith("chalicelib.jobs.")] == []
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []
    sdk = {name for name in loaded if name.startswith("botocore.") and "vendored" not in name}
    assert sdk <= {"botocore.compat", "botocore.exceptions"}
    assert not any(name.startswith(HEAVY_UTILITIES) for name in loaded)


def test_a_function_has_its_clients_before_its_first_event() -> None:
    """Loading the SDK takes longer than all of a handler's own imports, and in INIT it has a whole vCPU."""
    program = (
        "import app; from chalicelib.clients import client; made = client.cache_info().currsize;"
        "client('dynamodb'); client('events'); client('sqs'); print(made, client.cache_info().misses)"
    )
    function = {"AWS_LAMBDA_FUNCTION_NAME": "tally-test-settle"}
    assert _in_a_new_interpreter(program, **function).split() == ["3", "3"]


def test_no_function_is_left_without_its_clients() -> None:
    """Each handler of app.py is a function, and has the table or a queue to talk to."""
    for source in app.app.event_sources:
        made: list[str] = []
        function = source.handler_string.removeprefix("app.")
        handlers.prepare({"AWS_LAMBDA_FUNCTION_NAME": f"tally-test-{function}"}, client=made.append)
        assert {"dynamodb", "sqs"} & set(made), function


def test_importing_app_without_settings_says_how_to_get_them() -> None:
    """This is what somebody sees who deploys with a wrong --stage."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    failed = subprocess.run([sys.executable, "-c", "import app"], cwd=APP, env=bare, capture_output=True, check=False)
    assert failed.returncode == 1
    assert b"SettingsError: TALLY_STAGE, TALLY_TABLE, " in failed.stderr


def _in_a_new_interpreter(program: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=APP, env=os.environ | environ, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("queue", "steps", "kind"),
    [
        ("ingest", ["upload", "dispatch"], ChunkMessage),
        ("work", READY, WorkMessage),
        ("finished", [*READY, "work"], FinishedMessage),
    ],
)
def test_what_one_function_sends_is_what_the_next_one_reads(
    pipeline: Pipeline, queue: str, steps: list[str], kind: type[msgspec.Struct]
) -> None:
    """The two ends of a queue agree, byte by byte."""
    _until(pipeline, *steps)
    for body in pipeline.waiting(queue):
        assert encode(decode(body, kind)) == body


@pytest.mark.parametrize(
    ("name", "kind"), [("ingest", ChunkMessage), ("process", WorkMessage), ("finish", FinishedMessage)]
)
def test_sample_events_are_of_this_version(name: str, kind: type[msgspec.Struct]) -> None:
    """They are what one invokes a function with by hand."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    for record in event["Records"]:
        assert encode(decode(record["body"], kind)) == record["body"]
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
