"""The function of infra/examples/on_completion handles each event once, whatever comes twice or dies."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

REPO = Path(__file__).parents[2]
SOURCE = REPO / "infra" / "examples" / "on_completion" / "function" / "on_completion.py"
DETAIL = {"schema_version": 1, "event_id": "offices-1#1", "batch_id": "offices-1", "status": "completed", "rows": 2}
NOW, TIMEOUT, DAYS = 1_772_000_000, 60, 30


def message(message_id: str = "1", **changed: Any) -> dict[str, Any]:
    """Return a message of the queue, as EventBridge sends it."""
    envelope = {"detail-type": "Batch Completed", "source": "tally", "detail": DETAIL | changed}
    return {"messageId": message_id, "body": json.dumps(envelope)}


class Function:
    """The module, a clock, and what its ``act`` was called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = importlib.util.spec_from_file_location("on_completion", SOURCE)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.now = NOW
        self.acted: list[str] = []
        self.dies: Callable[[], None] = lambda: None
        monkeypatch.setattr(self.module.time, "time", lambda: self.now)
        monkeypatch.setattr(self.module, "act", self._act)

    def _act(self, _detail_type: str, detail: dict[str, Any]) -> None:
        self.acted.append(detail["event_id"])
        self.dies()

    def __call__(self, *messages: dict[str, Any]) -> list[str]:
        """Return the ids of the messages that come again."""
        answer = self.module.handler({"Records": list(messages)}, None)
        return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TABLE": "reports",
        "TIMEOUT_SECONDS": str(TIMEOUT),
        "REMEMBER_DAYS": str(DAYS),
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName="reports",
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Function(monkeypatch)


def remembered() -> dict[str, Any]:
    (item,) = boto3.client("dynamodb").scan(TableName="reports")["Items"]
    return item


def test_an_event_that_comes_twice_is_handled_once(function: Function) -> None:
    """Also within one batch of messages."""
    assert function(message("1"), message("2")) == []
    assert function(message("3")) == []
    assert function.acted == ["offices-1#1"]
    assert remembered()["expires_at"] == {"N": str(NOW + DAYS * 86_400)}


def test_events_of_other_attempts_and_exports_are_handled_too(function: Function) -> None:
    assert (
        function(message("1"), message("2", event_id="offices-1#2"), message("3", event_id="offices-1#1#exported"))
        == []
    )
    assert function.acted == ["offices-1#1", "offices-1#2", "offices-1#1#exported"]


def test_an_event_that_failed_comes_again_and_alone(function: Function) -> None:
    def fail() -> None:
        raise ValueError("no route")

    function.dies = fail
    assert function(message("1"), message("2", event_id="offices-2#1")) == ["1", "2"]
    function.dies = lambda: None
    function.now += TIMEOUT + 1
    assert function(message("1")) == []
    assert function.acted == ["offices-1#1", "offices-2#1", "offices-1#1"]


def test_a_copy_waits_while_another_run_may_be_at_the_event(function: Function) -> None:
    """It does not pass for handled: that run may die. When it must have ended, the copy is handled."""

    def die() -> None:
        raise SystemExit

    function.dies = die
    with pytest.raises(SystemExit):
        function(message("1"))
    function.dies = lambda: None
    assert function(message("2")) == ["2"]
    function.now += TIMEOUT + 1
    assert function(message("2")) == []
    assert function.acted == ["offices-1#1"] * 2


@pytest.mark.parametrize("body", ["{", "{}", json.dumps({"detail": DETAIL | {"schema_version": 2}})])
def test_what_it_does_not_know_goes_to_the_dead_letters_and_keeps_nothing_back(body: str, function: Function) -> None:
    assert function({"messageId": "1", "body": body}, message("2")) == ["1"]
    assert function.acted == ["offices-1#1"]
