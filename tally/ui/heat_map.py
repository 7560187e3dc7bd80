"""The chunks of a batch as squares: which stand still, which failed, and what each tooltip says."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from chalicelib.store.batch import Hold
from chalicelib.store.chunk import Chunk, ChunkState
from tally.ui.charts import base
from tally.ui.view import View

MAX_CELLS = 1000
"""Squares of the heat map: of more chunks each stands for several neighbours, and shows the worst of them."""
STANDS_AFTER = timedelta(seconds=60)
"""What has not moved for so long is shown as standing still."""
_UNREAD, _CLOSED, _COUNTING, _READY, _PLANNED, _REJECTED, _FAILED, _STANDS, _POISONED = range(9)
KINDS = (
    ("not read yet", "#9993"),
    ("closed, all succeeded", "#2e9e5b"),
    ("counting", "#3b82f6"),
    ("ready, nothing counted", "#93c5fd"),
    ("planned, to be read", "#a8a29e"),
    ("rejected rows", "#a855c7"),
    ("failed rows", "#f08c6c"),
    ("stands still", "#facc15"),
    ("half or more failed", "#b91c1c"),
)
"""Kinds of squares with their colours, the one that matters most last."""


def stands(view: View) -> bool:
    """Tell whether a batch that should move has not for a minute; one that is paused, or waits for a try, need not."""
    batch = view.batch
    if batch.status.final or batch.hold is Hold.PAUSED or view.progress.rows_waiting:
        return False
    return view.now - view.unmoved_since >= STANDS_AFTER


def standing_chunks(view: View) -> set[int]:
    """Return the chunks that have rows counted and others not, for a minute; all open ones if the batch stands."""
    if view.batch.status.final or view.batch.hold is Hold.PAUSED:
        return set()
    every = stands(view)
    return {
        number
        for number, chunk in view.progress.chunks.items()
        if not chunk.closed
        and (every or (chunk.state is ChunkState.COUNTING and number not in view.progress.waiting))
        and (every or view.now - view.chunks_since.get(number, view.now) >= STANDS_AFTER)
    }


def chunks_of_cell(total: int) -> int:
    """Return how many neighbouring chunks a square stands for."""
    return max(1, -(-total // MAX_CELLS))


def numbers_of_cell(view: View, cell: int) -> range:
    """Return the chunks that a square stands for."""
    total = _total(view)
    each = chunks_of_cell(total)
    return range(min(cell * each, total), min(total, (cell + 1) * each))


def worst_of_cell(view: View, cell: int) -> int | None:
    """Return the chunk whose kind a square shows, None if there is no such square."""
    standing, chunks = standing_chunks(view), view.progress.chunks
    numbers = numbers_of_cell(view, cell)
    return max(numbers, key=lambda number: _kind(chunks.get(number), standing), default=None)


def heat_map(view: View) -> dict[str, Any]:
    """Return a square for each chunk, or for a few neighbours; the tooltip says what each is."""
    cells = list(_cells(view))
    columns = _columns(len(cells))
    pieces = [{"value": kind, "color": colour} for kind, (_, colour) in enumerate(KINDS)]
    hidden = {"show": False, "type": "category", "splitArea": {"show": False}}
    return base() | {
        "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8},
        "tooltip": {
            "trigger": "item",
            "renderMode": "richText",
            "confine": True,
            ":formatter": "found => found.name.replaceAll('; ', '\\n')",
        },
        "xAxis": hidden | {"data": list(range(columns))},
        "yAxis": hidden | {"data": list(range(max(1, -(-len(cells) // columns)))), "inverse": True},
        "visualMap": {"show": False, "type": "piecewise", "dimension": 2, "pieces": pieces},
        "series": [
            {
                "type": "heatmap",
                "data": [
                    {"name": name, "value": [cell % columns, cell // columns, kind]}
                    for cell, (name, kind) in enumerate(cells)
                ],
                "itemStyle": {"borderWidth": 1, "borderColor": "rgba(128,128,128,0.35)"},
                "emphasis": {"itemStyle": {"borderWidth": 2, "borderColor": "#3b82f6"}},
            }
        ],
    }


def kinds(view: View) -> list[tuple[str, str, int]]:
    """Return the kinds of chunks that there are, each with its colour and how many they are, for a legend."""
    standing = standing_chunks(view)
    found = [_kind(chunk, standing) for chunk in view.progress.chunks.values()]
    found += [_UNREAD] * max(0, _total(view) - len(found))
    return [(*KINDS[kind], found.count(kind)) for kind in sorted(set(found))]


def described(view: View, number: int) -> list[str]:
    """Return what is known of a chunk: where it is in the file, how far it is, and since when."""
    return _described(view, number, standing_chunks(view))


def _described(view: View, number: int, standing: set[int]) -> list[str]:
    chunk = view.progress.chunks.get(number)
    if chunk is None:
        return [f"chunk {number:,}", "not read yet"]
    lines = [
        f"chunk {number:,}, rows from {_lines(view, number)}",
        f"{KINDS[_kind(chunk, standing)][0]}, state {chunk.state}",
        f"{chunk.expected_rows:,} rows: {_counted(chunk)}",
    ]
    if chunk.unreadable:
        lines.append("no row of it can be read")
    if not chunk.closed:
        since = view.chunks_since.get(number, view.now)
        since = min(since, view.unmoved_since) if number in standing else since
        lines.append(f"as it is since {since:%Y-%m-%d %H:%M:%S} UTC or earlier")
    return lines


def _cells(view: View) -> Iterator[tuple[str, int]]:
    standing, chunks = standing_chunks(view), view.progress.chunks
    for cell in range(-(-_total(view) // chunks_of_cell(_total(view)))):
        numbers = numbers_of_cell(view, cell)
        worst = max(numbers, key=lambda number: _kind(chunks.get(number), standing))
        lines = _described(view, worst, standing)
        if len(numbers) > 1:
            lines.insert(0, f"chunks {numbers[0]:,} to {numbers[-1]:,}, the worst of which is")
        yield "; ".join(lines), _kind(chunks.get(worst), standing)


def _columns(cells: int) -> int:
    """Return how many squares are side by side: of few chunks few, so that the squares are no bars."""
    return next((columns for columns in (5, 10, 25) if cells <= columns * columns // 2), 50)


def _total(view: View) -> int:
    return view.batch.chunks if view.batch.chunks is not None else len(view.progress.chunks)


def _lines(view: View, number: int) -> str:
    """Return the lines of the file that a chunk has, as far as the chunk after it is known."""
    first = view.progress.chunks[number].first_line
    following = view.progress.chunks.get(number + 1)
    return f"line {first:,} to {following.first_line - 1:,}" if following else f"line {first:,} on"


def _counted(chunk: Chunk) -> str:
    counts = chunk.counts
    return f"{counts.succeeded:,} succeeded, {counts.failed:,} failed, {counts.rejected:,} rejected"


def _kind(chunk: Chunk | None, standing: set[int]) -> int:
    if chunk is None:
        return _UNREAD
    if chunk.counts.failed * 2 >= max(1, chunk.expected_rows):
        return _POISONED
    if chunk.key.number in standing:
        return _STANDS
    if chunk.counts.failed:
        return _FAILED
    if chunk.counts.rejected:
        return _REJECTED
    return {
        ChunkState.PLANNED: _PLANNED,
        ChunkState.READY: _READY,
        ChunkState.COUNTING: _COUNTING,
        ChunkState.CLOSED: _CLOSED,
    }[chunk.state]
