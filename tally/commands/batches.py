"""The commands about batches: submit, status, cost, list, rows, row, failures, audit, sample."""

from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError

from chalicelib.clock import utc_now
from chalicelib.store.batch import Batch
from chalicelib.store.items import Outcome
from tally.batch import audit as auditing
from tally.batch import chains, idle
from tally.batch import cost as costing
from tally.batch import failures as failure_reading
from tally.batch import repair as repairing
from tally.batch import rows as row_reading
from tally.batch.lost_runs import lost_runs_of
from tally.batch.reader import Progress
from tally.batch.saving import saving_of, show_saving
from tally.batch.submit import send
from tally.batch.watch import follow, show, verdict
from tally.commands.current import current_stage, job_for, say_what_is_not_deployed
from tally.commands.options import BATCH, RESOURCES, WATCH, command, find_stage, reader, workspace
from tally.errors import ExitCode
from tally.local import sample
from tally.look import Column, Kind
from tally.output import Output
from tally.stages.services import services
from tally.stages.stage import Stage

_KINDS = {"job": Kind.NAME, "file": Kind.NAME, "reason": Kind.TEXT}
"""Columns of `tally list` that may be shortened or broken; an id and a number never are."""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    "submit",
    click.argument("file", type=_FILE),
    click.option("--job", help="The job that processes the file; by default the one that it is named after."),
    click.option("--name", help="The file's name in the inbox; its own name by default."),
    click.option("--up", is_flag=True, help="First bring a local stage up, or up to date, without asking."),
    click.option("--force", is_flag=True, help="Upload even for a job that this checkout or the stage does not have."),
    *WATCH,
    *RESOURCES,
)
def submit(
    *,
    output: Output,
    stage: str,
    file: Path,
    job: str | None,
    name: str | None,
    up: bool,
    force: bool,
    watch: bool,
    interval: float,
    timeout: float | None,
    table: str,
    bucket: str,
) -> ExitCode | None:
    """Upload a file into the inbox and print the id of its batch.

    Warns if the stage runs another version of the job than this disk has, and offers to bring a local stage up to date.
    """
    taker = job_for(output, file, job, force=force)
    found = current_stage(output, stage, taker, up=up, force=force, table=table, bucket=bucket)
    batch = send(output, found, file, taker, name or file.name)
    output.say(f"batch {batch}")
    if watch:
        return _follow(output, found, batch, interval, timeout)
    output.command(f"Next: {found.watch_command(batch)}")
    output.result({"id": batch, "stage": stage})
    return None


@command(
    "status",
    BATCH,
    click.option(
        "--cost/--no-cost",
        default=True,
        show_default=True,
        help="Show the cost once the batch has ended; it is read from logs.",
    ),
    *WATCH,
    *RESOURCES,
)
def status(
    *,
    output: Output,
    stage: str,
    batch: str,
    cost: bool,
    watch: bool,
    interval: float,
    timeout: float | None,
    table: str,
    bucket: str,
) -> ExitCode | None:
    """Show the progress of a batch and, once it has ended, its cost; with --watch, live until the end."""
    found = find_stage(stage, table, bucket)
    if watch:
        return _follow(output, found, batch, interval, timeout, cost=cost)
    progress = reader(found).progress(reader(found).require(batch).id)
    if progress is not None:
        top = failure_reading.Sampler(reader(found)).top(progress)
        lost = lost_runs_of(reader(found), progress)
        show(output, progress, top, utc_now(), lost)
        saving = _saving(output, found, progress)
        say_what_is_not_deployed(output, found, [progress.batch])
        shown = progress.as_json() | saving | {"reasons": top.as_json(), "lost_runs": lost.as_json()}
        output.result(shown | (_cost(output, found, progress) if cost else {}))
    return None


@command("cost", click.argument("batch", metavar="[ID]", required=False), *RESOURCES)
def cost(*, output: Output, stage: str, batch: str | None, table: str, bucket: str) -> None:
    """Show the cost of a batch: write units, requests, function seconds and dollars, in all and per row.

    Without an ID: the monthly cost of the idle stage, item by item.
    """
    found = find_stage(stage, table, bucket)
    if batch is None:
        standing = idle.standing_of(found)
        idle.show(output, standing)
        output.result({"stage": stage, **idle.as_json(standing)})
        return
    took = costing.of(found, reader(found).require(batch), utc_now())
    costing.show(output, took)
    output.result({"id": batch, **took.as_json()})


def _follow(
    output: Output, stage: Stage, batch: str, interval: float, timeout: float | None, *, cost: bool = True
) -> ExitCode:
    progress = follow(output, reader(stage), stage, batch, interval=interval, timeout=timeout)
    say_what_is_not_deployed(output, stage, [progress.batch])
    top = failure_reading.Sampler(reader(stage)).top(progress) if output.as_json else failure_reading.Top()
    lost = lost_runs_of(reader(stage), progress)
    found = progress.as_json() | _saving(output, stage, progress)
    found |= {"reasons": top.as_json(), "lost_runs": lost.as_json()}
    output.result(found | (_cost(output, stage, progress) if cost else {}))
    return verdict(progress)


def _saving(output: Output, stage: Stage, progress: Progress) -> dict[str, Any]:
    """Print the progress of a batch's save by key; returns its field for ``--json``."""
    saving = saving_of(reader(stage), progress.batch)
    show_saving(output, saving)
    return {"saving": saving.as_json() if saving else None}


def _cost(output: Output, stage: Stage, progress: Progress) -> dict[str, Any]:
    """Print the cost of a batch that has ended; returns its field for ``--json``."""
    if not progress.batch.status.final or not progress.counts.total:
        return {"cost": None}
    try:
        took = costing.of(stage, progress.batch, utc_now())
    except ClientError as error:  # the right to read a batch does not imply the right to read logs
        output.warn(f"the cost is not known: {error}")
        return {"cost": None}
    output.say(f"It took {took.summary}: tally cost {progress.batch.id}")
    return {"cost": took.as_json()}


@command(
    "list",
    click.option(
        "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show at most this many."
    ),
    *RESOURCES,
)
def list_batches(*, output: Output, stage: str, limit: int, table: str, bucket: str) -> None:
    """Show the newest batches, newest first."""
    found = find_stage(stage, table, bucket)
    read = reader(found)
    newest = read.newest(limit)
    listed = [
        {
            "id": progress.batch.id,
            "job": progress.batch.job,
            "status": progress.batch.status.value,
            "hold": progress.batch.hold.value if progress.batch.hold else "",
            "rows": progress.found,
            "succeeded": progress.counts.succeeded,
            "failed": progress.counts.failed,
            "rejected": progress.counts.rejected,
            "created": progress.batch.created_at[:19],
            "file": progress.batch.source.key,
            "reason": progress.batch.reason,
        }
        for progress in read.progress_of(newest.batches)
    ]
    if listed:
        shown = _with_chains(listed, newest.batches)
        columns = [Column(name, _KINDS.get(name, Kind.WORDS)) for name in shown[0]]
        output.table("", columns, [tuple(row.values()) for row in shown])
    else:
        output.say("no batch yet")
    if newest.of_other_versions:
        batches = "1 batch is" if newest.of_other_versions == 1 else f"{newest.of_other_versions:,} batches are"
        output.say(f"{batches} not shown: another version of Tally made them.")
    say_what_is_not_deployed(output, found, newest.batches)
    output.result([row | chains.as_json(batch) for row, batch in zip(listed, newest.batches, strict=True)])


def _with_chains(listed: list[dict[str, Any]], batches: list[Batch]) -> list[dict[str, Any]]:
    """Return the rows of the table, with a column about chains if any batch is in one."""
    short = list(map(chains.in_short, batches))
    return [row | {"results": cell} for row, cell in zip(listed, short, strict=True)] if any(short) else listed


@command(
    "rows",
    BATCH,
    click.option(
        "--outcome",
        type=click.Choice([outcome.value for outcome in Outcome]),
        help="Only rows with this outcome; by default rows of every outcome.",
    ),
    click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this many."),
    *RESOURCES,
)
def rows(*, output: Output, stage: str, batch: str, outcome: str | None, limit: int, table: str, bucket: str) -> None:
    """Show the first rows of a batch that have an outcome, in the file's order, with their reason or result."""
    read = reader(find_stage(stage, table, bucket))
    listed = row_reading.listed(read, read.require(batch), Outcome(outcome) if outcome else None, limit)
    row_reading.show_listed(output, listed)
    output.result(listed.rows)


@command("failures", BATCH, *RESOURCES)
def failures(*, output: Output, stage: str, batch: str, table: str, bucket: str) -> None:
    """Show why rows failed or were rejected: reasons in groups, and the command that runs a group again."""
    read = reader(find_stage(stage, table, bucket))
    found = read.require(batch)
    grouping = failure_reading.run(output, read, found)
    failure_reading.show(output, found, grouping, stage)
    output.result(failure_reading.as_json(found, grouping, stage))


@command(
    "row",
    BATCH,
    click.option(
        "--line", type=click.IntRange(min=1), help="The row that begins at this line of the file, or spans it."
    ),
    click.option("--row", "name", metavar="CHUNK:ROW", help="The row of this name, as `tally rows` shows it."),
    *RESOURCES,
)
def row(*, output: Output, stage: str, batch: str, line: int | None, name: str | None, table: str, bucket: str) -> None:
    """Show one row, given by --line or --row: its outcome, reason, tries, duration and cells."""
    if (line is None) is (name is None):
        raise click.UsageError("name the row with either --line N or --row CHUNK:ROW")
    known = find_stage(stage, table, bucket)
    if line is not None:
        found = row_reading.by_line(reader(known), known.s3, batch, line)
    else:
        found = row_reading.by_name(reader(known), batch, str(name))
    row_reading.show(output, found)
    output.result(found.as_json())


@command(
    "audit",
    BATCH,
    click.option(
        "--repair", is_flag=True, help="First send lost messages again, and set counters to what the markers prove."
    ),
    click.option("--watch", is_flag=True, help="Wait for the batch's end before counting."),
    *WATCH[1:],
    *RESOURCES,
)
def audit(
    *,
    output: Output,
    stage: str,
    batch: str,
    repair: bool,
    watch: bool,
    interval: float,
    timeout: float | None,
    table: str,
    bucket: str,
) -> ExitCode:
    """Recount a batch from its markers alone: exit 0 if every counter agrees, 1 if not."""
    found = find_stage(stage, table, bucket)
    read = reader(found)
    read.require(batch)
    repairs = repairing.run(output, read, services(workspace(), found).reconciler, batch) if repair else None
    if watch and repairing.may_be_waited_for(read, batch):
        follow(output, read, found, batch, interval=interval, timeout=timeout)
    audited = auditing.run(output, read, batch)
    output.result(audited.as_json() | ({"repairs": repairing.as_json(repairs)} if repairs else {}))
    return ExitCode.OK if audited.exact else ExitCode.NOT_AS_HOPED


@command(
    "sample",
    click.option("--rows", type=click.IntRange(min=0), default=5000, show_default=True, help="How many rows to write."),
    click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."),
    click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same file."),
)
def write_sample(*, output: Output, stage: str, rows: int, out: Path, seed: int) -> None:
    """Write made-up transactions, one in a hundred bad, and show the outcomes to expect."""
    del stage  # the file is for any
    expected = sample.write_file(out, rows, seed=seed)
    counts = {name: getattr(expected, name) for name in ("rows", "succeeded", "failed", "rejected")}
    output.say(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    output.result(counts | {"file": str(out)})


COMMANDS = [submit, status, cost, list_batches, rows, row, failures, audit, write_sample]
