"""A deployed stage in an account of its own, as far as Chalice and its record go: AWS in memory, in pages of one."""

import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from tally.deploy.survey import Entry, Live, Place, Sources, Trigger

STAGE = "test"
PLACE = Place(stage=STAGE, account="000000000000", region="us-east-1")
SOURCES = Sources.of(os.environ)
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:tally-test-"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:tally-test-"


def trigger(handler: str, source: str, uuid: str = "") -> Trigger:
    """Return a mapping of a handler."""
    return Trigger(uuid=uuid or f"uuid-{handler}", handler=handler, function_arn=FUNCTION + handler, source=source)


def whole() -> Live:
    """Return a stage that is whole, with the mappings that Terraform gives dead_letters beside Chalice's."""
    queues = {
        "ingest": "ingest",
        "process": "work",
        "process_heavy": "heavy",
        "finish": "finished",
        "export": "export",
        "save": "save",
        "dead_letters": "work-dlq",
    }
    return Live(
        functions={name: FUNCTION + name for name in (*queues, "plan", "dispatch", "settle", "reconcile")},
        triggers=[
            *(trigger(name, QUEUE + queue) for name, queue in queues.items()),
            *(trigger(name, SOURCES.stream) for name in ("dispatch", "settle")),
            *(
                trigger("dead_letters", f"{QUEUE}{name}", f"terraform-{name}")
                for name in ("ingest-dlq", "heavy-dlq", "finished-dlq", "plan-failures")
            ),
        ],
        notified={"inbox": {"plan": FUNCTION + "plan"}},
        rules={"reconcile": "tally-test-reconcile-event"},
    )


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    """Return the entries of a record by what they are called."""
    return {entry["name"]: entry for entry in entries}


class Aws:
    """The resources in AWS of a stage, and of another whose name begins alike."""

    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def __init__(self, live: Live) -> None:
        self.functions = [*live.functions.values(), *(f"{FUNCTION}two-{name}" for name in ("plan", "ingest"))]
        neighbours = replace(trigger("ingest", QUEUE + "two", "uuid-two"), function_arn=f"{FUNCTION}two-ingest")
        self.mappings = [
            {"UUID": one.uuid, "FunctionArn": one.function_arn, "EventSourceArn": one.source, "State": "Enabled"}
            for one in (*live.triggers, neighbours)
        ]
        self.notified = {bucket: list(functions.values()) for bucket, functions in live.notified.items()}
        self.rules = [*live.rules.values(), "tally-test-two-reconcile-event", "tally-test-other"]
        self.polls_while_deleting = 0
        self.slept: list[float] = []

    def client(self, _service: str) -> Any:
        """Return the client of any service: one has the methods of all."""
        return self

    def empty(self) -> None:
        """Take everything away."""
        self.functions, self.mappings, self.notified, self.rules = [], [], {}, []

    def get_paginator(self, name: str) -> Any:
        """Return what pages through a listing."""
        return SimpleNamespace(paginate=getattr(self, f"_{name}"))

    def get_bucket_notification_configuration(self, *, Bucket: str) -> dict[str, Any]:  # noqa: N803
        """Answer as S3 does."""
        if Bucket not in self.notified:
            raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "GetBucketNotificationConfiguration")
        return {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn} for arn in self.notified[Bucket]]}

    def delete_event_source_mapping(self, *, UUID: str) -> None:  # noqa: N803
        """Begin to delete a mapping, as Lambda does: it is still listed for a while."""
        found = [mapping for mapping in self.mappings if mapping["UUID"] == UUID]
        if not found:
            raise LookupError(UUID)
        found[0]["State"] = "Deleting"

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        if len(self.slept) >= self.polls_while_deleting:
            self.mappings = [mapping for mapping in self.mappings if mapping["State"] != "Deleting"]

    def _list_functions(self) -> Iterator[dict[str, Any]]:
        yield from ({"Functions": [{"FunctionArn": arn}]} for arn in self.functions)

    def _list_event_source_mappings(self) -> Iterator[dict[str, Any]]:
        yield from ({"EventSourceMappings": [mapping]} for mapping in self.mappings)

    def _list_rules(self, *, NamePrefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        yield from ({"Rules": [{"Name": name}]} for name in self.rules if name.startswith(NamePrefix))
