"""The trail of calls (CloudTrail) that a local AWS keeps: which rights a function has made use of."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from tally.local import localaws
from tests.e2e.roles import ACCOUNT, Right

_PAGE = 50
"""LookupEvents of the local AWS returns the newest so many and no token for more."""
_SECOND = timedelta(seconds=1)

# Where a right is asked for by calls of another name, or the local trail has another name for the call.
_CALLS = {
    "dynamodb:PutItem": ("PutItem", "TransactWriteItems"),
    "dynamodb:UpdateItem": ("UpdateItem", "TransactWriteItems"),
    "dynamodb:DeleteItem": ("DeleteItem", "TransactWriteItems"),
    "sqs:SendMessage": ("SendMessage", "SendMessageBatch"),
    "s3:ListBucketVersions": ("ListObjects",),  # it tells only that a bucket was the object of a GET
    "s3:PutObject": ("PutObject", "CreateMultipartUpload"),
    "s3:AbortMultipartUpload": ("DeleteObject",),  # it tells only that a key was the object of a DELETE
    "lambda:InvokeFunction": ("Invoke",),
    "lambda:ListEventSourceMappings": ("GET.lambda",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What was called since a moment; calls that were refused are not in it."""

    cloudtrail: Any
    since: datetime

    def shows(self, key: str, right: Right) -> bool:
        """Tell whether the owner of an access key has made use of a right."""
        until = datetime.now(UTC).replace(microsecond=0) + _SECOND
        calls = _CALLS.get(right.action, (right.action.partition(":")[2],))
        return any(
            fnmatchcase(resource, right.resource)
            for call in calls
            for event in self._events(key, call, self.since.replace(microsecond=0), until)
            for resource in self._resources(right.action, event)
        )

    def _events(self, key: str, call: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """Yield the events of a span, a full page by halving it; of more than a page in a second only the newest."""
        found = self.cloudtrail.lookup_events(
            LookupAttributes=[
                {"AttributeKey": "AccessKeyId", "AttributeValue": key},
                {"AttributeKey": "EventName", "AttributeValue": call},
            ],
            StartTime=since,
            EndTime=until,
        )["Events"]
        yield from found
        if len(found) == _PAGE and until - since > _SECOND:
            middle = since + timedelta(seconds=(until - since) // _SECOND // 2)
            yield from self._events(key, call, middle, until)
            yield from self._events(key, call, since, middle)

    def _resources(self, action: str, event: Mapping[str, Any]) -> list[str]:
        """Return the ARNs that a call needed the action on, as IAM names them."""
        service = action.partition(":")[0]
        if event["EventSource"] != f"{service}.amazonaws.com":
            return []
        asked = json.loads(event["CloudTrailEvent"])["requestParameters"]
        prefix = f"arn:aws:{service}:{localaws.REGION}:{ACCOUNT}"
        match service:
            case "dynamodb":
                return [f"{prefix}:table/{name}" for name in _tables(action, asked)]
            case "sqs":
                return [f"{prefix}:{asked['QueueUrl'].rpartition('/')[2]}"]
            case "events":
                return [f"{prefix}:event-bus/{entry['EventBusName']}" for entry in asked["Entries"]]
            case "s3":
                return ["arn:aws:s3:::" + "/".join(named["ResourceName"] for named in event["Resources"])]
            case _:
                return ["*", *(f"{prefix}:function:{named['ResourceName']}" for named in event["Resources"])]


def _tables(action: str, asked: Mapping[str, Any]) -> list[str]:
    if "TransactItems" in asked:
        kind = action.removeprefix("dynamodb:").removesuffix("Item")
        return [item[kind]["TableName"] for item in asked["TransactItems"] if kind in item]
    if "RequestItems" in asked:
        return list(asked["RequestItems"])
    return [f"{asked['TableName']}/index/{asked['IndexName']}" if "IndexName" in asked else asked["TableName"]]
