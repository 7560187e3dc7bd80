"""Chunks and packs of other sizes on one stage: what each costs in units and requests a row, and in time."""

from collections import defaultdict
from pathlib import Path

from bench import counts, recording, rivals
from bench.line import Line
from bench.pipeline import process
from bench.recording import Traffic
from bench.samples import Sample
from tally.stages.stage import Stage

DEFAULT = (495, 198)
"""Rows of a chunk and of a pack, as a stage has them."""
SIZES = (DEFAULT, (99, 99), (198, 198), (297, 297), (495, 99), (495, 297), (495, 495), (990, 198), (990, 495))
ROUNDS = 3
"""All sizes in turn, and again: the machine's drift and the table's growth fall on each alike. The best time counts."""


def lines(stage: Stage, sample: Sample, warm: Sample, folder: Path) -> list[Line]:
    """Return a line for each size: its time in units of the default's, measured in this run."""
    names = recording.functions_of(stage)
    seconds: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    traffic: dict[tuple[int, int], Traffic] = {}
    for size in SIZES * ROUNDS:
        chunk_rows, pack_rows = map(str, size)
        with recording.variables(
            stage.functions, names, {"TALLY_CHUNK_ROWS": chunk_rows, "TALLY_PACK_ROWS": pack_rows}
        ):
            process(stage, warm)
            seconds[size].append(process(stage, sample).seconds)
            if size not in traffic:
                traffic[size] = rivals.tally(stage, sample, folder).traffic
    usual = min(seconds[DEFAULT])
    return [_line(size, min(seconds[size]) / usual, seconds[size], traffic[size], sample.rows) for size in SIZES]


def _line(size: tuple[int, int], ratio: float, seconds: list[float], traffic: Traffic, rows: int) -> Line:
    units, others = (line.value for line in counts.lines(traffic, rows)[:2])
    raw = {
        "s": " ".join(f"{each:.1f}" for each in seconds),
        "write units a row": f"{units:.3f}",
        "requests a row": f"{traffic.requests.total() / rows:.3f}",
        "beside the writes": f"{others:.3f}",
    }
    return Line(name=f"time of chunks of {size[0]} and packs of {size[1]} rows", value=ratio, unit="x", raw=raw)
