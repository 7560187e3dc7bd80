"""Compare AWS's own measurements of a batch with `tally cost`."""

from datetime import datetime, timedelta

from chalicelib.store.batch import Batch
from tally.prove.probe import DisprovedError, World

TOLERANCE = 0.2
_MINUTE = timedelta(minutes=1)
_SETTLED_SECONDS = 900.0
"""After this time CloudWatch has a table's units."""


def compare(world: World, batch: Batch, expected: float) -> str:
    """Wait until CloudWatch has the write units of a batch that ran alone; raises DisprovedError if they differ."""
    seen = 0.0

    def alike() -> bool:
        nonlocal seen
        seen = _measured(world, batch)
        world.show(f"{seen:,.0f} of {expected:,.0f} write units are measured so far")
        return abs(seen - expected) <= TOLERANCE * expected

    try:
        world.wait(alike, "CloudWatch", seconds=_SETTLED_SECONDS)
    except DisprovedError as error:
        raise DisprovedError(
            f"{seen:,.0f} write units were measured {_SETTLED_SECONDS / 60:.0f} minutes later, {expected:,.0f} expected"
        ) from error
    return f"{seen:,.0f} write units measured, {expected:,.0f} said ({seen / expected - 1:+.0%})"


def _measured(world: World, batch: Batch) -> float:
    """Return the table's write units in the minutes of the batch, without the few of its index."""
    began = datetime.fromisoformat(batch.created_at).replace(second=0, microsecond=0)
    ended = datetime.fromisoformat(batch.completed_at) + 2 * _MINUTE
    found = world.stage.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/DynamoDB",
        MetricName="ConsumedWriteCapacityUnits",
        Dimensions=[{"Name": "TableName", "Value": world.stage.resources.table}],
        StartTime=began,
        EndTime=ended,
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in found["Datapoints"]))
