"""The pictures of the pages, written as SVG from their content: boxes in a grid, and arrows between them.

``python -m tools.pictures`` writes docs/pictures; with ``--check`` it exits with 1 if one is not current.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import click

from chalicelib.store.batch import BatchStatus
from chalicelib.store.chunk import ChunkState
from tools.generated import REPO, write

FOLDER = REPO / "docs" / "pictures"
_WIDTH, _HEIGHT = 132, 44
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle; }
  .small { font-size: 11px; fill: #57606a; }
  .label { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
  .ground { fill: #ffffff; }
  .box { fill: #f6f8fa; stroke: #57606a; }
  .good { fill: #dafbe1; stroke: #1a7f37; }
  .bad { fill: #ffebe9; stroke: #cf222e; }
  .store { fill: #ddf4ff; stroke: #0969da; }
  .line { fill: none; stroke: #57606a; }
  .head { fill: #57606a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .label { stroke: #0d1117; }
    .ground { fill: #0d1117; } .box { fill: #161b22; stroke: #9198a1; } .good { fill: #12261e; stroke: #3fb950; }
    .bad { fill: #25171c; stroke: #f85149; } .store { fill: #121d2f; stroke: #58a6ff; }
    .line { stroke: #9198a1; } .head { fill: #9198a1; }
  }
"""
_HEAD = (
    '<defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
    '<path class="head" d="M0,0 L9,4 L0,8 z"/></marker></defs>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box: its name, its middle, the text below the name, and its style."""

    name: str
    x: int
    y: int
    below: str = ""
    look: str = "box"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """An arrow between two boxes; ``bend`` moves its middle down and ``shift`` its label to the right, in pixels."""

    start: str
    end: str
    label: str = ""
    bend: int = 0
    shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture, and a sentence with its content for readers who do not see it."""

    title: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


CHUNK = Picture(
    title="The states of a chunk: planned, ready, counting, closed; a redrive leads back.",
    width=780,
    height=250,
    boxes=(
        Box(name=ChunkState.PLANNED, x=90, y=125, below="a range of the file"),
        Box(name=ChunkState.READY, x=290, y=125, below="rows are stored"),
        Box(name=ChunkState.COUNTING, x=490, y=125, below="some rows are done"),
        Box(name=ChunkState.CLOSED, x=690, y=125, below="all rows are done", look="good"),
    ),
    arrows=(
        Arrow(start=ChunkState.PLANNED, end=ChunkState.READY, label="ingest"),
        Arrow(start=ChunkState.READY, end=ChunkState.COUNTING, label="finish"),
        Arrow(start=ChunkState.COUNTING, end=ChunkState.CLOSED, label="settle"),
        Arrow(start=ChunkState.READY, end=ChunkState.CLOSED, label="settle, if every row was rejected", bend=-80),
        Arrow(start=ChunkState.COUNTING, end=ChunkState.READY, label="redrive", bend=50),
        Arrow(start=ChunkState.CLOSED, end=ChunkState.READY, label="redrive of failed rows: generation + 1", bend=80),
        Arrow(
            start=ChunkState.CLOSED,
            end=ChunkState.PLANNED,
            label="redrive of rejected rows, or of a chunk that could not be read",
            bend=110,
        ),
    ),
)
BATCH = Picture(
    title="The states of a batch: unpacking, planning, running, then completed, completed with failures, or rejected.",
    width=780,
    height=260,
    boxes=(
        Box(name=BatchStatus.UNPACKING, x=90, y=80, below="gzip uploads only"),
        Box(name=BatchStatus.PLANNING, x=290, y=80, below="chunks are found"),
        Box(name=BatchStatus.RUNNING, x=490, y=80, below="every chunk is known"),
        Box(name=BatchStatus.COMPLETED, x=690, y=80, below="every row succeeded", look="good"),
        Box(name=BatchStatus.COMPLETED_WITH_FAILURES, x=670, y=190, below="every row has an outcome", look="bad"),
        Box(name=BatchStatus.REJECTED, x=190, y=190, below="not a file of the job", look="bad"),
    ),
    arrows=(
        Arrow(start=BatchStatus.UNPACKING, end=BatchStatus.PLANNING),
        Arrow(start=BatchStatus.PLANNING, end=BatchStatus.RUNNING),
        Arrow(start=BatchStatus.RUNNING, end=BatchStatus.COMPLETED),
        Arrow(start=BatchStatus.RUNNING, end=BatchStatus.COMPLETED_WITH_FAILURES),
        Arrow(
            start=BatchStatus.COMPLETED_WITH_FAILURES,
            end=BatchStatus.RUNNING,
            label="redrive: attempt + 1",
            bend=46,
            shift=-100,
        ),
        Arrow(start=BatchStatus.UNPACKING, end=BatchStatus.REJECTED),
        Arrow(start=BatchStatus.PLANNING, end=BatchStatus.REJECTED),
    ),
)
FLOW = Picture(
    title="The flow: upload, plan, ingest, process, finish, settle, and the event when the last row is counted.",
    width=780,
    height=280,
    boxes=(
        Box(name="your file", x=90, y=60, below="S3: inbox/job/", look="store"),
        Box(name="plan", x=290, y=60, below="cuts it into chunks"),
        Box(name="ingest", x=490, y=60, below="checks the rows"),
        Box(name="process", x=690, y=60, below="runs your function"),
        Box(name="one table", x=390, y=150, below="chunks and markers", look="store"),
        Box(name="finish", x=690, y=240, below="counts each row once"),
        Box(name="settle", x=490, y=240, below="closes the batch"),
        Box(name="Batch Completed", x=290, y=240, below="one event", look="good"),
        Box(name="results", x=90, y=240, below="JSON lines, failed.csv", look="good"),
    ),
    arrows=(
        Arrow(start="your file", end="plan"),
        Arrow(start="plan", end="ingest"),
        Arrow(start="ingest", end="process"),
        Arrow(start="process", end="finish", label="outcomes"),
        Arrow(start="finish", end="settle"),
        Arrow(start="settle", end="Batch Completed"),
        Arrow(start="Batch Completed", end="results"),
        Arrow(start="plan", end="one table"),
        Arrow(start="ingest", end="one table"),
        Arrow(start="finish", end="one table", label="one transaction"),
        Arrow(start="settle", end="one table"),
    ),
)
PICTURES = {"flow": FLOW, "batch-states": BATCH, "chunk-states": CHUNK}


def files() -> dict[Path, str]:
    """Return the content of each file."""
    return {FOLDER / f"{name}.svg": draw(picture) for name, picture in PICTURES.items()}


def draw(picture: Picture) -> str:
    """Return a picture as SVG, in light and in dark, without a font or a script of its own."""
    boxes = {box.name: box for box in picture.boxes}
    arrows = [_arrow(boxes[arrow.start], boxes[arrow.end], arrow) for arrow in picture.arrows]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}" role="img">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_STYLE}</style>",
        _HEAD,
        f'<rect class="ground" width="{picture.width}" height="{picture.height}"/>',
        *(line for line, _ in arrows),
        *(label for _, label in arrows if label),
        *(_box(box) for box in picture.boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(box: Box) -> str:
    width = max(_WIDTH, 8 * len(box.name) + 20)
    return (
        f'<rect class="{box.look}" x="{box.x - width // 2}" y="{box.y - _HEIGHT // 2}" '
        f'width="{width}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{box.x}" y="{box.y - 2}">{escape(box.name)}</text>'
        f'<text class="small" x="{box.x}" y="{box.y + 14}">{escape(box.below)}</text>'
    )


def _arrow(start: Box, end: Box, arrow: Arrow) -> tuple[str, str]:
    """Return the line and the label: labels are drawn after all lines, so that none is crossed."""
    straight = not arrow.bend
    x1, y1 = _edge(start, end if straight else None, arrow.bend)
    x2, y2 = _edge(end, start if straight else None, arrow.bend)
    between = (y1 + y2) // 2
    # A curve's middle is half way between the straight line and the point that pulls it.
    middle = (start.y + end.y) // 2 + arrow.bend
    path = f"M{x1},{y1} L{x2},{y2}" if straight else f"M{x1},{y1} Q{(x1 + x2) // 2},{2 * middle - between} {x2},{y2}"
    line = f'<path class="line" marker-end="url(#head)" d="{path}"/>'
    if not arrow.label:
        return line, ""
    x, y = (x1 + x2) // 2 + arrow.shift, between - 5 if straight else middle + (13 if arrow.bend > 0 else -5)
    return line, f'<text class="small label" x="{x}" y="{y}">{escape(arrow.label)}</text>'


def _edge(box: Box, other: Box | None, bend: int) -> tuple[int, int]:
    """Return where an arrow touches a box: towards the other box, or above or below it if the arrow is bent."""
    half_width = max(_WIDTH, 8 * len(box.name) + 20) // 2
    if other is None:
        return box.x, box.y + (_HEIGHT // 2 if bend > 0 else -_HEIGHT // 2)
    x, y = other.x - box.x, other.y - box.y
    scale = min(half_width / abs(x) if x else 1, _HEIGHT / 2 / abs(y) if y else 1)
    return round(box.x + x * scale), round(box.y + y * scale)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when a picture is not current.")
def main(*, check: bool) -> None:
    """Write docs/pictures."""
    write(files(), check=check)


if __name__ == "__main__":
    main()
