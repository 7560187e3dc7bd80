"""Checks of the triggers: event source mappings, the inbox's notification, the schedule."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.transport.uploads import INBOX_PREFIX
from tally.doctor.finding import Finding, failed, ok, warning
from tally.doctor.patient import Patient
from tally.stages import expected

_NOTIFIED = ("s3:ObjectCreated:*",)


def mappings(patient: Patient) -> Iterator[Finding]:
    """Compare every event source mapping with Terraform's output and with the needs of the handlers."""
    pages = patient.clients["lambda"].get_paginator("list_event_source_mappings").paginate()
    live: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for mapping in (found for page in pages for found in page["EventSourceMappings"]):
        handler = patient.place.handler_of(mapping["FunctionArn"])
        if handler:
            live.setdefault((handler, mapping.get("EventSourceArn", "")), []).append(mapping)
    for wanted in patient.expected.mappings:
        found = live.pop((wanted.function, wanted.source_arn), [])
        yield from _mapping(patient, wanted, found)
    for (handler, source), surplus in live.items():
        yield warning(
            "mapping.surplus",
            f"{handler} <- {_short(source)}",
            f"mapping {surplus[0]['UUID']} is not of this deployment",
            f"aws lambda delete-event-source-mapping --uuid {surplus[0]['UUID']}, unless somebody else needs it",
        )


def _mapping(patient: Patient, wanted: expected.Mapping, found: list[Mapping[str, Any]]) -> Iterator[Finding]:
    subject = f"{wanted.function} <- {_short(wanted.source_arn)}"
    if not found:
        yield failed(
            "mapping.missing", subject, "there is no mapping: what is in the source is not taken", patient.apply
        )
        return
    if len(found) > 1:
        uuids = ", ".join(mapping["UUID"] for mapping in found)
        yield warning(
            "mapping.double", subject, f"there are {len(found)} ({uuids})", "delete all but one, deploy again"
        )
    mapping, wrong = found[0], False
    if mapping["State"] not in {"Enabled", "Enabling", "Updating", "Creating"}:
        wrong = True
        yield failed(
            "mapping.enabled",
            subject,
            f"its state is {mapping['State']}: what is in the source is not taken",
            f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled",
        )
    for check, want, have in _settings(wanted, mapping):
        if want != have:
            wrong = True
            make = warning if check in _TUNING else failed
            yield make(f"mapping.{check}", subject, f"it is {_shown(have)}, not {_shown(want)}", patient.apply)
    if not wrong:
        yield ok("mapping", subject, f"{mapping['State']}, set as Terraform says")


_TUNING = {"batch_size", "window", "concurrency", "parallelization"}
"""Settings that only make a stage slower or more expensive."""


def _settings(wanted: expected.Mapping, mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings of a mapping: the name of the check, the expected value, and the present one."""
    yield "batch_size", wanted.batch_size, mapping.get("BatchSize")
    yield "window", wanted.window_seconds, mapping.get("MaximumBatchingWindowInSeconds") or 0
    filters = [found["Pattern"] for found in (mapping.get("FilterCriteria") or {}).get("Filters", [])]
    yield "filters", _patterns(wanted.filters), _patterns(filters)
    reported = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or [])
    # A queue's handler answers with the messages that failed: unreported, all of them are deleted. A stream's raises.
    yield "partial_batch_response", wanted.stream is None, reported
    if wanted.stream is None:
        yield "concurrency", wanted.maximum_concurrency, (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
        return
    yield "bisect", True, bool(mapping.get("BisectBatchOnFunctionError"))
    yield "retries", wanted.stream.maximum_retry_attempts, mapping.get("MaximumRetryAttempts")
    yield "parallelization", wanted.stream.parallelization_factor, mapping.get("ParallelizationFactor")
    destination = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    yield "destination", wanted.stream.on_failure_arn, destination


def notification(patient: Patient) -> Iterator[Finding]:
    """Check that an upload starts plan."""
    bucket, plan = patient.expected.inbox_bucket, patient.function("plan")
    answer = patient.clients["s3"].get_bucket_notification_configuration(Bucket=bucket)
    notified = [
        one
        for one in answer.get("LambdaFunctionConfigurations", [])
        if patient.place.handler_of(one["LambdaFunctionArn"]) == "plan"
    ]
    if not notified:
        yield failed(
            "inbox.notification",
            bucket,
            f"it does not notify {plan}: an upload is found by reconcile only",
            patient.apply,
        )
        return
    rules = (notified[0].get("Filter") or {}).get("Key", {}).get("FilterRules", [])
    prefixes = [rule["Value"] for rule in rules if rule["Name"].lower() == "prefix"]
    events = tuple(sorted(notified[0].get("Events", [])))
    if events != _NOTIFIED or prefixes != [INBOX_PREFIX]:
        yield failed(
            "inbox.notification",
            bucket,
            f"it notifies {plan} of {', '.join(events)} under {prefixes[0] if prefixes else 'any key'!r}, not of "
            f"{_NOTIFIED[0]} under {INBOX_PREFIX!r}",
            patient.apply,
        )
    else:
        yield ok("inbox.notification", bucket, f"uploads under {INBOX_PREFIX} start {plan}")


def schedule(patient: Patient) -> Iterator[Finding]:
    """Check that reconcile runs as often as it should."""
    name, events = f"{patient.function('reconcile')}-event", patient.clients["events"]
    minutes = patient.expected.reconcile_minutes
    rate = f"rate({minutes} minute{'' if minutes == 1 else 's'})"
    rules = [rule for rule in events.list_rules(NamePrefix=name)["Rules"] if rule["Name"] == name]
    if not rules:
        yield failed(
            "schedule.rule", name, "there is no such rule: nothing finds a batch that stands still", patient.apply
        )
        return
    rule = rules[0]
    if rule["State"] != "ENABLED":
        yield failed(
            "schedule.enabled",
            name,
            f"its state is {rule['State']}: nothing finds a batch that stands still",
            f"aws events enable-rule --name {name}",
        )
    elif rule.get("ScheduleExpression") != rate:
        yield warning("schedule.rate", name, f"it is {rule.get('ScheduleExpression')}, not {rate}", patient.deploy)
    elif not any(patient.place.handler_of(t["Arn"]) for t in events.list_targets_by_rule(Rule=name)["Targets"]):
        yield failed("schedule.target", name, "it starts no function of the stage", patient.apply)
    else:
        yield ok("schedule", name, f"enabled, {rate}")


def _patterns(filters: list[str]) -> list[str]:
    """Return patterns in an order and a form that can be compared."""
    return sorted(json.dumps(json.loads(pattern), sort_keys=True) for pattern in filters)


def _short(arn: str) -> str:
    """Return the short name of a mapping's source."""
    return "stream of " + arn.split("/")[1] if "/stream/" in arn else arn.rpartition(":")[2]


def _shown(value: object) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case None | []:
            return "none"
        case list():
            return " or ".join(map(str, value))
        case _:
            return str(value)
