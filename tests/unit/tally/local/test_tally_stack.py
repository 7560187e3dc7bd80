"""Bringing a local stage up: what is relied on, and when everything starts afresh."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

import pytest

from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Survey
from tally.errors import ChaliceError, OperatorError, TerraformError
from tally.local import localaws, queues
from tally.local.console import LocalConsole
from tally.local.localaws import Server
from tally.local.stack import LocalStack
from tally.output import Output, Step
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace
from tally.testing import configuration
from tally.tools import terraform
from tally.tools.chalice import ChaliceProject
from tests.unit.tally.deployed_stage import PLACE, STAGE, Aws, whole


@pytest.fixture
def stack(tmp_path: Path, output: Output) -> LocalStack:
    workspace = Workspace(repo=tmp_path, home=tmp_path / ".tally")
    stack = LocalStack(workspace=workspace, name="local", output=output, environ={})
    for name in ("infra/terraform.tfstate", "app/.chalice/deployed/local.json", "logs/tools.log", "outputs.json"):
        path = stack.folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return stack


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(pid=1, port=4567)
    monkeypatch.setattr(localaws, "running", lambda _folder: server)
    monkeypatch.setattr(localaws, "stop", lambda _folder: server)
    return server


def test_a_living_server_without_a_mark_is_relied_on(stack: LocalStack, living: Server) -> None:
    assert stack._usable_server() == living
    assert (stack.folder.infra / "terraform.tfstate").exists()


def test_an_interrupted_bring_up_starts_afresh(stack: LocalStack, living: Server, said: StringIO) -> None:
    stack.folder.unfinished.write_text("123")
    assert stack._usable_server() is None
    assert "An earlier bring-up was cut short: starting stage local afresh." in said.getvalue()
    assert not stack.folder.infra.exists()
    assert not stack.folder.app.exists()
    assert not stack.folder.unfinished.exists()
    assert (stack.folder.root / "logs/tools.log").exists()


def test_a_server_that_died_takes_the_state_with_it(stack: LocalStack, said: StringIO) -> None:
    assert stack._usable_server() is None
    assert "it keeps everything in memory: starting stage local afresh" in said.getvalue()
    assert not stack.folder.infra.exists()


@pytest.mark.parametrize("end", [LocalStack.down, LocalStack._usable_server], ids=["down", "afresh"])
def test_a_stage_that_goes_takes_its_console_with_it(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, end: Callable[[LocalStack], object]
) -> None:
    ended: list[str] = []

    def stop(console: LocalConsole) -> list[int]:
        ended.append(console.folder.name)
        return [7]

    monkeypatch.setattr(LocalConsole, "stop", stop)
    end(stack)
    assert ended == ["local"]


def test_taking_a_stage_down_tells_which_console_has_ended(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalConsole, "stop", lambda _console: [7])
    assert stack.down()["console"] == 7


def test_a_stage_that_never_was_says_nothing(tmp_path: Path, output: Output, said: StringIO) -> None:
    workspace = Workspace(repo=tmp_path, home=tmp_path / "home")
    assert LocalStack(workspace=workspace, name="local", output=output, environ={})._usable_server() is None
    assert said.getvalue() == ""


def test_an_error_of_terraform_leaves_no_mark_for_its_state_goes_on_from_there(stack: LocalStack) -> None:
    with pytest.raises(TerraformError), stack._marked_unfinished():
        raise TerraformError("no")
    assert not stack.folder.unfinished.exists()


def test_what_terraform_does_not_know_of_is_started_afresh_next_time(stack: LocalStack) -> None:
    """To take it over, as a deployment to AWS would be told, is no command of a local stage."""
    error = TerraformError("run `tally deploy --adopt`", detail="Error: creating S3 Bucket: BucketAlreadyOwnedByYou")
    with (
        pytest.raises(TerraformError, match="run this again: it starts afresh") as raised,
        stack._marked_unfinished(),
    ):
        raise error
    assert "--adopt" not in f"{raised.value}"
    assert stack._usable_server() is None
    assert not stack.folder.infra.exists()


@pytest.mark.parametrize("error", [ChaliceError("no"), KeyboardInterrupt()])
def test_an_error_of_chalice_and_an_interrupt_leave_the_mark(stack: LocalStack, error: BaseException) -> None:
    with pytest.raises(type(error)), stack._marked_unfinished():
        raise error
    assert stack.folder.unfinished.exists()


def test_taking_down_what_is_not_up_is_fine(tmp_path: Path, output: Output) -> None:
    workspace = Workspace(repo=tmp_path, home=tmp_path / "home")
    down = LocalStack(workspace=workspace, name="local", output=output, environ={}).down()
    assert down == {"stage": "local", "stopped": None, "console": None, "removed": None}


def test_taking_down_removes_the_folder(stack: LocalStack, living: Server) -> None:
    root = stack.folder.root
    assert stack.down() == {"stage": "local", "stopped": 1, "console": None, "removed": str(root)}
    assert not root.exists()


def test_a_local_stage_has_no_alarms_and_as_many_workers_as_fit_unless_told(stack: LocalStack) -> None:
    variables = stack._all_variables()
    assert (variables["alarms"], variables["dashboard"]) == (False, False)
    assert set(variables["function_overrides"]) == set(configuration.queues().values()), "as functions.tf has them"
    assert replace(stack, variables={"alarms": True})._all_variables()["alarms"] is True


@pytest.mark.parametrize(
    ("told", "rules"),
    [({}, False), ({"inbox_lifecycle_rules": True}, True), ({"object_expiration_days": 60}, True)],
)
def test_a_local_stage_waits_for_no_lifecycle_rules_unless_told(
    stack: LocalStack, told: dict[str, object], rules: bool
) -> None:
    """Uploads that are to expire need the rules: without them Terraform refuses the number of days."""
    assert replace(stack, variables=told)._all_variables()["inbox_lifecycle_rules"] is rules


@pytest.mark.parametrize("iam", [True, False])
def test_a_stage_enforces_policies_only_when_told(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, iam: bool
) -> None:
    started: list[bool] = []

    def start(*_: object, iam: bool, **__: object) -> Server:
        started.append(iam)
        return Server(pid=1, port=4567)

    monkeypatch.setattr(localaws, "start", start)
    monkeypatch.setattr(LocalStack, "_deploy", lambda *_: None)
    monkeypatch.setattr(LocalStack, "_record", lambda *_: None)
    monkeypatch.setattr("tally.local.stack._stamp", lambda *_: "")
    monkeypatch.setattr(terraform, "require", lambda _environ: "1.11.4")
    for folder in ("infra", "app"):
        (stack.workspace.repo / folder).mkdir()
    replace(stack, iam=iam).up(None)
    assert started == [iam]


def test_a_stage_that_runs_without_policies_is_not_taken_for_one_that_enforces_them(
    stack: LocalStack, living: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform, "require", lambda _environ: "1.11.4")
    monkeypatch.setattr(LocalStack, "_holds_table", lambda *_: True)
    for folder in ("infra", "app"):
        (stack.workspace.repo / folder).mkdir()
    with pytest.raises(OperatorError, match="runs without IAM: run `tally down --stage local` first"):
        replace(stack, iam=True).up(None)


def test_a_stage_that_is_current_is_deployed_again_when_a_mapping_is_gone(
    stack: LocalStack, living: Server, monkeypatch: pytest.MonkeyPatch, said: StringIO
) -> None:
    """Nothing of the sources has changed, but somebody deleted what they made; also after a kill."""
    aws, deployed = Aws(whole()), []

    def deploy(stack: LocalStack, *_: object) -> Stage:
        deployed.append(stack.name)
        return Stage(name=STAGE, resources=Resources(table="t", inbox_bucket="inbox"))

    def killed(*_: object) -> Stage:
        raise KeyboardInterrupt

    survey = Survey(place=PLACE, client=aws.client, sleep=aws.sleep)
    monkeypatch.setattr(DeployedRecord, "of", lambda _, path, say: DeployedRecord(path=path, survey=survey, say=say))
    monkeypatch.setattr(ChaliceProject, "environment", lambda _project: dict(os.environ))
    monkeypatch.setattr(LocalStack, "_holds_table", lambda *_: True)
    monkeypatch.setattr(LocalStack, "_deploy", deploy)
    monkeypatch.setattr(terraform, "require", lambda _environ: "1.11.4")
    for folder in ("infra", "app"):
        (stack.workspace.repo / folder).mkdir()
    stack = replace(stack, name=STAGE)
    Resources(table="t", inbox_bucket="inbox").save(stack.folder.outputs)
    stack.up(None)
    stack.up(None)
    assert deployed == [STAGE], "the first time"
    aws.mappings = [mapping for mapping in aws.mappings if mapping["UUID"] != "uuid-finish"]
    monkeypatch.setattr(LocalStack, "_deploy", killed)
    with pytest.raises(KeyboardInterrupt):
        stack.up(None)
    assert "removed finish-sqs-event-source" in said.getvalue()
    monkeypatch.setattr(LocalStack, "_deploy", deploy)
    stack.up(None)
    stack.up(None)
    assert deployed == [STAGE, STAGE], "although the record is true by now"


@dataclass(frozen=True, slots=True)
class Tools:
    """A deployer and its Terraform that note what Terraform would import, apply by apply."""

    stack: LocalStack
    imports: list[object] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[tuple[Step, "Tools"]]:
        with self.stack.output.step(what) as step:
            yield step, self

    def init(self) -> None:
        pass

    def planned(self, _variables: object, _plan_file: Path) -> list[terraform.Resource]:
        return [terraform.Resource(address="aws_sqs_queue.this", type="aws_sqs_queue", values={"name": "work"})]

    def provision(self) -> Resources:
        adopted = self.stack.folder.infra / queues.ADOPTED
        self.imports.append(json.loads(adopted.read_text())["import"] if adopted.exists() else None)
        return Resources(table="t", inbox_bucket="inbox")

    def deploy(self, _stage: Stage) -> None:
        pass


def test_only_a_first_bring_up_has_terraform_adopt_queues(
    stack: LocalStack, living: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later ones would import what Terraform has, or what an operator has it destroy."""
    tools = Tools(stack)
    monkeypatch.setattr(LocalStack, "_deployer", lambda *_, **__: tools)
    monkeypatch.setattr(queues, "make", lambda _sqs, planned: {one.address: "url" for one in planned})
    for folder in ("infra", "app"):
        (stack.workspace.repo / folder).mkdir()
    stack.folder.outputs.unlink()
    stack._deploy(living, 0)
    stack._deploy(living, 0)
    assert tools.imports == [[{"to": "aws_sqs_queue.this", "id": "url"}], None]
