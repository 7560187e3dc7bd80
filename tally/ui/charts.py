"""The charts of a batch as options of ECharts: rows over time, chunks as a heat map, how long rows took."""

import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import Counts, Outcome
from tally.ui.batch_feed import View

MAX_CELLS = 1000
"""Squares of the heat map: of more chunks each stands for several neighbours, and shows the worst of them."""
_BUCKETS = 60
_INK = "#7a7a7a"
"""Readable on white and on black."""
COLOURS = {Outcome.SUCCEEDED: "#2e9e5b", Outcome.FAILED: "#d64545", Outcome.REJECTED: "#a855c7"}
CELLS = (
    ("not read yet", "#9993"),
    ("closed, all succeeded", "#2e9e5b"),
    ("counting", "#3b82f6"),
    ("ready, nothing counted", "#7fb2f0"),
    ("planned, to be read", "#c9a227"),
    ("rejected rows", "#a855c7"),
    ("failed rows", "#f08c6c"),
    ("half or more failed", "#c02626"),
)
"""Kinds of squares with their colours, the one that matters most last."""
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


def _kind(chunk: Chunk | None) -> int:
    if chunk is None:
        return 0
    if chunk.counts.failed * 2 >= max(1, chunk.expected_rows):
        return 7
    if chunk.counts.failed:
        return 6
    if chunk.counts.rejected:
        return 5
    return {ChunkState.PLANNED: 4, ChunkState.READY: 3, ChunkState.COUNTING: 2, ChunkState.CLOSED: 1}[chunk.state]


def chunks_of_cell(total: int) -> int:
    """Return how many neighbouring chunks a square stands for."""
    return max(1, -(-total // MAX_CELLS))


def heat_map(view: View) -> dict[str, Any]:
    """Return a square for each chunk, or for a few neighbours; the tooltip says what each is."""
    chunks = view.progress.chunks
    total = view.batch.chunks if view.batch.chunks is not None else len(chunks)
    each = chunks_of_cell(total)
    count = -(-total // each)
    columns = max(1, min(50, count))
    cells: list[dict[str, Any]] = []
    for cell in range(count):
        numbers = range(cell * each, min(total, (cell + 1) * each))
        found = [chunks.get(number) for number in numbers]
        kind = max(_kind(chunk) for chunk in found)
        known = [chunk for chunk in found if chunk is not None]
        counts = sum((chunk.counts for chunk in known), Counts())
        name = f"chunk {numbers[0]:,}" + (f" to {numbers[-1]:,}" if len(numbers) > 1 else "")
        name += f": {CELLS[kind][0]}"
        if known:
            rows = sum(chunk.expected_rows for chunk in known)
            name += f"\n{counts.total:,} of {rows:,} rows, {counts.failed:,} failed, {counts.rejected:,} rejected"
        cells.append({"name": name, "value": [cell % columns, cell // columns, kind]})
    pieces = [{"value": kind, "color": colour} for kind, (_, colour) in enumerate(CELLS)]
    hidden = {"show": False, "type": "category", "splitArea": {"show": False}}
    return base() | {
        "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8},
        "tooltip": {"trigger": "item", "renderMode": "richText", ":formatter": "found => found.name"},
        "xAxis": hidden | {"data": list(range(columns))},
        "yAxis": hidden | {"data": list(range(max(1, -(-count // columns)))), "inverse": True},
        "visualMap": {"show": False, "type": "piecewise", "dimension": 2, "pieces": pieces},
        "series": [
            {
                "type": "heatmap",
                "data": cells,
                "itemStyle": {"borderWidth": 1, "borderColor": "rgba(128,128,128,0.35)"},
            }
        ],
    }


def kinds(view: View) -> list[tuple[str, str]]:
    """Return the kinds of chunks that there are, each with its colour, for a legend."""
    total = view.batch.chunks or 0
    found = {_kind(chunk) for chunk in view.progress.chunks.values()}
    found |= {0} if len(view.progress.chunks) < total else set()
    return [CELLS[kind] for kind in sorted(found)]


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
    """Return how many of the sampled rows took how long."""
    found = durations_of(view)
    last = next((at for at in range(len(_EDGES_MS)) if not found or _EDGES_MS[at] > max(found)), len(_EDGES_MS) - 1)
    edges = _EDGES_MS[: last + 1]
    bins = list(pairwise(edges))
    return base() | {
        "xAxis": {
            "type": "category",
            "data": [f"< {_time(high)}" for _, high in bins],
            "axisLabel": {"color": _INK, "hideOverlap": True},
        },
        "yAxis": {"type": "value", "axisLabel": {"color": _INK}, "splitLine": {"lineStyle": {"opacity": 0.2}}},
        "series": [
            {
                "type": "bar",
                "name": "rows",
                "color": "#3b82f6",
                "barCategoryGap": "8%",
                "data": [sum(low <= took < high for took in found) for low, high in bins],
            }
        ],
    }


def _time(ms: int) -> str:
    return f"{ms // 1000:,} s" if ms >= 1000 else f"{ms} ms"  # noqa: PLR2004  a second has as many
