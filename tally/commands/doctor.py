"""The command that examines a stage: options, call, show."""

import os

import click

from tally import doctor
from tally.commands.options import VARIABLES, command, parse, workspace
from tally.doctor.drift import drift
from tally.doctor.functions import packages
from tally.errors import ExitCode
from tally.output import Output
from tally.stages.stage import find

_MARKS = {
    doctor.State.OK: "green",
    doctor.State.SKIPPED: "dim",
    doctor.State.UNKNOWN: "yellow",
    doctor.State.WARNING: "yellow",
    doctor.State.FAILED: "red",
}
_EXIT = {
    doctor.State.OK: ExitCode.OK,
    doctor.State.SKIPPED: ExitCode.OK,
    doctor.State.UNKNOWN: ExitCode.TO_LOOK_AT,
    doctor.State.WARNING: ExitCode.TO_LOOK_AT,
    doctor.State.FAILED: ExitCode.NOT_AS_HOPED,
}


@command(
    "doctor",
    click.option(
        "--deep", is_flag=True, help="Also plan with Terraform, and report what has drifted (about a minute)."
    ),
    VARIABLES,
)
def examine(*, output: Output, stage: str, deep: bool, variables: tuple[str, ...]) -> ExitCode:
    """Examine a stage in seconds, without changing it: a line for each check, and what to do.

    Exit 0: all is well. 6: something to look at, or a check that could not be made. 1: something has failed. --var is
    only for --deep: give the variables that the stage was deployed with.
    """
    found = find(workspace(), stage, environ=os.environ, fresh=True)
    app = workspace().stage(stage).app if found.server else workspace().repo / "app"
    with output.progress("examining", len(doctor.GROUPS) + 1) as advance:
        findings = doctor.examine(found, packages=lambda: packages(app), progress=advance)
    if deep:
        with output.step("terraform plan"):
            findings.append(drift(workspace(), found, parse(variables), os.environ))
    for finding in findings:
        output.mark(finding.state.value, _MARKS[finding.state], str(finding))
    counts = [(state, sum(finding.state is state for finding in findings)) for state in doctor.State]
    output.say(f"{len(findings)} checks: " + ", ".join(f"{count} {state}" for state, count in counts if count))
    verdict = doctor.worst(findings)
    output.result({"stage": stage, "worst": verdict.value, "findings": [finding.as_json() for finding in findings]})
    return _EXIT[verdict]


COMMANDS = [examine]
