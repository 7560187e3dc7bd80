"""The JSON Schemas of what commands print with ``--json``, and of the events, written from their types.

The tables of fields in docs/events.md are written from the types of the events, too, and the codes in docs/json.md.

``python -m tools.schemas`` writes them; with ``--check`` it names those that are not current, and exits with 1 if there
are any.
"""

import json
import sys
from pathlib import Path

import click

from tally.results import RESULTS, schema
from tools import codes, event_fields

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
EVENTS = FOLDER / "events"


def files() -> dict[Path, str]:
    """Return the content of each file."""
    results = {FOLDER / f"{name}.json": schema(name) for name in RESULTS}
    events = {EVENTS / f"{event_fields.slug(event)}.json": event_fields.schema(event) for event in event_fields.EVENTS}
    texts = {path: json.dumps(found, indent=2) + "\n" for path, found in (results | events).items()}
    return texts | {
        event_fields.PAGE: event_fields.with_tables(event_fields.PAGE.read_text(encoding="utf-8")),
        codes.PAGE: codes.with_table(codes.PAGE.read_text(encoding="utf-8")),
    }


def stale() -> list[Path]:
    """Return the files that are out of date, and those that are no longer generated."""
    wanted = files()
    present = {*FOLDER.rglob("*.json"), event_fields.PAGE, codes.PAGE}
    changed = {path for path, text in wanted.items() if path not in present or path.read_text(encoding="utf-8") != text}
    return sorted(changed | (present - set(wanted)))


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if a file is not current.")
def main(*, check: bool) -> None:
    """Write the schemas and the tables."""
    found = stale()
    for path in found:
        click.echo(path.relative_to(FOLDER.parents[1]))
    if check:
        sys.exit(1 if found else 0)
    EVENTS.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in found:
        if path in wanted:
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
