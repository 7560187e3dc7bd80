"""The pipeline's services on this machine: they have the settings of their stage, or an error says what to do."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from chalicelib.errors import ConflictError, FatalError
from chalicelib.steps.redrive import NotRedrivableError
from tally.cli import explain
from tally.errors import ExitCode, OperatorError
from tally.local.localaws import Server
from tally.stages.services import services, settings
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace

VARIABLES = {name: value for name, value in os.environ.items() if name.startswith("TALLY_")}


@dataclass
class Functions:
    """Lambda, which knows one function."""

    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))
    error: str = ""

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "tally-test-dispatch"
        if self.error:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "GetFunctionConfiguration")
        return {"Environment": {"Variables": self.variables}}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(repo=tmp_path, home=tmp_path / "home")


def test_in_aws_the_settings_are_those_of_the_functions(workspace: Workspace, stage: Stage) -> None:
    vars(stage)["functions"] = Functions({**VARIABLES, "TALLY_CHUNK_ROWS": "77", "TALLY_TABLE": "other"})
    found = settings(workspace, stage)
    assert found.chunk_rows == 77
    assert found.table == "tally-test", "what --table says goes"


def test_of_a_local_stage_the_settings_are_those_rendered(workspace: Workspace, stage: Stage) -> None:
    local = replace(stage, server=Server(pid=1, port=1))
    config = workspace.stage("test").app / ".chalice" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"stages": {"test": {"environment_variables": VARIABLES}}}))
    assert settings(workspace, local).chunk_rows == 4


def test_the_services_write_with_the_operators_own_clients(workspace: Workspace, stage: Stage) -> None:
    clients = {name: object() for name in ("dynamodb", "s3")}
    vars(stage).update(clients, functions=Functions())
    reconciler = services(workspace, stage).reconciler
    assert reconciler.table.dynamodb is clients["dynamodb"]
    assert reconciler.planner.s3 is clients["s3"]
    assert reconciler.dispatcher.work_queue_url == "http://127.0.0.1/work"
    assert reconciler.settler.bus.name == "tally-test"


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        (Functions(error="ResourceNotFoundException"), "There is no function tally-test-dispatch"),
        (Functions(variables={"TALLY_STAGE": "test"}), "of another version of Tally \\(TALLY_TABLE"),
    ],
)
def test_a_stage_without_such_functions_is_3(
    workspace: Workspace, stage: Stage, functions: Functions, said: str
) -> None:
    vars(stage)["functions"] = functions
    with pytest.raises(OperatorError, match=said) as missing:
        settings(workspace, stage)
    assert missing.value.code is ExitCode.ENVIRONMENT


def test_a_missing_right_is_shown_as_it_is(workspace: Workspace, stage: Stage) -> None:
    vars(stage)["functions"] = Functions(error="AccessDeniedException")
    with pytest.raises(ClientError):
        settings(workspace, stage)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotRedrivableError("there is no batch b"), ExitCode.USAGE, "there is no batch b"),
        (ConflictError("held"), ExitCode.UNEXPECTED, "run this again"),
        (FatalError("a bug"), ExitCode.UNEXPECTED, "a bug: --debug shows where"),
        (caused(FatalError("x"), NoCredentialsError()), ExitCode.ENVIRONMENT, "configure AWS"),
    ],
)
def test_errors_of_the_library_are_explained(error: Exception, code: ExitCode, said: str) -> None:
    explained = explain(error)
    assert explained.code is code
    assert said in str(explained)
