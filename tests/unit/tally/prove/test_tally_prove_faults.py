"""The faults that a stage of `tally prove` injects into its own functions."""

import contextlib
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from tally.prove import injected
from tally.prove.injected import RATES, Faults, Plan

UPDATE = "before-send.dynamodb.UpdateItem"
SEND = "before-send.sqs.SendMessageBatch"


class Exited(BaseException):
    """The process is gone."""


class Memory:
    """The faults that all workers have met, in memory."""

    def __init__(self) -> None:
        self.met: dict[str, int] = {}

    def worker(self) -> int:
        self.met["workers"] = self.met.get("workers", 0) + 1
        return self.met["workers"]

    def first(self, kind: str) -> bool:
        if kind in self.met:
            return False
        self.met[kind] = 1
        return True

    def count(self, kind: str) -> None:
        self.met[kind] += 1


@pytest.fixture(autouse=True)
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    def exit_(_status: int) -> None:
        raise Exited

    monkeypatch.setattr("os._exit", exit_)


def request(body: str = '{"pk": "batch#prove_faulty-1"}', url: str = "https://aws/") -> Any:
    return SimpleNamespace(body=body.encode(), url=url)


def meet(kind: str, *, function: str = "process") -> tuple[Any, list[Any]]:
    """Let one request meet one kind of fault; returns what came of it, and what reached AWS."""
    sent: list[Any] = []
    faults = Faults(Plan(seed=1, rates={kind: 0.0}), Memory(), function, sent.append)
    try:
        return faults.meet(request(), UPDATE), sent
    except (Exited, ConnectionClosedError) as error:
        return error, sent


@pytest.mark.parametrize(
    ("kind", "status", "reached"),
    [("error_before", 500, 0), ("throttled", 400, 0), ("error_after", 500, 1)],
)
def test_an_error_is_answered_before_or_after_the_request_reached_aws(kind: str, status: int, reached: int) -> None:
    answer, sent = meet(kind)
    assert (answer.status_code, len(sent)) == (status, reached)


@pytest.mark.parametrize(
    ("kind", "error", "reached"),
    [("answer_lost", ConnectionClosedError, 1), ("killed_before", Exited, 0), ("killed_after", Exited, 1)],
)
def test_an_answer_or_a_worker_is_lost_before_or_after_the_request_reached_aws(
    kind: str, error: type[BaseException], reached: int
) -> None:
    found, sent = meet(kind)
    assert isinstance(found, error)
    assert len(sent) == reached


def test_a_request_that_is_sent_twice_is_sent_once_by_the_fault_and_once_by_the_sdk() -> None:
    answer, sent = meet("sent_twice")
    assert answer is None
    assert len(sent) == 1


def test_a_worker_that_no_queue_replaces_does_not_die() -> None:
    assert meet("killed_before", function="settle") == (None, [])


def test_a_request_of_another_job_meets_nothing_and_is_not_counted() -> None:
    memory = Memory()
    faults = Faults(Plan(seed=1), memory, "process", lambda _request: None)
    assert faults.meet(request('{"pk": "batch#offices-1"}'), UPDATE) is None
    assert memory.met == {}


def test_a_key_of_the_job_is_enough_for_requests_without_a_body() -> None:
    memory = Memory()
    faults = Faults(Plan(seed=1, rates={"error_before": 0.0}), memory, "plan", lambda _request: None)
    assert faults.meet(SimpleNamespace(body=None, url="https://aws/inbox/prove_faulty/a.csv"), UPDATE) is not None


def run(plan: Plan, memory: Memory, requests: int) -> list[str]:
    """Return what each of a worker's requests met, the worker being replaced when it dies."""
    met = []
    faults = Faults(plan, memory, "process", lambda _request: None)
    for _ in range(requests):
        before = dict(memory.met)
        with contextlib.suppress(Exited, ConnectionClosedError):
            faults.meet(request(), UPDATE)
        met.append("".join(kind for kind in RATES if memory.met.get(kind, 0) > before.get(kind, 0)))
    return met


def test_every_kind_is_met_once_however_few_requests_there_are() -> None:
    memory = Memory()
    run(Plan(seed=1, rates=dict.fromkeys(RATES, 0.0)), memory, len(RATES))
    assert {kind: memory.met[kind] for kind in RATES} == dict.fromkeys(RATES, 1)


def test_a_second_worker_does_not_meet_first_faults_again() -> None:
    plan, memory = Plan(seed=1, rates=dict.fromkeys(RATES, 0.0)), Memory()
    run(plan, memory, 50)
    assert run(plan, memory, 50) == [""] * 50


def test_the_same_seed_draws_the_same_faults_for_the_same_worker_and_other_ones_for_another() -> None:
    def drawn(seed: int, worker: int) -> list[str]:
        memory = Memory()
        memory.met = {**dict.fromkeys(RATES, 1), "workers": worker}
        return run(Plan(seed=seed), memory, 500)

    assert drawn(1, 0) == drawn(1, 0)
    assert any(drawn(1, 0))
    assert drawn(1, 0) != drawn(1, 1)
    assert drawn(1, 0) != drawn(2, 0)


def test_only_dynamodb_throttles() -> None:
    faults = Faults(Plan(seed=1, rates={"throttled": 0.0}), Memory(), "process", lambda _request: None)
    assert faults.meet(request(), SEND) is None
    assert faults.meet(request(), UPDATE) is not None


@pytest.mark.parametrize("kind", ["error_before", "throttled", "error_after", "answer_lost"])
def test_the_sdk_takes_a_fault_for_one_of_aws_and_tries_again(kind: str) -> None:
    """Below its retries, not above them: the second try passes."""
    faults = Faults(Plan(seed=1, rates={kind: 0.0}), Memory(), "process", lambda _request: None)
    tries = []

    def aws(request: Any, event_name: str, **_: Any) -> AWSResponse:
        tries.append(event_name)
        if answer := faults.meet(request, event_name):
            return answer
        headers: Any = HeadersDict({"content-type": "application/x-amz-json-1.0"})
        return AWSResponse(request.url, 200, headers, injected._Raw(b"{}"))

    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )
    client.meta.events.register("before-send.*", cast("Any", aws))
    client.get_item(TableName="t", Key={"pk": {"S": "batch#prove_faulty-1"}, "sk": {"S": "batch"}})
    assert len(tries) == 2
