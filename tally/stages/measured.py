"""Metrics of CloudWatch."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

MAX_METRICS = 500
"""Metrics of one request GetMetricData."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A statistic of a metric, whose one dimension is ``dimension``."""

    namespace: str
    name: str
    statistic: str
    dimension: tuple[str, str]


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


def values(
    cloudwatch: Any, metrics: list[Metric], *, since: datetime, until: datetime, period: timedelta
) -> dict[Metric, list[float]]:
    """Return the values of metrics, one per period that has any; a metric without values is left out.

    It takes one request for up to ``MAX_METRICS``, unless the answer is too large for one.
    """
    queries = [
        {
            "Id": f"m{position}",
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": metric.dimension[0], "Value": metric.dimension[1]}],
                },
                "Period": int(period.total_seconds()),
                "Stat": metric.statistic,
            },
        }
        for position, metric in enumerate(metrics)
    ]
    found: defaultdict[Metric, list[float]] = defaultdict(list)
    for start in range(0, len(queries), MAX_METRICS):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries[start : start + MAX_METRICS], StartTime=since, EndTime=until
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                if result["Values"]:
                    found[metrics[int(result["Id"][1:])]].extend(map(float, result["Values"]))
    return dict(found)
