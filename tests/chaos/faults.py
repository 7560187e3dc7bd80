"""Which fault befalls which request: decided by the seed, the caller and how many such requests it made before.

Threads and processes interleave as they like, so one stream of random numbers would give each run another story.
Here the n-th request of a kind by a caller meets the same fault in every run with the same seed. Standard library
only: the proxy runs this in an environment of its own.
"""

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

TALLY = "tally"
"""The caller that is Tally's functions; every other caller is a competing counter, by its name, or the operator."""
OPERATOR = "operator"


class Fault(StrEnum):
    """What happens to one request; all of it is what AWS or a network can do."""

    NONE = "none"
    ERROR_AFTER = "500 after it was applied"
    ERROR_BEFORE = "500, not applied"
    THROTTLE = "throttled"
    CONFLICT = "transaction conflict"
    DROP_BEFORE = "connection lost, not applied"
    DROP_AFTER = "connection lost after it was applied"
    DELAY = "delayed"
    DUPLICATE = "messages sent twice"
    PARTIAL = "batch taken in part"
    KILL_BEFORE = "worker killed before a request"
    KILL_AFTER = "worker killed after a request"


KILLS = frozenset({Fault.KILL_BEFORE, Fault.KILL_AFTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often: shares of the requests that can meet the fault, ``kills`` of the functions' invocations."""

    ambiguous: float = 0.05
    errors: float = 0.01
    throttles: float = 0.05
    conflicts: float = 0.02
    drops: float = 0.01
    delays: float = 0.02
    duplicates: float = 0.05
    partial: float = 0.02
    kills: float = 0.02


@dataclass(frozen=True, slots=True)
class Call:
    """One request: whose it is, to which service, for which operation."""

    caller: str
    service: str
    operation: str

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.service}.{self.operation}"


WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
"""Operations of DynamoDB that write."""
_SENDS = frozenset({"SendMessage", "SendMessageBatch"})
_AMBIGUOUS = WRITES | _SENDS | {"PutEvents"}
_PARTIAL = frozenset({"BatchWriteItem", "BatchGetItem", "SendMessageBatch", "PutEvents"})
_OF_TALLY = frozenset({TALLY, OPERATOR})
_CONFLICTS_OF_TALLY = frozenset({"UpdateItem", "TransactWriteItems"})  # its plain updates meet its transactions
_REQUESTS_OF_INVOCATION = {
    "BatchGetItem": 4, "BatchWriteItem": 4, "TransactWriteItems": 2, "UpdateItem": 2, "GetObject": 4, "PutEvents": 2,
    "SendMessageBatch": 2,
}  # fmt: skip
"""How many requests share the kill of an invocation that makes such a one: a kill is decided on at each of them."""


class Policy:
    """Decides; one for each run."""

    def __init__(self, *, seed: int, rates: Rates) -> None:
        self._seed = seed
        self._rates = rates
        self._seen: Counter[Call] = Counter()

    def decide(self, call: Call) -> tuple[Fault, random.Random]:
        """Return the next fault for such a call, and the generator for whatever else is left to chance in it."""
        number = self._seen[call]
        self._seen[call] += 1
        rng = random.Random(f"{self._seed}/{call.caller}/{call.name}/{number}")
        dice = rng.random()
        for fault, rate in self.odds(call):
            dice -= rate
            if dice < 0:
                return fault, rng
        return Fault.NONE, rng

    def odds(self, call: Call) -> list[tuple[Fault, float]]:
        """Return the faults that such a call can meet, and how often."""
        rates, operation = self._rates, call.operation
        odds = [
            (Fault.ERROR_BEFORE, rates.errors),
            (Fault.THROTTLE, rates.throttles),
            (Fault.DROP_BEFORE, rates.drops / 2),
            (Fault.DROP_AFTER, rates.drops / 2),
            (Fault.DELAY, rates.delays),
        ]
        if operation in _AMBIGUOUS:
            odds.append((Fault.ERROR_AFTER, rates.ambiguous))
        if operation == "TransactWriteItems" or (call.caller in _OF_TALLY and operation in _CONFLICTS_OF_TALLY):
            odds.append((Fault.CONFLICT, rates.conflicts))
        if operation in _SENDS:
            odds.append((Fault.DUPLICATE, rates.duplicates))
        if operation in _PARTIAL:
            odds.append((Fault.PARTIAL, rates.partial))
        if call.caller == TALLY and operation in _REQUESTS_OF_INVOCATION:
            rate = rates.kills / _REQUESTS_OF_INVOCATION[operation]
            odds += [(Fault.KILL_BEFORE, rate / 2), (Fault.KILL_AFTER, rate / 2)]
        return odds
