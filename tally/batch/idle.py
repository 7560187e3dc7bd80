"""The monthly cost of an idle stage, item by item, from Terraform's list of its resources."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tally.batch import prices
from tally.errors import OperatorError
from tally.output import Output
from tally.stages.stage import Stage

_LONG_POLLS_A_MINUTE = 3
"""A receive of an empty queue waits 20 seconds."""
_POLLERS_LIMITED = 5
_POLLERS_UNLIMITED = 2
"""Lambda goes down to two pollers where traffic is low, but not for a mapping with a maximum concurrency."""
_ALARMS_A_CAPACITY = 4
"""Auto scaling makes two alarms on consumed and two on provisioned units, for reads and for writes each."""
_RECONCILE_SECONDS = 1.0
"""Billed seconds of a run that finds nothing, its start included; a cautious figure."""
_RECONCILE_UNITS = (2, 1)
"""Read and write units of such a run: the list of open batches, the inbox cursor."""
_RECONCILE_LOG_BYTES = 1_000
_KEY_CACHE_MINUTES = 5
"""DynamoDB asks KMS for a table's key again after so long, for each caller."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The resources of a stage that cost while idle, from Terraform's output ``standing``."""

    alarms: int
    dashboards: int
    keys: int
    limited_mappings: int
    unlimited_mappings: int
    stream_readers: int
    reconcile_minutes: int
    reconcile_mb: int
    read_units: int
    write_units: int
    scaled: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a monthly bill: its name, its amount, and dollars."""

    name: str
    amount: str
    dollars: float


def standing_of(stage: Stage) -> Standing:
    """Return a stage's resources that cost while idle; raises OperatorError if Terraform's output is missing."""
    try:
        return msgspec.json.decode(stage.resources.standing, type=Standing)
    except msgspec.DecodeError as error:
        deploys = f"tally {'up' if stage.server else 'deploy'} --stage {stage.name}"
        raise OperatorError(
            f"The resources of stage {stage.name} are not known on this machine",
            hint=f"run this in the checkout that deployed it, or run `{deploys}`.",
        ) from error


def items(standing: Standing) -> list[Item]:
    """Return the monthly costs, the highest first; resources that the stage does not have are left out."""
    found = (Item(name=name, amount=amount, dollars=dollars) for name, amount, dollars in _items(standing))
    return sorted((item for item in found if item.dollars), key=lambda item: -item.dollars)


def _items(standing: Standing) -> Iterator[tuple[str, str, float]]:
    alarms = standing.alarms + _ALARMS_A_CAPACITY * standing.scaled
    yield "alarms", f"{alarms} metrics", alarms * prices.ALARM_MONTH
    for mappings, pollers, which in (
        (standing.limited_mappings, _POLLERS_LIMITED, "with"),
        (standing.unlimited_mappings, _POLLERS_UNLIMITED, "without"),
    ):
        receives = mappings * pollers * _LONG_POLLS_A_MINUTE * prices.MONTH_MINUTES
        yield (
            f"polling of queues {which} a maximum concurrency",
            f"{mappings} queues x {pollers} pollers, {receives:,} requests",
            receives * prices.SQS_REQUEST,
        )
    runs = prices.MONTH_MINUTES // standing.reconcile_minutes
    reads, writes = _RECONCILE_UNITS
    yield (
        "reconcile",
        f"{runs:,} runs: function, listing the inbox, units, logs",
        runs
        * (
            prices.LAMBDA_REQUEST
            + _RECONCILE_SECONDS * standing.reconcile_mb / 1024 * prices.LAMBDA_GB_SECOND
            + prices.S3_LIST
            + reads * prices.READ_UNIT
            + writes * prices.WRITE_UNIT
            + _RECONCILE_LOG_BYTES / prices.GB * prices.LOG_GB
        ),
    )
    asked = (1 + standing.stream_readers) * prices.MONTH_MINUTES // _KEY_CACHE_MINUTES
    yield "requests to KMS for the table's key", f"{asked:,} requests", asked * prices.KMS_REQUEST
    yield "dashboard", f"{standing.dashboards}", standing.dashboards * prices.DASHBOARD_MONTH
    yield "KMS key of the alarms", f"{standing.keys}", standing.keys * prices.KEY_MONTH
    yield (
        "provisioned write units",
        f"{standing.write_units:,} at least",
        standing.write_units * prices.MONTH_HOURS * prices.WRITE_UNIT_HOUR,
    )
    yield (
        "provisioned read units",
        f"{standing.read_units:,} at least",
        standing.read_units * prices.MONTH_HOURS * prices.READ_UNIT_HOUR,
    )


def as_json(standing: Standing) -> dict[str, Any]:
    """Return what ``--json`` shows."""
    found = items(standing)
    return {
        "items": [
            {"name": item.name, "amount": item.amount, "dollars_a_month": round(item.dollars, 4)} for item in found
        ],
        "dollars_a_month": round(sum(item.dollars for item in found), 4),
        "prices_of": prices.CHECKED,
    }


def show(output: Output, standing: Standing) -> None:
    """Write the bill of an idle month."""
    found = items(standing)
    lines = [(item.name, item.amount, f"{item.dollars:.2f}") for item in found]
    output.table("A month in which nothing runs", ("", "how much", "dollars"), lines)
    total = sum(item.dollars for item in found)
    output.say(
        f"{total:.2f} dollars a month, at the prices of {prices.CHECKED} (us-east-1), without the free tiers. Custom "
        "metrics cost only in hours with a batch, and storage costs by its size."
    )
