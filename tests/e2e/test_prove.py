"""`tally prove` in its small form: few rows, the main probes, and nothing left, also if interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tally.local import localaws
from tally.stages.workspace import StageFolder, alive
from tests.e2e.conftest import Tally, wait_for

pytestmark = pytest.mark.e2e

PROBES = (
    "first-upload",
    "odd-keys",
    "rejected-rows",
    "overwritten",
    "faults",
    "throttled",
    "redrive",
    "results",
    "events",
    "alarm",
)


@pytest.fixture
def nowhere(tmp_path: Path) -> Tally:
    """Return a command line that knows no stage."""
    return Tally(home=tmp_path / "home", repo=Path(__file__).resolve().parents[2], name="small")


def servers(home: Path) -> list[int]:
    """Return the local AWSs that `tally prove` has brought up there."""
    return [int(json.loads(path.read_text())["pid"]) for path in home.glob("proving/*/*/server.json")]


def left(home: Path) -> list[Path]:
    """Return the stages that `tally prove` has left there; locks are no stage."""
    return [path for path in home.glob("proving/*") if path.is_dir()]


def test_every_probe_that_a_local_aws_can_answer_passes_and_nothing_is_left(nowhere: Tally) -> None:
    out = nowhere.home.parent / "report.md"
    chosen = [word for name in PROBES for word in ("--probe", name)]
    done = nowhere.run("prove", "--rows", "300", *chosen, "--out", str(out), "--json")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = json.loads(done.stdout)
    verdicts = {probe["probe"]: probe["verdict"] for probe in said["probes"]}
    assert verdicts == dict.fromkeys(PROBES, "passed") | {"throttled": "only on AWS"}
    assert said["passed"]
    assert all(f"| {name} |" in out.read_text() for name in PROBES)
    assert left(nowhere.home) == []


def test_a_run_that_is_killed_is_cleaned_up_by_the_next_and_one_that_is_told_to_end_by_itself(nowhere: Tally) -> None:
    command = [sys.executable, "-m", "tally", "prove", "--stage", "small", "--probe", "first-upload"]

    def begin() -> tuple[subprocess.Popen[bytes], int]:
        running = subprocess.Popen(
            command, env=nowhere.environ, cwd=nowhere.repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return running, wait_for(lambda: servers(nowhere.home), what="a local AWS")[0]

    killed, first = begin()
    killed.kill()
    killed.wait()
    assert alive(first)
    cleaned = nowhere.run("prove", "--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert left(nowhere.home) == []
    told, second = begin()
    os.kill(told.pid, signal.SIGTERM)
    assert told.wait() != 0
    assert left(nowhere.home) == []
    # Their parents are dead: the system may take a moment to forget them.
    wait_for(lambda: not alive(first) and not alive(second), what="the local AWSs to be gone")


@dataclass(frozen=True, kw_only=True)
class InAws(Tally):
    """The command line of somebody whose tools take a local AWS for their account."""

    server: localaws.Server
    models: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of an operator with credentials and a region."""
        aws = localaws.environment(self.server, super().environ)
        return aws | {"AWS_DATA_PATH": str(self.models), "TALLY_HOME": str(self.home)}

    def made(self) -> dict[str, list[Any]]:
        """Return what there is in the account that costs or holds something."""
        keys = {"aws_access_key_id": localaws.CREDENTIAL, "aws_secret_access_key": localaws.CREDENTIAL}

        def ask(service: str, call: str, field: str) -> list[Any]:
            client = boto3.client(service, endpoint_url=self.server.endpoint, region_name=localaws.REGION, **keys)  # type: ignore[call-overload]
            return list(getattr(client, call)().get(field, []))

        return {
            field: ask(service, call, field)
            for service, call, field in (
                ("dynamodb", "list_tables", "TableNames"),
                ("s3", "list_buckets", "Buckets"),
                ("sqs", "list_queues", "QueueUrls"),
                ("lambda", "list_functions", "Functions"),
                ("lambda", "list_event_source_mappings", "EventSourceMappings"),
                ("sns", "list_topics", "Topics"),
                ("iam", "list_roles", "Roles"),
                ("logs", "describe_log_groups", "logGroups"),
                ("cloudwatch", "describe_alarms", "MetricAlarms"),
            )
        }


@pytest.fixture
def in_aws(tmp_path: Path) -> Iterator[InAws]:
    """Start an account."""
    account = StageFolder(name="account", root=tmp_path / "account")
    account.root.mkdir()
    made = InAws(
        home=tmp_path / "home",
        repo=Path(__file__).resolve().parents[2],
        name="small",
        server=localaws.start(account, port=None),
        models=localaws.models(account),
    )
    try:
        yield made
    finally:
        localaws.stop(account)


def test_the_same_command_proves_a_stage_in_an_account_and_leaves_it_as_it_was(in_aws: InAws) -> None:
    before = in_aws.made()
    done = in_aws.run(
        "prove", "--aws", "--yes", "--rows", "300", "--probe", "first-upload", "--probe", "alarm", "--json"
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert [probe["verdict"] for probe in json.loads(done.stdout)["probes"]] == ["passed", "passed"]
    assert in_aws.made() == before
    assert left(in_aws.home) == []
