"""The parts of a stage that exist in AWS and that Chalice makes: functions, triggers, notification, schedule."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from botocore.exceptions import ClientError

from tally.errors import OperatorError

Entry = dict[str, Any]
"""A resource as Chalice records it."""

_FUNCTION_ARN = re.compile(r"arn:[^:]+:lambda:[^:]+:[^:]+:function:(?P<name>[^:]+)")
_POLL_SECONDS = 5
_MAX_POLLS = 60
"""Lambda takes a minute or two to delete a mapping at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The event sources of a stage's functions, from their configuration; empty where not known."""

    queues: frozenset[str] = frozenset()
    stream: str = ""
    bucket: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the sources from the environment of the functions."""
        return cls(
            queues=frozenset(queue["arn"] for queue in json.loads(environment["TALLY_QUEUES"]).values()),
            stream=environment["TALLY_STREAM_ARN"],
            bucket=environment["TALLY_INBOX_BUCKET"],
        )

    @property
    def arns(self) -> frozenset[str]:
        """Return the ARNs that a mapping of the stage may read."""
        return (self.queues | {self.stream}) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The account and region of a stage, and the names of its functions."""

    stage: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """Return the prefix of the names of all that Chalice makes for the stage."""
        return f"tally-{self.stage}-"

    def handler(self, name: str) -> str:
        """Return the handler of a function's name; empty for a function of another stage.

        A handler's name has no hyphen: tally-dev-two-plan is of the stage dev-two, not of dev.
        """
        handler = name.removeprefix(self.prefix)
        return handler if name.startswith(self.prefix) and handler.isidentifier() else ""

    def handler_of(self, function_arn: str) -> str:
        """Return the handler of a function's ARN; empty for a version or an alias, which Chalice never makes."""
        found = _FUNCTION_ARN.fullmatch(function_arn)
        return self.handler(found["name"]) if found else ""

    def elsewhere(self, arn: str) -> str:
        """Return the account and region of an ARN if they are not these; else empty."""
        region, account = arn.split(":")[3:5]
        here = region in {"", self.region} and account in {"", self.account}
        return "" if here else f"account {account}, region {region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """An event source mapping of a function of the stage."""

    uuid: str
    handler: str
    function_arn: str
    source: str

    @property
    def reads_stream(self) -> bool:
        """Tell whether it reads a table's stream, and not a queue."""
        return ":dynamodb:" in self.source

    def entry(self) -> Entry:
        """Return Chalice's entry for it."""
        common = {"event_uuid": self.uuid, "lambda_arn": self.function_arn}
        if self.reads_stream:
            name = f"{self.handler}-dynamodb-event-source"
            return {"name": name, "resource_type": "dynamodb_event", "stream_arn": self.source, **common}
        queue = {"queue_arn": self.source, "queue": self.source.rpartition(":")[2]}
        return {"name": f"{self.handler}-sqs-event-source", "resource_type": "sqs_event", **queue, **common}


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The parts of a stage that exist in AWS and that Chalice makes."""

    functions: Mapping[str, str] = field(default_factory=dict)
    """The ARN of each handler's function."""
    triggers: Sequence[Trigger] = ()
    notified: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each bucket, the handlers that it notifies, with their functions' ARNs."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """The name of each handler's schedule rule."""

    def confirm(self, entry: Entry) -> Entry | None:
        """Return the entry of a recorded resource as it is now, or None if it no longer exists."""
        match entry["resource_type"]:
            case "lambda_function":
                lives = entry["lambda_arn"] in self.functions.values()
            case "sqs_event" | "dynamodb_event":
                # As it is now: the record may name another source or function.
                return next((one.entry() for one in self.triggers if one.uuid == entry["event_uuid"]), None)
            case "s3_event":
                lives = entry["lambda_arn"] in self.notified.get(entry["bucket"], {}).values()
            case "cloudwatch_event":
                lives = entry["rule_name"] in self.rules.values()
            case _:
                lives = True  # a kind that Tally does not make is left alone
        return entry if lives else None

    def entries(self, sources: Sources) -> list[Entry]:
        """Return the entries as Chalice would have recorded them: without the mappings that Terraform made itself.

        Chalice maps a stream, or a queue that the functions' configuration names.
        """
        return [
            *(
                {"name": handler, "resource_type": "lambda_function", "lambda_arn": arn}
                for handler, arn in self.functions.items()
            ),
            *(trigger.entry() for trigger in self.triggers if trigger.reads_stream or trigger.source in sources.queues),
            *(
                {"name": f"{handler}-s3event", "resource_type": "s3_event", "bucket": sources.bucket, "lambda_arn": arn}
                for handler, arn in self.notified.get(sources.bucket, {}).items()
            ),
            *(
                {"name": f"{handler}-event", "resource_type": "cloudwatch_event", "rule_name": rule}
                for handler, rule in self.rules.items()
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Asks AWS for the parts of a stage. Every method may raise AWS's errors."""

    place: Place
    client: Callable[[str], Any]
    sleep: Callable[[float], None] = time.sleep

    def live(self, buckets: Iterable[str]) -> Live:
        """Return the parts that exist; of notifications those of these buckets."""
        pages = self.client("lambda").get_paginator("list_functions").paginate()
        functions = [function["FunctionArn"] for page in pages for function in page["Functions"]]
        return Live(
            functions=self._by_handler(functions),
            triggers=self.triggers(),
            notified={bucket: self._by_handler(self._notified(bucket)) for bucket in buckets},
            rules=self._rules(),
        )

    def triggers(self) -> list[Trigger]:
        """Return the mappings, once none is being deleted: Chalice and Terraform would take that one for alive."""
        pages = self.client("lambda").get_paginator("list_event_source_mappings")
        for _ in range(_MAX_POLLS):
            mappings = [
                mapping
                for page in pages.paginate()
                for mapping in page["EventSourceMappings"]
                if self.place.handler_of(mapping["FunctionArn"])
            ]
            if all(mapping["State"] != "Deleting" for mapping in mappings):
                return [
                    Trigger(
                        uuid=mapping["UUID"],
                        handler=self.place.handler_of(mapping["FunctionArn"]),
                        function_arn=mapping["FunctionArn"],
                        source=mapping.get("EventSourceArn", ""),
                    )
                    for mapping in mappings
                ]
            self.sleep(_POLL_SECONDS)
        raise OperatorError(
            f"Lambda has been deleting event source mappings of stage {self.place.stage} for "
            f"{_POLL_SECONDS * _MAX_POLLS} s: run this again once they are gone."
        )

    def _notified(self, bucket: str) -> list[str]:
        try:
            answer = self.client("s3").get_bucket_notification_configuration(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            return []
        return [one["LambdaFunctionArn"] for one in answer.get("LambdaFunctionConfigurations", [])]

    def _rules(self) -> dict[str, str]:
        pages = self.client("events").get_paginator("list_rules").paginate(NamePrefix=self.place.prefix)
        names = [rule["Name"] for page in pages for rule in page["Rules"] if rule["Name"].endswith("-event")]
        found = {self.place.handler(name.removesuffix("-event")): name for name in names}
        return {handler: name for handler, name in found.items() if handler}

    def _by_handler(self, function_arns: Iterable[str]) -> dict[str, str]:
        found = {self.place.handler_of(arn): arn for arn in function_arns}
        return {handler: arn for handler, arn in found.items() if handler}
