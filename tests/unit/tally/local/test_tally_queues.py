"""The queues of a local stage, made before Terraform's first apply."""

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from tally.local import queues
from tally.tools.terraform import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_sqs import SQSClient

PREFIX = "arn:aws:sqs:us-east-1:123456789012"
SOURCE = 'module.queue["work"].aws_sqs_queue.this[0]'
DLQ = 'module.queue["work"].aws_sqs_queue.dlq[0]'


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> "Iterator[SQSClient]":
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("sqs", region_name="us-east-1")


def queue(address: str, name: str, **values: Any) -> Resource:
    """Return a planned queue; null is what Terraform has for a setting that nobody gave."""
    return Resource(address=address, type="aws_sqs_queue", values={"name": name, "kms_master_key_id": None, **values})


def settings(sqs: "SQSClient", url: str) -> "Mapping[Any, str]":
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def test_a_queue_is_made_as_planned_although_its_dead_letter_queue_is_planned_after_it(sqs: "SQSClient") -> None:
    """SQS takes no redrive policy that names a queue which is not there."""
    redrive = json.dumps({"deadLetterTargetArn": f"{PREFIX}:work-dlq", "maxReceiveCount": 5})
    work = queue(SOURCE, "work", visibility_timeout_seconds=360, sqs_managed_sse_enabled=True, redrive_policy=redrive)
    urls = queues.make(sqs, [work, queue(DLQ, "work-dlq", message_retention_seconds=1209600)])
    made = settings(sqs, urls[SOURCE])
    assert (made["VisibilityTimeout"], made["SqsManagedSseEnabled"]) == ("360", "true")
    assert json.loads(made["RedrivePolicy"]) == json.loads(redrive)
    assert settings(sqs, urls[DLQ])["MessageRetentionPeriod"] == "1209600"


def test_a_queue_that_an_earlier_try_made_takes_what_is_planned_now(sqs: "SQSClient") -> None:
    """The first apply failed, and the operator tries again with other variables."""
    first = queues.make(sqs, [queue(SOURCE, "work", visibility_timeout_seconds=360)])
    assert queues.make(sqs, [queue(SOURCE, "work", visibility_timeout_seconds=1800)]) == first
    assert settings(sqs, first[SOURCE])["VisibilityTimeout"] == "1800"


def test_nothing_but_queues_is_made(sqs: "SQSClient") -> None:
    assert queues.make(sqs, [Resource(address="aws_sns_topic.this", type="aws_sns_topic", values={"name": "t"})]) == {}


def test_terraform_is_to_import_each_queue_at_its_address() -> None:
    assert json.loads(queues.import_blocks({DLQ: "http://localhost/work-dlq"})) == {
        "import": [{"to": DLQ, "id": "http://localhost/work-dlq"}]
    }
