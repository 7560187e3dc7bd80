"""Deploying: what is put right before Terraform plans."""

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tally.deploy.deployer import Deployer
from tally.deploy.preflight import Account
from tally.output import Output
from tally.tools.chalice import ChaliceProject
from tally.tools.subprocess import Runner
from tally.tools.terraform import Resource


def test_only_what_terraform_made_in_the_place_of_an_adopted_mapping_is_forgotten(
    tmp_path: Path, output: Output, said: StringIO
) -> None:
    """Its address has the UUID of the one that was deleted; every other has its own."""
    forgotten: list[str] = []
    kind = "aws_lambda_event_source_mapping"
    resources = [
        Resource(address=f'module.mapping["finish:uuid-a"].{kind}.this', type=kind, values={"id": "uuid-a"}),
        Resource(address=f'module.mapping["ingest:uuid-b"].{kind}.this', type=kind, values={"id": "uuid-c"}),
        Resource(address=f'{kind}.dead_letters["heavy"]', type=kind, values={"id": "d"}),
    ]
    tool: Any = SimpleNamespace(resources=lambda: resources, forget=forgotten.append)
    deployer = Deployer(
        infra=tmp_path,
        project=ChaliceProject(folder=tmp_path, stage="dev"),
        runner=Runner(env={}, log=tmp_path / "log"),
        variables={},
        output=output,
    )
    deployer.free_misnamed_mappings(tool)
    assert forgotten == [resources[1].address]
    assert f"{resources[1].address} is mapping uuid-c by now." in said.getvalue()


def test_a_stage_is_reached_in_the_region_that_it_is_deployed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK does not read AWS_REGION itself; the stage's own region is the default."""
    account = Account(id="000000000000", region="eu-west-1")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert account.stage("dev").session.region_name == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert account.stage("dev").session.region_name == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert account.stage("dev").session.region_name == "eu-north-1"
    monkeypatch.delenv("AWS_REGION")
    assert account.stage("dev").session.region_name == "us-west-2"
