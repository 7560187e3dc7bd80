"""Sending to SQS: no message counts as sent until SQS has confirmed it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chalicelib.bounds import grouped
from chalicelib.errors import THROTTLES, FatalError, ThrottledError
from chalicelib.retry import Retry
from chalicelib.transport.messages import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_MAX_ENTRIES = 10
"""Messages of a request: SQS developer guide, "Quotas". SQS takes 1 MiB in all, but no document says that the sum of
ten messages is not held to the queue's own limit of one. Bytes are billed, in steps of 64 KiB."""


def send(sqs: "SQSClient", queue_url: str, bodies: Iterable[str], retry: Retry, *, delay_seconds: int = 0) -> int:
    """Send every body, ten to a request, to be delivered after ``delay_seconds`` (at most 900); returns how many.

    Raises when a body could not be sent; those before it, and some after it, may have been. Sending the lot
    again makes duplicates, which every consumer takes.
    """
    sent = 0
    for group in grouped(bodies, size=_size, max_bytes=MAX_MESSAGE_BYTES, max_parts=_MAX_ENTRIES):
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(position), "MessageBody": body} for position, body in enumerate(group)
        ]
        if delay_seconds:
            for entry in entries:
                entry["DelaySeconds"] = delay_seconds
        retry(_send_once, sqs, queue_url, entries)
        sent += len(group)
    return sent


def _size(body: str) -> int:
    return len(body.encode())


def _send_once(sqs: "SQSClient", queue_url: str, entries: "list[SendMessageBatchRequestEntryTypeDef]") -> None:
    """Send what is left in ``entries`` and leave in it only what SQS did not take: a 200 may still refuse some."""
    answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    failed = {failure["Id"]: failure for failure in answer.get("Failed", [])}
    entries[:] = [entry for entry in entries if entry["Id"] in failed]
    refused = [f"{failure['Code']}: {failure.get('Message', '')}" for failure in failed.values()]
    # A key that is asked too often counts as the sender's fault.
    if any(failure["SenderFault"] and failure["Code"] not in THROTTLES for failure in failed.values()):
        raise FatalError(f"{queue_url} refused messages: {refused}")
    if failed:
        raise ThrottledError(f"{queue_url} did not take {len(failed)} messages: {refused}")
