"""``python -m bench``: measure, print one table, and name the missed goals."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import counts, exports, floor, growth, local, memory, rivals, samples
from bench.line import Line, with_table
from bench.pipeline import Run, audit_seconds, process, running, until_event
from bench.samples import Sample
from tally import cli
from tally.errors import ExitCode, OperatorError
from tally.output import Output
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("local", "speed", "exports", "counts", "textbook")
_STAGE = "bench"
_PARSED_ROWS = 100_000
_PLANNED_ROWS = 500_000
# A run of seconds meets whatever else the machine does just then: the median of so many, floor and pipeline in turn.
_SHORT_ROWS, _TRIES = 20_000, 3
_CHUNK = {"chunk_rows": 1_000, "chunk_bytes": 262_144}
_JOB_ALONE = ((1_000_000, 5.0), (100_000, 6.0))
"""How many times the job alone a file of so many rows may take."""
_AUDITED_ROWS, _AUDIT_SECONDS = 100_000, 2.0
_SMALL_ROWS, _SMALL_SECONDS, _SMALL_TRIES = 1_000, 2.0, 5


class Bench:
    """One run: its stage, its folder, and the lines so far."""

    def __init__(self, output: Output, workspace: Workspace) -> None:
        self.output, self.workspace = output, workspace
        self.folder = workspace.home / "check" / "bench"
        self.lines: list[Line] = []
        self.seconds: dict[int, float] = {}

    def sample(self, rows: int, shape: str = "sample") -> Sample:
        """Return a file of so many rows, in one of the shapes."""
        return samples.make(self.folder / "samples", rows, shape)

    def add(self, *lines: Line) -> None:
        """Keep lines and print them at once: the table comes minutes later."""
        for line in lines:
            self.output.say("   ".join(filter(None, line.cells())))
        self.lines += lines

    def local(self, stage: Stage) -> None:
        """Measure what needs no pipeline."""
        self.add(*local.parsing(self.sample(_PARSED_ROWS)))
        self.add(*local.formats(self.sample(_PARSED_ROWS)))
        self.add(*growth.lines())
        planned = self.sample(_PLANNED_ROWS)
        self.add(*local.planning(stage, planned), memory.planning_memory(stage, planned))
        self.add(local.cold_start(self.workspace.repo))

    def speed(self, stage: Stage, sizes: tuple[int, ...]) -> None:
        """Measure the pipeline against the job alone and the floor at each size, and its growth with the size."""
        with self.output.step("warm-up: 2,000 rows, so that no file pays for starting the functions"):
            process(stage, self.sample(2_000))
        self._latency(stage)
        runs: dict[int, Run] = {}
        for rows in sorted(sizes):
            tries = [self._one(stage, rows) for _ in range(_TRIES if rows <= _SHORT_ROWS else 1)]
            alone, bare, run = sorted(tries, key=lambda each: each[2].seconds)[len(tries) // 2]
            runs[rows], self.seconds[rows] = run, run.seconds
            raw = {"pipeline s": run.seconds, "pipeline ms/row": run.seconds / rows * 1000}
            raw |= {"median of": len(tries)} if len(tries) > 1 else {}
            self.add(
                Line(
                    name=f"pipeline / the job alone, {rows:,} rows", value=run.seconds / alone, unit="x",
                    most=next((most for least, most in _JOB_ALONE if rows >= least), None),
                    raw={**raw, "job alone s": alone},
                ),
                Line(
                    name=f"pipeline / floor, {rows:,} rows", value=run.seconds / bare.seconds, unit="x",
                    raw={"floor s": bare.seconds, "floor requests": bare.requests},
                ),
            )  # fmt: skip
            if rows >= _AUDITED_ROWS:
                seconds = audit_seconds(stage, run.batch)
                most = _AUDIT_SECONDS if rows == _AUDITED_ROWS else None
                self.add(Line(name=f"audit of {rows:,} rows", value=seconds, unit="s", most=most))
        smallest, largest = min(runs), max(runs)
        if smallest != largest:
            self.add(*_memory(runs[smallest], runs[largest]))

    def _latency(self, stage: Stage) -> None:
        sample = self.sample(_SMALL_ROWS)
        with self.output.step(f"latency: {_SMALL_TRIES} files of {_SMALL_ROWS:,} rows"):
            took = sorted(until_event(stage, sample) for _ in range(_SMALL_TRIES))
        self.add(
            Line(
                name=f"{_SMALL_ROWS:,} rows, warm, upload to event", value=took[len(took) // 2], unit="s",
                most=_SMALL_SECONDS, raw={"fastest s": took[0], "slowest s": took[-1], "median of": len(took)},
            )
        )  # fmt: skip

    def _one(self, stage: Stage, rows: int) -> tuple[float, floor.Floor, Run]:
        sample = self.sample(rows)
        with self.output.step(f"the job alone, and the floor: {rows:,} rows"):
            alone = floor.job_alone(sample.file, **_CHUNK)
            bare = floor.measure(sample.file, self.folder, **_CHUNK)
        with self.output.step(f"pipeline: {rows:,} rows"):
            return alone, bare, process(stage, sample)

    def exports(self, stage: Stage, sizes: tuple[int, ...]) -> None:
        """Measure the results of a file of each size, and the extra cost of larger files."""
        runs: dict[int, Run] = {}
        for rows in sorted(sizes):
            with self.output.step(f"results: {rows:,} rows, fetched and verified"):
                runs[rows], lines = exports.measure(stage, self.output, self.sample(rows), self.folder)
            self.add(*lines)
        smallest, largest = min(runs), max(runs)
        if smallest != largest:
            self.add(exports.memory(runs[smallest], runs[largest]))

    def counts(self, stage: Stage, rows: int) -> None:
        """Count units and requests of a file of each shape."""
        for shape in samples.SHAPES:
            with self.output.step(f"counts: {rows:,} rows, {shape}, every request written down"):
                counted = rivals.tally(stage, self.sample(rows, shape), self.folder)
            self.add(*counts.lines(counted.traffic, rows, shape))

    def textbook(self, stage: Stage, rows: int) -> None:
        """Measure the textbook; its requests and faults over a fifth of the rows."""
        sample, small = self.sample(rows), self.sample(rows // 5)
        seconds = self.seconds.get(rows) or process(stage, sample).seconds
        with self.output.step(f"textbook: {rows:,} rows; its counts and faults over {small.rows:,}"):
            lines = rivals.lines(stage, sample, small, self.folder, self.workspace.repo, seconds=seconds)
        self.add(*lines)


def _memory(small: Run, large: Run) -> list[Line]:
    grown = {name: large.megabytes[name] / size for name, size in small.megabytes.items() if name in large.megabytes}
    raw = {name: f"{small.megabytes[name]}>{large.megabytes[name]}" for name in sorted(grown)}
    name = f"memory of the function that grows most, {large.rows:,} rows / {small.rows:,}"
    return [Line(name=name, value=max(grown.values()), unit="x", most=1.3, raw={"MB": raw})] if grown else []


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these; all by default.")
@click.option(
    "--rows", "timed_rows", multiple=True, type=click.IntRange(1_000), default=(10_000, 100_000), show_default=True,
    help="Rows of the files that the pipeline is timed with; may be given several times.",
)  # fmt: skip
@click.option("--count-rows", type=click.IntRange(1_000), default=10_000, show_default=True, help="Rows of the others.")
@click.option("--keep", is_flag=True, help="Leave the stage up, to measure again sooner.")
@click.option(
    "--table",
    "page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the table into this Markdown page, between its markers.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to stdout.")
def bench(
    *,
    parts: tuple[str, ...],
    timed_rows: tuple[int, ...],
    count_rows: int,
    keep: bool,
    page: Path | None,
    as_json: bool,
) -> ExitCode:
    """Measure Tally on a local stage of its own; each line is a ratio whose sides were measured in this run.

    Nothing else should run on the machine. Exits with 1 when a goal is missed.
    """
    output = Output.make(as_json=as_json)
    run = Bench(output, Workspace.find(os.environ))
    wanted = parts or PARTS
    began = datetime.now(UTC)
    with running(run.workspace, output, name=_STAGE, keep=keep, **_CHUNK) as stage:
        steps: dict[str, Callable[[], None]] = {
            "local": lambda: run.local(stage),
            "speed": lambda: run.speed(stage, timed_rows),
            "exports": lambda: run.exports(stage, timed_rows),
            "counts": lambda: run.counts(stage, count_rows),
            "textbook": lambda: run.textbook(stage, count_rows),
        }
        for part, measure in steps.items():
            if part in wanted:
                measure()
    output.say("")
    output.table("", ("what", "measured", "goal", "", "figures"), [line.cells() for line in run.lines])
    missed = [line.name for line in run.lines if line.met is False]
    seconds = (datetime.now(UTC) - began).total_seconds()
    output.say(f"{len(run.lines)} lines, {len(missed)} goals missed, {seconds:.0f} s on {os.cpu_count()} cores")
    if page:
        text = page.read_text(encoding="utf-8")
        page.write_text(with_table(text, run.lines, said=f"{began:%Y-%m-%d}, {os.cpu_count()} cores"), encoding="utf-8")
    output.result({"began": began, "cores": os.cpu_count(), "lines": [line.as_json() for line in run.lines]})
    return ExitCode.NOT_AS_HOPED if missed else ExitCode.OK


if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:], command=bench, name="python -m bench", explained=OperatorError))
