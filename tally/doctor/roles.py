"""Checks of the rights of the functions' roles, as IAM itself evaluates them with policies and boundary."""

from collections.abc import Iterator, Mapping
from typing import Any

from tally.doctor.finding import Finding, failed, ok
from tally.doctor.patient import Patient
from tally.stages.expected import Function, Statement


def rights(patient: Patient) -> Iterator[Finding]:
    """Have IAM simulate every call of every function."""
    for handler, function in patient.expected.functions.items():
        yield from _role(patient, handler, function)


def _role(patient: Patient, handler: str, function: Function) -> Iterator[Finding]:
    asked = 0
    missing: list[str] = []
    for (resource, condition), actions in _by_resource(patient, function).items():
        asked += len(actions)
        missing += [
            f"{action} on {resource}" for action in _denied(patient, function.role_arn, resource, condition, actions)
        ]
    role = function.role_arn.rpartition("/")[2]
    if missing:
        yield failed(
            "role.right",
            role,
            f"{handler} may not {', '.join(missing)}",
            f"{patient.apply}; if it stays so, a permissions boundary or a policy of the organisation forbids it",
        )
    else:
        yield ok("role.right", role, f"IAM allows all {asked} calls of {handler}")


_Condition = tuple[tuple[str, tuple[str, ...]], ...]


def _by_resource(patient: Patient, function: Function) -> dict[tuple[str, _Condition], list[str]]:
    """Return the actions on each resource, each action once; one simulation takes several actions."""
    grouped: dict[tuple[str, _Condition], dict[str, None]] = {}
    for statement in function.statements:
        if patient.local and statement.condition:
            continue  # the local AWS simulates without the values of conditions, and would deny
        for resource in statement.resources:
            grouped.setdefault((resource, _condition(statement)), {}).update(dict.fromkeys(statement.actions))
    return {key: list(actions) for key, actions in grouped.items()}


def _condition(statement: Statement) -> _Condition:
    return tuple((key, tuple(values)) for tests in statement.condition.values() for key, values in tests.items())


def _denied(patient: Patient, role_arn: str, resource: str, condition: _Condition, actions: list[str]) -> list[str]:
    """Return the actions that IAM denies."""
    request: dict[str, Any] = {
        "PolicySourceArn": role_arn,
        "ActionNames": actions,
        # A name in place of the pattern, because calls are simulated.
        "ResourceArns": [resource if resource == "*" else resource.replace("*", "doctor")],
    }
    if condition:
        request["ContextEntries"] = [
            {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": list(values)}
            for key, values in condition
        ]
    pages = patient.clients["iam"].get_paginator("simulate_principal_policy").paginate(**request)
    results: list[Mapping[str, Any]] = [result for page in pages for result in page["EvaluationResults"]]
    return [result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"]
