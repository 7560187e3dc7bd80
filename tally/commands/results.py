"""The commands about exported results: results fetches them, and verify proves them offline."""

import shlex
from pathlib import Path

import click

from chalicelib.store.exports import Exports
from tally.commands.options import BATCH, RESOURCES, command, find_stage, reader
from tally.errors import ExitCode, OperatorError
from tally.exported.fetch import fetch, require_export
from tally.exported.show import show_fetched, show_verified
from tally.exported.single import PIPE, fetch_file, pipe, require_free, target_of
from tally.exported.verify import verify as verifying
from tally.output import Output
from tally.stages.services import table


@command(
    "results",
    BATCH,
    click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        help="Write to a folder, to one file that ends in .csv, .jsonl, .csv.gz or .jsonl.gz, or to stdout (-); by"
        " default to the folder ID-attempt-N.",
    ),
    click.option("--force", is_flag=True, help="Replace the file if it exists."),
    click.option(
        "--attempt", type=click.IntRange(min=1), help="Fetch the results of this attempt; by default of the last one."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="Seconds to wait for results that are still being written (exit 5).",
    ),
    *RESOURCES,
)
def results(
    *,
    output: Output,
    stage: str,
    batch: str,
    out: Path | None,
    force: bool,
    attempt: int | None,
    timeout: float,
    **resources: str,
) -> None:
    """Fetch the results of a batch: one per row, in the order of the file.

    Run it again after an interrupt: it fetches only what is missing.
    """
    if out == PIPE and output.as_json:
        raise click.UsageError("-o - and --json both write to stdout: leave one of them out")
    if out:
        require_free(out, force=force)
    found = find_stage(stage, **resources)
    export = require_export(Exports(table=table(found)), reader(found).require(batch), attempt, timeout=timeout)
    bucket = found.resources.inbox_bucket
    if out == PIPE:
        pipe(output, found.s3, bucket, export)
        return
    place = out or Path(f"{batch}-attempt-{export.attempt}")
    fetched = (fetch_file if target_of(place) else fetch)(output, found.s3, bucket, export, place)
    show_fetched(output, fetched)
    if not fetched.one_file:
        output.command(f"Next: tally verify {shlex.quote(str(place))}")
    output.result(fetched.as_json())


@command(
    "verify",
    click.argument("folder", type=click.Path(path_type=Path)),
    click.option(
        "--source",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The uploaded file: check also that each of its rows is there once, in its order.",
    ),
)
def verify(*, output: Output, stage: str, folder: Path, source: Path | None) -> ExitCode:  # noqa: ARG001  no stage is asked
    """Prove offline that fetched results are whole: every row once, in order, counted right, nothing changed."""
    if folder.is_file():
        raise OperatorError(
            f"{folder} is one file, which cannot be verified without a manifest",
            hint="`tally results ID` fetches a folder with the files and their manifest.",
            code=ExitCode.USAGE,
        )
    with output.step(f"verify {folder}"):
        verified = verifying(folder, source)
    show_verified(output, verified, source)
    output.result(verified.as_json())
    return ExitCode.OK if verified.whole else ExitCode.NOT_AS_HOPED


COMMANDS = (results, verify)
