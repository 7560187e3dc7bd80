"""A queue that receives a topic's notifications while a probe runs."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tally.stages.stage import Stage

_ABSENT = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


@contextlib.contextmanager
def subscribed(stage: Stage, topic: str) -> Iterator[str]:
    """Yield the URL of a queue that receives a topic's notifications; afterwards queue and subscription are removed."""
    sqs, sns = stage.client("sqs"), stage.client("sns")
    url = sqs.create_queue(QueueName=_name(stage))["QueueUrl"]
    try:
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(_policy(arn, topic))})
        made = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
        try:
            yield url
        finally:
            sns.unsubscribe(SubscriptionArn=made["SubscriptionArn"])
    finally:
        sqs.delete_queue(QueueUrl=url)


def remove(stage: Stage) -> None:
    """Delete the queue of a run that was killed; its subscription goes with the topic."""
    sqs = stage.client("sqs")
    try:
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=_name(stage))["QueueUrl"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise


def _name(stage: Stage) -> str:
    return f"tally-{stage.name}-prove-mailbox"


def _policy(queue: str, topic: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
