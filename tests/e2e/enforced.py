"""A stage whose local AWS enforces its roles, and the ways to stop, lose and hasten things in it."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.recording import variables
from chalicelib.jobs import documents
from chalicelib.store.items import Counts
from tally.local import localaws
from tally.stages.stage import Stage
from tests.e2e.conftest import Tally, wait_for
from tests.e2e.roles import ACCOUNT, Roles

HEADER = b"document_id,title,parts\n"
_MANY = b"|".join(b"p%d: text" % number for number in range(documents.MAX_LIGHT_PARTS + 1))
REJECTED = b"C,no part,\n"
CONTENT = HEADER + b"A,light,p: text\nB,heavy," + _MANY + b"\n" + REJECTED
FAILING = b"D,light,p: one|p: two\nE,heavy," + _MANY + b"|p0: two\n"
AFTER = Counts(succeeded=2, rejected=1)

_SOON = {"VisibilityTimeout": "4"}
"""Longer than a worker takes to start on a busy machine, or its message would be delivered again while it starts."""


@dataclass(frozen=True, kw_only=True)
class Enforced:
    """A stage that enforces its roles."""

    tally: Tally
    stage: Stage
    roles: Roles
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def hasten(self) -> None:
        """Have messages that failed come again soon.

        So a right that is back is seen to be enough, and what fails each time is a dead letter in seconds.
        """
        consumed = ("ingest", "work", "heavy", "finished")
        for name in (*consumed, *(f"{queue}-dlq" for queue in consumed), "plan-failures"):
            self.stage.client("sqs").set_queue_attributes(QueueUrl=self.queue(name), Attributes=_SOON)

    def submit(self, name: str, content: bytes) -> str:
        """Upload documents and return their batch's id."""
        return self.tally.submit(name, content, job="documents")

    @contextmanager
    def held(self, *functions: str) -> Iterator[None]:
        """Let functions get nothing from their queues during the block."""
        api = self.stage.functions
        mappings = [
            mapping["UUID"]
            for function in functions
            for mapping in api.list_event_source_mappings(FunctionName=self.roles.name(function))["EventSourceMappings"]
        ]
        for uuid in mappings:
            api.update_event_source_mapping(UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            for uuid in mappings:
                api.update_event_source_mapping(UUID=uuid, Enabled=True)

    @contextmanager
    def unnotified(self) -> Iterator[None]:
        """Lose the events of what is uploaded during the block."""
        s3, bucket = self.stage.s3, self.stage.resources.inbox_bucket
        answer = s3.get_bucket_notification_configuration(Bucket=bucket)
        notified: Any = {name: found for name, found in answer.items() if name != "ResponseMetadata"}
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        try:
            yield
        finally:
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notified)

    def told(self, function: str, **more: str) -> AbstractContextManager[None]:
        """Give a function other settings for the block."""
        return variables(self.stage.functions, [self.roles.name(function)], more)

    @contextmanager
    def hurried(self, *functions: str, seconds: int) -> Iterator[None]:
        """Give functions no more than so many seconds for the block."""
        api = self.stage.functions
        names = [self.roles.name(function) for function in functions]
        before = {name: api.get_function_configuration(FunctionName=name)["Timeout"] for name in names}
        for name in names:
            api.update_function_configuration(FunctionName=name, Timeout=seconds)
        try:
            yield
        finally:
            for name in names:
                api.update_function_configuration(FunctionName=name, Timeout=before[name])

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Invoke a function as one of its event sources would, and return its answer."""
        answer = self.stage.functions.invoke(FunctionName=self.roles.name(function), Payload=json.dumps(event).encode())
        said = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, said
        return said

    def delivery(self, queue: str, *bodies: str) -> dict[str, Any]:
        """Return the event in which Lambda delivers messages of a queue; their ids are their positions."""
        arn = f"arn:aws:sqs:{localaws.REGION}:{ACCOUNT}:tally-{self.stage.name}-{queue}"
        records = [
            {"messageId": str(position), "body": body, "attributes": {}, "eventSourceARN": arn}
            for position, body in enumerate(bodies)
        ]
        return {"Records": records}

    def sweep_until(self, condition: Callable[[], bool], *, what: str) -> None:
        """Have reconcile run as its schedule would, again and again until a condition holds."""
        empty = dict.fromkeys(("version", "account", "region", "time", "id"), "")
        event = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}, "resources": []}

        def swept() -> bool:
            self.invoke("reconcile", empty | event)
            return condition()

        wait_for(swept, what=what)

    def queue(self, name: str) -> str:
        """Return the URL of a queue of the stage."""
        url = self.stage.client("sqs").get_queue_url(QueueName=f"tally-{self.stage.name}-{name}")["QueueUrl"]
        return str(url)

    def waiting(self, *queues: str, delayed: bool = False) -> bool:
        """Tell whether there is a message in each of the queues, or one that is to come later."""
        name = "ApproximateNumberOfMessagesDelayed" if delayed else "ApproximateNumberOfMessages"
        ask = self.stage.client("sqs").get_queue_attributes
        answers = [ask(QueueUrl=self.queue(queue), AttributeNames=[name])["Attributes"] for queue in queues]
        return all(int(answer[name]) for answer in answers)

    def lose(self, *queues: str) -> None:
        """Take away all that is in the queues."""
        for queue in queues:
            self.stage.client("sqs").purge_queue(QueueUrl=self.queue(queue))

    def peek(self, url: str) -> list[str]:
        """Return what is in a queue that nothing consumes, up to ten messages."""
        answer = self.stage.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=1
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def planned(self, batch_id: str) -> bool:
        """Tell whether every chunk of a batch is known."""
        batch = self.tally.reader.batch(batch_id)
        return batch is not None and batch.chunks is not None

    def stands_still(self, batch_id: str) -> bool:
        """Tell that a batch has not come to its end, or that its end has not been announced."""
        batch = self.tally.reader.batch(batch_id)
        return batch is None or batch.published_attempt != batch.attempt
