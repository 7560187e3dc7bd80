"""The commands about announcements: events shows them, and wait returns at the end of a batch."""

import time
from collections.abc import Iterable
from dataclasses import replace

import click

from chalicelib.store.batch import BatchStatus
from chalicelib.store.exports import Exports
from tally.announced.announcements import Announcement, Announcements
from tally.batch.watch import follow as watch_to_end
from tally.batch.watch import verdict
from tally.commands.options import BATCH, RESOURCES, TIMEOUT, command, find_stage, reader
from tally.errors import ExitCode
from tally.exported.fetch import require_export
from tally.output import Output
from tally.stages.services import table


@command(
    "events",
    click.option(
        "--follow", is_flag=True, help="Show further events as they come, until Ctrl-C; with --json one per line."
    ),
    click.option("--job", default="", help="Only events about batches of this job."),
    click.option("--batch", metavar="ID", default="", help="Only events about this batch."),
    click.option(
        "--limit",
        type=click.IntRange(1, 1000),
        default=20,
        show_default=True,
        help="Look at this many of the newest batches, and at every open one.",
    ),
    click.option(
        "--interval",
        type=click.FloatRange(min=0.1),
        default=2.0,
        show_default=True,
        help="With --follow: seconds between reads.",
    ),
    *RESOURCES,
)
def events(
    *,
    output: Output,
    stage: str,
    follow: bool,
    job: str,
    batch: str,
    limit: int,
    interval: float,
    **resources: str,
) -> ExitCode | None:
    """Show the events about the end and the results of batches, oldest first.

    They are read from the table, with the same details and the same event_id that subscribers got.
    """
    announcements = Announcements(reader=reader(find_stage(stage, **resources)), job=job, batch=batch)
    found = announcements.newest(limit)
    if follow:
        return _follow(output, announcements, found, interval, limit)
    for each in found:
        output.command(each.line)
    if not found:
        output.say("no event yet")
    output.result([each.as_json() for each in found])
    return None


def _follow(
    output: Output, announcements: Announcements, found: list[Announcement], interval: float, limit: int
) -> ExitCode:
    try:
        _say(output, found)
        _say(output, announcements.follow(found, interval, limit))
    except KeyboardInterrupt:  # how it is meant to end: no error, so that all of stdout is events
        pass
    return ExitCode.INTERRUPTED


def _say(output: Output, found: Iterable[Announcement]) -> None:
    for each in found:
        if output.as_json:
            output.document(each.as_json())
        else:
            output.command(each.line)


@command(
    "wait",
    BATCH,
    click.option("--exported", is_flag=True, help="Also wait until the files of its results are complete."),
    click.option(
        "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds between reads."
    ),
    TIMEOUT,
    *RESOURCES,
)
def wait(
    *,
    output: Output,
    stage: str,
    batch: str,
    exported: bool,
    interval: float,
    timeout: float | None,
    **resources: str,
) -> ExitCode:
    """Wait for the end of a batch: exit 0 if every row succeeded, 1 if not, 5 if --timeout passed first."""
    found, began = find_stage(stage, **resources), time.monotonic()
    progress = watch_to_end(output, reader(found), found, batch, interval=interval, timeout=timeout)
    place = None
    if exported and progress.batch.status is not BatchStatus.REJECTED:
        left = float("inf") if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        export = require_export(Exports(table=table(found)), progress.batch, None, timeout=left)
        progress = replace(progress, export=export)  # further than when the batch ended
        bucket = progress.batch.source.bucket
        output.command(f"results: s3://{bucket}/{export.prefix}")
        place = {
            "bucket": bucket,
            "prefix": export.prefix,
            "manifest": export.manifest_key,
            "expires_at": export.results_expire_at or None,
        }
    output.result(progress.as_json() | {"exported": place})
    return verdict(progress)


COMMANDS = (events, wait)
