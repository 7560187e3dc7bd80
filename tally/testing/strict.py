"""Fakes that refuse what AWS refuses: each request is checked against its service's model and limits first."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tally.testing import request_rules

T = TypeVar("T")

checked: Counter[tuple[str, str]] = Counter()
"""How many requests were checked, by service and operation."""
writes: set[tuple[str, str]] = set()
"""The different expressions and conditions of those that write to the table."""
refused: list[str] = []
"""Why requests were refused. A handler may hide a refusal; a test need not overlook it."""


def as_strict_as_aws(service: str) -> Callable[[type[T]], type[T]]:
    """Make every operation of a fake client answer ValidationException where AWS would refuse the request."""

    def strict(fake: type[T]) -> type[T]:
        for name, method in list(vars(fake).items()):
            if callable(method) and not name.startswith("_"):
                setattr(fake, name, _checked(service, name, method))
        return fake

    return strict


def _checked(service: str, operation: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, /, **request: Any) -> Any:
        checked[service, operation] += 1
        for action in (request, *(kind for each in request.get("TransactItems", ()) for kind in each.values())):
            if "Item" in action or "Key" in action:
                writes.add((action.get("UpdateExpression", ""), action.get("ConditionExpression", "")))
        faults = request_rules.faults(service, operation, request)
        if faults:
            refused.extend(f"{operation}: {fault}" for fault in faults)
            answer: Any = {
                "Error": {"Code": "ValidationException", "Message": "; ".join(faults)},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(answer, operation)
        return method(self, **request)

    return call
