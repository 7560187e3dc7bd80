"""Deploying a stage: Terraform provisions, Chalice deploys, Terraform adopts the triggers that Chalice made."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tally import terraform
from tally.chaliceproject import ChaliceProject
from tally.errors import ExitCode, OperatorError
from tally.output import Output, Step
from tally.process import Runner
from tally.stage import Resources, Stage
from tally.workspace import Workspace, exclusive

_DESTROYS = re.compile(r"^ *# (.+ (?:will be destroyed|must be replaced).*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployer:
    """Takes one stage through apply, deploy, apply: the same for a local AWS and the real one."""

    infra: Path
    project: ChaliceProject
    runner: Runner
    variables: Mapping[str, Any]
    output: Output
    lambda_wheels: bool = True

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[tuple[Step, terraform.Terraform]]:
        """Announce a step and yield it with a Terraform that reports its lines to it."""
        with self.output.step(what) as step:
            runner = replace(self.runner, on_line=lambda line: step.show(line.strip()))
            yield step, terraform.Terraform.at(self.infra, runner)

    def init(self) -> None:
        """Get the provider and the modules."""
        with self.step("terraform init: provider and modules") as (_, tool):
            tool.init()

    def provision(self) -> Resources:
        """Apply before Chalice has deployed, and render its configuration."""
        with self.step("terraform apply: table, bucket, queues, roles") as (step, tool):
            step.note = tool.apply(self.variables)
        return self.render()

    def render(self) -> Resources:
        """Write Chalice's configuration as Terraform has it, and return what the resources are called."""
        outputs = terraform.Terraform.at(self.infra, self.runner).outputs()
        self.project.render(str(outputs["chalice_config"]))
        return Resources.from_outputs(outputs)

    def deploy(self, stage: Stage) -> None:
        """Deploy the functions, check what was packaged, and have Terraform adopt the triggers."""
        self._drop_stale_streams(stage)
        with self.output.step("chalice deploy: functions and triggers") as step:
            # Bytecode would enter the package, and change its digest from one deployment to the next.
            env = {**self.runner.env, "PYTHONDONTWRITEBYTECODE": "1"}
            self.project.deploy(replace(self.runner, env=env, on_line=step.show))
            if self.lambda_wheels:
                self.project.check_package()
        with self.step("terraform apply: settings of the triggers") as (step, tool):
            step.note = tool.apply(self.variables)

    def _drop_stale_streams(self, stage: Stage) -> None:
        """Delete triggers that read the stream of a table that was replaced: Chalice would not notice."""
        stale = self.project.stale_streams(self.project.environment().get("TALLY_STREAM_ARN", ""))
        if not stale:
            return
        self.output.say("The table was replaced: removing the triggers that read the old one's stream.")
        for entry in stale:
            with contextlib.suppress(stage.functions.exceptions.ResourceNotFoundException):
                stage.functions.delete_event_source_mapping(UUID=entry["event_uuid"])
        self.project.forget(stale)


def deploy_to_aws(
    workspace: Workspace,
    name: str,
    *,
    variables: Mapping[str, Any],
    output: Output,
    environ: Mapping[str, str],
    confirm: Callable[[str], bool],
) -> Stage:
    """Deploy a stage into the AWS account of the caller's credentials, once ``confirm`` has agreed to the plan.

    Raises when a local stage has the name, when Terraform or credentials are missing, and when a tool fails;
    running it again goes on from there.
    """
    workspace.require_sources()
    if workspace.stage(name).exists:
        raise OperatorError(
            f"{name} is a local stage ({workspace.stage(name).root}): `tally up --stage {name}` deploys it, or choose "
            "another name for a stage in AWS.",
            code=ExitCode.USAGE,
        )
    terraform.require(environ)
    account, region = _account(environ)
    with exclusive(workspace.lock_file(name), what=f"stage {name}", say=output.say) as held:
        env = {key: value for key, value in environ.items() if key not in {"PYTHONPATH", "TF_WORKSPACE"}}
        deployer = Deployer(
            infra=workspace.repo / "infra",
            project=ChaliceProject(folder=workspace.repo / "app", stage=name),
            runner=Runner(env=env | {"TF_IN_AUTOMATION": "1"}, log=workspace.aws_log(name), keep_open=(held,)),
            variables={**variables, "stage": name},
            output=output,
        )
        deployer.init()
        plan_file = workspace.home / "aws" / f"{name}.tfplan"
        with deployer.step(f"terraform plan: stage {name}, account {account}, region {region}") as (step, tool):
            tool.select_workspace(name)
            deployer.project.require_record(adopted=int(tool.outputs().get("adopted_mappings", 0)))
            written = tool.plan(deployer.variables, plan_file)
            step.note = terraform.summary(written)
        for destroyed in _DESTROYS.findall(written):
            output.warn(destroyed)
        try:
            if not confirm(f"Deploy stage {name} to account {account} in {region}?"):
                raise OperatorError("Nothing was deployed.", code=ExitCode.NOT_AS_HOPED)
            with deployer.step("terraform apply: table, bucket, queues, roles") as (step, tool):
                step.note = tool.apply_plan(plan_file)
        finally:
            plan_file.unlink(missing_ok=True)
        resources = deployer.render()
        stage = Stage(name=name, resources=resources)
        deployer.deploy(stage)
        resources.save(workspace.aws_outputs(name))
    return stage


def _account(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return account and region of the caller; raises when AWS does not know them."""
    how = "configure credentials (aws configure sso, AWS_PROFILE or AWS_ACCESS_KEY_ID) and AWS_REGION"
    try:
        session = boto3.Session()
        region = environ.get("AWS_REGION") or session.region_name
        if not region:
            raise OperatorError(f"No AWS region is set: {how}.")
        return session.client("sts", region_name=region).get_caller_identity()["Account"], region
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"AWS does not take your credentials ({error}): {how}.") from error
