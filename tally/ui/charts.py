"""The charts of a batch as options of ECharts: rows over time, and how long rows took."""

import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from chalicelib.store.items import Counts, Outcome
from tally.look import milliseconds
from tally.ui.view import View

_BUCKETS = 60
_INK = "#7a7a7a"
"""Readable on white and on black."""
_MARK = "#e08600"
COLOURS = {Outcome.SUCCEEDED: "#2e9e5b", Outcome.FAILED: "#d64545", Outcome.REJECTED: "#a855c7"}
_EDGES_MS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 900_000)


def base() -> dict[str, Any]:
    """Return what every chart has; a tooltip is drawn, not HTML, so that no text in it can be markup."""
    return {
        "backgroundColor": "transparent",
        "animation": False,
        "textStyle": {"color": _INK},
        "grid": {"left": 56, "right": 16, "top": 36, "bottom": 28},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "aria": {"enabled": True},
    }


def rows_over_time(view: View) -> dict[str, Any]:
    """Return rows by outcome, summed up over time; what sampled chunks say stands for the others, the end is exact."""
    counted = [each for chunk in view.sampled for each in chunk.counted]
    began = datetime.fromisoformat(view.batch.created_at)
    ended = max([began + timedelta(seconds=view.elapsed_seconds), *(each.at for each in counted)])
    width = max((ended - began) / _BUCKETS, timedelta(milliseconds=1))
    sampled = sum((each.counts for each in counted), Counts())
    series = []
    for outcome in Outcome:
        total, known = getattr(view.counts, outcome), getattr(sampled, outcome)
        buckets = [0.0] * (_BUCKETS + 1)
        for each in counted:
            position = min(_BUCKETS, max(0, (each.at - began) // width + 1))
            buckets[position] += getattr(each.counts, outcome) * (total / known if known else 0)
        buckets[-1] += total - sum(buckets)
        points = [
            [int((began + width * position).timestamp() * 1000), round(rows)]
            for position, rows in enumerate(accumulate(buckets))
        ]
        series.append(
            {
                "name": outcome.value,
                "type": "line",
                "step": "end",
                "showSymbol": False,
                "color": COLOURS[outcome],
                "areaStyle": {"opacity": 0.15},
                "data": points,
            }
        )
    axis = {"type": "value", "axisLabel": {"color": _INK}, "splitLine": {"lineStyle": {"opacity": 0.2}}}
    return base() | {
        "legend": {"top": 0, "textStyle": {"color": _INK}},
        "xAxis": {"type": "time", "axisLabel": {"color": _INK, "hideOverlap": True}},
        "yAxis": axis,
        "series": series,
    }


def durations_of(view: View) -> list[int]:
    """Return how many milliseconds the rows of the sampled chunks took."""
    return [took for chunk in view.sampled for took in chunk.durations_ms]


def percentiles(durations_ms: Sequence[int]) -> tuple[float, float]:
    """Return the median and the 99th percentile of one duration or more."""
    if len(durations_ms) == 1:
        return float(durations_ms[0]), float(durations_ms[0])
    cuts = statistics.quantiles(durations_ms, n=100, method="inclusive")
    return cuts[49], cuts[98]


def durations(view: View) -> dict[str, Any]:
    """Return how many of the sampled rows took how long, with a line each at the median and the 99th percentile."""
    found = durations_of(view)
    last = next((at for at in range(len(_EDGES_MS)) if not found or _EDGES_MS[at] > max(found)), len(_EDGES_MS) - 1)
    bins = list(pairwise(_EDGES_MS[: last + 1]))
    marks = [("p50", "p99")[at] + f" {milliseconds(ms)}" for at, ms in enumerate(percentiles(found))] if found else []
    places = [_place(ms, bins) for ms in percentiles(found)] if found else []
    return base() | {
        "xAxis": [
            {
                "type": "category",
                "data": [f"< {_time(high)}" for _, high in bins],
                "axisLabel": {"color": _INK, "hideOverlap": True},
            },
            # The bars stand on names; a line between two of them needs numbers.
            {"type": "value", "min": 0, "max": max(1, len(bins)), "show": False},
        ],
        "yAxis": {"type": "value", "axisLabel": {"color": _INK}, "splitLine": {"lineStyle": {"opacity": 0.2}}},
        "series": [
            {
                "type": "bar",
                "name": "rows",
                "color": "#3b82f6",
                "barCategoryGap": "8%",
                "data": [sum(low <= took < high for took in found) for low, high in bins],
            },
            {
                "type": "line",
                "xAxisIndex": 1,
                "data": [],
                "silent": True,
                "markLine": {
                    "symbol": "none",
                    "silent": True,
                    "lineStyle": {"color": _MARK, "type": "dashed", "width": 2},
                    "data": [
                        {
                            "xAxis": place,
                            # One above the other: they are the same where all rows took as long.
                            "label": {
                                "formatter": label,
                                "color": _INK,
                                "fontWeight": "bold",
                                "distance": [0, 4 + 14 * at],
                                "align": "right" if place > len(bins) * 0.8 else "left" if place < 1 else "center",
                            },
                        }
                        for at, (label, place) in enumerate(zip(marks, places, strict=True))
                    ],
                },
            },
        ],
    }


def _place(ms: float, bins: Sequence[tuple[int, int]]) -> float:
    """Return where a duration is among the bins: a whole number is the beginning of one."""
    at = next((at for at, (_, high) in enumerate(bins) if ms < high), len(bins) - 1)
    low, high = bins[at]
    return at + min(1.0, (ms - low) / (high - low))


def _time(ms: int) -> str:
    return f"{ms // 1000:,} s" if ms >= 1000 else f"{ms} ms"  # noqa: PLR2004  likewise
