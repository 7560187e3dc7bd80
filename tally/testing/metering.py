"""The price of requests: write and read units by the sizes of items, and requests by name."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.store.pacing import item_size, write_units
from tally.testing.memory_dynamodb import item_at

_IN_TRANSACTION = 2
_READ_UNIT_BYTES = 4096


@dataclass(slots=True)
class Meter:
    """Adds up the units and requests of any number of clients."""

    requests: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    read_units: int = 0

    def meters(self, client: Any) -> Any:
        """Return a client with the same calls, which are counted here."""
        return metered(client, lambda: self)


def metered(client: Any, meter: Callable[[], Meter]) -> Any:
    """Return a client that counts each call on the meter current at the time."""
    return _Metered(client, meter)


class _Metered:
    def __init__(self, client: Any, meter: Callable[[], Meter]) -> None:
        self._client, self._meter = client, meter

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def metered(**request: Any) -> Any:
            meter, name = self._meter(), _name(operation, request)
            meter.requests[name] += 1
            before = _sizes(self._client, request)
            try:
                answer = call(**request)
            except ClientError:
                meter.units[name] += sum(before) * _factor(request)  # a failed condition is billed too
                before = []
                raise
            finally:
                if before:
                    # Billed by the larger of the item as it was and as it is.
                    after = _sizes(self._client, request)
                    units = sum(max(pair) for pair in zip(before, after, strict=True))
                    meter.units[name] += units * _factor(request)
            meter.read_units += _read_units(answer)
            return answer

        return metered


def _name(operation: str, request: Mapping[str, Any]) -> str:
    """Return the operation and, for a write, the prefix of the first item's sort key, which tells the kind of item."""
    keys = [target.get("Key") or target["Item"] for target in _targets(request)]
    if keys and "sk" not in keys[0]:
        return f"{operation} result"
    return f"{operation} {keys[0]['sk']['S'].partition('#')[0]}" if keys else operation


def _read_units(answer: Any) -> int:
    """Return the read units of an answer; every read of Tally's is consistent."""
    if not isinstance(answer, Mapping):
        return 0
    items = [item for found in answer.get("Responses", {}).values() for item in found]
    items += [answer["Item"]] if "Item" in answer else []
    queried = sum(map(item_size, answer.get("Items", ())))
    return sum(-(-item_size(item) // _READ_UNIT_BYTES) for item in items) + -(-queried // _READ_UNIT_BYTES)


def _factor(request: Mapping[str, Any]) -> int:
    return _IN_TRANSACTION if "TransactItems" in request else 1


def _sizes(client: Any, request: Mapping[str, Any]) -> list[int]:
    """Return the units of a write's items, as they are in the table at this moment."""
    keys = [target.get("Key") or target["Item"] for target in _targets(request)]
    return [write_units(item_size(item_at(client, key) or {})) for key in keys]


def _targets(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "TransactItems" in request:
        return [target for action in request["TransactItems"] for target in action.values()]
    if "RequestItems" in request:
        (asked,) = request["RequestItems"].values()
        return [each["PutRequest"] for each in asked] if isinstance(asked, list) else []
    if "Item" in request or "UpdateExpression" in request:
        return [request]
    return []
