"""The changes that Terraform would make: a slow check, made only on request."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tally.doctor.finding import Finding, ok, unknown, warning
from tally.errors import OperatorError
from tally.local.stack import tools_environment
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.tools import terraform
from tally.tools.subprocess import Runner


def drift(workspace: Workspace, stage: Stage, variables: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    """Return whether Terraform would change anything, with the variables that the stage was deployed with."""
    folder = workspace.stage(stage.name)
    if stage.server:
        env = tools_environment(workspace, folder, stage.server, environ)
        infra, log, given = folder.infra, folder.tools_log, dict(variables)
    else:
        env = {**environ, "TF_WORKSPACE": stage.name}
        infra, log, given = workspace.repo / "infra", workspace.aws_log(stage.name), {**variables, "stage": stage.name}
    try:
        terraform.require(environ)
        with tempfile.TemporaryDirectory() as directory:
            tool = terraform.Terraform.at(infra, Runner(env=env, log=log))
            written = tool.plan(given, Path(directory) / "doctor.tfplan")
    except OperatorError as error:
        first = next(iter(error.detail.splitlines()), "")
        return unknown("drift", str(infra), " ".join(f"{error} {first}".split()), "see the log that it names")
    said = terraform.summary(written)
    if said.startswith("No changes"):
        return ok("drift", str(infra), "Terraform would change nothing")
    return warning(
        "drift",
        str(infra),
        f"Terraform would change {said or 'outputs'}",
        f"read {log}, then deploy again (with its --var)",
    )
