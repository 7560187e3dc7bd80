"""The JSON Schemas of what commands print with ``--json``, written from ``tally.results``.

``python -m tools.schemas`` writes them; with ``--check`` it names those that are not current, and exits with 1 if there
are any.
"""

import json
import sys
from pathlib import Path

import click

from tally.results import RESULTS, schema

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def files() -> dict[Path, str]:
    """Return what each file is to contain."""
    return {FOLDER / f"{name}.json": json.dumps(schema(name), indent=2) + "\n" for name in RESULTS}


def stale() -> list[Path]:
    """Return the files that are not what they should be, those too that nothing asks for."""
    wanted = files()
    present = set(FOLDER.glob("*.json"))
    changed = {path for path, text in wanted.items() if path not in present or path.read_text(encoding="utf-8") != text}
    return sorted(changed | (present - set(wanted)))


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file is not current.")
def main(*, check: bool) -> None:
    """Write the schemas."""
    found = stale()
    for path in found:
        click.echo(path.relative_to(FOLDER.parents[1]))
    if check:
        sys.exit(1 if found else 0)
    FOLDER.mkdir(exist_ok=True)
    wanted = files()
    for path in found:
        if path in wanted:
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
