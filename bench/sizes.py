"""Chunks and packs of other sizes on one stage: what each costs in units and requests a row, and in time."""

from pathlib import Path

from bench import counts, recording, rivals
from bench.line import Line
from bench.pipeline import process
from bench.samples import Sample
from tally.stage import Stage

DEFAULT = (495, 198)
"""Rows of a chunk and of a pack, as a stage has them."""
SIZES = (DEFAULT, (99, 99), (198, 198), (297, 297), (495, 99), (495, 297), (495, 495), (990, 198), (990, 495), DEFAULT)
"""The default comes first and last: what lies between its two times is the machine's own drift."""


def lines(stage: Stage, timed: Sample, counted: Sample, warm: Sample, folder: Path) -> list[Line]:
    """Return a line for each size: its time in units of the default's, measured in this run."""
    names = recording.functions_of(stage)
    found: list[Line] = []
    usual = 0.0
    for chunk_rows, pack_rows in SIZES:
        sizes = {"TALLY_CHUNK_ROWS": str(chunk_rows), "TALLY_PACK_ROWS": str(pack_rows)}
        with recording.variables(stage.functions, names, sizes):
            process(stage, warm)
            seconds = min(process(stage, timed).seconds for _ in range(2))
            traffic = rivals.tally(stage, counted, folder).traffic
        usual = usual or seconds
        units, others = (line.value for line in counts.lines(traffic, counted.rows)[:2])
        found.append(
            Line(
                name=f"chunks of {chunk_rows}, packs of {pack_rows}: time / that of {DEFAULT[0]}, {DEFAULT[1]}",
                value=seconds / usual,
                unit="x",
                raw={
                    "s": seconds,
                    "rows": timed.rows,
                    "write units a row": round(units, 4),
                    "requests a row": round(traffic.requests.total() / counted.rows, 4),
                    "beside the writes": round(others, 4),
                    "messages": traffic.messages,
                },
            )
        )
    return found
