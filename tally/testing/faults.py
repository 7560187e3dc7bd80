"""Faults on the way to AWS, and workers that die: the events that a history applies to a client's calls."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from botocore.exceptions import ReadTimeoutError

from chalicelib.errors import WorkerStop
from tally.testing.memory_dynamodb import client_error


class Fault(StrEnum):
    """An event that a call meets."""

    NONE = "none"
    ERROR_BEFORE = "error before"  # 500, nothing applied
    ERROR_AFTER = "error after"  # 500, applied: the ambiguous one
    TIMEOUT_AFTER = "timeout after"  # applied, no answer
    THROTTLED = "throttled"
    CONFLICT = "conflict"  # a transaction cancelled by another, nothing applied
    KILLED_BEFORE = "killed before"  # the worker dies on this line
    KILLED_AFTER = "killed after"  # the worker dies on the next line


class Killed(WorkerStop):
    """The worker dies: no handler may catch this."""


class FaultyClient:
    """Passes calls on to a client, with the fault that ``next_fault`` returns for each."""

    def __init__(self, client: Any, next_fault: Callable[[str], Fault]) -> None:
        self._client = client
        self._next_fault = next_fault

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def faulty(**request: Any) -> Any:
            fault = self._next_fault(operation)
            match fault:
                case Fault.ERROR_BEFORE:
                    raise client_error("InternalServerError", 500)
                case Fault.THROTTLED:
                    raise client_error("ThrottlingException")
                case Fault.CONFLICT if operation == "transact_write_items":
                    reasons = [{"Code": "TransactionConflict"} for _ in request["TransactItems"]]
                    raise client_error("TransactionCanceledException", CancellationReasons=reasons)
                case Fault.CONFLICT:
                    raise client_error("TransactionConflictException")
                case Fault.KILLED_BEFORE:
                    raise Killed
            try:
                return call(**request)
            finally:  # a refusal may be lost on its way back just as well
                match fault:
                    case Fault.ERROR_AFTER:
                        raise client_error("InternalServerError", 500)
                    case Fault.TIMEOUT_AFTER:
                        raise ReadTimeoutError(endpoint_url="http://127.0.0.1")
                    case Fault.KILLED_AFTER:
                        raise Killed

        return faulty
