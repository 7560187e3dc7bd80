"""Destroying a stage: what is asked and refused before anything goes, in which order it goes, and after any kill."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tally.cli import run
from tally.commands import stages as stack_commands
from tally.deploy import destroyer as destruction
from tally.deploy import preflight
from tally.deploy.destroyer import Remains, destroy_in_aws
from tally.deploy.preflight import Account
from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Survey
from tally.errors import ChaliceError, ExitCode, OperatorError
from tally.output import Output
from tally.stages.workspace import Workspace
from tally.tools import terraform
from tally.tools.chalice import ChaliceProject
from tally.tools.terraform import Resource
from tests.unit.tally.deployed_stage import PLACE, QUEUE, SOURCES, STAGE, Aws, whole

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/tally-test"
CONFIG = json.dumps(
    {
        "stages": {
            STAGE: {
                "environment_variables": {
                    "TALLY_QUEUES": json.dumps({arn: {"arn": arn} for arn in SOURCES.queues}),
                    "TALLY_STREAM_ARN": SOURCES.stream,
                    "TALLY_INBOX_BUCKET": SOURCES.bucket,
                }
            }
        }
    }
)
OUTPUTS = {"chalice_config": CONFIG, "table_name": "tally-test", "inbox_bucket": "inbox"}


class Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


@dataclass
class World:
    """An account with a stage in it, Terraform's state of the stage, and a log of what was done to them."""

    aws: Aws = field(default_factory=lambda: Aws(whole()))
    workspaces: set[str] = field(default_factory=lambda: {"default", STAGE})
    resources: list[str] = field(default_factory=lambda: ["table", "bucket", "queue"])
    outputs: dict[str, Any] = field(default_factory=lambda: dict(OUTPUTS))
    protected: bool = False
    objects: list[str] = field(default_factory=list)
    force_destroy: bool = False
    done: list[str] = field(default_factory=list)
    killed_at: int = -1
    """The position of the change before which it is killed."""

    def change(self, what: str) -> None:
        """Note a change that is about to be made."""
        if len(self.done) == self.killed_at:
            self.killed_at = -1
            raise Killed
        self.done.append(what)

    @property
    def adopted(self) -> list[str]:
        """The mappings that Terraform protects: it cannot destroy while one of them lives."""
        return [
            one["UUID"] for one in self.aws.mappings if one["UUID"].startswith("uuid-") and one["UUID"] != "uuid-two"
        ]


class Terraform:
    """Terraform as the stage's state has it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def init(self) -> None:
        """Install nothing."""

    def workspaces(self) -> set[str]:
        return set(self.world.workspaces)

    def select_workspace(self, name: str) -> None:
        assert name in self.world.workspaces

    def outputs(self) -> dict[str, Any]:
        return dict(self.world.outputs)

    def resources(self) -> list[Resource]:
        known: dict[str, tuple[str, dict[str, Any]]] = {
            "table": ("aws_dynamodb_table", {"id": "tally-test", "name": "tally-test", "arn": ARN}),
            "bucket": ("aws_s3_bucket", {"id": "inbox", "bucket": "inbox", "force_destroy": self.world.force_destroy}),
            "queue": ("aws_sqs_queue", {"id": "queue"}),
        }
        adopted = [
            Resource(address=f'module.mapping["{uuid}"].this', type="aws_lambda_event_source_mapping", values={})
            for uuid in self.world.adopted
        ]
        return [
            *(Resource(address=name, type=known[name][0], values=known[name][1]) for name in self.world.resources),
            *adopted,
        ]

    def apply(self, variables: Mapping[str, Any], *, targets: Sequence[str] = ()) -> str:
        assert variables["force_destroy"] is True
        self.world.change(f"apply {' '.join(targets)}")
        self.world.protected, self.world.force_destroy = False, True
        return ""

    def destroy(self, variables: Mapping[str, Any]) -> str:
        assert variables["stage"] == STAGE
        assert self.world.adopted == [], "Instance cannot be destroyed"
        assert not self.world.protected
        for resource in list(self.world.resources):
            self.world.change(f"destroy {resource}")
            self.world.resources.remove(resource)
        self.world.outputs.clear()
        return "Destroy complete! Resources: 3 destroyed."

    def delete_workspace(self, name: str) -> None:
        assert self.world.resources == []
        self.world.change("delete workspace")
        self.world.workspaces.remove(name)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(terraform, "require", lambda _environ: "1.11.4")
    monkeypatch.setattr(terraform.Terraform, "at", lambda _folder, _runner, **_: Terraform(made))
    monkeypatch.setattr(preflight, "require_account", lambda _environ: Account(id=PLACE.account, region=PLACE.region))
    monkeypatch.setattr(DeployedRecord, "of", lambda _stage, path, say: _record(made, path, say))
    monkeypatch.setattr(ChaliceProject, "delete", lambda project, _runner: _chalice_delete(made, project))
    monkeypatch.setattr(destruction, "_cannot_be_deleted", lambda _stage, _table: made.protected)
    monkeypatch.setattr(destruction, "_holds_objects", lambda _stage, _bucket: bool(made.objects))
    return made


def _record(world: World, path: Path, say: Callable[[str], None]) -> DeployedRecord:
    return DeployedRecord(
        path=path, survey=Survey(place=PLACE, client=world.aws.client, sleep=world.aws.sleep), say=say
    )


def _chalice_delete(world: World, project: ChaliceProject) -> None:
    """Delete what is recorded, from the end, stop at what is gone already, and write the record last."""
    assert project.config_file.exists(), "Chalice imports the app, which needs its settings"
    aws = world.aws
    for entry in reversed(json.loads(project.deployed_file.read_text())["resources"]):
        world.change(f"delete {entry['name']}")
        try:
            match entry["resource_type"]:
                case "lambda_function":
                    aws.functions.remove(entry["lambda_arn"])
                case "sqs_event" | "dynamodb_event":
                    aws.delete_event_source_mapping(UUID=entry["event_uuid"])
                case "s3_event":
                    aws.notified[entry["bucket"]].remove(entry["lambda_arn"])
                case "cloudwatch_event":
                    aws.rules.remove(entry["rule_name"])
        except (ValueError, LookupError) as error:
            raise ChaliceError("chalice delete failed") from error
    world.change("empty the record")
    project.deployed_file.write_text('{"resources": [], "schema_version": "2.0", "backend": "api"}')


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("app", "infra"):
        (tmp_path / name).mkdir()
    return Workspace(repo=tmp_path, home=tmp_path / ".tally")


@pytest.fixture
def destroy(world: World, workspace: Workspace, output: Output) -> Callable[..., Remains]:
    def call(*, delete_data: bool = False, agree: bool = True) -> Remains:
        return destroy_in_aws(
            workspace,
            STAGE,
            variables={},
            output=output,
            environ={},
            delete_data=delete_data,
            confirm=lambda: agree,
        )

    return call


def _left(world: World, workspace: Workspace) -> list[str]:
    """Return what is left of the stage, but not of its neighbour."""
    project = ChaliceProject(folder=workspace.repo / "app", stage=STAGE)
    files = (project.deployed_file, project.config_file, workspace.aws_outputs(STAGE), workspace.aws_log(STAGE))
    return [
        *(arn for arn in world.aws.functions if "two" not in arn),
        *(one["UUID"] for one in world.aws.mappings if one["UUID"] != "uuid-two"),
        *world.aws.notified["inbox"],
        *(rule for rule in world.aws.rules if rule == "tally-test-reconcile-event"),
        *world.resources,
        *(world.workspaces - {"default"}),
        *(str(file) for file in files if file.exists()),
    ]


def test_a_stage_goes_functions_first_its_workspace_last(
    world: World, workspace: Workspace, destroy: Callable[..., Remains], said: StringIO
) -> None:
    """The record is lost, as where another machine had deployed."""
    workspace.aws_outputs(STAGE).parent.mkdir(parents=True)
    workspace.aws_outputs(STAGE).write_text("{}")
    remains = destroy()
    assert _left(world, workspace) == []
    kinds = [what.split()[0] for what in world.done]
    assert kinds == ["delete"] * 22 + ["empty"] + ["destroy"] * 3 + ["delete"]
    assert (len(remains.functions), len(remains.resources)) == (11, 3)
    assert "Chalice deletes 11 functions and 11 triggers: dead_letters, dispatch" in said.getvalue()
    assert "Terraform destroys 3 resources: 1 aws_dynamodb_table, 1 aws_s3_bucket, 1 aws_sqs_queue." in said.getvalue()
    assert "bucket will be destroyed with all that is in it (inbox)" in said.getvalue()
    assert len(world.aws.functions) == 2, "the neighbour's"


def test_a_stage_that_is_gone_is_fine(
    world: World, workspace: Workspace, destroy: Callable[..., Remains], said: StringIO
) -> None:
    """Nobody is asked again."""
    destroy()
    world.done.clear()
    assert not destroy(agree=False)
    assert world.done == []
    assert "Stage test is gone: nothing of it is left in account 000000000000, region us-east-1." in said.getvalue()


@pytest.mark.parametrize("killed_at", range(29))
def test_a_destruction_that_is_killed_anywhere_is_continued(
    world: World, workspace: Workspace, destroy: Callable[..., Remains], killed_at: int
) -> None:
    """Before each change that it makes, also the first, which lets the data go."""
    world.protected, world.objects, world.killed_at = True, ["upload"], killed_at
    with pytest.raises(Killed) if killed_at < 28 else contextlib.nullcontext():
        destroy(delete_data=True)
    destroy(delete_data=True)
    assert _left(world, workspace) == []
    assert world.done.count("delete workspace") == 1


@pytest.mark.parametrize(
    ("protected", "objects", "why"),
    [
        (True, [], "the table tally-test is protected from deletion"),
        (False, ["upload"], "the bucket inbox is not empty"),
        (True, ["upload"], "the table tally-test is protected from deletion and the bucket inbox is not empty"),
    ],
)
def test_protected_data_stops_a_destruction_before_anything_goes(
    world: World, destroy: Callable[..., Remains], protected: bool, objects: list[str], why: str
) -> None:
    world.protected, world.objects = protected, objects
    with pytest.raises(
        OperatorError, match=f"Nothing was destroyed: {why}. --delete-data destroys that too"
    ) as refused:
        destroy()
    assert refused.value.code == ExitCode.USAGE
    assert world.done == []
    destroy(delete_data=True)
    assert world.done[0] == "apply table bucket", "and nothing but what holds the data"


def test_a_bucket_that_may_go_with_what_is_in_it_does(world: World, destroy: Callable[..., Remains]) -> None:
    """A stage that may be thrown away needs no word more."""
    world.objects, world.force_destroy = ["upload"], True
    destroy()
    assert not [what for what in world.done if what.startswith("apply")]


def test_nothing_goes_when_the_operator_does_not_agree(world: World, destroy: Callable[..., Remains]) -> None:
    world.protected = True
    with pytest.raises(OperatorError, match=r"Nothing was destroyed\.$") as refused:
        destroy(delete_data=True, agree=False)
    assert (refused.value.code, world.done) == (ExitCode.NOT_AS_HOPED, [])


def test_a_local_stage_is_not_destroyed_but_taken_down(workspace: Workspace, destroy: Callable[..., Remains]) -> None:
    workspace.stage(STAGE).root.mkdir(parents=True)
    with pytest.raises(OperatorError, match=r"local stage .*: `tally down --stage test` removes it") as refused:
        destroy()
    assert refused.value.code == ExitCode.USAGE


def test_functions_that_terraforms_state_here_does_not_know_are_left_alone(
    world: World, workspace: Workspace, destroy: Callable[..., Remains]
) -> None:
    """They were deployed with another backend: to call the stage gone would be wrong, to delete half of it worse."""
    world.workspaces.remove(STAGE)
    with pytest.raises(OperatorError, match=r"Functions of stage test live .* destroy it from where it was deployed"):
        destroy()
    assert world.done == []
    assert not ChaliceProject(folder=workspace.repo / "app", stage=STAGE).deployed_file.exists()


def test_credentials_of_another_account_than_the_states_destroy_nothing(
    world: World, destroy: Callable[..., Remains], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There Terraform would find everything gone, and forget a stage that lives."""
    monkeypatch.setitem(globals(), "ARN", ARN.replace("000000000000", "111111111111"))
    world.outputs.clear()
    with pytest.raises(OperatorError, match="is in account 111111111111, region us-east-1 by Terraform's state"):
        destroy()
    assert world.done == []


def test_what_chalice_finds_gone_does_not_stop_it(
    world: World, workspace: Workspace, destroy: Callable[..., Remains], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes a function between the look and the deletion."""
    delete = ChaliceProject.delete

    def delete_late(project: ChaliceProject, runner: Any) -> None:
        with contextlib.suppress(ValueError):
            world.aws.functions.remove(f"arn:aws:lambda:us-east-1:000000000000:function:tally-{STAGE}-settle")
        delete(project, runner)

    monkeypatch.setattr(ChaliceProject, "delete", delete_late)
    destroy()
    assert _left(world, workspace) == []


def test_what_chalice_cannot_delete_stops_the_destruction(
    world: World, destroy: Callable[..., Remains], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions without their table would only fail."""

    def refuse(_project: ChaliceProject, _runner: Any) -> None:
        raise ChaliceError("AccessDenied")

    monkeypatch.setattr(ChaliceProject, "delete", refuse)
    with pytest.raises(ChaliceError, match="AccessDenied"):
        destroy()
    assert world.resources == ["table", "bucket", "queue"]


def test_a_mapping_that_no_record_names_does_not_stop_terraform(world: World, destroy: Callable[..., Remains]) -> None:
    """It has adopted it, and protects it; Chalice, which knows one mapping a function, leaves it."""
    destroy_first = [one for one in world.aws.mappings if one["UUID"] == "uuid-ingest"]
    world.aws.mappings.append({**destroy_first[0], "UUID": "uuid-extra", "EventSourceArn": f"{QUEUE}elsewhere"})
    destroy()
    assert [one["UUID"] for one in world.aws.mappings] == ["uuid-two"]


def test_what_is_protected_is_asked_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the state, which may be older; what is gone is not protected."""

    def versions(Bucket: str, MaxKeys: int) -> dict[str, Any]:  # noqa: N803
        if Bucket == "gone":
            raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectVersions")
        return {"Versions": [{}] * MaxKeys} if Bucket == "full" else {}

    def table(TableName: str) -> dict[str, Any]:  # noqa: N803
        if TableName == "gone":
            raise LookupError
        return {"Table": {"DeletionProtectionEnabled": TableName == "kept"}}

    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)
    stage: Any = SimpleNamespace(
        s3=SimpleNamespace(list_object_versions=versions),
        dynamodb=SimpleNamespace(describe_table=table, exceptions=exceptions),
    )
    assert [destruction._holds_objects(stage, name) for name in ("full", "bare", "gone")] == [True, False, False]
    assert [destruction._cannot_be_deleted(stage, name) for name in ("kept", "loose", "gone")] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "typed", "agreed"),
    [([], "test", True), ([], "prod", False), ([], "y", False), (["--yes"], "", True)],
)
def test_the_operator_agrees_by_typing_the_name_of_the_stage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    typed: str,
    agreed: bool,
) -> None:
    """A yes is typed too easily."""
    answers: list[bool] = []

    def ask(*_: Any, confirm: Callable[[], bool], **__: Any) -> Remains:
        answers.append(confirm())
        return Remains(stage=Any, record=Any, sources=SOURCES, entries=[], resources=[])  # type: ignore[arg-type]

    monkeypatch.setattr(stack_commands, "destroy_in_aws", ask)
    monkeypatch.setattr("sys.stdin", StringIO(f"{typed}\n"))
    assert run(["destroy", "--stage", STAGE, "--json", *arguments]) is ExitCode.OK
    assert answers == [agreed]
    assert json.loads(capsys.readouterr().out) == {"stage": STAGE, "functions": [], "resources": 0}
