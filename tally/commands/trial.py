"""The command that tries a job over a file in this process: try."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import click

from tally.commands.options import command
from tally.errors import ExitCode
from tally.output import Output

_STDIN = "-"


@command(
    "try",
    click.argument("job"),
    click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)),
    click.option(
        "--rows", type=click.IntRange(min=1), help="Try only this many rows, the first ones, and estimate the rest."
    ),
    click.option(
        "--line",
        type=click.IntRange(min=1),
        help="Try only the row at this line of the file, and show its cells, fields and outcome.",
    ),
    click.option(
        "--pdb",
        "stops",
        is_flag=True,
        help="Open a debugger where process raises; with --line, at the first line of process.",
    ),
)
def try_job(
    *, output: Output, stage: str, job: str, file: Path, rows: int | None, line: int | None, stops: bool
) -> ExitCode:
    """Try a job over a file in this process, without a stage: outcomes, and an estimate of cost and time.

    The functions' own code cuts, parses, validates and processes FILE, plain or gzip; - is stdin. Exit 0: every
    row that was tried succeeded.
    """
    del stage  # none is needed
    if rows is not None and line is not None:
        raise click.UsageError("--rows and --line exclude each other: leave one of them out")
    # These take half a second to import, and no other command needs them.
    from tally.testing.jobs import quiet  # noqa: PLC0415
    from tally.trial import run  # noqa: PLC0415
    from tally.trial.loading import load  # noqa: PLC0415

    with quiet(), _own_stdout(output), tempfile.TemporaryDirectory(prefix="tally-try-") as folder:
        found = load(job)
        source = _from_stdin(Path(folder)) if str(file) == _STDIN else file
        request = run.Request(job=found, file=source, name=source.name, folder=Path(folder), rows=rows, debug=stops)
        result, code = run.try_rows(output, request) if line is None else run.try_line(output, request, line)
    output.result(result)
    return code


def _from_stdin(folder: Path) -> Path:
    """Copy stdin into a file, which can be read more than once."""
    kept = folder / "stdin"
    with kept.open("wb") as target:
        shutil.copyfileobj(sys.stdin.buffer, target)
    return kept


@contextmanager
def _own_stdout(output: Output) -> Iterator[None]:
    """Send the job's prints to stderr if stdout is for the result alone."""
    if not output.as_json:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # also for the processes that a job starts
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


COMMANDS = [try_job]
