"""A deployment that is cut short before, in and after each of its changes: the next one ends it, with nothing twice.

Terraform and Chalice are stand-ins that lose what the real ones lose: a killed apply what it had in the making, a
killed `chalice deploy` its whole record.
"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tally.cli import run
from tally.commands import stages as stack_commands
from tally.deploy import preflight, quotas, unfinished
from tally.deploy.deployer import deploy_to_aws
from tally.deploy.preflight import Account, Tools
from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Entry, Live, Survey
from tally.deploy.unfinished import IMPORTS, Finder, Orphan
from tally.errors import ChaliceError, ExitCode, OperatorError, TerraformError
from tally.output import Output
from tally.stages import job_code
from tally.stages.stage import Stage
from tally.stages.workspace import Workspace
from tally.tools import terraform
from tally.tools.chalice import ChaliceProject
from tally.tools.terraform import Resource
from tests.unit.tally.deploy.test_tally_destroyer import OUTPUTS, Killed
from tests.unit.tally.deployed_stage import PLACE, SOURCES, STAGE, Aws, whole

MADE_BY_TERRAFORM = ("table", "bucket", "queue")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class World:
    """An account, Terraform's state of a stage in it, and how many changes are made until the next cut."""

    aws: Aws = field(default_factory=lambda: Aws(Live(notified={"inbox": {}})))
    exist: set[str] = field(default_factory=set)
    state: set[str] = field(default_factory=set)
    importing: set[str] = field(default_factory=set)
    jobs_noted: list[dict[str, str]] = field(default_factory=list)
    moments: int = 0
    cut_at: int = -1
    cut_by: type[BaseException] = Killed

    def moment(self) -> None:
        """Let a moment pass at which a deployment may be cut short."""
        self.moments += 1
        if self.moments == self.cut_at + 1:
            raise self.cut_by

    def live(self) -> Live:
        """Return the parts of a whole stage, as Chalice makes them."""
        return whole()


class Terraform:
    """Makes what is missing; refuses what exists and is not in its state."""

    def __init__(self, world: World, infra: Path) -> None:
        self.world, self.infra = world, infra

    def init(self) -> None:
        self.world.moment()

    def select_workspace(self, name: str) -> None:
        assert name == STAGE

    def outputs(self) -> dict[str, Any]:
        return dict(OUTPUTS) if set(MADE_BY_TERRAFORM) <= self.world.state else {}

    def resources(self) -> list[Resource]:
        return []

    def plan(self, _variables: Mapping[str, Any], plan_file: Path) -> str:
        self.world.moment()
        file = self.infra / IMPORTS
        blocks = json.loads(file.read_text())["import"] if file.exists() else []
        self.world.importing = {block["to"] for block in blocks}
        plan_file.write_text("")
        return "  # table will be created\nPlan: 1 to add, 0 to change, 0 to destroy."

    def creates(self, _plan_file: Path) -> list[Resource]:
        return [Resource(address=name, type="", values={}) for name in self.wanted if name not in self.world.state]

    @property
    def wanted(self) -> list[str]:
        """The resources that the configuration asks for: the mapping of dead letters once its function is recorded."""
        record = self.infra.parent / "app" / ".chalice" / "deployed" / f"{STAGE}.json"
        recorded = json.loads(record.read_text())["resources"] if record.exists() else []
        deployed = any(entry["name"] == "dead_letters" for entry in recorded)
        return [*MADE_BY_TERRAFORM, *(["mapping of dead letters"] if deployed else [])]

    def apply_plan(self, _plan_file: Path) -> str:
        assert not (self.infra / IMPORTS).exists(), "the plan says it all"
        return self._make()

    def apply(self, _variables: Mapping[str, Any]) -> str:
        self.world.importing = set()
        return self._make()

    def _make(self) -> str:
        for name in self.wanted:
            self.world.moment()
            if name in self.world.importing:
                self.world.state.add(name)
            if name not in self.world.state:
                if name in self.world.exist:
                    raise TerraformError(f"{name} exists")
                self.world.exist.add(name)
                self.world.moment()  # it exists, and no state has it
                self.world.state.add(name)
        return "Apply complete!"


def _chalice_deploy(world: World, project: ChaliceProject) -> None:
    """Make what is not recorded, refuse a mapping that exists, and write the record last."""
    assert project.config_file.exists()
    recorded = json.loads(project.deployed_file.read_text())["resources"] if project.deployed_file.exists() else []
    known = {entry["name"] for entry in recorded}
    for entry in world.live().entries(SOURCES):
        world.moment()
        if entry["name"] not in known:
            _create(world, entry)
            recorded.append(entry)
    world.moment()
    project.deployed_file.parent.mkdir(parents=True, exist_ok=True)
    project.deployed_file.write_text(json.dumps({"resources": recorded, "schema_version": "2.0", "backend": "api"}))


def _create(world: World, entry: Entry) -> None:
    aws = world.aws
    match entry["resource_type"]:
        case "lambda_function":
            if entry["lambda_arn"] not in aws.functions:  # Chalice updates a function that is there
                aws.functions.append(entry["lambda_arn"])
        case "sqs_event" | "dynamodb_event":
            if any(one["UUID"] == entry["event_uuid"] for one in aws.mappings):
                raise ChaliceError(f"ResourceConflictException: {entry['name']}")
            source = entry.get("queue_arn") or entry["stream_arn"]
            made = {"UUID": entry["event_uuid"], "FunctionArn": entry["lambda_arn"], "EventSourceArn": source}
            aws.mappings.append({**made, "State": "Enabled"})
        case "s3_event":
            aws.notified["inbox"] = [entry["lambda_arn"]]
        case "cloudwatch_event":
            aws.rules = sorted({*aws.rules, entry["rule_name"]})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    account = Account(id=PLACE.account, region=PLACE.region)
    tools = Tools(terraform="1.11.4", chalice="1.34.0", python="3.12.1")
    monkeypatch.setattr(preflight, "require_tools", lambda _workspace, _environ: tools)
    monkeypatch.setattr(preflight, "require_account", lambda _environ: account)
    monkeypatch.setattr(preflight, "require_jobs", lambda _workspace: preflight.Jobs(names=("offices",)))
    monkeypatch.setattr(quotas, "finding", lambda _client, _environment: "")
    monkeypatch.setattr(terraform.Terraform, "at", lambda folder, _runner, **_: Terraform(made, folder))
    monkeypatch.setattr(job_code, "withdraw", lambda _functions, _stage: made.jobs_noted.clear())
    monkeypatch.setattr(job_code, "note", lambda _functions, _stage, found: made.jobs_noted.append(found))
    monkeypatch.setattr(DeployedRecord, "of", lambda _stage, path, say: _record(made, path, say))
    monkeypatch.setattr(ChaliceProject, "deploy", lambda project, _runner: _chalice_deploy(made, project))
    monkeypatch.setattr(ChaliceProject, "check_package", lambda _project: made.moment())
    monkeypatch.setattr(Finder, "of", lambda _stage: SimpleNamespace(orphans=lambda planned: _orphans(made, planned)))
    return made


def _record(world: World, path: Path, say: Callable[[str], None]) -> DeployedRecord:
    return DeployedRecord(
        path=path, survey=Survey(place=PLACE, client=world.aws.client, sleep=world.aws.sleep), say=say
    )


def _orphans(world: World, planned: list[Resource]) -> list[Orphan]:
    found = [resource.address for resource in planned if resource.address in world.exist]
    return [Orphan(address=name, identifier=f"id of {name}", created=NOW) for name in found]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("app", "infra"):
        (tmp_path / name).mkdir()
    return Workspace(repo=tmp_path, home=tmp_path / ".tally")


@pytest.fixture
def deploy(world: World, workspace: Workspace, output: Output) -> Callable[..., Stage]:
    def call(*, adopt: bool = False, now: datetime = NOW) -> Stage:
        (workspace.home / "aws").mkdir(parents=True, exist_ok=True)
        return deploy_to_aws(
            workspace,
            STAGE,
            variables={},
            output=output,
            environ={},
            confirm=lambda _question: True,
            adopt=adopt,
            clock=lambda: now,
        )

    return call


def _check_whole(world: World, workspace: Workspace) -> None:
    """Check that the stage is there once, in AWS, in the state and in the record, and no mark or file is left."""
    complete = whole()
    assert world.exist == world.state == {*MADE_BY_TERRAFORM, "mapping of dead letters"}
    assert {arn for arn in world.aws.functions if "two" not in arn} == set(complete.functions.values())
    uuids = [one["UUID"] for one in world.aws.mappings if one["UUID"] != "uuid-two"]
    assert sorted(uuids) == sorted(entry["event_uuid"] for entry in complete.entries(SOURCES) if "event_uuid" in entry)
    recorded = json.loads((workspace.repo / "app" / ".chalice" / "deployed" / f"{STAGE}.json").read_text())["resources"]
    assert sorted(entry["name"] for entry in recorded) == sorted(one["name"] for one in complete.entries(SOURCES))
    assert world.jobs_noted == [{}], "what there was is withdrawn before a function changes, and noted at the end"
    assert not workspace.aws_unfinished(STAGE).exists()
    assert not (workspace.repo / "infra" / IMPORTS).exists()
    assert not (workspace.home / "aws" / f"{STAGE}.tfplan").exists()


MOMENTS = 37
"""At which a first deployment may be cut short: before and in each change that it makes."""
BEFORE_THE_FIRST_CHANGE = 2
"""The moments of `terraform init` and of the plan come before it."""


def test_the_moments_of_a_first_deployment_are_all_tried(
    world: World, workspace: Workspace, deploy: Callable[..., Stage]
) -> None:
    deploy()
    _check_whole(world, workspace)
    assert world.moments == MOMENTS


@pytest.mark.parametrize("cut_by", [Killed, KeyboardInterrupt])
@pytest.mark.parametrize("cut_at", range(MOMENTS))
def test_a_deployment_that_is_cut_short_anywhere_is_ended_by_the_next(
    world: World,
    workspace: Workspace,
    deploy: Callable[..., Stage],
    said: StringIO,
    cut_at: int,
    cut_by: type[BaseException],
) -> None:
    world.cut_at, world.cut_by = cut_at, cut_by
    with pytest.raises(cut_by):
        deploy()
    marked = workspace.aws_unfinished(STAGE).exists()
    assert marked == (cut_at >= BEFORE_THE_FIRST_CHANGE)
    deploy()
    _check_whole(world, workspace)
    assert ("was cut short: continuing it." in said.getvalue()) == marked
    interrupted = marked and cut_by is KeyboardInterrupt
    assert ("Run the same command again" in said.getvalue()) == interrupted


@pytest.mark.parametrize("again", range(0, MOMENTS, 4))
@pytest.mark.parametrize("cut_at", range(0, MOMENTS, 4))
def test_what_resumes_may_be_cut_short_too(
    world: World, workspace: Workspace, deploy: Callable[..., Stage], cut_at: int, again: int
) -> None:
    for moment in (cut_at, again):
        world.cut_at = world.moments + moment
        with contextlib.suppress(Killed):
            deploy()
    world.cut_at = -1
    deploy()
    _check_whole(world, workspace)


def test_what_was_in_the_making_is_adopted_and_named(
    world: World, deploy: Callable[..., Stage], said: StringIO
) -> None:
    world.cut_at = 3  # the table exists, and no state has it
    with pytest.raises(Killed):
        deploy()
    assert (world.exist, world.state) == ({"table"}, set())
    deploy()
    assert "A deployment that began at 2026-03-01 12:00:00 UTC was cut short: continuing it." in said.getvalue()
    assert "Terraform's state: table exists, adopting id of table." in said.getvalue()


def test_what_is_older_than_the_deployment_that_was_cut_short_is_not_adopted(
    world: World, deploy: Callable[..., Stage]
) -> None:
    """Another state may own it: two owners would undo each other's changes."""
    world.cut_at = 3
    with pytest.raises(Killed):
        deploy(now=NOW.replace(hour=13))
    with pytest.raises(OperatorError, match=r"does not know id of table \(since 2026-03-01 12:00 UTC\).*--adopt"):
        deploy(now=NOW.replace(hour=14))
    assert world.state == set()
    deploy(adopt=True)
    assert world.exist == world.state


def test_without_a_mark_only_adopt_takes_over_what_exists(
    world: World, workspace: Workspace, deploy: Callable[..., Stage]
) -> None:
    """As on a pipeline's machine, which lives for one run."""
    world.exist.add("bucket")
    with pytest.raises(TerraformError, match="bucket exists"):
        deploy()
    workspace.aws_unfinished(STAGE).unlink()
    deploy(adopt=True)
    _check_whole(world, workspace)


def test_a_mark_of_another_account_says_nothing_about_this_one(workspace: Workspace) -> None:
    here = Account(id="1", region="eu-west-1")
    for other in (Account(id="2", region="eu-west-1"), Account(id="1", region="eu-west-2")):
        mark = unfinished.Mark(path=workspace.aws_unfinished(STAGE), account=other, clock=lambda: NOW)
        with contextlib.suppress(Killed), mark.held():
            raise Killed
        assert mark.began() == NOW
        assert unfinished.Mark(path=mark.path, account=here, clock=lambda: NOW).began() is None


def test_a_torn_mark_is_none(workspace: Workspace) -> None:
    path = workspace.aws_unfinished(STAGE)
    path.parent.mkdir(parents=True)
    path.write_text('{"began": "2026-')
    mark = unfinished.Mark(path=path, account=Account(id="1", region="eu-west-1"), clock=lambda: NOW)
    assert mark.began() is None


@pytest.fixture
def commands(world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands work on the stand-ins."""
    (workspace.home / "aws").mkdir(parents=True)
    monkeypatch.setattr(stack_commands, "workspace", lambda: workspace)
    assert world.moments == 0


@pytest.mark.usefixtures("commands")
def test_a_plan_is_shown_and_changes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked."""
    assert run(["deploy", "--stage", STAGE, "--plan", "--json"]) is ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "stage": STAGE,
        "summary": "Plan: 1 to add, 0 to change, 0 to destroy.",
        "changes": ["table will be created"],
    }
    assert world.exist == set()
    assert world.aws.mappings == Aws(Live()).mappings


@pytest.mark.usefixtures("commands")
def test_a_deployment_ends_with_what_to_do_next(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """After the steps, each with its time."""
    assert run(["deploy", "--stage", STAGE, "--yes"]) is ExitCode.OK
    said = capsys.readouterr().out
    steps = ["preflight: jobs", "preflight: tools", "terraform plan", "terraform apply: table", "chalice deploy"]
    assert all(re.search(rf"^ok {step}.*\(\d+\.\d s\)$", said, re.MULTILINE) for step in steps)
    assert said.index("Stage test is deployed, in ") < said.index("tally submit sample.csv --job transactions")
    assert world.exist == world.state


@pytest.mark.usefixtures("commands")
def test_nothing_is_deployed_when_the_operator_does_not_agree(
    world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    assert run(["deploy", "--stage", STAGE]) is ExitCode.NOT_AS_HOPED
    assert world.exist == set()
    assert not workspace.aws_unfinished(STAGE).exists()
