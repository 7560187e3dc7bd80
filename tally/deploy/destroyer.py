"""Take a stage in AWS down: Chalice deletes the functions, then Terraform destroys the rest.

The next run continues one that was cut short: resources that are gone are removed from Chalice's record and Terraform's
state. The workspace, which proves that the stage existed, goes last.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.clock import utc_now
from tally.deploy import unfinished
from tally.deploy.deployer import ADOPTED, Deployer, aws_deployer
from tally.deploy.preflight import Account
from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Entry, Sources
from tally.errors import ChaliceError, ExitCode, OperatorError
from tally.output import Output
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.tools.terraform import Resource, Terraform

_TABLE, _BUCKET = "aws_dynamodb_table", "aws_s3_bucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """The parts of a stage that exist: Chalice's by its repaired record, the others by Terraform's state."""

    stage: Stage
    record: DeployedRecord
    sources: Sources
    entries: Sequence[Entry]
    resources: Sequence[Resource]

    def __bool__(self) -> bool:
        """Tell whether any part exists."""
        return bool(self.entries or self.resources)

    @property
    def functions(self) -> list[str]:
        """Return the handlers whose functions exist."""
        return [entry["name"] for entry in self.entries if entry["resource_type"] == "lambda_function"]

    def protected(self) -> Iterator[str]:
        """Return the reasons why data may not be destroyed."""
        for resource in self.resources:
            if resource.type == _TABLE and _cannot_be_deleted(self.stage, resource.values["name"]):
                yield f"the table {resource.values['name']} is protected from deletion"
            if (
                resource.type == _BUCKET
                and not resource.values["force_destroy"]
                and _holds_objects(self.stage, resource.values["bucket"])
            ):
                yield f"the bucket {resource.values['bucket']} is not empty"


def destroy_in_aws(
    workspace: Workspace,
    name: str,
    *,
    variables: Mapping[str, Any],
    output: Output,
    environ: Mapping[str, str],
    delete_data: bool,
    confirm: Callable[[], bool],
    var_files: Sequence[Path] = (),
) -> Remains:
    """Destroy a stage in the caller's AWS account, once ``confirm`` has agreed to the list of its parts.

    Returns the parts that existed; none for a stage that was gone. Raises OperatorError if a local stage has the name,
    if data is protected and may not be deleted, if Terraform or credentials are missing, and if a tool fails; running
    it again continues from there.
    """
    if workspace.stage(name).exists:
        raise OperatorError(
            f"{name} is a local stage ({workspace.stage(name).root}): `tally down --stage {name}` removes it.",
            code=ExitCode.USAGE,
        )
    with aws_deployer(workspace, name, variables=variables, output=output, environ=environ, var_files=var_files) as (
        deployer,
        account,
    ):
        deployer.init()
        mark = unfinished.Mark(path=workspace.aws_unfinished(name), account=account, clock=utc_now)
        remains = _find_remains(deployer, account, name, mark)
        if remains:
            _show(output, remains)
            protected = list(remains.protected())
            if protected and not delete_data:
                raise OperatorError(
                    f"Nothing was destroyed: {' and '.join(protected)}. --delete-data destroys that too, for good.",
                    code=ExitCode.USAGE,
                )
            if not confirm():
                raise OperatorError("Nothing was destroyed.", code=ExitCode.NOT_AS_HOPED)
            if protected:
                _unprotect(deployer, remains)
            _delete_functions(deployer, remains)
            with deployer.step("terraform destroy: table, bucket, queues, roles") as (step, tool):
                step.note = tool.destroy(deployer.variables)
        else:
            output.say(f"Stage {name} is gone: nothing of it is left in {account}.")
        _forget(workspace, deployer, name)
    return remains


def _find_remains(deployer: Deployer, account: Account, name: str, mark: unfinished.Mark) -> Remains:
    stage = account.stage(name)
    with deployer.step(f"find what exists: stage {name}, {account}") as (_, tool):
        outputs: Mapping[str, Any] = {}
        resources: list[Resource] = []
        if name in tool.workspaces():
            tool.select_workspace(name)
            _adopt_orphans(deployer, tool, stage, mark)
            outputs, resources = tool.outputs(), tool.resources()
        record, sources = deployer.record(stage), deployer.sources(outputs)
        record.require_here(resource.values["arn"] for resource in resources if resource.values.get("arn"))
        if "chalice_config" not in outputs and record.survey.live(()).functions:
            raise OperatorError(
                f"Functions of stage {name} live in {account}, but Terraform's state here does not know the stage: "
                "destroy it from where it was deployed, with the same state."
            )
        record.repair(sources)
    return Remains(
        stage=stage,
        record=record,
        sources=sources,
        entries=record.entries(),
        resources=[resource for resource in resources if not resource.address.startswith(ADOPTED)],
    )


def _adopt_orphans(deployer: Deployer, tool: Terraform, stage: Stage, mark: unfinished.Mark) -> None:
    """Import into Terraform's state what an interrupted deployment made, so that it is destroyed too."""
    if began := mark.began():
        planned = tool.planned(deployer.variables, mark.path.with_suffix(".tfplan"))
        for orphan in deployer.find_orphans(stage, planned, began):
            tool.adopt(orphan.address, orphan.identifier, deployer.variables)


def _show(output: Output, remains: Remains) -> None:
    """Say what will be destroyed. Terraform's plan cannot: the protected mappings stop it while they live."""
    triggers = len(remains.entries) - len(remains.functions)
    output.say(
        f"Chalice deletes {len(remains.functions)} functions and {triggers} triggers: "
        f"{', '.join(sorted(remains.functions))}."
    )
    kinds = Counter(resource.type for resource in remains.resources)
    output.say(
        f"Terraform destroys {len(remains.resources)} resources: "
        f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}."
    )
    for resource in remains.resources:
        if resource.type in {_TABLE, _BUCKET}:
            output.warn(f"{resource.address} will be destroyed with all that is in it ({resource.values['id']})")


def _unprotect(deployer: Deployer, remains: Remains) -> None:
    addresses = [resource.address for resource in remains.resources if resource.type in {_TABLE, _BUCKET}]
    with deployer.step("terraform apply: let the data be destroyed") as (step, tool):
        step.note = tool.apply({**deployer.variables, "force_destroy": True}, targets=addresses)


def _delete_functions(deployer: Deployer, remains: Remains) -> None:
    """Have Chalice delete the functions, then delete the remaining mappings, so that none invokes a missing one.

    Chalice stops at the first resource that is gone, as after a kill, and does not say what it has deleted.
    """
    if remains.entries:
        deployer.render()
        with deployer.output.step("chalice delete: functions and triggers") as step:
            while remains.record.entries():
                try:
                    deployer.project.delete(replace(deployer.runner, on_line=step.show))
                except ChaliceError:
                    if not remains.record.repair(remains.sources):
                        raise
    with deployer.output.step("remaining mappings: delete") as step:
        step.note = f"{remains.record.delete_triggers()} deleted"


def _forget(workspace: Workspace, deployer: Deployer, name: str) -> None:
    """Remove the stage's workspace and this checkout's records of it."""
    with deployer.step(f"workspace {name}: remove") as (_, tool):
        if name in tool.workspaces():
            tool.delete_workspace(name)
    deployer.project.forget()
    unfinished_files = (workspace.aws_unfinished(name), workspace.aws_unfinished(name).with_suffix(".tfplan"))
    for path in (*unfinished_files, workspace.aws_outputs(name), workspace.aws_log(name)):
        path.unlink(missing_ok=True)


def _cannot_be_deleted(stage: Stage, table: str) -> bool:
    with contextlib.suppress(stage.dynamodb.exceptions.ResourceNotFoundException):
        return bool(stage.dynamodb.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled"))
    return False


def _holds_objects(stage: Stage, bucket: str) -> bool:
    try:
        found = stage.s3.list_object_versions(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return False
    return bool(found.get("Versions") or found.get("DeleteMarkers"))
