"""Deploy a stage: Terraform provisions, Chalice deploys, Terraform adopts the triggers that Chalice made."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib.clock import Clock, utc_now
from tally.deploy import preflight, quotas, unfinished
from tally.deploy.preflight import Account
from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Sources
from tally.errors import ExitCode, OperatorError
from tally.output import Output, Step
from tally.stages import job_code
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace, exclusive
from tally.tools import terraform
from tally.tools.chalice import ChaliceProject
from tally.tools.subprocess import Runner
from tally.tools.terraform import Resource

ADOPTED = "module.mapping["
"""The address of the mappings that Chalice made, each by its function and UUID; Terraform never destroys them."""

_CHANGES = re.compile(r"^ *# (.+ (?:will|must) be (?!read during).+)$", re.MULTILINE)
_DESTROYS = re.compile(r"^ *# (.+ (?:will be destroyed|must be replaced).*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployer:
    """Deploys one stage (apply, deploy, apply), the same way to a local AWS and to the real one."""

    infra: Path
    project: ChaliceProject
    runner: Runner
    variables: Mapping[str, Any]
    output: Output
    lambda_wheels: bool = True
    var_files: Sequence[Path] = ()
    """Terraform's, absolute; ``variables`` come before them."""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[tuple[Step, terraform.Terraform]]:
        """Announce a step and yield it with a Terraform that reports its lines to it."""
        with self.output.step(what) as step:
            runner = replace(self.runner, on_line=lambda line: step.show(line.strip()))
            yield step, self.tool(runner)

    def tool(self, runner: Runner) -> terraform.Terraform:
        """Return Terraform for the stage."""
        return terraform.Terraform.at(self.infra, runner, var_files=self.var_files)

    def init(self) -> None:
        """Install the provider and the modules."""
        with self.step("terraform init: provider and modules") as (_, tool):
            tool.init()

    def record(self, stage: Stage) -> DeployedRecord:
        """Return Chalice's record of the stage."""
        return DeployedRecord.of(stage, self.project.deployed_file, say=self.output.say)

    def sources(self, outputs: Mapping[str, Any]) -> Sources:
        """Return the sources of the functions' events by Terraform's outputs; empty before the first apply."""
        if "chalice_config" not in outputs:
            return Sources()
        return Sources.of(self.project.environment_in(str(outputs["chalice_config"])))

    def free_misnamed_mappings(self, tool: terraform.Terraform) -> None:
        """Have Terraform forget mappings that it made itself, in the place of adopted ones that were deleted.

        An apply by hand, from a record that still names the old mapping, makes one. The next plan would destroy the new
        mapping, because its address has the UUID of the old one; once forgotten, it is adopted like any other.
        """
        for resource in tool.resources():
            if resource.address.startswith(ADOPTED) and resource.values["id"] not in resource.address:
                self.output.say(f"Terraform's state: {resource.address} is mapping {resource.values['id']} by now.")
                tool.forget(resource.address)

    def provision(self) -> Resources:
        """Apply before Chalice has deployed, and render its configuration."""
        self.free_misnamed_mappings(self.tool(self.runner))
        with self.step("terraform apply: table, bucket, queues, roles") as (step, tool):
            step.note = tool.apply(self.variables)
        return self.render()

    def render(self) -> Resources:
        """Write Chalice's configuration from Terraform's outputs, and return the names of the resources."""
        outputs = self.tool(self.runner).outputs()
        self.project.render(str(outputs["chalice_config"]))
        return Resources.from_outputs(outputs)

    def find_orphans(
        self, stage: Stage, planned: Iterable[Resource], began: datetime | None
    ) -> list[unfinished.Orphan]:
        """Return the planned resources that exist already, made by a deployment that began then and was cut short.

        Raises OperatorError if one is older. Without ``began`` every existing one is returned.
        """
        if began:
            self.output.say(f"A deployment that began at {began:%Y-%m-%d %H:%M:%S} UTC was cut short: continuing it.")
        orphans = unfinished.Finder.of(stage).orphans(planned)
        unfinished.require_ours(orphans, began)
        for orphan in orphans:
            self.output.say(f"Terraform's state: {orphan.address} exists, adopting {orphan.identifier}.")
        return orphans

    def deploy(self, stage: Stage) -> None:
        """Deploy the functions, check what was packaged, and have Terraform adopt the triggers."""
        environment = self.project.environment()
        if said := quotas.finding(stage.functions, environment):
            self.output.warn(said)
        record, sources = self.record(stage), Sources.of(environment)
        record.retire(sources)
        record.repair(sources)
        # A crash below leaves a stage without a note of its jobs, because it may run two versions of them.
        job_code.withdraw(stage.functions, stage.name)
        before = job_code.digests(self.project.folder)
        with self.output.step("chalice deploy: functions and triggers") as step:
            self.project.deploy(replace(self.runner, on_line=step.show))
            if self.lambda_wheels:
                self.project.check_package()
        # Chalice may have replaced a mapping, and Terraform would take one that is being deleted for alive.
        record.survey.triggers()
        with self.step("terraform apply: settings of the triggers") as (step, tool):
            step.note = tool.apply(self.variables)
        after = job_code.digests(self.project.folder)
        # The deployed version of a job that was edited while it was packaged is unknown.
        known = {name: digest if before.get(name) == digest else "" for name, digest in after.items()}
        job_code.note(stage.functions, stage.name, known)


@contextlib.contextmanager
def aws_deployer(
    workspace: Workspace,
    name: str,
    *,
    variables: Mapping[str, Any],
    output: Output,
    environ: Mapping[str, str],
    var_files: Sequence[Path] = (),
) -> Iterator[tuple[Deployer, Account]]:
    """Yield the deployer of a stage in the caller's AWS account, and hold the lock of the checkout meanwhile.

    Raises OperatorError if a tool, the sources or credentials are missing. One deployment at a time may use a checkout,
    because Terraform's selected workspace and Chalice's configuration are those of one stage.
    """
    with output.step("preflight: tools, credentials, region") as step:
        tools, account = preflight.require_tools(workspace, environ), preflight.require_account(environ)
        step.note = f"{tools}; {account}"
    with exclusive(workspace.lock_file("aws"), what="a stage in AWS from this checkout", say=output.say) as held:
        env = {key: value for key, value in environ.items() if key not in {"PYTHONPATH", "TF_WORKSPACE"}}
        # Terraform reads either, Chalice's SDK the second only.
        env |= {"TF_IN_AUTOMATION": "1", "AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region}
        deployer = Deployer(
            infra=workspace.repo / "infra",
            project=ChaliceProject(folder=workspace.repo / "app", stage=name),
            runner=Runner(env=env, log=workspace.aws_log(name), keep_open=(held,)),
            variables={**variables, "stage": name},
            output=output,
            var_files=[path.resolve() for path in var_files],
        )
        yield deployer, account


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The changes that a deployment would make in AWS, as Terraform lists them."""

    account: Account
    changes: Sequence[str]
    summary: str


def deploy_to_aws(
    workspace: Workspace,
    name: str,
    *,
    variables: Mapping[str, Any],
    output: Output,
    environ: Mapping[str, str],
    confirm: Callable[[str], bool],
    adopt: bool = False,
    var_files: Sequence[Path] = (),
    clock: Clock = utc_now,
) -> Stage:
    """Deploy a stage into the AWS account of the caller's credentials, once ``confirm`` has agreed to the plan.

    Resources of an interrupted deployment from this checkout are taken over; with ``adopt`` any resources of the stage
    are. Raises OperatorError if a local stage has the name, if Terraform or credentials are missing, if a job does not
    load, and if a tool fails; running it again continues from there.
    """
    options = _Options(variables=variables, var_files=var_files, adopt=adopt)
    with _planning(workspace, name, options, output, environ, clock=clock) as planning:
        deployer, planned, mark = planning.deployer, planning.planned, planning.mark
        if not confirm(f"Deploy stage {name} to {planned.account}?"):
            raise OperatorError("Nothing was deployed.", code=ExitCode.NOT_AS_HOPED)
        try:
            with mark.held():
                with deployer.step("terraform apply: table, bucket, queues, roles") as (step, tool):
                    step.note = tool.apply_plan(planning.plan_file)
                resources = deployer.render()
                stage = Stage(name=name, resources=resources)
                deployer.deploy(stage)
                resources.save(workspace.aws_outputs(name))
        except KeyboardInterrupt:
            output.say(
                f"Stage {name} is deployed in part. Run the same command again: it continues from there "
                f"(log: {workspace.aws_log(name)})."
            )
            raise
    return stage


def plan_for_aws(
    workspace: Workspace,
    name: str,
    *,
    variables: Mapping[str, Any],
    output: Output,
    environ: Mapping[str, str],
    adopt: bool = False,
    var_files: Sequence[Path] = (),
    clock: Clock = utc_now,
) -> Planned:
    """Return the changes that ``deploy_to_aws`` would make; raises as it does. Only Terraform's state changes."""
    options = _Options(variables=variables, var_files=var_files, adopt=adopt)
    with _planning(workspace, name, options, output, environ, clock=clock) as planning:
        return planning.planned


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    variables: Mapping[str, Any]
    var_files: Sequence[Path]
    adopt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planning:
    deployer: Deployer
    plan_file: Path
    planned: Planned
    mark: unfinished.Mark


@contextlib.contextmanager
def _planning(
    workspace: Workspace, name: str, options: _Options, output: Output, environ: Mapping[str, str], *, clock: Clock
) -> Iterator[_Planning]:
    """Check, repair Chalice's record and plan; yield the plan, whose file is removed at the end."""
    if workspace.stage(name).exists:
        raise OperatorError(
            f"{name} is a local stage ({workspace.stage(name).root}): `tally up --stage {name}` deploys it, or choose "
            "another name for a stage in AWS.",
            code=ExitCode.USAGE,
        )
    with output.step("preflight: jobs") as step:
        jobs = preflight.require_jobs(workspace)
        step.note = str(jobs)
    variables = {**options.variables, **jobs.variables}
    with aws_deployer(
        workspace, name, variables=variables, output=output, environ=environ, var_files=options.var_files
    ) as (deployer, account):
        mark = unfinished.Mark(path=workspace.aws_unfinished(name), account=account, clock=clock)
        (deployer.infra / unfinished.IMPORTS).unlink(missing_ok=True)  # of a plan that was killed
        deployer.init()
        plan_file = workspace.home / "aws" / f"{name}.tfplan"
        try:
            with deployer.step(f"terraform plan: stage {name}, {account}") as (step, tool):
                tool.select_workspace(name)
                deployer.record(account.stage(name)).repair(deployer.sources(tool.outputs()))
                deployer.free_misnamed_mappings(tool)
                written = tool.plan(deployer.variables, plan_file)
                began = mark.began()
                if began or options.adopt:
                    planned = tool.creates(plan_file)
                    orphans = deployer.find_orphans(account.stage(name), planned, None if options.adopt else began)
                    with unfinished.imports(deployer.infra, orphans):
                        written = tool.plan(deployer.variables, plan_file)
                step.note = terraform.summary(written)
            for destroyed in _DESTROYS.findall(written):
                output.warn(destroyed)
            changes = _CHANGES.findall(written)
            plan = Planned(account=account, changes=changes, summary=terraform.summary(written))
            yield _Planning(deployer=deployer, plan_file=plan_file, planned=plan, mark=mark)
        finally:
            plan_file.unlink(missing_ok=True)
