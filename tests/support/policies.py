"""IAM policies as Terraform renders them, and AWS's own table of actions, resources and condition keys, offline."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from policy_sentry.querying.actions import get_action_data

# AWS global condition context keys (IAM user guide) that the service tables do not repeat for each action.
GLOBAL_KEYS = {"aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn"}
NEEDS_EVERY_RESOURCE = {
    "cloudwatch:DescribeAlarms": "with a narrower one CloudWatch leaves composite alarms out (API reference)"
}
# Keys of the identity provider of the role that deploys.
_OF_A_PROVIDER = "token.actions.githubusercontent.com:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a rendered policy; ``of_resource`` has a principal, and stands at what it is about."""

    where: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    keys: tuple[str, ...]
    of_resource: bool


def statements(where: str, policy: str) -> Iterator[Statement]:
    """Read the statements of a policy; ``where`` names the resource and the attribute that has it."""
    for found in json.loads(policy)["Statement"]:
        yield Statement(
            where=where,
            sid=found.get("Sid", ""),
            actions=tuple(_listed(found["Action"])),
            resources=tuple(_listed(found.get("Resource", []))),
            keys=tuple(key for tests in found.get("Condition", {}).values() for key in tests),
            of_resource="Principal" in found,
        )


def rendered(folder: Path, test: str, data: Path) -> list[Statement]:
    """Return the statements of every policy in the state that a Terraform test with a mocked provider ends with.

    ``data`` is where Terraform keeps the provider and the modules of the folder.
    """
    environment = {**os.environ, "TF_DATA_DIR": str(data)}
    for command in (["init", "-backend=false", "-input=false"], ["test", "-json", "-verbose", f"-filter={test}"]):
        done = subprocess.run(
            ["terraform", *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"{folder}: terraform {command[0]}\n{done.stdout}\n{done.stderr}"
    said = [json.loads(line) for line in done.stdout.splitlines()]
    states = [line["test_state"] for line in said if line["type"] == "test_state"]
    return [statement for state in states for statement in _of_module(state["root_module"])]


def _of_module(module: Mapping[str, Any]) -> Iterator[Statement]:
    for resource in module.get("resources", []):
        for name, value in resource["values"].items():
            if isinstance(value, str) and value.startswith("{") and '"Statement"' in value:
                yield from statements(f"{resource['address']}.{name}", value)
    for child in module.get("child_modules", []):
        yield from _of_module(child)


def faults(statement: Statement) -> list[str]:
    """Return what AWS would not know, or never match, in a statement."""
    found = []
    known: dict[str, list[Mapping[str, Any]]] = {}
    for action in statement.actions:
        service, _, name = action.partition(":")
        if name == "*":
            continue  # of a boundary or a key's own policy: what it grants others name
        table: Mapping[str, Any] = get_action_data(service, name.rstrip("*")) or {}
        if not table.get(service):
            found.append(f"AWS knows no action {action}")
        else:
            known[action] = table[service]
    if known:
        found += [fault for key in statement.keys if (fault := _unknown(key, known))]
        found += [] if statement.of_resource else _unfit(statement, known)
    return [f"{statement.where} {statement.sid}: {fault}" for fault in found]


def _unknown(key: str, known: Mapping[str, list[Mapping[str, Any]]]) -> str:
    if key in GLOBAL_KEYS or key.startswith(_OF_A_PROVIDER):
        return ""
    without = [
        action
        for action, rows in known.items()
        if not any(_pattern(template).fullmatch(key) for row in rows for template in row["condition_keys"])
    ]
    return f"{', '.join(without)} does not know the condition {key}" if without else ""


def _unfit(statement: Statement, known: Mapping[str, list[Mapping[str, Any]]]) -> list[str]:
    fits = {
        (action, resource)
        for action, rows in known.items()
        for resource in statement.resources
        if _takes(action, rows, resource)
    }
    return [
        f"{action} takes none of {', '.join(statement.resources)}"
        for action in known
        if not any(fit[0] == action for fit in fits)
    ] + [
        f"no action takes {resource}"
        for resource in statement.resources
        if len(known) == len(statement.actions) and not any(fit[1] == resource for fit in fits)
    ]


def _takes(action: str, rows: list[Mapping[str, Any]], resource: str) -> bool:
    """Tell whether an action can be granted for a resource: for ``*`` only where AWS has none that is narrower."""
    formats = {re.sub(r"\$\{\w+\}", "*", row["resource_arn_format"]) for row in rows} - {"*"}
    if resource == "*":
        return not formats or action in NEEDS_EVERY_RESOURCE
    return any(_meet(form, resource) for form in formats)


@cache
def _meet(one: str, other: str) -> bool:
    """Tell whether something matches both of two patterns, in which ``*`` stands for any text."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*" or other[0] == "*":
        return (one[0] == "*" and (_meet(one[1:], other) or (other[0] != "*" and _meet(one, other[1:])))) or (
            other[0] == "*" and (_meet(one, other[1:]) or (one[0] != "*" and _meet(one[1:], other)))
        )
    return one[0] == other[0] and _meet(one[1:], other[1:])


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(".+".join(re.escape(part) for part in re.split(r"\$\{\w+\}", template)))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
