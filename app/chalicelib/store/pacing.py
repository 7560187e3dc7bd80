"""Pacing: writers keep to their share of a table's provisioned capacity, so that no write is refused.

A refused write is tried again and costs the SDK's retry quota, and a writer that has spent it loses work. A writer that
waits first is never refused, and is as fast: the table takes what it takes.
"""

import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chalicelib.errors import ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from chalicelib.retry import Retry
    from chalicelib.store.items import Item

UNIT_BYTES = 1024
TRANSACTIONAL_FACTOR = 2
_CONTAINER_BYTES = 3
_ELEMENT_BYTES = 1
_ASK_AGAIN_SECONDS = 60.0


def item_size(item: "Item") -> int:
    """Return the bytes that DynamoDB counts for an item: each name and each value.

    The rules are those of the developer guide, "Item sizes and formats"; a number's size is approximate there too.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            size = len(content.encode())
        case "N":
            size = _number_size(content)
        case "B":
            size = len(content if isinstance(content, bytes) else b64decode(content))
        case "BOOL" | "NULL":
            size = 1
        case "SS" | "NS" | "BS":
            size = sum(_value_size({kind[0]: element}) for element in content)
        case "L":
            size = _CONTAINER_BYTES + sum(_ELEMENT_BYTES + _value_size(element) for element in content)
        case "M":
            size = _CONTAINER_BYTES + len(content) * _ELEMENT_BYTES + item_size(content)
        case _:
            raise ValueError(f"DynamoDB has no type {kind}")
    return size


def _number_size(text: str) -> int:
    """Return a byte for every two significant digits, one more, and one for a minus."""
    # The guide has no byte for a sign. Calculators whose authors measured have one; it was not checked here. Numbers of
    # a row's items have no sign, and a byte too many makes a writer wait too long, never too short.
    sign, digits, _ = Decimal(text).as_tuple()
    significant = len("".join(map(str, digits)).strip("0"))
    return (significant + 1) // 2 + 1 + sign


def write_units(size: int, *, transactional: bool = False) -> int:
    """Return the write units that an item of so many bytes costs."""
    units = max(1, -(-size // UNIT_BYTES))
    return units * TRANSACTIONAL_FACTOR if transactional else units


@dataclass(slots=True, kw_only=True)
class Share:
    """One writer's part of a table's write units: a ``share`` of the capacity, read again every minute."""

    dynamodb: "DynamoDBClient"
    table: str
    share: float
    retry: "Retry"
    clock: Callable[[], float] = time.monotonic
    _asked_at: float = field(default=float("-inf"), init=False)
    _units: float = field(default=float("inf"), init=False)

    def units_per_second(self) -> float:
        """Return the share, infinite where the table has no capacity of its own: it is paid by request."""
        if self.clock() - self._asked_at >= _ASK_AGAIN_SECONDS:
            table = self.retry(self.dynamodb.describe_table, TableName=self.table)["Table"]
            on_demand = table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
            capacity = table.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", 0)
            self._units = capacity * self.share if capacity and not on_demand else float("inf")
            self._asked_at = self.clock()
        return self._units


@dataclass(slots=True, kw_only=True)
class Pacer:
    """Makes a writer wait until the units of its next write have accrued; one for all threads of a process."""

    units_per_second: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _free_at: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wait(self, units: int, remaining_seconds: float) -> None:
        """Wait for so many units; raises ThrottledError, having taken none, where the time left does not suffice."""
        delay = self.reserve(units, remaining_seconds)
        if delay:
            self.sleep(delay)

    def reserve(self, units: int, remaining_seconds: float = float("inf")) -> float:
        """Take units and return the seconds until they are there."""
        rate = self.units_per_second()
        with self._lock:
            now = self.clock()
            free_at = max(now, self._free_at) + units / rate
            if free_at - now > remaining_seconds:
                raise ThrottledError(
                    f"{units} write units need {free_at - now:.0f} s at {rate:.2f} a second, this writer's share of "
                    "the table: provision more, or have fewer writers (maximum_concurrency of ingest and finish)"
                )
            self._free_at = free_at
            return free_at - now
