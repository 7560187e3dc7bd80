"""What a call of the SDK asks IAM for, where that is not the operation's own name: service authorization reference."""

from collections.abc import Mapping
from typing import Any

ACTIONS = {
    "lambda:Invoke": ["lambda:InvokeFunction"],
    "s3:CompleteMultipartUpload": ["s3:PutObject"],
    "s3:CreateMultipartUpload": ["s3:PutObject"],
    "s3:GetBucketEncryption": ["s3:GetEncryptionConfiguration"],
    "s3:GetBucketNotificationConfiguration": ["s3:GetBucketNotification"],
    "s3:GetPublicAccessBlock": ["s3:GetBucketPublicAccessBlock"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListObjectVersions": ["s3:ListBucketVersions"],
    "s3:ListParts": ["s3:ListMultipartUploadParts"],
    "s3:UploadPart": ["s3:PutObject"],
    "sqs:ChangeMessageVisibilityBatch": ["sqs:ChangeMessageVisibility"],
    "sqs:SendMessageBatch": ["sqs:SendMessage"],
}
UNASKED = {"sts:GetCallerIdentity"}
"""What AWS lets everybody call."""


def actions_of(service: str, operation: str, request: Mapping[str, Any]) -> list[str]:
    """Return the IAM actions that a call asks for; ``operation`` is the client's method."""
    if operation == "transact_write_items":
        return [f"dynamodb:{kind}Item" for action in request["TransactItems"] for kind in action]
    if operation in {"get_object", "head_object"} and request.get("VersionId"):
        return ["s3:GetObjectVersion"]
    name = f"{service}:{''.join(word.capitalize() for word in operation.split('_'))}"
    return ACTIONS.get(name, [name])
