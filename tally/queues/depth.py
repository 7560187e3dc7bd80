"""The length of a queue, and the age of its oldest message."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from botocore.exceptions import ClientError

from tally.stages.measured import largest

_ABSENT = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_WINDOW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The numbers of messages in a queue, as SQS estimates them.

    Visible messages wait for a worker, messages in flight are with one, and delayed ones are not visible yet.
    """

    visible: int
    in_flight: int
    delayed: int

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Self:
        """Return the depth from a queue's attributes."""
        return cls(
            visible=int(attributes["ApproximateNumberOfMessages"]),
            in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(attributes.get("ApproximateNumberOfMessagesDelayed", 0)),
        )

    @property
    def total(self) -> int:
        """The number of all messages."""
        return self.visible + self.in_flight + self.delayed


def attributes(sqs: Any, url: str) -> Mapping[str, str] | None:
    """Return the attributes of a queue, or None if there is no such queue."""
    try:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return None
    found: Mapping[str, str] = answer["Attributes"]
    return found


def depth_of(sqs: Any, url: str) -> Depth | None:
    """Return what a queue has, or None if there is no such queue."""
    found = attributes(sqs, url)
    return Depth.of(found) if found else None


def oldest_seconds(cloudwatch: Any, queue: str, now: datetime) -> float | None:
    """Return the age of a queue's oldest message, at most over the last quarter of an hour.

    None if AWS has not measured it lately.
    """
    return largest(
        cloudwatch,
        now,
        _WINDOW,
        namespace="AWS/SQS",
        metric="ApproximateAgeOfOldestMessage",
        dimensions={"QueueName": queue},
    )


def name_of(url: str) -> str:
    """Return the name of a queue."""
    return url.rpartition("/")[2]
