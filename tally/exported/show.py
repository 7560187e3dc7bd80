"""The lines about results that were fetched or verified."""

from pathlib import Path

from tally.exported.fetch import Fetched
from tally.exported.verify import Verified
from tally.output import Output


def show_fetched(output: Output, fetched: Fetched) -> None:
    """Say what was fetched, and how long it stays in the bucket."""
    counts, failed = fetched.manifest.counts, fetched.manifest.failed
    output.say(f"{counts.rows:,} rows in {fetched.files:,} files: {fetched.folder}")
    if failed.rows:
        output.say(
            f"{failed.rows:,} rows did not succeed: correct them in {fetched.folder / failed.name} and upload it"
        )
    if failed.formula_rows:
        output.warn(f"{failed.formula_rows:,} rows of {failed.name} have a cell that a spreadsheet takes for a formula")
    if fetched.manifest.expires_at:
        output.say(f"The stage deletes its files after {fetched.manifest.expires_at[:10]}")


def show_verified(output: Output, verified: Verified, source: Path | None) -> None:
    """Say what is wrong, each problem on a line, or what is proven."""
    for problem in verified.problems:
        output.mark("wrong", "red", problem)
    if verified.whole:
        beside = f", as in {source.name}" if source else ""
        output.say(f"{verified.rows:,} rows, each once and in order{beside}; every file is as it was written")
