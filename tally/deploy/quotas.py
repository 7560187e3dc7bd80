"""Quotas: whether the account lets as many functions run at once as a stage may start."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_CONSUMERS = ("ingest", "process", "process_heavy", "finish", "export")
"""Functions with a queue each, in which rows or results wait: lower the maxima of these."""
_DEAD_LETTER_QUEUES = 5
"""Each has a mapping of its own to ``dead_letters``, and each mapping its maximum."""
_OTHERS = 5
"""The least concurrency of the functions without a queue: plan, reconcile and settle one each, dispatch two."""
LEAST_MAXIMUM = 2
"""The lowest maximum concurrency of a mapping that AWS takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """The concurrency that a stage may need, by the maxima of its queues, and what the account has left.

    ``quota`` is the part that no function has reserved; others in the account use it too.
    """

    maxima: Mapping[str, int]
    quota: int

    @classmethod
    def of(cls, client: "LambdaClient", environment: Mapping[str, str]) -> Self:
        """Compare the account with the functions' settings (``TALLY_FUNCTIONS``); raises what the SDK raises."""
        functions = json.loads(environment["TALLY_FUNCTIONS"])
        return cls(
            maxima={name: function["maximum_concurrency"] or LEAST_MAXIMUM for name, function in functions.items()},
            quota=client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"],
        )

    @property
    def wanted(self) -> int:
        """The number of functions that may run at once."""
        return sum(self.maxima.get(name, 0) for name in _CONSUMERS) + self._fixed

    @property
    def _fixed(self) -> int:
        return self.maxima.get("dead_letters", LEAST_MAXIMUM) * _DEAD_LETTER_QUEUES + _OTHERS

    @property
    def finding(self) -> str:
        """The problem and the values to set; empty if the account has room."""
        if self.wanted <= self.quota:
            return ""
        return (
            f"The stage may run {self.wanted} functions at once, and Lambda allows this account {self.quota} that are "
            "not reserved: it will throttle the rest, so batches take longer and rows may end as never_ran. "
            f"To do: {self.advice}."
        )

    @property
    def advice(self) -> str:
        """The ways to give the stage room: a larger quota, or maxima that fit into this one, if any do."""
        more = 'ask AWS for more (Service Quotas, Lambda, "Concurrent executions")'
        settings = ", ".join(f"{name} = {{ maximum_concurrency = {most} }}" for name, most in self._fitting().items())
        return f"{more}, or set the variable function_overrides = {{ {settings} }}" if settings else more

    def _fitting(self) -> dict[str, int]:
        """Return maxima in today's proportions that fit; None if not even the smallest maxima fit."""
        room = self.quota - self._fixed
        today = {name: self.maxima[name] for name in _CONSUMERS if name in self.maxima}
        if room < LEAST_MAXIMUM * len(today):
            return {}
        # The least of each first, then the rest in proportion, so that rounding never exceeds the room.
        spare, over = room - LEAST_MAXIMUM * len(today), sum(most - LEAST_MAXIMUM for most in today.values())
        return {name: LEAST_MAXIMUM + (most - LEAST_MAXIMUM) * spare // over for name, most in today.items()}


def finding(client: "LambdaClient", environment: Mapping[str, str]) -> str:
    """Return what to change about a stage's concurrency, or why that is not known; empty if all is well."""
    try:
        return Concurrency.of(client, environment).finding
    except (ClientError, BotoCoreError) as error:
        return (
            f"Whether Lambda lets this account run as many functions at once as the stage may start is not known: "
            f"{error}. Allow lambda:GetAccountSettings."
        )
