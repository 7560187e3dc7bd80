"""The command that drafts a job from a file."""

import re
import shlex
from pathlib import Path
from typing import Any

import click

from tally.commands.options import command, workspace
from tally.draft.draft import Column, Draft, draft
from tally.draft.files import Files, require_name
from tally.draft.layout import Csv
from tally.output import Output

_MAX_SHOWN_COLUMNS = 100
_MAX_SHOWN_CHARACTERS = 40


@command(
    "new",
    click.argument("job"),
    click.option(
        "--from",
        "file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        metavar="FILE",
        help="A file like those that the job will get: CSV or JSON lines, plain or gzip.",
    ),
    click.option("--force", is_flag=True, help="Overwrite a job of this name, and its test."),
    click.option("--dry-run", "--print", "dry_run", is_flag=True, help="Show the job and its test, and write nothing."),
)
def new(*, output: Output, stage: str, job: str, file: Path, force: bool, dry_run: bool) -> None:
    """Draft a job and its test from a file: columns, types, and a process() to fill in.

    It finds encoding, delimiter, header and types in the file, and reports its doubts. A file of up to 50 MB is read
    whole, a larger one in pieces. The job contains no value of the file, except the choices of a Literal.
    """
    del stage  # a job is for every stage
    space = workspace()
    space.require_sources()
    require_name(job, space.repo, force=force or dry_run)
    with output.step(f"Reading {file}") as step:
        drafted = draft(job, file, show=step.show)
        step.note = f"{drafted.rows:,} rows{'' if drafted.whole else ' in pieces of the file'}"
    files = Files.of(drafted, space.repo)
    files.check(drafted)
    if not dry_run:
        files.write()
    _show(output, drafted)
    if dry_run:
        output.say(f"\n{files.module}:\n\n{files.module_source}\n{files.test}:\n\n{files.test_source}")
    else:
        output.say(f"\nWrote {files.module} and {files.test}.")
        output.say(f"Next: fill in process() in {files.module}, then")
        output.command(f"  tally try {job} {shlex.quote(str(file))}")
    output.result(_as_json(drafted, files, written=not dry_run))


def _show(output: Output, drafted: Draft) -> None:
    said = [_layout(drafted), f"encoding {drafted.encoding or 'utf-8'}"]
    if drafted.nulls:
        said.append(f"an empty cell is also written as {' '.join(drafted.nulls)}")
    output.say(", ".join(said))
    shown = drafted.columns[:_MAX_SHOWN_COLUMNS]
    output.table("", ("column", "field", "type", "missing", "not sure"), [_cells(column) for column in shown])
    if len(drafted.columns) > len(shown):
        output.say(f"and {len(drafted.columns) - len(shown):,} more columns: see the module")
    for doubt in drafted.doubts:
        output.say(f"not sure: {doubt}")


def _cells(column: Column) -> tuple[Any, ...]:
    header = (
        column.header if len(column.header) <= _MAX_SHOWN_CHARACTERS else f"{column.header[:_MAX_SHOWN_CHARACTERS]}…"
    )
    kind = _type(column)
    if len(kind) > _MAX_SHOWN_CHARACTERS:
        kind = re.sub(r"\[.*\]", "[...]", kind)
    return header, column.attribute, kind, column.type.missing, "; ".join(column.type.doubts)


def _type(column: Column) -> str:
    return f"{column.type.annotation} | None" if column.type.nullable else column.type.annotation


def _layout(drafted: Draft) -> str:
    if not isinstance(drafted.layout, Csv):
        return "JSON lines"
    return f"CSV, delimiter {drafted.layout.delimiter!r}, {'a' if drafted.has_header else 'no'} header"


def _as_json(drafted: Draft, files: Files, *, written: bool) -> dict[str, Any]:
    return {
        "job": drafted.job,
        "written": written,
        "module": {"path": str(files.module), "source": files.module_source},
        "test": {"path": str(files.test), "source": files.test_source},
        "format": "csv" if drafted.is_csv else "jsonl",
        "delimiter": drafted.layout.delimiter if isinstance(drafted.layout, Csv) else None,
        "encoding": drafted.encoding or "utf-8",
        "header": drafted.has_header,
        "nulls": list(drafted.nulls),
        "rows": drafted.rows,
        "whole": drafted.whole,
        "unfit": drafted.unfit,
        "columns": [
            {
                "header": column.header,
                "field": column.attribute,
                "type": _type(column),
                "missing": column.type.missing,
                "doubts": list(column.type.doubts),
            }
            for column in drafted.columns
        ],
        "doubts": list(drafted.doubts),
    }


COMMANDS = [new]
