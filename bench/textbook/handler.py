"""The textbook's functions: a message a row, Powertools' batch processing and idempotency, an atomic counter.

It takes the same rows through the same job as Tally, on the same queue service and table service. Each part of it is
recommended practice; that its count is not exact under faults is the point of measuring it.
"""

import csv
import json
import os
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from chalicelib.errors import PermanentError
from chalicelib.jobs import transactions

_TABLE = os.environ["TABLE"]
_QUEUE_URL = os.environ["QUEUE_URL"]
_MAX_ENTRIES = 10

dynamodb, sqs = boto3.client("dynamodb"), boto3.client("sqs")
s3, events = boto3.client("s3"), boto3.client("events")
processor = BatchProcessor(event_type=EventType.SQS)
store = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"])
config = IdempotencyConfig(expires_after_seconds=6 * 3600)


def split(event: dict[str, Any], _context: Any) -> None:
    """Send a message for every row of an uploaded object, then store the number of rows."""
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode("utf-8", "replace")
        rows = csv.DictReader(body.splitlines(keepends=True))
        entries: list[Any] = []
        total = 0
        for total, row in enumerate(rows, 1):
            cells = {name: cell.strip() for name, cell in row.items() if isinstance(cell, str) and cell.strip()}
            message = {"id": f"{key}#{total}", "batch": key, "cells": cells}
            entries.append({"Id": str(len(entries)), "MessageBody": json.dumps(message)})
            if len(entries) == _MAX_ENTRIES:
                sqs.send_message_batch(QueueUrl=_QUEUE_URL, Entries=entries)
                entries = []
        if entries:
            sqs.send_message_batch(QueueUrl=_QUEUE_URL, Entries=entries)
        _count(key, "SET expected = :n", total)


def work(event: dict[str, Any], context: Any) -> Any:
    """Process the messages of an event; those that fail come again."""
    config.register_lambda_context(context)
    print(f"{len(event['Records'])} rows")
    return process_partial_response(event, lambda record: handle(row=record.json_body), processor, context)


@idempotent_function(data_keyword_argument="row", config=config, persistence_store=store)  # type: ignore[untyped-decorator]
def handle(row: dict[str, Any]) -> dict[str, str]:
    """Run the job over a row, keep its result, and count it once, by the idempotency store."""
    try:
        result = transactions.process(msgspec.convert(row["cells"], transactions.Row, strict=False))
        outcome, said = "succeeded", msgspec.json.encode(result).decode()
    except (msgspec.ValidationError, PermanentError) as error:
        outcome, said = "rejected", str(error)
    dynamodb.put_item(
        TableName=_TABLE,
        Item={
            "pk": {"S": row["id"]},
            "outcome": {"S": outcome},
            "result": {"S": said},
            "row": {"S": json.dumps(row["cells"])},
        },
    )
    _count(row["batch"], "ADD done :n", 1)
    return {"outcome": outcome}


def _count(batch: str, expression: str, number: int) -> None:
    """Increase the batch's counter; the worker that reaches the total announces the end."""
    now = dynamodb.update_item(
        TableName=_TABLE,
        Key={"pk": {"S": f"batch#{batch}"}},
        UpdateExpression=expression,
        ExpressionAttributeValues={":n": {"N": str(number)}},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    if now.get("done") == now.get("expected"):
        events.put_events(
            Entries=[{"Source": "textbook", "DetailType": "Batch Completed", "Detail": json.dumps({"batch": batch})}]
        )
