"""Exports: how long results take after the batch, their requests and units, and the time to verify them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import recording
from bench.line import Line
from bench.pipeline import Run, process
from bench.samples import Sample
from tally.errors import OperatorError
from tally.exported.fetch import fetch
from tally.exported.verify import verify
from tally.output import Output
from tally.stages.stage import Stage

_LARGE_ROWS = 100_000
"""From this size on, the few requests of a batch and of a part do not show in those of a row."""
_FUNCTIONS = ("settle", "export")
"""The functions that ask for results and that write them."""


def measure(stage: Stage, output: Output, sample: Sample, folder: Path) -> tuple[Run, list[Line]]:
    """Process a file, wait for its results, fetch and verify them; raises if they are not proven."""
    log = folder / "requests.jsonl"
    names = [f"tally-{stage.name}-{name}" for name in _FUNCTIONS]
    with recording.recorded(stage.functions, names, log):
        run = process(stage, sample)
    traffic = recording.read(log, _is_of_export)
    place = folder / "results" / run.batch.id
    fetch(output, stage.s3, stage.resources.inbox_bucket, run.export, place)
    began = datetime.now(UTC)
    verified = verify(place, sample.file)
    seconds = (datetime.now(UTC) - began).total_seconds()
    if not verified.whole:
        raise OperatorError(f"The results in {place} are not those of {sample.file}: {verified.problems[0]}.")
    rows = sample.rows
    requests = traffic.requests.total() + 2 * traffic.messages
    kinds = {kind: round(count / rows, 5) for kind, count in traffic.requests.most_common()}
    units = {kind: round(count / rows, 5) for kind, count in traffic.writes.most_common()}
    large = rows >= _LARGE_ROWS
    size = sum(part.bytes for part in verified.manifest.parts)
    return run, [
        Line(
            name=f"results / the batch before them, {rows:,} rows", value=run.export_seconds / run.seconds, unit="x",
            raw={"results s": run.export_seconds, "batch s": run.seconds, "parts": run.export.parts,
                 "MB": size / 1e6, "rows/s": round(rows / run.export_seconds)},
        ),
        Line(
            name=f"requests a row that results add, {rows:,} rows", value=requests / rows, unit="",
            most=0.005 if large else None,
            raw={"sqs receive and delete": round(2 * traffic.messages / rows, 5), **kinds},
        ),
        Line(
            name=f"write units a row that results add, {rows:,} rows", value=traffic.writes.total() / rows, unit="",
            most=0.002 if large else None, raw=units,
        ),
        Line(
            name=f"verifying results against their file, {rows:,} rows", value=seconds, unit="s",
            raw={"rows/s": round(rows / seconds)},
        ),
    ]  # fmt: skip


def memory(small: Run, large: Run) -> Line:
    """Compare the function's largest memory for two files."""
    sizes = [run.megabytes["export"] for run in (small, large)]
    return Line(
        name=f"memory of export, {large.rows:,} rows / {small.rows:,}", value=sizes[1] / sizes[0], unit="x", most=1.3,
        raw={"MB resident": f"{sizes[0]}>{sizes[1]}", "parts": f"{small.export.parts}>{large.export.parts}"},
    )  # fmt: skip


def _is_of_export(request: Mapping[str, Any]) -> bool:
    """Tell whether a request is one that only a stage with exports makes."""
    if request["function"].endswith("-export"):
        return True
    return request.get("of") == "export" or request.get("queue", "").endswith("-export")
