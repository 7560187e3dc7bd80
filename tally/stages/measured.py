"""What CloudWatch has measured."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any


def largest(
    cloudwatch: Any, now: datetime, window: timedelta, *, namespace: str, metric: str, dimensions: Mapping[str, str]
) -> float | None:
    """Return the largest value of a metric within the window before now; None where nothing was measured."""
    answer = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - window,
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )
    return max((float(point["Maximum"]) for point in answer["Datapoints"]), default=None)
