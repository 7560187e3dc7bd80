"""Running a handler here: the sample of each shows something, touches no stage, and is what the pipeline would send."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chalicelib.handlers import HANDLERS
from tally.cli import run
from tally.commands import options
from tally.errors import ExitCode
from tally.invoke.runner import FakeContext
from tests.support.builders import deployed_job

REPO = Path(__file__).parents[4]
EVENTS = REPO / "tests" / "events"

Invoke = Callable[..., tuple[ExitCode, dict[str, Any]]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run the command with ``--json``; to look for a stage fails the test."""
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: pytest.fail("a stage was looked for"))

    def invoked(*arguments: str) -> tuple[ExitCode, dict[str, Any]]:
        code = run(["invoke", *arguments, "--json"])
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, shown

    return invoked


def calls(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the service and operation of each change."""
    return [(change["service"], change["operation"]) for change in shown["changes"]]


SHOWN = {
    "plan": [("dynamodb", "put_item"), ("dynamodb", "transact_write_items"), ("dynamodb", "update_item")],
    "dispatch": [("sqs", "send_message_batch")] * 2,
    "ingest": [("dynamodb", "batch_write_item"), ("dynamodb", "transact_write_items")],
    "process": [("dynamodb", "update_item"), ("sqs", "send_message_batch")],
    "process_heavy": [
        ("dynamodb", "put_item"),
        ("sqs", "change_message_visibility"),
        ("sqs", "send_message_batch"),
        ("dynamodb", "put_item"),
    ],
    "finish": [("dynamodb", "transact_write_items")],
    "export": [("s3", "put_object"), ("dynamodb", "transact_write_items")] * 2
    + [("s3", "put_object"), ("events", "put_events"), ("dynamodb", "update_item")],
    "save": [("dynamodb", "put_item")] * 10
    + [("dynamodb", "update_item"), ("dynamodb", "delete_item"), ("dynamodb", "update_item")],
    "dead_letters": [("dynamodb", "transact_write_items"), ("sqs", "send_message")],
    "settle": [("dynamodb", "transact_write_items"), ("events", "put_events"), ("dynamodb", "update_item")],
    "reconcile": [
        ("lambda", "invoke"),
        ("dynamodb", "put_item"),
        ("dynamodb", "put_item"),
        ("sqs", "send_message_batch"),
    ],
}
"""The changes that each handler makes on its sample."""


@pytest.mark.parametrize("name", HANDLERS)
def test_the_sample_of_every_handler_shows_what_it_is_for(name: str, invoke: Invoke) -> None:
    """Without an event it is its own sample, and no stage is looked for."""
    code, shown = invoke(name)
    assert code is ExitCode.OK
    assert (shown["stage"], shown["error"], shown["handler"]) == (None, "", name)
    assert calls(shown) == SHOWN[name]
    assert not [change for change in shown["changes"] if change["refused"]]
    assert shown["logs"], "it logs what it did"


def test_a_variable_that_names_a_stage_does_not_bring_a_sample_to_it(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``TALLY_STAGE`` is set for every command of a shell: only --stage of this one counts."""
    monkeypatch.setenv("TALLY_STAGE", "prod")
    code, shown = invoke("finish", "tests/events/finish.json")
    assert (code, shown["stage"]) == (ExitCode.OK, None)


@pytest.mark.parametrize("name", HANDLERS)
def test_a_dry_run_of_a_sample_shows_the_same(name: str, invoke: Invoke) -> None:
    assert calls(invoke(name, "--dry-run")[1]) == SHOWN[name]


def test_an_event_of_another_batch_and_chunk_of_any_job_gets_a_batch_that_fits(invoke: Invoke, tmp_path: Path) -> None:
    """The batch, its chunk and its generation are those of the event; the rows are samples of its job."""
    event = json.loads((EVENTS / "process.json").read_text("utf-8"))
    body = {"batch": "offices-00112233445566778899", "chunk": 7, "generation": 4}
    event["Records"][0]["body"] = json.dumps(body)
    (tmp_path / "event.json").write_text(json.dumps(event))
    code, shown = invoke("process", str(tmp_path / "event.json"))
    (sent,) = [json.loads(change["request"]["Entries"][0]["MessageBody"]) for change in shown["changes"][-1:]]
    assert code is ExitCode.OK
    assert {name: sent[name] for name in body} == body
    assert [outcome["result"]["office_id"] for outcome in sent["outcomes"]] == ["berlin", "porto"]


def test_a_body_in_the_queue_of_failed_plans_gets_its_object(invoke: Invoke, tmp_path: Path) -> None:
    """The first failure of an upload waits; that is what the handler answers."""
    event = json.loads((EVENTS / "dead_letters.json").read_text("utf-8"))
    upload = json.loads((EVENTS / "plan.json").read_text("utf-8"))
    record = event["Records"][0]
    record["body"] = json.dumps({"requestPayload": upload})
    record["eventSourceARN"] = record["eventSourceARN"].replace("work-dlq", "plan-failures")
    (tmp_path / "event.json").write_text(json.dumps(event))
    code, shown = invoke("dead_letters", str(tmp_path / "event.json"))
    assert calls(shown) == [("dynamodb", "put_item")]
    assert (code, shown["answer"]) == (ExitCode.OK, {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]})


def test_an_upload_without_versions_is_read_by_its_etag(invoke: Invoke, tmp_path: Path) -> None:
    """As Chalice's own generator of events makes it; the key is encoded, as in a letter of plan-failures."""
    event = json.loads((EVENTS / "plan.json").read_text("utf-8"))
    event["Records"][0]["s3"]["object"]["key"] = "inbox%2Ftransactions%2Fmarch+2026.csv"
    del event["Records"][0]["s3"]["object"]["versionId"]
    event["Records"][0]["s3"]["object"]["size"] = 0
    (tmp_path / "event.json").write_text(json.dumps(event))
    assert calls(invoke("plan", str(tmp_path / "event.json"))[1]) == SHOWN["plan"]


def test_the_events_of_the_samples_are_one_story() -> None:
    """Each handler gets the result of the one before: plan, ingest, process, finish and settle are of one batch."""
    bodies = {name: _body(name) for name in ("ingest", "process", "finish", "dead_letters")}
    assert len({body["batch"] for body in bodies.values()}) == 1
    assert [outcome["row"] for outcome in bodies["finish"]["outcomes"]] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    size = json.loads((EVENTS / "plan.json").read_text("utf-8"))["Records"][0]["s3"]["object"]["size"]
    assert size == (EVENTS / "transactions.csv").stat().st_size


def _body(name: str) -> dict[str, Any]:
    record = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))["Records"][0]
    body: dict[str, Any] = json.loads(record["body"])
    return body


def test_a_job_that_is_none_is_named_before_anything_runs(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The module has no function ``process``; the event is of a batch of it."""
    broken = "from chalicelib import rows\nclass Row(rows.Row):\n    a: int\nprocess = 1\n"
    with sampled_job(monkeypatch, tmp_path, broken):
        code, shown = invoke("ingest", str(event_of_torn(tmp_path, "ingest")))
    assert code is ExitCode.USAGE
    assert "torn.py must define Row" in shown["error"]


def test_what_a_handler_raises_is_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All messages of the event failed, so the handler raises: exit 1, the reason as JSON, the traceback on stderr."""
    job = "from chalicelib import rows\nclass Row(rows.Row):\n    a: int\ndef process(row):\n    return row.a\n"
    monkeypatch.setattr("chalicelib.steps.process.Processor.load", lambda *_: 1 / 0)
    with sampled_job(monkeypatch, tmp_path, job):
        code = run(["invoke", "process", str(event_of_torn(tmp_path, "process")), "--json"])
    told = capsys.readouterr()
    shown = json.loads(told.out)
    assert (code, shown["answer"], shown["error"]) == (
        ExitCode.NOT_AS_HOPED,
        None,
        "ZeroDivisionError: division by zero",
    )
    assert "Traceback" in told.err


@contextmanager
def sampled_job(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> Iterator[None]:
    """Deploy a job ``torn``, with sample rows, for as long as the block lasts."""
    (folder / "torn.csv").write_text("a\n1\n")
    monkeypatch.setattr("tally.invoke.sample_stage.SAMPLES", folder)
    with deployed_job(monkeypatch, folder, "torn", source):
        yield


def event_of_torn(folder: Path, name: str) -> Path:
    """Write the event of a handler for a batch of that job."""
    event = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    body = json.loads(event["Records"][0]["body"])
    event["Records"][0]["body"] = json.dumps(body | {"batch": "torn-00112233445566778899"})
    (folder / "event.json").write_text(json.dumps(event))
    return folder / "event.json"


def test_nothing_but_json_is_on_stdout_whatever_a_job_prints(tmp_path: Path) -> None:
    """By print, by the file descriptor, by a process that it starts; logs and metrics are elsewhere, too."""
    code = (
        "import os, subprocess, sys\n"
        "from chalicelib.jobs import transactions\n"
        "real = transactions.process\n"
        "def process(row):\n"
        "    print('printed')\n"
        "    os.write(1, b'written')\n"
        "    subprocess.run(['echo', 'started'], check=True)\n"
        "    return real(row)\n"
        "transactions.process = process\n"
        "from tally.cli import run\n"
        "sys.exit(run(['invoke', 'process', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, encoding="utf-8", check=False, env=_environ()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == {"batchItemFailures": []}
    assert all(word in done.stderr for word in ("printed", "written", "started", "RowSeconds", "rows.processed"))


def test_the_pdb_example_of_the_documentation_stops_where_it_says() -> None:
    """Typed as it stands, line by line, with the program's standard input as the keyboard."""
    page = (REPO / "docs" / "debugging.md").read_text("utf-8")
    _, _, example = page.partition("python -m pdb -m tally invoke")
    session, _, _ = example.partition("```")
    arguments, *typed = session.strip().splitlines()
    lines = [line.removeprefix("(Pdb) ") for line in typed if line.startswith("(Pdb) ")]
    assert lines[-1] == "q"
    done = subprocess.run(
        [sys.executable, "-m", "pdb", "-m", "tally", "invoke", *shlex.split(arguments)],
        input="\n".join(lines) + "\n",
        cwd=REPO,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=_environ(),
    )
    assert "app/chalicelib/jobs/transactions.py" in done.stdout
    shown = [line for line in typed if not line.startswith("(Pdb) ")]
    assert shown
    for line in shown:
        assert line in done.stdout, f"{line}\n{done.stdout}\n{done.stderr}"


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLY_", "AWS_"))}
    return kept | {"PYTHONPATH": str(REPO / "app")}


def test_without_a_handler_all_are_listed_with_what_they_do(invoke: Invoke, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = invoke()
    assert code is ExitCode.OK
    listed: Any = shown
    assert [each["handler"] for each in listed] == list(HANDLERS)
    for each in listed:
        assert each["does"]
        assert (REPO / each["sample"]).is_file()
    assert run(["invoke"]) is ExitCode.OK
    assert "process: Run the job over rows and hand on the outcomes." in capsys.readouterr().out


def test_the_time_left_runs_out() -> None:
    times = iter([0.0, 59.5, 61.0])
    context = FakeContext(function_name="f", deadline=60.0, clock=lambda: next(times))
    assert [context.get_remaining_time_in_millis() for _ in range(3)] == [60_000, 500, 0]
