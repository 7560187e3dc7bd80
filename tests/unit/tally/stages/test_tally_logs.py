"""Logs of functions: of one batch, above a level, as they come, each line once."""

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.handlers import HANDLERS
from tally.cli import run
from tally.errors import ExitCode
from tally.stages.logs import Level, Logs, level_of
from tally.stages.stage import Stage

NOW = 1_800_000_000.0


def logged(level: str, message: str, **fields: str) -> str:
    return json.dumps({"level": level, "message": message, **fields})


class CloudwatchLogs:
    """Keeps lines by function and answers in pages of one event, as AWS may."""

    def __init__(self) -> None:
        self.has_ids = True
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[dict[str, Any]] = []
        self._ids = itertools.count()

    def log(self, function: str, text: str, at: float) -> None:
        """Have a function log a line."""
        event: dict[str, Any] = {"timestamp": round(at * 1000), "message": text + "\n", "logStreamName": "s"}
        if self.has_ids:
            event["eventId"] = str(next(self._ids))
        self.events.setdefault(f"/aws/lambda/tally-test-{function}", []).append(event)

    def get_paginator(self, _operation: str) -> Any:
        """Return what pages through the events of a group."""
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, **request: Any) -> Any:
        self.asked.append(request)
        if request["logGroupName"] not in self.events:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        for event in self.events[request["logGroupName"]]:
            if event["timestamp"] >= request["startTime"]:
                yield {"events": [event]}


@pytest.fixture
def client() -> CloudwatchLogs:
    return CloudwatchLogs()


def logs(client: CloudwatchLogs, *functions: str, **options: Any) -> Logs:
    return Logs(client=client, stage="test", functions=functions, clock=lambda: NOW, **options)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (logged("INFO", "chunk.ingested"), Level.INFO),
        (logged("WARNING", "message.failed"), Level.WARNING),
        (json.dumps({"_aws": {}}), Level.INFO),
        (json.dumps({"level": "LOUD"}), Level.INFO),
        ("REPORT RequestId: 1 Duration: 2 ms", Level.INFO),
        ("REPORT RequestId: 1 Duration: 2 ms Status: timeout", Level.ERROR),
        ("START RequestId: 1", Level.INFO),
        ("2026-11-26 Task timed out after 3.00 seconds", Level.ERROR),
        ("[ERROR] Runtime.ImportModuleError", Level.ERROR),
        ("[1, 2]", Level.ERROR),
    ],
)
def test_a_line_has_a_level_and_what_a_dying_process_says_is_an_error(text: str, level: Level) -> None:
    assert level_of(text) is level


def test_lines_of_several_functions_come_in_order_of_time_the_last_so_many(client: CloudwatchLogs) -> None:
    for second, function in enumerate(["plan", "ingest", "plan", "ingest"]):
        client.log(function, str(second), NOW - 10 + second)
    client.log("plan", "too old", NOW - 100)
    assert [line.text for line in logs(client, "plan", "ingest").last(60, 3)] == ["1", "2", "3"]


def test_only_lines_of_the_batch_and_of_the_level_are_shown(client: CloudwatchLogs) -> None:
    client.log("plan", logged("INFO", "batch.planned", batch_id="b-1"), NOW)
    client.log("plan", logged("ERROR", "repair.failed", batch_id="b-1"), NOW)
    client.log("plan", logged("ERROR", "repair.failed", batch_id="b-2"), NOW)
    found = logs(client, "plan", batch="b-1", level=Level.WARNING).last(60, 10)
    assert [line.text for line in found] == [logged("ERROR", "repair.failed", batch_id="b-1")]
    assert client.asked[0]["filterPattern"] == '"b-1"', "AWS need not send the others"


def test_followed_lines_come_once_each_also_those_that_come_late(client: CloudwatchLogs) -> None:
    client.log("plan", "first", NOW - 20)
    client.log("plan", "second", NOW - 10)
    came = iter([[("plan", "late", NOW - 15)], [], [("ingest", "last", NOW + 50)], [("plan", "lost", NOW - 15)]])

    def sleep(_seconds: float) -> None:
        for line in next(came):
            client.log(*line)

    followed = logs(client, "plan", "ingest", sleep=sleep)
    shown = followed.last(60, 10)
    assert [line.text for line in shown] == ["first", "second"]
    more = followed.follow(shown, 1.0)
    assert [next(more).text for _ in range(2)] == ["late", "last"]
    with pytest.raises((StopIteration, RuntimeError)):  # a line older than the overlap is not looked for any more
        next(more)


def test_what_the_limit_left_out_is_not_shown_by_following(client: CloudwatchLogs) -> None:
    for second in range(5):
        client.log("plan", str(second), NOW - 5 + second)

    def sleep(_seconds: float) -> None:
        client.log("plan", "new", NOW)

    followed = logs(client, "plan", sleep=sleep)
    shown = followed.last(60, 2)
    assert [line.text for line in shown] == ["3", "4"]
    assert next(followed.follow(shown, 1.0)).text == "new"


def test_the_command_reads_all_functions_and_prints_json(
    client: CloudwatchLogs, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["logs"] = client
    client.log("settle", logged("INFO", "batch.settled"), 4e9)
    assert run(["logs", "--stage", "test", "--json"]) is ExitCode.OK
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["function"], line["level"]) == ("settle", "INFO")
    assert {request["logGroupName"].removeprefix("/aws/lambda/tally-test-") for request in client.asked} == {*HANDLERS}
    assert run(["logs", "settle", "--stage", "test"]) is ExitCode.OK
    assert capsys.readouterr().out == logged("INFO", "batch.settled") + "\n", "as it is, for jq"


def test_following_ends_with_an_interrupt_and_prints_a_json_document_a_line(
    client: CloudwatchLogs, stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    vars(stage)["logs"] = client
    client.log("plan", "1", 4e9)
    client.log("plan", "2", 4e9)

    def follow(_self: Logs, _shown: object, _interval: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Logs, "follow", follow)
    assert run(["logs", "plan", "--follow", "--stage", "test", "--json"]) is ExitCode.INTERRUPTED
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == ["1", "2"]


def test_a_function_without_a_log_is_2(
    client: CloudwatchLogs, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["logs"] = client
    assert run(["logs", "plan", "--stage", "test"]) is ExitCode.USAGE
    assert "plan of stage test has logged nothing" in capsys.readouterr().err


def test_an_unknown_handler_is_2_and_the_known_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "nonsense"]) is ExitCode.USAGE
    assert "process_heavy" in capsys.readouterr().err


def test_equal_lines_without_ids_are_each_shown_once(client: CloudwatchLogs) -> None:
    """As the local AWS has them; more of them may come in the millisecond that was read last."""
    client.has_ids = False
    for _ in range(2):
        client.log("export", "the same", NOW - 1)
    found = logs(client, "export")
    shown = found.last(60, 10)
    assert [line.text for line in shown] == ["the same"] * 2

    def more(_seconds: float) -> None:
        client.log("export", "the same", NOW - 1)
        client.log("export", "another", NOW)

    following = logs(client, "export", sleep=more).follow(shown, 1)
    assert [next(following).text for _ in range(2)] == ["the same", "another"]
