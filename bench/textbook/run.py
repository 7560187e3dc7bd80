"""Deploy the textbook on a local AWS of its own, give it a file and read its count."""

import io
import json
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import recording
from bench.localaws import fresh
from bench.recording import Invocations, Traffic
from bench.samples import Sample
from tally.errors import OperatorError
from tally.stages.stage import Stage

_HERE = Path(__file__).parent
_ROLE = "arn:aws:iam::000000000000:role/textbook"
_NAMES = ["textbook-split", "textbook-work"]
_BUCKET, _TABLE, _IDEMPOTENCY = "textbook", "textbook", "textbook-idempotency"
_TIMEOUT_SECONDS = 30
_QUIET_SECONDS = 2.0
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The textbook's result for a file."""

    rows: int
    seconds: float
    counted: int
    stored: int
    traffic: Traffic | None
    invocations: dict[str, Invocations]


def measure(
    sample: Sample, folder: Path, repo: Path, *, log: Path | None = None, ambiguous: float = 0.0, twice: bool = False
) -> Result:
    """Process a file; with ``log`` every request is logged, ``twice`` delivers the S3 event again."""
    with fresh(folder, "textbook") as stage:
        queue_url = _deploy(stage, _package(folder, repo))
        if log is None:
            return _process(stage, sample, queue_url, twice=twice)
        with recording.recorded(stage.functions, _NAMES, log, ambiguous=ambiguous):
            return _process(stage, sample, queue_url, twice=twice, log=log)


def _package(folder: Path, repo: Path) -> bytes:
    """Return the functions' zip: what Tally's own package requires, and the job that both run."""
    target = folder / "textbook-package"
    if not (target / "msgspec").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        required = [
            "--requirement",
            str(_HERE / "requirements.txt"),
            "--constraint",
            str(repo / "requirements/dev.txt"),
        ]
        done = subprocess.run([*pip, *required], capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise OperatorError("The textbook's requirements could not be installed.", detail=done.stderr)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as package:
        package.write(_HERE / "handler.py", "handler.py")
        for root in (target, repo / "app"):
            for file in root.rglob("*"):
                if file.suffix in {".py", ".so"} and (root is target or "chalicelib" in file.parts):
                    package.write(file, str(file.relative_to(root)))
    return written.getvalue()


def _deploy(stage: Stage, package: bytes) -> str:
    sqs, dynamodb, functions = stage.client("sqs"), stage.dynamodb, stage.functions
    visibility = str(6 * _TIMEOUT_SECONDS)
    queue_url = str(sqs.create_queue(QueueName="textbook", Attributes={"VisibilityTimeout": visibility})["QueueUrl"])
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for table, key in ((_TABLE, "pk"), (_IDEMPOTENCY, "id")):
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        )
    variables = {
        "TABLE": _TABLE,
        "IDEMPOTENCY_TABLE": _IDEMPOTENCY,
        "QUEUE_URL": queue_url,
        "POWERTOOLS_SERVICE_NAME": "textbook",
    }
    arns = {}
    for name in _NAMES:
        made = functions.create_function(
            FunctionName=name,
            Runtime=f"python3.{sys.version_info.minor}",  # type: ignore[arg-type]
            Role=_ROLE,
            Handler=f"handler.{name.removeprefix('textbook-')}",
            Code={"ZipFile": package},
            Timeout=_TIMEOUT_SECONDS if name == "textbook-work" else 900,
            MemorySize=512,
            Environment={"Variables": variables},
        )
        arns[name] = made["FunctionArn"]
    functions.create_event_source_mapping(
        EventSourceArn=queue_arn,
        FunctionName="textbook-work",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )
    stage.s3.create_bucket(Bucket=_BUCKET)
    stage.s3.put_bucket_notification_configuration(
        Bucket=_BUCKET,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": arns["textbook-split"], "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    return queue_url


def _process(stage: Stage, sample: Sample, queue_url: str, *, twice: bool, log: Path | None = None) -> Result:
    since = datetime.now(UTC) - timedelta(seconds=1)
    began = time.monotonic()
    stage.s3.upload_file(str(sample.file), _BUCKET, sample.file.name)
    ended = _await(stage, sample, queue_url)
    if twice:
        found = {"bucket": {"name": _BUCKET}, "object": {"key": sample.file.name}}
        stage.functions.invoke(
            FunctionName="textbook-split",
            InvocationType="RequestResponse",
            Payload=json.dumps({"Records": [{"s3": found}]}).encode(),
        )
        _await(stage, sample, queue_url)
    stored = stage.dynamodb.describe_table(TableName=_TABLE)["Table"]["ItemCount"] - 1  # without the counter
    return Result(
        rows=sample.rows,
        seconds=ended - began,
        counted=_counted(stage, sample),
        stored=stored,
        traffic=recording.read(log) if log else None,
        invocations=recording.invocations(stage.logs, _NAMES, since),
    )


def _await(stage: Stage, sample: Sample, queue_url: str) -> float:
    """Wait until the queue is empty and the counter stands still; returns when it last moved.

    It does not wait for the counter to reach the total: an inexact one may never reach it, or pass it.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    before, moved = -1, time.monotonic()
    while time.monotonic() - moved < _PATIENCE_SECONDS:
        left = stage.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        counted = _counted(stage, sample)
        busy = any(int(each) for each in left.values()) or counted < 1
        if busy or counted != before:
            before, moved = counted, time.monotonic()
        elif time.monotonic() - moved > _QUIET_SECONDS:
            return moved
        time.sleep(0.1)
    raise OperatorError("The textbook does not come to an end.")


def _counted(stage: Stage, sample: Sample) -> int:
    key: Any = {"pk": {"S": f"batch#{sample.file.name}"}}
    item = stage.dynamodb.get_item(TableName=_TABLE, Key=key).get("Item", {})
    return int(item["done"]["N"]) if "done" in item else 0
