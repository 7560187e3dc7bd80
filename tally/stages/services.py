"""The pipeline's own services on this machine, with the operator's clients and the stage's settings."""

from collections.abc import Mapping

import msgspec
from botocore.exceptions import ClientError

from chalicelib.errors import SettingsError
from chalicelib.retry import Retry
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.store.table import Table
from tally.errors import OperatorError
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.tools.chalice import ChaliceProject

_ASKED = "dispatch"
"""Any function would do: all have the same settings."""


def table(stage: Stage) -> Table:
    """Return a stage's table, for writes."""
    return Table(dynamodb=stage.dynamodb, name=stage.resources.table, retry=Retry())


def services(workspace: Workspace, stage: Stage) -> Services:
    """Return the services of the stage's functions, for calls from here."""
    return Services(settings(workspace, stage), Retry(), client=stage.client)


def settings(workspace: Workspace, stage: Stage) -> Settings:
    """Return the settings of a stage's functions; raises OperatorError if they are missing or too old."""
    return settings_of(stage, environment(workspace, stage))


def settings_of(stage: Stage, variables: Mapping[str, str]) -> Settings:
    """Return the settings from the functions' environment; raises OperatorError if they are missing or too old."""
    try:
        found = Settings.from_env(variables)
    except SettingsError as error:
        raise OperatorError(
            f"The functions of stage {stage.name} are of another version of Tally ({error})",
            hint="deploy the stage again, or use the version that deployed it.",
        ) from error
    return msgspec.structs.replace(found, table=stage.resources.table)


def environment(workspace: Workspace, stage: Stage) -> Mapping[str, str]:
    """Return the functions' environment: as rendered for a local stage, from Lambda for one in AWS."""
    if stage.server:
        return ChaliceProject(folder=workspace.stage(stage.name).app, stage=stage.name).environment()
    name = f"tally-{stage.name}-{_ASKED}"
    try:
        configuration = stage.functions.get_function_configuration(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise OperatorError(
            f"There is no function {name}", hint=f"`tally deploy --stage {stage.name}` deploys the stage."
        ) from error
    return configuration.get("Environment", {}).get("Variables", {})
