"""Options that commands share, such as --stage and --json, and the decorator that makes a command of a function."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from tally.batch.names import resolve
from tally.batch.reader import Reader
from tally.errors import ExitCode
from tally.output import Output
from tally.stages.stage import Stage, find
from tally.stages.workspace import Workspace

Function = Callable[..., ExitCode | None]
Decorator = Callable[[Function], Function]

_STAGE = click.option("--stage", envvar="TALLY_STAGE", default="local", show_default=True, help="The stage to use.")
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout, and all else on stderr."
)
_DEBUG = click.option("--debug", is_flag=True, help="Show the traceback of an error.")

TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    help="Seconds after which to stop watching (exit 5); the batch continues. No limit by default.",
)
WATCH = (
    click.option("--watch", is_flag=True, help="Wait for the end; exit 0 only if every row succeeded."),
    click.option(
        "--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between reads."
    ),
    TIMEOUT,
)
RESOURCES = (
    click.option(
        "--table",
        envvar="TALLY_TABLE",
        default="",
        help="The table's name (or TALLY_TABLE), if Terraform's state is not on this machine.",
    ),
    click.option(
        "--bucket",
        envvar="TALLY_INBOX_BUCKET",
        default="",
        help="The name of the inbox's bucket (or TALLY_INBOX_BUCKET), if Terraform's state is not on this machine.",
    ),
)
BATCH = click.argument("batch", metavar="ID")
"""A batch. A command gets the whole id for an option or argument called ``batch``."""
VARIABLES = click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set a Terraform variable; may be repeated."
)
VAR_FILES = click.option(
    "--var-file",
    "var_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read Terraform variables from a file; may be repeated. --var wins.",
)
BRING_UP = (
    click.option(
        "--port", type=click.IntRange(1, 65535), help="Port of the local AWS on 127.0.0.1; a free one by default."
    ),
    VARIABLES,
)


def command(name: str, *options: Decorator) -> Callable[[Function], click.Command]:
    """Make a command of a function, which gets an ``Output``, the stage's name and its own options."""

    def make(function: Function) -> click.Command:
        @functools.wraps(function)
        def run(*, as_json: bool, debug: bool, **arguments: Any) -> ExitCode | None:
            del debug  # read from the arguments where an error is shown
            output = Output.make(as_json=as_json, data_on_stdout=str(arguments.get("out")) == "-")
            if arguments.get("batch"):
                arguments["batch"] = _batch_id(output, **arguments)
            return function(output=output, **arguments)

        wrapped: Function = run
        every: tuple[Decorator, ...] = (*options, _STAGE, _JSON, _DEBUG)
        for option in reversed(every):
            wrapped = option(wrapped)
        return click.command(name)(wrapped)

    return make


def _batch_id(output: Output, *, stage: str, batch: str, table: str = "", bucket: str = "", **_others: Any) -> str:
    """Return the id of the batch that an argument or option ``batch`` names; print it if the name was a short one."""
    named = resolve(lambda: reader(find_stage(stage, table, bucket)), batch)
    if named != batch:
        output.say(f"batch {named}")
    return named


def workspace() -> Workspace:
    """Return the workspace of this installation."""
    return Workspace.find(os.environ)


def find_stage(name: str, table: str = "", bucket: str = "") -> Stage:
    """Return a stage; raises OperatorError if it cannot be reached."""
    return find(workspace(), name, table=table, bucket=bucket, environ=os.environ)


def reader(stage: Stage) -> Reader:
    """Return the reader of a stage's table."""
    return Reader(dynamodb=stage.dynamodb, table=stage.resources.table)


def parse(variables: tuple[str, ...]) -> Mapping[str, Any]:
    """Return Terraform variables by name; a value is JSON, or else text."""
    parsed: dict[str, Any] = {}
    for assignment in variables:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--var {assignment}: write NAME=VALUE")
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed
