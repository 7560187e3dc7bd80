"""Generated files that are kept in the repository: write those that are out of date, or name them."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

REPO = Path(__file__).parents[1]


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the files that are missing, or whose content is out of date."""
    return sorted(
        path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    )


def write(wanted: Mapping[Path, str], *, check: bool) -> None:
    """Write the files that are out of date and name them; with ``check`` only name them, and exit with 1 if any is."""
    found = stale(wanted)
    for path in found:
        click.echo(f"{'not current' if check else 'written'}: {path}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    if check and found:
        click.echo("Run `make docs` and commit what it writes.", err=True)
        sys.exit(1)
