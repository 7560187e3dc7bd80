"""Handles what Tally tells of batches, each event once: replace ``act``."""

import json
import os
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

IS_FREE = "attribute_not_exists(event_id) OR (done = :no AND claimed_until < :now)"
"""Nobody has handled the event, and nobody who may still live is at it."""


class ClaimedError(Exception):
    """Another run is at this event, or died a moment ago: the message comes again."""


def act(detail_type: str, detail: dict[str, Any]) -> None:
    """Do what is to be done when this has happened to a batch.

    It runs once for each event, but a second time if the function dies between here and the note that it is done. If
    that must not be, do it so that a second time changes nothing: by ``detail["event_id"]``.
    """
    print(json.dumps({"message": detail_type, **{name: detail[name] for name in ("event_id", "status", "rows")}}))


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Handle the messages of a queue; those that failed come again, the others do not."""
    failed = []
    for record in event["Records"]:
        try:
            _handle(json.loads(record["body"]))
        except Exception as error:  # noqa: BLE001  one bad message must not bring back the others
            print(json.dumps({"level": "ERROR", "message_id": record["messageId"], "error": repr(error)}))
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _handle(envelope: dict[str, Any]) -> None:
    detail = envelope["detail"]
    if detail["schema_version"] != 1:
        raise ValueError(f"schema_version {detail['schema_version']} is not known: see docs/events.md")
    dynamodb, table = boto3.client("dynamodb"), os.environ["TABLE"]
    key = {"event_id": {"S": detail["event_id"]}}
    if not _claim(dynamodb, table, key):
        return  # a copy of an event that was handled
    act(envelope["detail-type"], detail)
    dynamodb.update_item(
        TableName=table, Key=key, UpdateExpression="SET done = :yes", ExpressionAttributeValues={":yes": {"BOOL": True}}
    )


def _claim(dynamodb: Any, table: str, key: dict[str, Any]) -> bool:
    """Tell whether the event is ours to handle, not if it was handled; raises ClaimedError while another run has it."""
    now = int(time.time())
    try:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET done = :no, claimed_until = :until, expires_at = :expires_at",
            ConditionExpression=IS_FREE,
            ExpressionAttributeValues={
                ":no": {"BOOL": False},
                ":now": {"N": str(now)},
                ":until": {"N": str(now + int(os.environ["TIMEOUT_SECONDS"]))},
                ":expires_at": {"N": str(now + int(os.environ["REMEMBER_DAYS"]) * 86_400)},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        if error.response["Item"]["done"]["BOOL"]:
            return False
        raise ClaimedError(key["event_id"]["S"]) from error
    return True
