"""Checks of the functions: that they exist, are configured as planned, and are all of one package."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tally.doctor.finding import Finding, failed, ok, skipped, warning
from tally.doctor.patient import Patient


def configuration(patient: Patient) -> Iterator[Finding]:
    """Compare every function with Terraform's output, and the functions with one another."""
    found: dict[str, Mapping[str, Any]] = {}
    for handler, wanted in patient.expected.functions.items():
        name = patient.function(handler)
        live = _configuration(patient, name)
        if live is None:
            yield failed("function.missing", name, "there is no such function", patient.deploy)
            continue
        found[name] = live
        settings = {
            "timeout": (f"{wanted.timeout_seconds} s", f"{live.get('Timeout')} s"),
            "memory": (f"{wanted.memory_mb} MB", f"{live.get('MemorySize')} MB"),
            "role": (wanted.role_arn, live.get("Role")),
        }
        wrong = {setting: pair for setting, pair in settings.items() if pair[0] != pair[1]}
        for setting, (want, have) in wrong.items():
            yield failed(f"function.{setting}", name, f"it is {have}, not {want}", patient.apply)
        state, update = live.get("State") or "Active", live.get("LastUpdateStatus") or "Successful"
        # Inactive is fine: it has not run for weeks, and the next call starts it again.
        if "Failed" in {state, update}:
            why = live.get("StateReason") or live.get("LastUpdateStatusReason") or ""
            yield failed("function.state", name, f"{state}, last update {update}. {why}".rstrip(), patient.deploy)
        elif state == "Pending" or update == "InProgress":
            yield warning("function.state", name, "it is being updated", "run doctor again in a minute")
        elif not wrong:
            yield ok("function", name, f"{live.get('Timeout')} s, {live.get('MemorySize')} MB, {live.get('Runtime')}")
    yield from _package(patient, found)


def _package(patient: Patient, found: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Compare the functions' packages with one another, and with Chalice's package on this machine."""
    for check, attribute in (("function.runtime", "Runtime"), ("function.package", "CodeSha256")):
        values = sorted({str(live.get(attribute)) for live in found.values()})
        if len(values) > 1:
            saw = f"the functions have {len(values)}: {', '.join(values)}; a deployment was cut short"
            yield failed(check, f"{patient.place.prefix}*", saw, patient.deploy)
            return
    deployed = next((str(live["CodeSha256"]) for live in found.values() if live.get("CodeSha256")), "")
    known, subject = patient.packages(), f"{patient.place.prefix}*"
    if not known or not deployed:
        why = "no package on this machine to compare with" if deployed else "AWS does not say what is deployed"
        yield skipped("function.package", subject, f"all functions have the same; {why}")
    elif deployed not in known:
        yield warning(
            "function.package",
            subject,
            "what runs was not packaged here: it was deployed from elsewhere, or changed since",
            f"compare the sources; {patient.deploy} deploys those that are here",
        )
    else:
        yield ok("function.package", subject, "packaged on this machine")


def packages(app: Path) -> set[str]:
    """Return the digests of Chalice's packages in the folder of the app, in Lambda's form."""
    found = app.glob(".chalice/deployments/*.zip")
    return {base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode() for path in found}


def invocation(patient: Patient) -> Iterator[Finding]:
    """Check that S3 and the schedule may start their functions."""
    for handler, service in (("plan", "s3.amazonaws.com"), ("reconcile", "events.amazonaws.com")):
        name = patient.function(handler)
        try:
            policy = str(patient.clients["lambda"].get_policy(FunctionName=name)["Policy"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            policy = ""
        if service in policy:
            yield ok("function.invocation", name, f"{service} may start it")
        else:
            yield failed("function.invocation", name, f"{service} may not start it", patient.deploy)


def _configuration(patient: Patient, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = patient.clients["lambda"].get_function_configuration(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return found
