"""The commands about a stage: up, down, deploy, destroy, env, demo."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from chalicelib import jobs
from tally.commands.options import BRING_UP, TIMEOUT, VAR_FILES, VARIABLES, command, find_stage, parse, workspace
from tally.deploy import next_steps
from tally.deploy.deployer import deploy_to_aws, plan_for_aws
from tally.deploy.destroyer import destroy_in_aws
from tally.errors import ExitCode
from tally.local import localaws
from tally.local.demo import Demo
from tally.local.stack import LocalStack
from tally.output import Output
from tally.stages.services import environment, settings_of
from tally.stages.stage import Stage


@command(
    "up",
    *BRING_UP,
    click.option("--iam", is_flag=True, help="Refuse calls that a function's role does not allow, as AWS does."),
)
def up(*, output: Output, stage: str, port: int | None, variables: tuple[str, ...], iam: bool) -> None:
    """Bring a local stage up: start a local AWS, and deploy to it with Terraform and Chalice.

    Run it again after a change: it deploys what has changed, or finds in seconds that nothing has.
    """
    output.result(_described(_stack(output, stage, variables, iam=iam).up(port)))


@command("down", click.option("--all", "every", is_flag=True, help="Remove every local stage."))
def down(*, output: Output, stage: str, every: bool) -> None:
    """Stop a local stage and remove all of it, its data too. Does nothing if there is none."""
    removed = []
    for name in workspace().local_stages() if every else [stage]:
        done = _stack(output, name, ()).down()
        removed.append(done)
        stopped = (
            f"stopped the local AWS (process {done['stopped']})" if done["stopped"] else "no local AWS was running"
        )
        if done["console"]:
            stopped += f" and the console (process {done['console']})"
        output.say(f"{name}: {stopped}; {'removed ' + done['removed'] if done['removed'] else 'nothing to remove'}")
    if not removed:
        output.say("There is no local stage.")
    output.result(removed)


@command(
    "deploy",
    VARIABLES,
    VAR_FILES,
    click.option("--plan", "plan_only", is_flag=True, help="Show what would change in AWS, and change nothing."),
    click.option(
        "--adopt", is_flag=True, help="Take over resources of the stage that exist and are in no Terraform state."
    ),
    click.option("--yes", is_flag=True, help="Do not ask."),
)
def deploy(
    *,
    output: Output,
    stage: str,
    variables: tuple[str, ...],
    var_files: tuple[Path, ...],
    plan_only: bool,
    adopt: bool,
    yes: bool,
) -> None:
    """Deploy a stage to AWS with your own credentials, after showing Terraform's plan and asking.

    Run it again after an interrupt, a kill or an error: it reports what it finds, and continues from there.
    """
    if plan_only:
        planned = plan_for_aws(
            workspace(),
            stage,
            variables=parse(variables),
            output=output,
            environ=os.environ,
            adopt=adopt,
            var_files=var_files,
        )
        for change in planned.changes:
            output.say(f"  {change}")
        output.say(f"{planned.summary} Nothing was deployed.")
        output.result({"stage": stage, "summary": planned.summary, "changes": planned.changes})
        return
    began = output.clock()
    deployed = deploy_to_aws(
        workspace(),
        stage,
        variables=parse(variables),
        output=output,
        environ=os.environ,
        confirm=lambda question: yes or click.confirm(question, err=True),
        adopt=adopt,
        var_files=var_files,
    )
    output.say(f"Stage {stage} is deployed, in {output.clock() - began:.0f} s.")
    names = ", ".join(jobs.names())
    options = next_steps.Options(stage=stage, variables=parse(variables), var_files=var_files)
    for line in next_steps.lines(options, deployed.resources, jobs=names):
        output.command(line)
    output.result(_described(deployed))


@command(
    "destroy",
    VARIABLES,
    VAR_FILES,
    click.option(
        "--delete-data", is_flag=True, help="Also delete a protected table and inbox; nothing brings their data back."
    ),
    click.option("--yes", is_flag=True, help="Do not ask for the stage's name."),
)
def destroy(
    *,
    output: Output,
    stage: str,
    variables: tuple[str, ...],
    var_files: tuple[Path, ...],
    delete_data: bool,
    yes: bool,
) -> None:
    """Destroy a stage in AWS, after showing its parts and asking for its name. Does nothing if there is none."""
    remains = destroy_in_aws(
        workspace(),
        stage,
        variables=parse(variables),
        output=output,
        environ=os.environ,
        delete_data=delete_data,
        confirm=lambda: yes or click.prompt("Type the stage's name to destroy it", err=True) == stage,
        var_files=var_files,
    )
    if remains:
        output.say(f"Stage {stage} is destroyed.")
    output.result({"stage": stage, "functions": remains.functions, "resources": len(remains.resources)})


_UNPROXIED = ("NO_PROXY", "no_proxy")
_MISLEADING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
"""Variables that name a profile or a session, which would replace the local AWS's credentials."""


@command("env")
def env(*, output: Output, stage: str) -> None:
    """Print the environment variables with which other tools and app.py work on a stage.

    They are those of the stage's functions and, for a local stage, those that lead to its AWS. A stage in AWS is
    reached with your own credentials.
    """
    found = find_stage(stage)
    variables = dict(environment(workspace(), found))
    settings_of(found, variables)  # raises for a stage of another version, whose variables differ
    variables |= {"TALLY_TABLE": found.resources.table}
    if found.server is None:
        region = found.session.region_name
        shown = variables | ({"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {})
        lines = ["# the stage is in AWS: your own credentials reach it"]
        output.result(shown)
    else:
        log = workspace().stage(stage).server_log
        local = localaws.environment(found.server, os.environ)
        shown = variables | {name: local[name] for name in local if name.startswith("AWS_") or name in _UNPROXIED}
        lines = [f"unset {' '.join(_MISLEADING)}", f"# log of the local AWS and of the functions: {log}"]
        output.result(shown | {"log": str(log)})
    if not output.as_json:
        for line in [*(f"export {name}={shlex.quote(value)}" for name, value in shown.items()), *lines]:
            output.command(line)


@command(
    "demo",
    click.option("--rows", type=click.IntRange(min=1), default=5000, show_default=True, help="Rows of the sample."),
    click.option(
        "--file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Process this file instead of a sample.",
    ),
    click.option("--job", default="transactions", show_default=True, help="The job that processes your file."),
    click.option("--ui/--no-ui", default=True, help="Leave the console running until `tally down`; or start none."),
    TIMEOUT,
    *BRING_UP,
)
def demo(
    *,
    output: Output,
    stage: str,
    rows: int,
    file: Path | None,
    job: str,
    ui: bool,
    timeout: float | None,
    port: int | None,
    variables: tuple[str, ...],
) -> ExitCode:
    """Bring a local stage up, process a sample or your file, watch, audit; leave its console running.

    Exit 0: every row has its outcome, the audit is exact, and a sample has the expected outcomes.
    """
    run = Demo(output=output, stack=_stack(output, stage, variables), timeout=timeout, console=ui)
    return run(file=file, rows=rows, job=job, port=port)


def _stack(output: Output, stage: str, variables: tuple[str, ...], *, iam: bool = False) -> LocalStack:
    return LocalStack(
        workspace=workspace(), name=stage, output=output, environ=os.environ, variables=parse(variables), iam=iam
    )


def _described(stage: Stage) -> dict[str, Any]:
    resources = stage.resources
    return {
        "stage": stage.name,
        "endpoint": stage.server.endpoint if stage.server else None,
        "table": resources.table,
        "inbox_bucket": resources.inbox_bucket,
        "event_bus": resources.event_bus,
        "completions_queue_url": resources.completions_queue_url,
    }


COMMANDS = [up, down, deploy, destroy, env, demo]
