"""`tally deploy` and `tally destroy`, with a local AWS in the place of the real one.

What was cut short, lost or changed by hand is repaired; no mapping that lives is destroyed, and batches end exactly.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.handlers import HANDLERS
from tally.local import localaws
from tally.stages.workspace import StageFolder
from tests.e2e.conftest import OVERRIDES, Tally, wait_for

pytestmark = pytest.mark.e2e
STAGE = "recovery"
PREFIX = f"tally-{STAGE}-"
ROWS = 200
CONTENT = b"office_id,user_count,contract_count\n" + b"A,1,2\n" * ROWS
BY_TERRAFORM = 4
"""Mappings of dead_letters that Terraform makes itself: three dead letter queues, and what plan gave up on."""


@dataclass(frozen=True, kw_only=True)
class Deployments(Tally):
    """A checkout of its own, and an account that its tools take for AWS."""

    server: localaws.Server
    models: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of an operator with credentials and a region."""
        aws = localaws.environment(self.server, super().environ)
        aws |= {"AWS_DATA_PATH": str(self.models), "TALLY_HOME": str(self.home)}
        del aws["AWS_DEFAULT_REGION"]  # the docs ask for AWS_REGION alone
        return aws

    @property
    def record(self) -> Path:
        """Chalice's record of the stage."""
        return self.repo / "app" / ".chalice" / "deployed" / f"{STAGE}.json"

    def client(self, service: str) -> Any:
        """Return a client of the account."""
        credentials = {"aws_access_key_id": localaws.CREDENTIAL, "aws_secret_access_key": localaws.CREDENTIAL}
        return boto3.client(  # type: ignore[call-overload]
            service, endpoint_url=self.server.endpoint, region_name=localaws.REGION, **credentials
        )

    def mappings(self) -> dict[str, str]:
        """Return the functions of the mappings that live, by UUID."""
        found = self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        return {one["UUID"]: one["FunctionArn"].rpartition(PREFIX)[2] for one in found}

    def mapping(self, handler: str) -> str:
        """Return the UUID of a handler's only mapping."""
        (uuid,) = [uuid for uuid, name in self.mappings().items() if name == handler]
        return uuid

    def functions(self) -> set[str]:
        """Return the functions that live."""
        return {one["FunctionName"] for one in self.client("lambda").list_functions()["Functions"]}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command for the stage."""
        argv = [sys.executable, "-m", "tally", *arguments, "--stage", STAGE]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=self.environ, cwd=self.repo, stdout=pipe, stderr=pipe, encoding="utf-8")

    def deploy(self) -> str:
        """Deploy, and return what was said."""
        done = self.run("deploy", "--yes")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def terraform(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Terraform by hand where the stage was deployed from."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.repo / "infra",
            env=self.environ,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def left(self) -> list[str]:
        """Return what there is of the stage, in the account and in the checkout."""
        names = [
            *self.functions(),
            *self.mappings(),
            *self.client("dynamodb").list_tables()["TableNames"],
            *(one["Name"] for one in self.client("s3").list_buckets()["Buckets"]),
            *self.client("sqs").list_queues().get("QueueUrls", []),
            *(one["RoleName"] for one in self.client("iam").list_roles()["Roles"]),
            *(one["Name"] for one in self.client("events").list_rules()["Rules"]),
            *(one["logGroupName"] for one in self.client("logs").describe_log_groups()["logGroups"]),
        ]
        files = [*(self.home / "aws").iterdir(), *self.record.parent.iterdir()]
        workspaces = self.terraform("workspace", "list").stdout.split()
        return [name for name in (*names, *map(str, files), *workspaces) if STAGE in name]

    def kill(self, tool: str) -> None:
        """Kill the tool that works on this checkout, by a part of its command line, without a warning."""
        shown = subprocess.run(
            ["ps", "-axww", "-o", "pid=,command="], capture_output=True, encoding="utf-8", check=True
        )
        (pid,) = [int(line.split()[0]) for line in shown.stdout.splitlines() if tool in line]
        os.kill(pid, signal.SIGKILL)

    def kill_chalice(self) -> None:
        """Kill the Chalice that deploys."""
        self.kill(f"--project-dir {self.repo / 'app'} deploy")

    def kill_terraform(self) -> None:
        """Kill the Terraform that applies the plan."""
        self.kill(f"terraform apply -input=false -no-color {self.home / 'aws' / STAGE}.tfplan")

    def cut_short(self, step: str, how: Callable[[subprocess.Popen[str]], object]) -> tuple[int, str]:
        """Deploy until a step begins, do that to it, and return its exit status and all that it wrote."""
        deploying = self.start("deploy", "--yes")
        assert deploying.stdout is not None
        said = ""
        for line in deploying.stdout:
            said += line
            if line.startswith(f"-> {step}"):
                how(deploying)
                break
        rest, errors = deploying.communicate()
        return deploying.returncode, said + rest + errors

    def upload(self, name: str) -> str:
        """Upload a file and return its batch's id."""
        path = self.home / name
        path.write_bytes(CONTENT)
        return str(self.json("submit", str(path), "--job", "offices")["id"])

    def check_batch(self, batch_id: str) -> None:
        """Check that a batch ends exactly."""
        assert self.json("status", batch_id, "--watch", "--timeout", "300")["succeeded"] == ROWS
        assert self.json("audit", batch_id)["exact"] is True

    def check(self) -> None:
        """Check that nothing is left to do, every mapping of Chalice's is adopted, and a batch ends exactly."""
        plan = self.terraform("plan", "-detailed-exitcode", "-no-color", "-var", f"stage={STAGE}")
        assert plan.returncode == 0, plan.stdout
        state = self.terraform("state", "list").stdout
        adopted = {line.partition(":")[2][:36] for line in state.splitlines() if line.startswith("module.mapping[")}
        live = self.mappings()
        assert adopted <= set(live)
        by_chalice = len(set(HANDLERS) - {"plan", "reconcile"})  # S3 and the schedule invoke these
        assert (len(adopted), len(live)) == (by_chalice, by_chalice + BY_TERRAFORM)
        recorded = json.loads(self.record.read_text())["resources"]
        assert {entry["event_uuid"] for entry in recorded if "event_uuid" in entry} == adopted
        self.check_batch(self.upload(f"{len(list(self.home.iterdir()))}.csv"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    """Start the account, and deploy into it for the first time, with a kill before Chalice has written its record."""
    home = tmp_path_factory.mktemp("deployments")
    account = StageFolder(name="account", root=home / "account")
    account.root.mkdir()
    original, checkout = Path(__file__).resolve().parents[2], home / "checkout"
    for folder in ("tally", "app", "infra"):
        ignored = shutil.ignore_patterns(
            ".terraform*", "terraform.tfstate*", ".chalice", "__pycache__", "*.auto.tfvars*"
        )
        shutil.copytree(original / folder, checkout / folder, ignore=ignored)
    variables = {"alarms": False, "dashboard": False, "function_overrides": OVERRIDES}
    (checkout / "infra" / "recovery.auto.tfvars.json").write_text(json.dumps(variables))
    made = Deployments(
        home=home,
        repo=checkout,
        name=STAGE,
        server=localaws.start(account, port=None),
        models=localaws.models(account),
    )
    try:
        yield made
    finally:
        localaws.stop(account)


def test_a_first_apply_that_is_killed_is_resumed_with_what_no_state_knows(stage: Deployments) -> None:
    """A killed Terraform loses what it had in the making, with a remote state all of the last seconds."""
    returned, said = stage.cut_short("terraform apply: table", lambda _: _kill_with_queues_in_the_making(stage))
    assert returned == 3, said
    assert "failed terraform apply: table" in said
    lost = [
        "module.table.aws_dynamodb_table.this[0]",
        "module.inbox.aws_s3_bucket.this[0]",
        'module.role["plan"].aws_iam_role.this',
        'module.role["plan"].aws_cloudwatch_log_group.this',
        "module.completion.aws_cloudwatch_event_bus.this",
    ]
    removed = stage.terraform("state", "rm", *lost)
    # Killed while it wrote its state, Terraform has lost all of it: these too.
    assert removed.returncode == 0 or "No state file was found" in removed.stderr, removed.stderr
    returned, said = stage.cut_short("terraform apply: table", lambda deploying: deploying.send_signal(signal.SIGINT))
    assert returned == 130, said
    assert "UTC was cut short: continuing it." in said
    assert all(f"Terraform's state: {address} exists, adopting " in said for address in lost), said
    assert "interrupted terraform apply: table" in said
    assert "Run the same command again: it continues from there" in said


def _kill_with_queues_in_the_making(stage: Deployments) -> None:
    """Kill Terraform while its provider waits for queues that it has made, and everything else is there."""
    sqs, logs = stage.client("sqs"), stage.client("logs")
    wait_for(lambda: len(sqs.list_queues().get("QueueUrls", [])) >= 2, what="queues")
    wait_for(lambda: len(logs.describe_log_groups()["logGroups"]) == len(HANDLERS), what="log groups")
    wait_for(lambda: "module.inbox.aws_s3_bucket.this" in stage.terraform("state", "list").stdout, what="a bucket")
    stage.kill_terraform()


def test_a_chalice_that_is_killed_is_resumed(stage: Deployments) -> None:
    """Chalice has made functions and mappings that no record names when it is killed, and then its parent is."""

    def kill_with_mappings(_: object) -> None:
        wait_for(lambda: len(stage.mappings()) >= 2, what="mappings")
        stage.kill_chalice()

    returned, said = stage.cut_short("chalice deploy", kill_with_mappings)
    assert returned == 3, said
    assert "chalice deploy failed" in said
    assert not stage.record.exists()
    made = stage.mappings()
    returned, said = stage.cut_short("chalice deploy", lambda deploying: deploying.kill())
    assert returned == -signal.SIGKILL, said
    assert "Chalice's record: added plan-s3event" in said
    assert all(uuid in said for uuid in made)
    assert set(made) <= set(stage.mappings())


def test_a_last_apply_that_is_killed_is_resumed(stage: Deployments) -> None:
    """Its mappings of dead letters are in no state then, and Lambda would refuse to make them again."""
    returned, said = stage.cut_short(
        "terraform apply: settings", lambda deploying: deploying.send_signal(signal.SIGINT)
    )
    assert returned == 130, said
    said = stage.deploy()
    assert "UTC was cut short: continuing it." in said
    states = stage.terraform("state", "list").stdout.splitlines()
    lost = next(address for address in states if ".dead_letters[" in address)
    removed = stage.terraform("state", "rm", lost)
    assert removed.returncode == 0, removed.stderr
    adopted = stage.run("deploy", "--yes", "--adopt")
    assert adopted.returncode == 0, adopted.stderr
    assert f"Terraform's state: {lost} exists, adopting " in adopted.stdout
    assert f"tally submit sample.csv --job transactions --stage {STAGE} --watch" in adopted.stdout
    planned = stage.run("deploy", "--plan").stdout.splitlines()[-1]
    assert planned.startswith("No changes.")
    assert planned.endswith("Nothing was deployed.")
    stage.check()


def test_mappings_deleted_and_made_by_hand_and_a_changed_stream_are_repaired(stage: Deployments) -> None:
    """A batch that was uploaded meanwhile ends exactly as well."""
    lambda_, dynamodb, table = stage.client("lambda"), stage.client("dynamodb"), f"tally-{STAGE}"
    old = {handler: stage.mapping(handler) for handler in ("ingest", "finish", "process_heavy", "dispatch", "settle")}
    lambda_.delete_event_source_mapping(UUID=old["ingest"])
    chalice = str(Path(sys.executable).parent / "chalice")
    by_hand = subprocess.run(
        [chalice, "deploy", "--stage", STAGE],
        cwd=stage.repo / "app",
        env=stage.environ | {"AWS_DEFAULT_REGION": localaws.REGION, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert by_hand.returncode == 0, by_hand.stderr
    again = stage.mapping("ingest")
    lambda_.delete_event_source_mapping(UUID=old["process_heavy"])
    by_hand = stage.terraform("apply", "-auto-approve", "-no-color", "-var", f"stage={STAGE}")
    assert by_hand.returncode == 0, by_hand.stderr
    lambda_.delete_event_source_mapping(UUID=old["finish"])
    batch_id = stage.upload("meanwhile.csv")
    for specification in ({"StreamEnabled": False}, {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}):
        dynamodb.update_table(TableName=table, StreamSpecification=specification)
    stream = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    said = stage.deploy()
    assert f"Chalice's record: removed finish-sqs-event-source ({old['finish']}), which is gone." in said
    assert f"dispatch: deleting its mapping {old['dispatch']}" in said
    assert stage.mapping("ingest") == again != old["ingest"]
    assert f'{old["process_heavy"]}"].aws_lambda_event_source_mapping.this is mapping' in said
    for handler in ("dispatch", "settle"):
        found = lambda_.get_event_source_mapping(UUID=stage.mapping(handler))
        assert (found["EventSourceArn"], found["UUID"] == old[handler]) == (stream, False)
    stage.check_batch(batch_id)
    stage.check()


def test_a_lost_record_costs_no_mapping(stage: Deployments) -> None:
    """What a plan without it would destroy stays; Chalice updates what it would have made again."""
    before = stage.mappings()
    stage.record.unlink()
    said = stage.deploy()
    assert all(f"({uuid})" in said for uuid in before if before[uuid] != "dead_letters")
    assert stage.mappings() == before
    stage.check()


def test_a_stage_is_destroyed_when_told_so_twice_and_after_a_kill(stage: Deployments) -> None:
    """Data is protected until it is said that it goes too; a destruction that was killed is continued."""
    refused = stage.run("destroy", "--yes")
    assert (refused.returncode, len(stage.functions())) == (2, len(HANDLERS)), refused.stdout
    assert f"the table tally-{STAGE} is protected from deletion" in refused.stderr
    assert f"the bucket tally-{STAGE}-inbox-000000000000 is not empty" in refused.stderr
    killed = stage.start("destroy", "--yes", "--delete-data")
    wait_for(lambda: len(stage.functions()) < len(HANDLERS) or killed.poll() is not None, what="a deletion")
    killed.kill()
    said, errors = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, f"{said}\n{errors}"
    done = stage.run("destroy", "--yes", "--delete-data")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert stage.left() == []
    again = stage.json("destroy", "--yes")
    assert again == {"stage": STAGE, "functions": [], "resources": 0}
