"""Sentences about fetched and about verified results."""

from pathlib import Path

from tally.exported.fetch import Fetched
from tally.exported.verify import Verified
from tally.look import several
from tally.output import Output


def show_fetched(output: Output, fetched: Fetched) -> None:
    """Write the place of the fetched files, and how long they stay in the bucket."""
    manifest = fetched.manifest
    files = "" if fetched.one_file else f" in {fetched.files:,} files"
    output.say(f"{manifest.counts.rows:,} rows{files}: {fetched.place}")
    if fetched.one_file and fetched.place.name.removesuffix(".gz").endswith(".csv") and not manifest.columns:
        output.say('It has no cells of the file; results of a job that says EXPORT = "csv" have them.')
    if failed := manifest.failed.rows:
        where = f"`tally results {manifest.batch_id}` fetches {manifest.failed.name}, to correct them in"
        if not fetched.one_file:
            where = f"correct a copy of {fetched.to_correct}, then `tally redrive {manifest.batch_id} --from` it"
        output.say(f"{several(failed, 'row')} did not succeed: {where}")
    if fetched.formula_rows:
        output.warn(
            f"{fetched.formula_rows:,} rows have a cell that a spreadsheet takes for a formula: import it as text"
        )
    if manifest.expires_at:
        output.say(f"The stage deletes its files after {manifest.expires_at[:10]}")


def show_verified(output: Output, verified: Verified, source: Path | None) -> None:
    """Write the problems, one per line, or the proof."""
    for problem in verified.problems:
        output.mark("wrong", "red", problem)
    if verified.whole:
        beside = f", as in {source.name}" if source else ""
        output.say(f"{verified.rows:,} rows, each once and in order{beside}; every file is as it was written")
