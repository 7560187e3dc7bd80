"""The commands that act on a batch: redrive, pause, resume, cancel; and tune, which only advises."""

from pathlib import Path

import click

from chalicelib.store.batch import Hold
from chalicelib.store.items import Outcome
from tally.batch import hold, redrive, tune
from tally.batch.row_names import parse_rows
from tally.batch.watch import follow, verdict
from tally.commands.options import BATCH, RESOURCES, WATCH, command, find_stage, reader
from tally.corrections.run import Corrected, Corrector
from tally.errors import ExitCode
from tally.output import Output
from tally.stages.services import table
from tally.stages.stage import Stage


@command(
    "redrive",
    BATCH,
    click.option("--rejected", is_flag=True, help="Read rejected rows again, with the job as it is deployed now."),
    click.option(
        "--error", metavar="PATTERN", default="", help="Only rows whose reason matches this regular expression."
    ),
    click.option("--reason", metavar="PATTERN", help="Only the group of `tally failures` with this pattern."),
    click.option(
        "--group", type=click.IntRange(min=1), metavar="N", help="Only the group of `tally failures` with this number."
    ),
    click.option("--rows", metavar="CHUNK:ROW,...", help="Only the rows of these names, as `tally rows` shows them."),
    click.option(
        "--from",
        "file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Run the rows of a corrected failed.csv, with its values: all of them, or none if a line cannot run.",
    ),
    click.option("--skip-invalid", is_flag=True, help="With --from: leave out lines that cannot run."),
    click.option("--dry-run", is_flag=True, help="With --from: check the whole file, and change nothing."),
    *WATCH,
    *RESOURCES,
)
def redrive_rows(
    *,
    output: Output,
    stage: str,
    batch: str,
    rejected: bool,
    error: str,
    reason: str | None,
    group: int | None,
    rows: str | None,
    file: Path | None,
    skip_invalid: bool,
    dry_run: bool,
    watch: bool,
    interval: float,
    timeout: float | None,
    **resources: str,
) -> ExitCode | None:
    """Run failed rows of a batch again; or read rejected rows again, or run rows that you corrected.

    Safe to repeat, to interrupt, and while the batch is running. Rows that are read again and still do not fit the job
    stay rejected, with the new reason.
    """
    found = find_stage(stage, **resources)
    read = reader(found)
    redriven: redrive.Redriven | Corrected
    if file is not None:
        _refuse_others(rejected=rejected or None, error=error or None, reason=reason, group=group, rows=rows)
        corrector = Corrector(
            output=output, reader=read, table=table(found), s3=found.s3, skips=skip_invalid, dry_run=dry_run
        )
        redriven = corrector.run(batch, file)
    else:
        if skip_invalid or dry_run:
            raise click.UsageError("--skip-invalid and --dry-run need --from FILE")
        chosen = parse_rows(rows) if rows is not None else frozenset()
        outcome = Outcome.REJECTED if rejected else Outcome.FAILED
        which = redrive.Which(outcome=outcome, error=error, reason=reason, group=group, rows=chosen)
        redriven = redrive.run(output, read, batch, which, table=table(found), s3=found.s3)
    if dry_run:
        output.result(redriven.as_json())
        return None
    if watch and not redriven.batch.status.final:
        progress = follow(output, read, found, batch, interval=interval, timeout=timeout)
        output.result(progress.as_json() | redriven.as_json())
        return verdict(progress)
    if redriven.rows:
        output.command(f"Next: {found.watch_command(batch)}")
    output.result(redriven.as_json())
    return None


def _refuse_others(**choices: object) -> None:
    """Raise UsageError for an option that chooses rows beside --from."""
    given = [f"--{name}" for name, value in choices.items() if value is not None]
    if given:
        raise click.UsageError(f"--from runs the rows of its file: leave out {', '.join(given)}")


@command("pause", BATCH, *RESOURCES)
def pause(*, output: Output, stage: str, batch: str, **resources: str) -> ExitCode:
    """Pause a batch: its rows wait until `tally resume`, and counted rows stay counted."""
    return _change_hold(output, find_stage(stage, **resources), batch, Hold.PAUSED)


@command("resume", BATCH, *RESOURCES)
def resume(*, output: Output, stage: str, batch: str, **resources: str) -> ExitCode:
    """Resume a paused batch."""
    return _change_hold(output, find_stage(stage, **resources), batch, None)


@command("cancel", BATCH, *RESOURCES)
def cancel(*, output: Output, stage: str, batch: str, **resources: str) -> ExitCode:
    """Cancel a batch: fail its rows without an outcome, so that it ends; redrive runs them again."""
    return _change_hold(output, find_stage(stage, **resources), batch, Hold.CANCELLED)


def _change_hold(output: Output, stage: Stage, batch: str, wanted: Hold | None) -> ExitCode:
    change = hold.run(output, reader(stage), table(stage), batch, wanted)
    output.result(change.as_json())
    return change.verdict


@command(
    "tune",
    BATCH,
    click.option(
        "--chunks",
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        help="Read the durations of this many chunks.",
    ),
    click.option(
        "--heavy-above",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Take rows that took longer for heavy; by default longer than mean + 2 sigma.",
    ),
    *RESOURCES,
)
def tune_batch(
    *,
    output: Output,
    stage: str,
    batch: str,
    chunks: int,
    heavy_above: float | None,
    **resources: str,
) -> None:
    """Recommend timeouts and routing from how long the rows of a batch took."""
    read = reader(find_stage(stage, **resources))
    advice = tune.run(output, read, batch, chunks=chunks, heavy_above=heavy_above)
    output.result(advice.as_json())


COMMANDS = [redrive_rows, pause, resume, cancel, tune_batch]
