"""The queues of a local stage: made as Terraform plans them, for Terraform to adopt.

The provider waits 25 s after it has created a queue, and a queue comes after its dead-letter queue. It does not wait
for a queue that it imports. Only local stages are made like this: in AWS a queue may need that time.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tally.tools.terraform import Resource

ADOPTED = "adopted_queues.tf.json"
"""The file with import blocks for the queues in the root module."""

_ATTRIBUTES = {
    "visibility_timeout_seconds": "VisibilityTimeout",
    "message_retention_seconds": "MessageRetentionPeriod",
    "max_message_size": "MaximumMessageSize",
    "delay_seconds": "DelaySeconds",
    "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    "sqs_managed_sse_enabled": "SqsManagedSseEnabled",
    "kms_master_key_id": "KmsMasterKeyId",
    "policy": "Policy",
    "redrive_policy": "RedrivePolicy",
    "redrive_allow_policy": "RedriveAllowPolicy",
}
"""SQS's names for the settings of Terraform's ``aws_sqs_queue``."""


def make(sqs: Any, planned: Iterable[Resource]) -> dict[str, str]:
    """Make the planned queues; returns their URLs by Terraform's addresses.

    A queue that is there takes the settings that are planned now. A setting that the plan does not know, or that is
    missing above, is not set here: Terraform finds it missing, sets it, and waits.
    """
    queues = [resource for resource in planned if resource.type == "aws_sqs_queue"]
    urls = {queue.address: sqs.create_queue(QueueName=queue.values["name"])["QueueUrl"] for queue in queues}
    # A redrive policy must name a queue that exists, so settings come after all queues.
    for queue in queues:
        sqs.set_queue_attributes(QueueUrl=urls[queue.address], Attributes=_attributes(queue.values))
    return urls


def import_blocks(urls: Mapping[str, str]) -> str:
    """Return Terraform configuration that imports each queue at its address."""
    return json.dumps({"import": [{"to": address, "id": url} for address, url in urls.items()]}, indent=2)


def _attributes(values: Mapping[str, Any]) -> dict[str, str]:
    known = {theirs: values.get(ours) for ours, theirs in _ATTRIBUTES.items()}
    return {
        name: json.dumps(value) if isinstance(value, bool) else str(value)
        for name, value in known.items()
        if value is not None
    }
