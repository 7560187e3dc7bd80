"""A deployment that was cut short: its mark, and the resources that Terraform's state does not know.

Terraform saves its state at intervals. If it is killed, a resource in the making exists in AWS and in no state: the
next apply would fail because it exists. It is imported, unless it is older than the deployment.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from chalicelib.clock import Clock
from tally.deploy.preflight import Account
from tally.errors import OperatorError
from tally.stages.stage import Stage
from tally.tools.terraform import Resource

IMPORTS = "adopted_by_tally.tf.json"
"""The file with import blocks in the root module; it exists while Terraform plans."""

_CLOCK_SKEW = timedelta(minutes=5)
_NOT_THERE = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "ResourceNotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A resource that Terraform would create and that exists."""

    address: str
    identifier: str
    """The id by which Terraform imports it."""
    created: datetime | None = None
    """Aware; None where AWS does not tell cheaply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A file that exists from a deployment's first change to its end, and survives a kill."""

    path: Path
    account: Account
    clock: Clock

    def began(self) -> datetime | None:
        """Return when the earliest unfinished deployment into this account began; None if there is none."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            here = (found["account"], found["region"]) == (self.account.id, self.account.region)
            return datetime.fromisoformat(found["began"]) if here else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the mark while the block runs, and also afterwards if the block fails."""
        began = self.began() or self.clock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"began": began.isoformat(), "account": self.account.id, "region": self.account.region}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self.path)
        yield
        self.path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Looks in AWS for resources under the names that Terraform plans."""

    client: Callable[[str], Any]

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Return the finder of the stage that these clients reach."""
        return cls(client=stage.client)

    def orphans(self, planned: Iterable[Resource]) -> list[Orphan]:
        """Return the resources that are to be created and exist already; AWS is only read."""
        return [orphan for resource in planned if (orphan := self._find(resource))]

    def _find(self, resource: Resource) -> Orphan | None:
        look = _LOOKS.get(resource.type)
        if look is None:
            return None
        try:
            found = look(self.client, resource.values)
        except KeyError:
            return None  # its name is not known yet, so what it depends on does not exist
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_THERE:
                raise
            return None
        return Orphan(address=resource.address, identifier=found[0], created=found[1]) if found else None


def require_ours(orphans: Iterable[Orphan], began: datetime | None) -> None:
    """Raise OperatorError if a resource is older than the interrupted deployment: another state may own it."""
    if began is None:
        return
    older = [one for one in orphans if one.created and one.created < began - _CLOCK_SKEW]
    if older:
        described = ", ".join(f"{one.identifier} (since {one.created:%Y-%m-%d %H:%M} UTC)" for one in older)
        raise OperatorError(
            f"Terraform's state does not know {described}, and the deployment that was cut short began only at "
            f"{began:%Y-%m-%d %H:%M} UTC. Another state may own them: use it (docs/deploy.md). If there "
            "is none, run this with --adopt, which takes them over."
        )


@contextlib.contextmanager
def imports(infra: Path, orphans: Iterable[Orphan]) -> Iterator[None]:
    """Add import blocks for these resources to the plans of the block; a written plan no longer needs the file."""
    file = infra / IMPORTS
    blocks = [{"to": one.address, "id": one.identifier} for one in orphans]
    if blocks:
        file.write_text(json.dumps({"import": blocks}, indent=2), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


_Look = Callable[[Callable[[str], Any], Mapping[str, Any]], tuple[str, datetime | None] | None]


def _bucket(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None]:
    client("s3").head_bucket(Bucket=values["bucket"])
    return values["bucket"], None


def _table(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None]:
    found = client("dynamodb").describe_table(TableName=values["name"])["Table"]
    return values["name"], found.get("CreationDateTime")


def _role(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None]:
    found = client("iam").get_role(RoleName=values["name"])["Role"]
    return values["name"], found.get("CreateDate")


def _log_group(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None] | None:
    name = values["name"]
    for group in client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        if group["logGroupName"] == name:
            return name, datetime.fromtimestamp(group["creationTime"] / 1000, UTC)
    return None


def _bus(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None]:
    found = client("events").describe_event_bus(Name=values["name"])
    return values["name"], found.get("CreationTime")


def _queue(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None]:
    sqs, asked = client("sqs"), "CreatedTimestamp"
    # Made here, not asked for: no deployment needs the right to ask, so a pipeline's role lacks it.
    url = f"{sqs.meta.endpoint_url}/{client('sts').get_caller_identity()['Account']}/{values['name']}"
    created = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[asked])["Attributes"].get(asked)
    return url, datetime.fromtimestamp(float(created), UTC) if created else None


def _alias(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None] | None:
    for page in client("kms").get_paginator("list_aliases").paginate():
        for alias in page["Aliases"]:
            if alias["AliasName"] == values["name"]:
                return values["name"], alias.get("CreationDate")
    return None


def _mapping(client: Callable[[str], Any], values: Mapping[str, Any]) -> tuple[str, datetime | None] | None:
    source, function = values["event_source_arn"], values["function_name"]
    found = client("lambda").list_event_source_mappings(EventSourceArn=source, FunctionName=function)
    for mapping in found["EventSourceMappings"]:
        if mapping["State"] != "Deleting":
            return mapping["UUID"], mapping.get("LastModified")
    return None


_LOOKS: Mapping[str, _Look] = {
    "aws_s3_bucket": _bucket,
    "aws_dynamodb_table": _table,
    "aws_iam_role": _role,
    "aws_cloudwatch_log_group": _log_group,
    "aws_cloudwatch_event_bus": _bus,
    "aws_sqs_queue": _queue,
    "aws_kms_alias": _alias,
    "aws_lambda_event_source_mapping": _mapping,
}
"""The kinds that AWS refuses to make a second time; making any other again changes nothing."""
