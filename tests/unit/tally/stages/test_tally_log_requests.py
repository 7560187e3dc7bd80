"""How often the logs of a stage are asked for: CloudWatch Logs takes five requests a second of a whole account."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders

from chalicelib.handlers import HANDLERS
from tally.local.localaws import Server
from tally.stages import stage as stages
from tally.stages.gate import Gate
from tally.stages.logs import Logs
from tally.stages.stage import Resources, Stage


class Answers:
    """CloudWatch Logs without events; ``asked`` is when each request was sent, by a clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, request: AWSRequest, **_event: Any) -> AWSResponse:
        self.asked.append(self.now)
        return AWSResponse(str(request.url), 200, HTTPHeaders(), self)

    def stream(self, **_options: Any) -> Iterator[bytes]:
        """Return the body of an answer, as urllib3 does."""
        yield b'{"events": []}'


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers()
    monkeypatch.setattr(stages, "Gate", partial(Gate, clock=lambda: found.now, sleep=found.sleep))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return found


def follow(stage: Stage, answers: Answers) -> None:
    """Read the logs of all functions three times in a row."""
    answer: Any = answers.answer  # the stubs do not know that what a handler returns here is the answer
    stage.session.events.register("before-send.cloudwatch-logs", answer)
    logs = Logs(client=stage.logs, stage=stage.name, functions=HANDLERS)
    for _ in range(3):
        assert logs.last(60, 10) == []
    assert len(answers.asked) == 3 * len(HANDLERS)


STAGE = Stage(name="test", resources=Resources(table="t", inbox_bucket="b", region="us-east-1"))


def test_logs_in_aws_are_asked_for_four_times_in_any_second(answers: Answers) -> None:
    """More would be refused, also to others in the account."""
    stage = replace(STAGE)
    follow(stage, answers)
    assert stage.client("logs") is stage.logs
    assert max(sum(at <= other < at + 1 for other in answers.asked) for at in answers.asked) == 4


def test_logs_of_a_local_stage_do_not_wait(answers: Answers) -> None:
    server = Server(pid=1, port=1)
    follow(replace(STAGE, server=server), answers)
    assert answers.now == 0
