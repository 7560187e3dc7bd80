"""The command that shows log lines of the functions."""

from collections.abc import Iterable

import click

from chalicelib.handlers import HANDLERS
from tally.commands.options import command, find_stage
from tally.errors import ExitCode, OperatorError
from tally.output import Output
from tally.stages.logs import Level, Line, Logs


@command(
    "logs",
    click.argument("handler", metavar="[HANDLER]", required=False, type=click.Choice(HANDLERS)),
    click.option(
        "--follow", is_flag=True, help="Show further lines as they come, until Ctrl-C; with --json one per line."
    ),
    click.option("--batch", metavar="ID", default="", help="Only lines that name this batch."),
    click.option(
        "--level",
        type=click.Choice([level.name for level in Level], case_sensitive=False),
        default=Level.DEBUG.name,
        show_default=True,
        help="Only lines of this level or above.",
    ),
    click.option(
        "--minutes",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        help="How many minutes to look back.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="Show at most this many lines, the last ones.",
    ),
    click.option(
        "--interval",
        type=click.FloatRange(min=0.1),
        default=2.0,
        show_default=True,
        help="With --follow: seconds between reads.",
    ),
)
def show(
    *,
    output: Output,
    stage: str,
    handler: str | None,
    follow: bool,
    batch: str,
    level: str,
    minutes: float,
    limit: int,
    interval: float,
) -> ExitCode | None:
    """Show the last log lines of all functions, or of one HANDLER.

    A line that is not JSON, from a print or from a process that died, counts as ERROR.
    """
    functions = [handler] if handler else list(HANDLERS)
    logs = Logs(
        client=find_stage(stage).logs, stage=stage, functions=functions, batch=batch, level=Level[level.upper()]
    )
    with output.progress("reading logs", None):
        lines = logs.last(minutes * 60, limit)
    if follow:
        return _follow(output, logs, lines, interval, named=handler is None)
    if len(logs.silent) == len(functions):
        raise OperatorError(
            f"{handler or 'No function'} of stage {stage} has logged nothing",
            hint=f"submit a file, or name another stage; `tally doctor --stage {stage}` examines this one.",
            code=ExitCode.USAGE,
        )
    _say(output, lines, named=handler is None)
    output.result([line.as_json() for line in lines])
    return None


def _follow(output: Output, logs: Logs, lines: list[Line], interval: float, *, named: bool) -> ExitCode:
    try:
        _say(output, lines, named=named, each_as_json=True)
        _say(output, logs.follow(lines, interval), named=named, each_as_json=True)
    except KeyboardInterrupt:  # how it is meant to end: no error, so that all of stdout is lines
        pass
    return ExitCode.INTERRUPTED


def _say(output: Output, lines: Iterable[Line], *, named: bool, each_as_json: bool = False) -> None:
    for line in lines:
        if output.as_json and each_as_json:
            output.document(line.as_json())
        elif not output.as_json:
            output.say(f"{line.function} {line.text}" if named else line.text)


COMMANDS = [show]
