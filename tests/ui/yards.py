"""Stages with queues, logs and a table of their own, local or as if they were in AWS, and consoles of them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tally.local import localaws
from tally.stages.expected import Expected, Mapping, Queue, StreamReader
from tally.stages.stage import Resources
from tally.stages.workspace import Workspace
from tests.support.tables import make_table
from tests.ui.conftest import Local, Served, end, launch

REPO = Path(__file__).resolve().parents[2]
LOCAL, CLOUD = "yard", "cloud"
ACCOUNT = "000000000000"
QUEUES = ("work", "export")
FAILURES = ("plan-failures",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard(Local):
    """A local AWS with the stage ``yard``, and with the stage ``cloud``, which is taken for one in AWS."""

    consoles: list[Served] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        return Workspace(repo=REPO, home=self.home)

    def url(self, stage: str, queue: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/tally-{stage}-{queue}"

    def fill(self, stage: str) -> None:
        """Make the queues and the table of a stage, and note its resources where `tally` looks for them."""
        sqs = self.client("sqs")
        for name in [*QUEUES, *(f"{name}-dlq" for name in QUEUES), *FAILURES, "dead-letters"]:
            sqs.create_queue(QueueName=f"tally-{stage}-{name}")
        table = f"tally-{stage}"
        make_table(self.client("dynamodb"), table)
        known = Resources(
            table=table,
            inbox_bucket="inbox",
            region=localaws.REGION,
            expected=msgspec.json.encode(self.expected(stage)).decode(),
        )
        known.save(self.workspace.stage(stage).outputs if stage == LOCAL else self.workspace.aws_outputs(stage))

    def expected(self, stage: str) -> Expected:
        arn = f"arn:aws:sqs:{localaws.REGION}:{ACCOUNT}:tally-{stage}-"
        reader = StreamReader(parallelization_factor=1, maximum_retry_attempts=1, on_failure_arn="")

        def mapping(function: str, source: str, stream: StreamReader | None) -> Mapping:
            return Mapping(
                function=function, source_arn=source, batch_size=1, window_seconds=0, maximum_concurrency=None,
                filters=[], stream=stream,
            )  # fmt: skip

        return Expected(
            account_id=ACCOUNT, region=localaws.REGION, table_name=f"tally-{stage}", stream_arn="stream",
            inbox_bucket="inbox", alarm_topic_arn=None, reconcile_minutes=5, queue_age_seconds=900,
            iterator_age_seconds=60, functions={},
            mappings=[mapping("settle", "stream", reader), mapping("dead_letters", f"{arn}work-dlq", None)],
            queues={
                name: Queue(
                    url=self.url(stage, name), dlq_url=self.url(stage, f"{name}-dlq"), dlq_arn=f"{arn}{name}-dlq",
                    max_receive_count=5, visibility_floor=60,
                )
                for name in QUEUES
            },
            failure_queues={name: self.url(stage, name) for name in FAILURES},
        )  # fmt: skip

    def send(self, stage: str, to: str, body: str, **attributes: str) -> None:
        entries = {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()}
        self.client("sqs").send_message(QueueUrl=self.url(stage, to), MessageBody=body, MessageAttributes=entries)

    def log(self, stage: str, function: str, *messages: str) -> None:
        """Write lines into the log of a function, as of now."""
        logs, group = self.client("logs"), f"/aws/lambda/tally-{stage}-{function}"
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        now = int(time.time() * 1000)
        logs.put_log_events(
            logGroupName=group,
            logStreamName="s",
            logEvents=[{"timestamp": now, "message": message} for message in messages],
        )

    def in_cloud(self, endpoint: str = "") -> dict[str, str]:
        """Return the environment in which this local AWS is AWS."""
        return self.environ | {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": localaws.CREDENTIAL,
            "AWS_SECRET_ACCESS_KEY": localaws.CREDENTIAL,
            "AWS_REGION": localaws.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def console(self, stage: str, *options: str, environ: dict[str, str] | None = None) -> Served:
        """Start a console of a stage."""
        served = launch(stage, environ or (self.environ if stage == LOCAL else self.in_cloud()), *options)
        self.consoles.append(served)
        return served


def start(home: Path) -> Yard:
    """Start a local AWS for the stage ``yard``; nothing is in it."""
    folder = Workspace(repo=REPO, home=home).stage(LOCAL)
    folder.root.mkdir(parents=True, exist_ok=True)
    return Yard(home=home, server=localaws.start(folder, port=None))


def stop(home: Path) -> None:
    """End it."""
    localaws.stop(Workspace(repo=REPO, home=home).stage(LOCAL))


def yard(home: Path) -> Iterator[Yard]:
    """Start a local AWS with both stages filled, and end it with its consoles."""
    made = start(home)
    try:
        made.fill(LOCAL)
        made.fill(CLOUD)
        made.client("s3").create_bucket(Bucket="inbox")
        yield made
    finally:
        end(made.consoles)
        stop(home)


def write(made: Yard, stage: str, items: list[dict[str, Any]]) -> None:
    """Write items into the table of a stage."""
    dynamodb = made.client("dynamodb")
    for item in items:
        dynamodb.put_item(TableName=f"tally-{stage}", Item=item)
