"""Messages that wait in the queues, and commands about dead letters; SQS in memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.transport.messages import WorkMessage, encode
from tally.cli import run
from tally.commands import options
from tally.errors import ExitCode
from tally.queues import dead
from tally.stages.expected import Expected, Queue
from tally.stages.stage import Resources, Stage

NAMES = ("ingest", "work", "completions")
FAILURES = ("plan-failures", "stream-failures")
BODY = encode(WorkMessage(batch="weather-1", chunk=4, generation=1, rows=[2]))


class Cloudwatch:
    """Measures the same age of every queue, or says that it may not be asked."""

    def __init__(self) -> None:
        self.age: float | None = 90.0

    def get_metric_statistics(self, **_request: Any) -> Any:
        """Answer as CloudWatch does."""
        if self.age is None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricStatistics")
        return {"Datapoints": [{"Maximum": self.age, "Timestamp": datetime(2026, 11, 26, tzinfo=UTC)}]}


@dataclass
class Queues:
    """The stage's queues by their short names."""

    sqs: Any
    urls: dict[str, str]
    cloudwatch: Cloudwatch

    def send(self, name: str, body: str = BODY, **attributes: str) -> str:
        """Send a message and return its id."""
        entries = {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()}
        sent = self.sqs.send_message(QueueUrl=self.urls[name], MessageBody=body, MessageAttributes=entries)
        return str(sent["MessageId"])

    def bodies(self, name: str) -> list[str]:
        """Return what is to be seen in a queue, and leave it there."""
        answer = self.sqs.receive_message(QueueUrl=self.urls[name], MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in answer.get("Messages", [])]


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queues]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        sqs = boto3.client("sqs", region_name="us-east-1")
        names = [*NAMES, *(f"{name}-dlq" for name in NAMES), *FAILURES, "dead-letters"]
        urls = {name: sqs.create_queue(QueueName=f"tally-test-{name}")["QueueUrl"] for name in names}
        expected = Expected(
            account_id="1", region="us-east-1", table_name="t", stream_arn="s", inbox_bucket="b", alarm_topic_arn=None,
            reconcile_minutes=5, queue_age_seconds=900, iterator_age_seconds=900, functions={}, mappings=[],
            queues={
                name: Queue(url=urls[name], dlq_url=urls[f"{name}-dlq"], dlq_arn="", max_receive_count=5,
                            visibility_floor=60)
                for name in NAMES
            },
            failure_queues={name: urls[name] for name in FAILURES},
        )  # fmt: skip
        cloudwatch = Cloudwatch()
        stage = Stage(
            name="test",
            resources=Resources(table="t", inbox_bucket="b", expected=msgspec.json.encode(expected).decode()),
        )
        clients = {"sqs": sqs, "cloudwatch": cloudwatch}
        monkeypatch.setattr(Stage, "client", lambda _self, service: clients[service])
        monkeypatch.setattr(options, "find", lambda *_arguments, **_options: stage)
        monkeypatch.setenv("TALLY_STAGE", "test")
        yield Queues(sqs, urls, cloudwatch)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run([*arguments, "--json"]) is ExitCode.OK
    return json.loads(capsys.readouterr().out)


def by_name(shown: Any) -> dict[str, Any]:
    return {queue["name"]: queue for queue in shown["queues"]}


def test_every_queue_says_what_waits_what_is_in_flight_what_is_delayed_and_what_is_dead(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        queues.send("work")
    queues.sqs.receive_message(QueueUrl=queues.urls["work"], MaxNumberOfMessages=1)
    queues.sqs.send_message(QueueUrl=queues.urls["work"], MessageBody="later", DelaySeconds=900)
    queues.send("work-dlq")
    shown = by_name(answer(capsys, "queues"))
    assert list(shown) == [*NAMES, *FAILURES, "dead-letters"]
    expected = {"visible": 2, "in_flight": 1, "delayed": 1, "oldest_seconds": 90.0, "dead_letters": 1}
    assert {name: shown["work"][name] for name in expected} == expected
    assert shown["ingest"]["oldest_seconds"] is None
    assert shown["dead-letters"]["dead_letters"] is None


def test_ages_that_may_not_be_asked_for_hide_no_queue(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    queues.cloudwatch.age = None
    queues.send("work")
    queues.send("ingest")
    assert run(["queues"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert shown.count("the age of messages is not known") == 1
    assert "work" in shown


def test_a_queue_that_is_gone_is_said_and_hides_no_other(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    queues.sqs.delete_queue(QueueUrl=queues.urls["work"])
    assert by_name(answer(capsys, "queues"))["work"]["visible"] is None
    assert run(["queues"]) is ExitCode.OK
    assert "missing" in capsys.readouterr().out


def test_dead_letters_are_counted_with_the_section_that_says_what_to_do(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.send("work-dlq")
    assert run(["dead"]) is ExitCode.OK
    shown = capsys.readouterr().out.splitlines()
    assert "work-dlq: 1 waits; docs/runbook.md, section dead-letters-work" in shown
    assert "ingest-dlq: none" in shown
    assert len(shown) == len(NAMES) + len(FAILURES) + 1


def test_letters_are_shown_with_what_they_are_about_and_stay(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = {queues.send("work-dlq", encode(WorkMessage(batch="b-1", chunk=n, generation=1))) for n in range(12)}
    shown = by_name(answer(capsys, "dead", "work", "--show"))["work-dlq"]["letters"]
    assert {letter["id"] for letter in shown} == sent
    assert sorted(letter["chunk"] for letter in shown) == list(range(12))
    assert {letter["batch"] for letter in shown} == {"b-1"}
    assert len(queues.bodies("work-dlq")) == 10, "they are to be seen again at once"


def test_no_more_letters_are_read_than_asked_for(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        queues.send("work-dlq")
    shown = by_name(answer(capsys, "dead", "work-dlq", "--show", "--limit", "3"))["work-dlq"]
    assert (shown["waiting"], len(shown["letters"])) == (5, 3)


def test_letters_say_why_they_are_here_where_anybody_has_said_so(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.send("completions-dlq", "{}", ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="no right")
    queues.send("plan-failures", json.dumps({"responsePayload": {"errorMessage": "AccessDenied"}}))
    queues.send("dead-letters", BODY, queue="tally-test-work-dlq")
    queues.send("stream-failures", "no JSON")
    assert run(["dead", "--show"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "NO_PERMISSIONS: no right" in shown
    assert "AccessDenied" in shown
    assert "from tally-test-work-dlq" in shown
    assert "no JSON" in shown


def test_redriven_letters_go_to_where_they_came_from_with_their_attributes(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(12):
        queues.send("work-dlq", BODY, kind="a")
    shown = by_name(answer(capsys, "dead", "--redrive"))
    assert (shown["work-dlq"]["redriven"], shown["ingest-dlq"]["redriven"]) == (12, 0)
    assert queues.bodies("work-dlq") == []
    got = queues.sqs.receive_message(QueueUrl=queues.urls["work"], MessageAttributeNames=["All"])["Messages"][0]
    assert (got["Body"], got["MessageAttributes"]["kind"]["StringValue"]) == (BODY, "a")


def test_a_letter_that_dies_again_at_once_is_not_sent_for_ever(queues: Queues) -> None:
    """Its source hands it straight back, as a worker without a right would."""
    queues.send("work-dlq")
    send = queues.sqs.send_message

    class Bouncing:
        def __getattr__(self, name: str) -> Any:
            return getattr(queues.sqs, name)

        def send_message(self, **request: Any) -> Any:
            return send(**request | {"QueueUrl": queues.urls["work-dlq"]})

    queue = dead.DeadQueue(name="work-dlq", url=queues.urls["work-dlq"], section="", source_url=queues.urls["work"])
    assert dead.send_again(Bouncing(), queue, 1) == 1
    assert queues.bodies("work-dlq") == [BODY]


def test_dying_between_sending_and_deleting_a_letter_loses_none(queues: Queues) -> None:
    queues.send("work-dlq")

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(queues.sqs, name)

        def delete_message(self, **_request: Any) -> Any:
            raise KeyboardInterrupt

    queue = dead.DeadQueue(name="work-dlq", url=queues.urls["work-dlq"], section="", source_url=queues.urls["work"])
    with pytest.raises(KeyboardInterrupt):
        dead.send_again(Dying(), queue, 1)
    assert queues.bodies("work") == [BODY]
    attributes = queues.sqs.get_queue_attributes(QueueUrl=queues.urls["work-dlq"], AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"


@pytest.mark.parametrize("name", [*FAILURES, "dead-letters"])
def test_letters_without_a_redrive_stay_and_say_what_to_do_instead(
    name: str, queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.send(name)
    assert run(["dead", name, "--redrive"]) is ExitCode.OK
    assert f"{name} has no redrive:" in capsys.readouterr().out
    assert queues.bodies(name) == [BODY]


def test_a_letter_is_discarded_by_its_id_and_no_other(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    queues.send("work-dlq", "stays")
    useless = queues.send("work-dlq", "goes")
    assert run(["dead", "work-dlq", "--discard", useless]) is ExitCode.OK
    assert queues.bodies("work-dlq") == ["stays"]
    assert run(["dead", "work-dlq", "--discard", useless]) is ExitCode.USAGE
    assert f"No dead letter {useless}" in capsys.readouterr().err


def test_letters_that_were_received_with_a_discarded_one_are_to_be_seen_at_once(queues: Queues) -> None:
    useless = queues.send("work-dlq", "goes")
    for _ in range(4):
        queues.send("work-dlq", "stays")
    assert run(["dead", "work-dlq", "--discard", useless]) is ExitCode.OK
    assert queues.bodies("work-dlq") == ["stays"] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dead", "nonsense"], "There is no queue nonsense of dead letters: name one of ingest-dlq"),
        (["dead", "--show", "--redrive"], "exclude each other"),
        (["dead", "--discard", "x"], "--discard needs QUEUE"),
    ],
)
def test_wrong_arguments_of_dead_are_2(
    arguments: list[str], said: str, queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) is ExitCode.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["queues", "dead"])
def test_a_stage_whose_queues_are_not_known_here_is_3(
    name: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name]) is ExitCode.ENVIRONMENT
    assert "The queues of stage test are not known on this machine" in capsys.readouterr().err
