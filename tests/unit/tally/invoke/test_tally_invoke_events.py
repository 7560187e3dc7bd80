"""A wrong event, whatever is wrong with it, is an error that says what was expected, where, and what to do."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.handlers import HANDLERS
from tally.cli import run
from tally.errors import ExitCode, OperatorError
from tally.invoke import events, handlers
from tally.invoke.events import check

REPO = Path(__file__).parents[4]
KNOWN = handlers.every(REPO / "app")


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPO / KNOWN[name].sample).read_text("utf-8"))
    return found


def refused(name: str, event: Any) -> OperatorError:
    """Return the error of an event that a handler does not take, which ends with what it takes and a sample."""
    with pytest.raises(OperatorError) as error:
        check(KNOWN[name], event, KNOWN, "event.json")
    assert error.value.code is ExitCode.USAGE
    assert "event.json" in error.value.message
    assert error.value.hint == f"{name} takes {KNOWN[name].takes}; tests/events/{name}.json is one."
    return error.value


@pytest.mark.parametrize("name", HANDLERS)
def test_the_sample_of_a_handler_is_taken(name: str) -> None:
    check(KNOWN[name], sample(name), KNOWN, "event.json")


@pytest.mark.parametrize("other", HANDLERS)
@pytest.mark.parametrize("name", HANDLERS)
def test_the_sample_of_another_handler_is_refused_with_its_name(name: str, other: str) -> None:
    """Also where the two read the same stream, or bodies that both could decode."""
    if name == other:
        return
    error = refused(name, sample(other))
    assert other in error.message


@pytest.mark.parametrize("wrong", [None, [], "text", 1, True, {}, {"Records": []}, {"Records": [1]}, {"Records": {}}])
@pytest.mark.parametrize("name", HANDLERS)
def test_what_is_no_event_at_all_is_refused(name: str, wrong: Any) -> None:
    refused(name, wrong)


PLACES = [
    ("plan", ("Records", 0, "s3"), "missing required field `s3`"),
    ("plan", ("Records", 0, "s3", "object", "key"), "missing required field `key` - at `Records[0].s3.object`"),
    ("plan", ("Records", 0, "s3", "bucket", "name"), "missing required field `name` - at `Records[0].s3.bucket`"),
    ("process", ("Records", 0, "body"), "missing required field `body` - at `Records[0]`"),
    ("process", ("Records", 0, "messageId"), "missing required field `messageId`"),
    ("finish", ("Records", 0, "eventSourceARN"), "missing required field `eventSourceARN`"),
    ("dispatch", ("Records", 0, "dynamodb"), "missing required field `dynamodb`"),
    ("dispatch", ("Records", 0, "dynamodb", "NewImage"), "keep from dispatch"),
    ("dispatch", ("Records", 0, "dynamodb", "NewImage", "first_line"), "Records[0].dynamodb.NewImage lacks first_line"),
    ("settle", ("Records", 1, "dynamodb", "NewImage", "header"), "Records[1].dynamodb.NewImage lacks header"),
    ("settle", ("Records", 0, "dynamodb", "NewImage", "remaining"), "keep from settle"),
    ("reconcile", ("detail-type",), "missing required field `detail-type`"),
    ("reconcile", ("resources",), "missing required field `resources`"),
]


@pytest.mark.parametrize(("name", "place", "said"), PLACES)
def test_a_missing_key_is_named_with_its_place(name: str, place: tuple[Any, ...], said: str) -> None:
    event = sample(name)
    inner: Any = event
    for step in place[:-1]:
        inner = inner[step]
    del inner[place[-1]]
    assert said in refused(name, event).message


@pytest.mark.parametrize("name", ["ingest", "process", "process_heavy", "finish", "dead_letters"])
@pytest.mark.parametrize("key", ["batch", "chunk"])
def test_a_key_that_is_missing_in_a_body_is_named_with_what_a_body_has(name: str, key: str) -> None:
    event = sample(name)
    body = json.loads(event["Records"][0]["body"])
    del body[key]
    event["Records"][0]["body"] = json.dumps(body)
    error = refused(name, event)
    assert f"Records[0].body is not a {_kind(name)}: Object missing required field `{key}`" in error.message
    assert f"a {_kind(name)} has batch, chunk" in error.message


def _kind(name: str) -> str:
    return {"ingest": "ChunkMessage", "finish": "FinishedMessage"}.get(name, "WorkMessage")


BODIES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("process", lambda _: "{", "is not a WorkMessage"),
    ("process", lambda body: body | {"chunk": "0"}, "Expected `int`, got `str` - at `chunk`"),
    ("process", lambda body: body | {"outcomes": []}, "it has outcomes"),
    ("process_heavy", lambda body: body | {"rows": [1, 2]}, "a heavy message names one row"),
    ("process_heavy", lambda body: {name: body[name] for name in ("batch", "chunk", "generation")}, "names one row"),
    ("finish", lambda body: body | {"outcomes": [{"row": 0}]}, "missing required field `outcome` - at `outcomes[0]`"),
]


@pytest.mark.parametrize(("name", "changed", "said"), BODIES)
def test_a_body_that_is_no_message_of_the_queue_is_refused(name: str, changed: Any, said: str) -> None:
    event = sample(name)
    body = changed(json.loads(event["Records"][0]["body"]))
    event["Records"][0]["body"] = body if isinstance(body, str) else json.dumps(body)
    assert said in refused(name, event).message


def test_a_letter_of_a_plan_without_its_event_is_refused() -> None:
    event = sample("dead_letters")
    event["Records"][0]["eventSourceARN"] = "arn:aws:sqs:us-east-1:1:tally-dev-plan-failures"
    assert "requestPayload is no S3 event" in refused("dead_letters", event).message


def test_an_object_outside_the_inbox_is_no_upload() -> None:
    for key in ("archive/a.csv", "inbox/a.csv"):
        event = sample("plan")
        event["Records"][0]["s3"]["object"]["key"] = key
        assert f"Records[0].s3.object.key is '{key}', and an upload is inbox/JOB/FILE" in refused("plan", event).message


def test_a_receive_count_that_is_no_number_is_refused() -> None:
    event = sample("process")
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "many"
    assert "ApproximateReceiveCount is 'many', not a number" in refused("process", event).message


def test_a_queue_with_a_name_of_its_own_is_taken_at_its_word() -> None:
    """A stage may use queues that were made elsewhere (existing_queues)."""
    event = sample("process")
    event["Records"][0]["eventSourceARN"] = "arn:aws:sqs:us-east-1:1:someones-queue"
    check(KNOWN["process"], event, KNOWN, "event.json")


def test_an_image_in_a_state_that_is_none_is_refused() -> None:
    event = copy.deepcopy(sample("settle"))
    event["Records"][1]["dynamodb"]["NewImage"]["status"]["S"] = "asleep"
    assert "'asleep' is not a valid BatchStatus" in refused("settle", event).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON: line 1, column 1"),
        (b'{\n "Records": [}', "is not JSON: line 2, column 14"),
        (b"\xff\xfe{\x00}\x00", "is no text in UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_not_json_is_named_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "event.json").write_bytes(content)
    with pytest.raises(OperatorError) as error:
        events.read(tmp_path / "event.json")
    assert f"{tmp_path / 'event.json'} {said}" in error.value.message
    assert error.value.code is ExitCode.USAGE


def test_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "event.json").write_bytes(b"\xef\xbb\xbf{}")
    assert events.read(tmp_path / "event.json") == {}


COMMANDS = [
    (["nonsense"], "app/app.py has no handler 'nonsense', it has plan, dispatch, ingest", "`tally invoke` says what"),
    (["process", "none.json"], "does not exist", "--help"),
    (["process", "README.md"], "README.md is not JSON: line 1, column 1", "as in tests/events"),
    (["process", "tests/events/finish.json"], "is not an event for process, it is one for finish", "process takes"),
    (["process", "tests/events/process.json", "--of", "b"], "both name an event: give one of them", ""),
    (["process", "--again"], "--again needs --of and --dry-run", "tally redrive"),
]


@pytest.mark.parametrize(("arguments", "said", "hint"), COMMANDS)
def test_a_wrong_command_says_what_to_do(
    arguments: list[str], said: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr for people, as JSON for programs."""
    monkeypatch.chdir(REPO)
    assert run(["invoke", *arguments, "--json"]) is ExitCode.USAGE
    told = capsys.readouterr()
    shown = json.loads(told.out)
    assert said in shown["error"]
    assert hint in shown["hint"]
    assert said in " ".join(told.err.split())


def test_rows_that_the_sample_does_not_have_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("process")
    body = json.loads(event["Records"][0]["body"]) | {"rows": [3, 700]}
    event["Records"][0]["body"] = json.dumps(body)
    (tmp_path / "event.json").write_text(json.dumps(event))
    monkeypatch.chdir(REPO)
    assert run(["invoke", "process", str(tmp_path / "event.json")]) is ExitCode.USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"names row 700, and tests/events/transactions.csv has the rows 0 to 9: put more rows", said)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (
            "weather-00112233445566778899",
            "of the job 'weather', and this checkout has documents, offices, transactions",
        ),
        ("b", "of the job '', and this checkout has"),
    ],
)
def test_a_batch_of_a_job_that_is_not_here_is_told(
    batch: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("ingest")
    event["Records"][0]["body"] = json.dumps({"batch": batch, "chunk": 0})
    (tmp_path / "event.json").write_text(json.dumps(event))
    monkeypatch.chdir(REPO)
    assert run(["invoke", "ingest", str(tmp_path / "event.json")]) is ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())
