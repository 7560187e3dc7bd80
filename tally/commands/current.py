"""Check that a stage runs this disk's jobs, and bring a local one up to date before a file is sent."""

import difflib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalicelib import jobs
from chalicelib.store.batch import BatchStatus
from tally.commands.options import find_stage, workspace
from tally.errors import ExitCode, OperatorError
from tally.local import localaws
from tally.local.stack import VARIABLES_FILE, LocalStack
from tally.output import Output
from tally.stages import job_code
from tally.stages.job_code import Standing

if TYPE_CHECKING:
    from chalicelib.store.batch import Batch
    from tally.stages.stage import Stage


def job_for(output: Output, file: Path, job: str | None, *, force: bool) -> str:
    """Return the job for a file: the one given, or the one that the file is named after.

    Raises OperatorError if there is none, and proposes similar names; ``force`` makes that a warning.
    """
    known = jobs.names()
    if job is None:
        job = file.name.partition(".")[0]
        if job in known:
            return job
        raise OperatorError(
            f"{file.name} is not named after a job",
            hint=f"name one with --job: {', '.join(known)}. `tally new JOB --from FILE` drafts one for other files.",
        )
    if job not in known:
        near = difflib.get_close_matches(job, known)
        problem = f"There is no job {job} in app/chalicelib/jobs"
        meant = f"did you mean {' or '.join(near)}?" if near else f"the jobs are {', '.join(known)}."
        if not force:
            raise OperatorError(problem, hint=f"{meant} --force uploads it anyway.", code=ExitCode.USAGE)
        output.warn(f"{problem}: {meant}")
    return job


def current_stage(output: Output, name: str, job: str, *, up: bool, force: bool, table: str, bucket: str) -> "Stage":
    """Return a stage, up to date with this disk's job if the operator wants that.

    A local stage is brought up, or up to date: with ``up`` at once, on a terminal if the answer is yes. Otherwise a job
    of another version is a warning, and one that the stage lacks is an error unless ``force`` is given.
    """
    try:
        found = find_stage(name, table, bucket)
    except OperatorError as error:
        if error.code is not ExitCode.USAGE and _wants(output, f"{error.message}. Bring it up on this machine?", up=up):
            return bring_up(output, name)
        raise
    standing = standing_of(found, job)
    if standing in {Standing.SAME, Standing.UNKNOWN}:
        return found
    problem = problem_of(name, job, standing)
    if found.server and _wants(output, f"{problem}. Bring the stage up to date first?", up=up):
        return bring_up(output, name)
    if standing is Standing.MISSING and not force:
        beforehand = " (--up does it beforehand)" if found.server else ""
        raise OperatorError(
            f"{problem}, so that it would reject the file",
            hint=f"run `{deploy_command(found)}`{beforehand}, then submit.",
        )
    # Not an error: a stage need not run the code of the machine that sends a file.
    click.echo(f"warning: {problem}: `{deploy_command(found)}` deploys this disk's.", err=True)
    return found


def bring_up(output: Output, name: str) -> "Stage":
    """Bring a local stage up, or up to date, with the variables of its last bring-up."""
    folder = workspace().stage(name)
    server = localaws.running(folder) if folder.exists else None
    variables = folder.infra / VARIABLES_FILE
    stack = LocalStack(
        workspace=workspace(),
        name=name,
        output=output,
        environ=os.environ,
        variables=json.loads(variables.read_text(encoding="utf-8")) if variables.is_file() else {},
        iam=bool(server and server.certificate),
    )
    return stack.up(None)


def say_what_is_not_deployed(output: Output, stage: "Stage", batches: Iterable["Batch"]) -> None:
    """Say which jobs of batches that were rejected as files differ from this disk's."""
    for job in sorted({batch.job for batch in batches if batch.status is BatchStatus.REJECTED}):
        standing = standing_of(stage, job)
        if standing in {Standing.DIFFERS, Standing.MISSING}:
            problem = problem_of(stage.name, job, standing)
            output.say(f"{problem}: `{deploy_command(stage)}` deploys this disk's; then submit the file again.")


def standing_of(stage: "Stage", job: str) -> Standing:
    """Return how this disk's version of a job compares with the stage's."""
    on_disk = job_code.digests(workspace().repo / "app")
    if job not in on_disk:
        return Standing.UNKNOWN
    return job_code.compare(job, on_disk, job_code.deployed(stage.functions, stage.name))


def problem_of(stage: str, job: str, standing: Standing) -> str:
    """Return in words how the stage's job differs."""
    if standing is Standing.MISSING:
        return f"Stage {stage} does not have the job {job}, which is on this disk"
    return f"Stage {stage} runs another version of the job {job} than this disk has"


def deploy_command(stage: "Stage") -> str:
    """Return the command that deploys this disk's jobs."""
    return f"tally {'up' if stage.server else 'deploy'} --stage {stage.name}"


def _wants(output: Output, question: str, *, up: bool) -> bool:
    """Tell whether the operator wants a local stage to be brought up; false without a terminal to ask on."""
    if up or output.as_json or not (output.live and sys.stdin.isatty()):
        return up
    return click.confirm(question, default=True, err=True)
