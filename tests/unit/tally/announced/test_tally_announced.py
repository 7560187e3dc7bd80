"""Events are shown as subscribers got them; waiting ends when one has happened, with a status that says how."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.store.batch import Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Outcome
from tally import results
from tally.announced.announcements import Announcements
from tally.batch.reader import Reader
from tally.cli import run
from tally.commands import options
from tally.errors import ExitCode
from tally.local.localaws import Server
from tally.stages.stage import Resources, Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.exports import exporting
from tests.support.redriving import redrive

GOOD = b"office_id,user_count,contract_count\nA,1,2\nB,2,3\n"
BAD = b"office_id,user_count,contract_count\nA,1,2\nB,x,3\n"
Command = Callable[..., tuple[ExitCode, Any]]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return exporting(monkeypatch)


@pytest.fixture
def command(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs a command with --json on the pipeline's stage."""
    stage = Stage(
        name="test", resources=Resources(table="tally-test", inbox_bucket="inbox"), server=Server(pid=1, port=2)
    )
    vars(stage).update(dynamodb=pipeline.dynamodb, s3=pipeline.s3)
    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: stage)

    def ran(*arguments: str) -> tuple[ExitCode, Any]:
        capsys.readouterr()  # what the handlers have logged
        code = run([*arguments, "--json"])
        shown = json.loads(capsys.readouterr().out)
        results.check("error" if "error" in shown else arguments[0], shown)
        return code, shown

    return ran


def shown(found: Any) -> list[tuple[str, str]]:
    return [(each["detail_type"], each["detail"]["event_id"]) for each in found]


def deliver_until(pipeline: Pipeline, reached: Callable[[], bool]) -> None:
    while not reached():
        pipeline.deliver(pipeline.work()[0])


def test_events_are_shown_as_subscribers_got_them(pipeline: Pipeline, command: Command) -> None:
    """Field by field: of batches that ended well, with failures, were stopped, and were refused."""
    pipeline.upload("inbox/offices/good.csv", GOOD)
    pipeline.upload("inbox/offices/refused.csv", b"nonsense\n1\n")
    stopped = pipeline.upload("inbox/offices/stopped.csv", GOOD + b"C,1,2\n")
    deliver_until(pipeline, lambda: pipeline.has_batch(stopped))
    Holds(table=table(pipeline.dynamodb)).hold(stopped, Hold.CANCELLED)
    pipeline.drain()
    code, found = command("events")
    assert code is ExitCode.OK
    got = {detail["event_id"]: detail for detail in pipeline.events.details}
    assert {each["detail"]["event_id"]: {"type": each["detail_type"], **each["detail"]} for each in found} == got
    assert sorted(kind for kind, _ in shown(found)) == [
        "Batch Completed",
        "Batch Exported",
        "Batch Exported",
        "Batch Rejected",
        "Batch Stopped",
    ]


def test_nothing_is_shown_before_it_was_announced(pipeline: Pipeline, command: Command) -> None:
    """Neither an end that settle has written and not published yet, nor an export without its manifest."""
    batch = pipeline.upload("inbox/offices/good.csv", GOOD)
    deliver_until(pipeline, lambda: pipeline.has_batch(batch) and pipeline.batch(batch).status.final)
    assert command("events") == (ExitCode.OK, [])
    deliver_until(pipeline, lambda: bool(pipeline.waiting("export")) and pipeline.batch(batch).published_attempt == 1)
    assert shown(command("events")[1]) == [("Batch Completed", f"{batch}#1")]


def test_only_what_was_asked_for_is_shown(pipeline: Pipeline, command: Command) -> None:
    one = pipeline.upload("inbox/offices/one.csv", GOOD)
    pipeline.upload("inbox/offices/two.csv", BAD)
    pipeline.drain()
    assert shown(command("events", "--batch", one)[1]) == [
        ("Batch Completed", f"{one}#1"),
        ("Batch Exported", f"{one}#1#exported"),
    ]
    assert len(command("events", "--job", "offices")[1]) == 4
    assert command("events", "--job", "documents")[1] == []


def test_following_shows_each_event_once_those_of_redrives_too(pipeline: Pipeline) -> None:
    """Also of a batch that is too old to be among the newest ones, for it was seen when it ran."""
    old = pipeline.upload("inbox/offices/old.csv", BAD)
    pipeline.drain_uploads()
    steps = iter([pipeline.drain, lambda: pipeline.upload("inbox/offices/new.csv", GOOD), pipeline.drain])

    def sleep(_seconds: float) -> None:
        following = next(steps, None)
        if following is None:
            raise KeyboardInterrupt
        following()

    client: Any = pipeline.dynamodb
    told = Announcements(reader=Reader(dynamodb=client, table="tally-test"), sleep=sleep)
    found: list[str] = []
    with contextlib.suppress(KeyboardInterrupt):
        for each in told.follow(told.newest(1), 1.0, 1):
            found.append(each.detail.event_id)  # noqa: PERF401  it ends with an interrupt
    new = next(each for each in {event.partition("#")[0] for event in found} if each != old)
    assert found == [f"{old}#1", f"{old}#1#exported", f"{new}#1", f"{new}#1#exported"]


def test_an_export_of_an_earlier_attempt_is_shown_beside_the_later_one(pipeline: Pipeline, command: Command) -> None:
    batch = pipeline.upload("inbox/offices/a.csv", BAD)
    pipeline.drain()
    redrive(pipeline, batch, outcome=Outcome.REJECTED)
    pipeline.drain()
    assert [event for _, event in shown(command("events")[1])] == [
        f"{batch}#1#exported",
        f"{batch}#2",
        f"{batch}#2#exported",
    ]


def test_a_line_says_when_what_and_how_many(
    pipeline: Pipeline, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    del command  # it brings the stage
    batch = pipeline.upload("inbox/offices/a.csv", BAD)
    pipeline.drain()
    capsys.readouterr()
    assert run(["events"]) is ExitCode.OK
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f"Batch Completed {batch}: 2 rows: 1 succeeded, 0 failed, 1 rejected")
    assert f"results/offices/{batch}/attempt-1/" in second
    assert not second.isspace()


@pytest.mark.parametrize(("content", "code"), [(GOOD, ExitCode.OK), (BAD, ExitCode.NOT_AS_HOPED)])
def test_waiting_ends_with_a_status_that_says_how_it_went(
    content: bytes, code: ExitCode, pipeline: Pipeline, command: Command
) -> None:
    batch = pipeline.upload("inbox/offices/a.csv", content)
    pipeline.drain()
    found, said = command("wait", batch, "--exported")
    prefix = f"results/offices/{batch}/attempt-1/"
    assert found is code
    assert (said["exported"]["prefix"], said["exported"]["bucket"]) == (prefix, "inbox")
    assert command("wait", batch)[1]["exported"] is None


def test_waiting_for_results_of_a_file_that_was_refused_does_not_wait(pipeline: Pipeline, command: Command) -> None:
    batch = pipeline.upload("inbox/offices/a.csv", b"nonsense\n1\n")
    pipeline.drain()
    code, said = command("wait", batch, "--exported")
    assert (code, said["status"], said["exported"]) == (ExitCode.NOT_AS_HOPED, "rejected", None)


def test_waiting_gives_up_after_its_timeout(pipeline: Pipeline, command: Command) -> None:
    """For the end, and then for the results, with what is left of the time."""
    batch = pipeline.upload("inbox/offices/a.csv", GOOD)
    pipeline.drain_uploads()
    assert command("wait", batch, "--timeout", "0")[0] is ExitCode.TIMED_OUT
    deliver_until(pipeline, lambda: bool(pipeline.waiting("export")))
    code, said = command("wait", batch, "--exported", "--timeout", "0")
    assert (code, "still being written" in said["error"]) == (ExitCode.TIMED_OUT, True)


def test_a_batch_that_is_not_planned_yet_is_waited_for(command: Command) -> None:
    """A script knows the id before there is a batch."""
    assert command("wait", "offices-00000000000000000000", "--timeout", "0")[0] is ExitCode.TIMED_OUT


def test_an_interrupt_ends_following_without_an_error(
    pipeline: Pipeline, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stdout has whole documents, one a line."""
    del command
    pipeline.upload("inbox/offices/a.csv", GOOD)
    pipeline.drain()

    def interrupted(*_arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Announcements, "follow", interrupted)
    capsys.readouterr()
    assert run(["events", "--follow", "--json"]) is ExitCode.INTERRUPTED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    results.check("events", lines)
    assert len(lines) == 2
