"""The command that runs one handler in this process."""

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from chalicelib.settings import Settings
from tally.commands.options import command, find_stage, reader, workspace
from tally.errors import ExitCode, OperatorError
from tally.invoke import dry, events, handlers
from tally.invoke.handlers import Handler
from tally.invoke.redelivery import Redelivery
from tally.invoke.runner import Ran, Runner, nothing_on_stdout
from tally.invoke.sample_stage import SampleStage
from tally.invoke.watched import Log
from tally.local import localaws
from tally.output import Output
from tally.stages.services import environment, settings_of, table
from tally.stages.stage import Stage
from tally.testing.environment import VARIABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An event, where it came from, and the stage that it is for: None is one in memory."""

    handler: Handler
    event: Any
    origin: str
    stage: Stage | None = None
    dry_run: bool = False
    items: dry.Items = field(default_factory=dict)


@command(
    "invoke",
    click.argument("handler", required=False, default=""),
    click.argument(
        "event", metavar="[EVENT]", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
    ),
    click.option("--of", metavar="ID[:CHUNK]", default="", help="Build the event from this batch of the stage."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Read the stage, and show what would be written and sent, but write and send nothing.",
    ),
    click.option("--again", is_flag=True, help="With --of and --dry-run: as if the handler had not had the event yet."),
)
def invoke(
    *, output: Output, stage: str, handler: str, event: Path | None, of: str, dry_run: bool, again: bool
) -> ExitCode | None:
    """Run a HANDLER of app.py in this process, where breakpoints work; without one, list them.

    Prints the changes, messages and log lines of the handler, and its answer. EVENT is a JSON file, by default the
    handler's sample in tests/events; it runs on a stage in memory that has what the event needs, and on a real stage
    only if --stage is given. With --of the event is built from a real batch, as the handler had or will have it, and
    runs on the batch's stage.
    """
    app = workspace().repo / "app"
    if not handler:
        _listed(output, handlers.every(app))
        return None
    found = handlers.require(app, handler)
    if of and event:
        raise OperatorError(f"--of {of} and {event} both name an event: give one of them", code=ExitCode.USAGE)
    if again and not (of and dry_run):
        raise OperatorError(
            "--again needs --of and --dry-run",
            hint="`tally redrive` runs failed rows again for real.",
            code=ExitCode.USAGE,
        )
    if of:
        asked = _redelivered(output, found, of, find_stage(stage), dry_run=dry_run, again=again)
    else:
        path = event or workspace().repo / found.sample
        payload = events.read(path)
        events.check(found, payload, handlers.every(app), _shown(path))
        asked = _Asked(
            handler=found,
            event=payload,
            origin=_shown(path),
            stage=find_stage(stage) if _is_named() else None,
            dry_run=dry_run,
        )
    with nothing_on_stdout() if output.as_json else nullcontext():
        log = Log(output.say)
        ran, taken = _run(output, asked, log)
    return _report(output, asked, taken, log, ran)


def _is_named() -> bool:
    """Tell whether the command line names the stage: a variable set for other commands must not change a real one."""
    return click.get_current_context().get_parameter_source("stage") is ParameterSource.COMMANDLINE


def _listed(output: Output, known: Mapping[str, Handler]) -> None:
    rows = [(each.name, each.does, each.takes, str(each.sample)) for each in known.values()]
    for name, does, takes, sample in rows:
        output.say(f"{name}: {does}")
        output.say(f"    takes {takes}; sample: {sample}")
    output.say("tally invoke HANDLER runs its sample in memory; tally invoke HANDLER --of ID --dry-run a real batch.")
    names = ("handler", "does", "takes", "sample")
    output.result([dict(zip(names, row, strict=True)) for row in rows])


def _redelivered(output: Output, handler: Handler, of: str, stage: Stage, *, dry_run: bool, again: bool) -> _Asked:
    known = settings_of(stage, environment(workspace(), stage))
    built = Redelivery(reader=reader(stage), table=table(stage), settings=known, again=again).build(handler, of)
    if built.idle:
        output.warn(f"{built.about}: {built.idle}; --dry-run --again shows it as if not")
    return _Asked(
        handler=handler, event=built.event, origin=built.about, stage=stage, dry_run=dry_run, items=built.items
    )


def _run(output: Output, asked: _Asked, log: Log) -> tuple[Ran, Any]:
    """Run the handler; return its result and its event."""
    app, name = workspace().repo / "app", asked.handler.name
    if asked.stage is None:
        output.say(f"{name}, in memory, on {asked.origin}")
        memory = SampleStage(workspace().repo)
        event = memory.fit(asked.handler, asked.event)
        client = dry.clients(memory.client) if asked.dry_run else memory.client
        variables = VARIABLES | {"TALLY_LOG_LEVEL": "INFO"}
        runner = Runner(app=app, settings=Settings.from_env(VARIABLES), variables=variables, client=client)
        return runner.run(name, event, log), event
    stage = asked.stage
    how = "dry run: nothing of this is written or sent" if asked.dry_run else "for real"
    output.say(f"{name}, on stage {stage.name} ({how}), on {asked.origin}")
    variables = dict(environment(workspace(), stage))
    known = settings_of(stage, variables)
    client = stage.client
    if asked.dry_run:
        client, known = (
            dry.clients(client, asked.items),
            msgspec.structs.replace(known, write_share=0),
        )  # waits for no capacity
    if stage.server:
        os.environ.update(localaws.environment(stage.server, os.environ))
        os.environ.pop("AWS_PROFILE", None)
    return Runner(app=app, settings=known, variables=variables, client=client).run(name, asked.event, log), asked.event


def _report(output: Output, asked: _Asked, event: Any, log: Log, ran: Ran) -> ExitCode | None:
    if not log.changes:
        output.say("It changed and sent nothing.")
    if ran.error:
        output.say(ran.traceback.rstrip())
        output.say(f"raised {ran.error}")
    else:
        output.say(f"answer {json.dumps(ran.answer, default=str)}")
    output.result(
        {
            "handler": asked.handler.name,
            "stage": asked.stage.name if asked.stage else None,
            "dry_run": asked.dry_run,
            "event": event,
            "answer": ran.answer,
            "error": ran.error,
            "changes": [change.as_json() for change in log.changes],
            "logs": log.lines,
        }
    )
    return ExitCode.NOT_AS_HOPED if ran.error else None


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


COMMANDS = [invoke]
