"""The local stack: the local AWS of one stage, with the stage deployed in it."""

import contextlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tally.deploy import preflight
from tally.deploy.deployer import Deployer
from tally.deploy.record import DeployedRecord
from tally.deploy.survey import Sources
from tally.errors import ExitCode, OperatorError, TerraformError
from tally.local import localaws, queues
from tally.local.console import LocalConsole
from tally.local.localaws import Server
from tally.output import Output
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import SOURCES, StageFolder, Workspace, exclusive, fingerprint, mirror
from tally.tools import causes, terraform
from tally.tools.chalice import ChaliceProject, runs_lambda_wheels
from tally.tools.subprocess import Runner

VARIABLES_FILE = "stage.auto.tfvars.json"
"""The variables of a local stage, in its copy of ``infra/``."""
_QUEUE_FUNCTIONS = ("ingest", "process", "process_heavy", "finish", "export", "save")
"""The consumer of each queue, as ``queue_consumers`` in infra/functions.tf has it: a test compares the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """The local AWS of one stage, with the stage deployed in it."""

    workspace: Workspace
    name: str
    output: Output
    environ: Mapping[str, str]
    variables: Mapping[str, Any] = field(default_factory=dict)
    iam: bool = False

    @property
    def folder(self) -> StageFolder:
        """Return the stage's folder."""
        return self.workspace.stage(self.name)

    @property
    def console(self) -> LocalConsole:
        """Return the stage's console in the background."""
        return LocalConsole(folder=self.folder, workspace=self.workspace, environ=self.environ)

    def up(self, port: int | None) -> Stage:
        """Bring the stage up, or find it up; afterwards it runs the present sources.

        Raises before anything is changed when a job does not load.
        A bring-up that was cut short, and a local AWS that is gone (it keeps everything in memory), start afresh.
        """
        with self.brought_up(port) as stage:
            return stage

    @contextlib.contextmanager
    def brought_up(self, port: int | None) -> Iterator[Stage]:
        """Bring the stage up as ``up`` does; during the block no other ``tally`` changes it."""
        self.workspace.require_sources()
        terraform.require(self.environ)
        with self.output.step("preflight: jobs") as step:
            jobs = preflight.require_jobs(self.workspace)
            jobs.require_results_table(self.variables)
            step.note = str(jobs)
        lock = self.workspace.lock_file(self.name)
        with exclusive(lock, what=f"stage {self.name}", say=self.output.say) as held:
            yield self._up(port, held)

    def down(self) -> dict[str, Any]:
        """Stop the local AWS and remove the stage's folder; neither need exist."""
        lock = self.workspace.lock_file(self.name)
        with exclusive(lock, what=f"stage {self.name}", say=self.output.say):
            existed = self.folder.exists
            consoles = self.console.stop()
            server = localaws.stop(self.folder)
            self.folder.wipe()
        return {
            "stage": self.name,
            "stopped": server.pid if server else None,
            "console": consoles[0] if consoles else None,
            "removed": str(self.folder.root) if existed else None,
        }

    def _up(self, port: int | None, held: int) -> Stage:
        server = self._usable_server()
        if server and port not in (None, server.port):
            raise OperatorError(
                f"Stage {self.name} runs on port {server.port}: leave --port out, or run "
                f"`tally down --stage {self.name}` first.",
                code=ExitCode.USAGE,
            )
        if server and self.iam and not server.certificate:
            raise OperatorError(
                f"Stage {self.name} runs without IAM: run `tally down --stage {self.name}` first.", code=ExitCode.USAGE
            )
        sources = [self.workspace.repo / name for name in SOURCES]
        current = fingerprint(sources, *self._deciders())
        if server and (resources := Resources.read(self.folder.outputs)):
            stage = Stage(name=self.name, resources=resources, server=server)
            record = self._record(stage)
            record.repair(Sources.of(self._project.environment()))
            if _read(self.folder.fingerprint) == _stamp(current, record):
                self.output.say(f"Stage {self.name} is up and current: {server.endpoint}")
                return stage
        if server is None:
            with self.output.step("local AWS: start") as step:
                server = localaws.start(self._fresh_folder(), port=port, iam=self.iam)
                step.note = f"{server.endpoint}, process {server.pid}"
        stage = self._deploy(server, held)
        self.folder.fingerprint.write_text(_stamp(current, self._record(stage)), encoding="utf-8")
        self.output.say(f"Stage {self.name} is up: {server.endpoint}")
        return stage

    @property
    def _project(self) -> ChaliceProject:
        return ChaliceProject(folder=self.folder.app, stage=self.name)

    def _record(self, stage: Stage) -> DeployedRecord:
        return DeployedRecord.of(stage, self._project.deployed_file, say=self.output.say)

    def _usable_server(self) -> Server | None:
        """Return the running server if its content can be relied on; else remove the rest of the stage."""
        folder = self.folder
        if not folder.exists:
            return None
        server = localaws.running(folder)
        if folder.unfinished.exists():
            reason = "An earlier bring-up was cut short"
        elif server is None:
            reason = "The local AWS is not running any more, and it keeps everything in memory"
        elif not self._holds_table(server):
            reason = "The local AWS has lost the table"
        else:
            return server
        self.output.say(f"{reason}: starting stage {self.name} afresh.")
        self.console.stop()
        localaws.stop(folder)
        self._keep_log_and_wipe()
        return None

    def _keep_log_and_wipe(self) -> None:
        """Remove the stage's state, but keep its logs, which may say why it ended."""
        for path in self.folder.root.iterdir():
            if path.name == "logs":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _holds_table(self, server: Server) -> bool:
        """Tell whether the table of Terraform's outputs exists; true before there are outputs."""
        resources = Resources.read(self.folder.outputs)
        if resources is None:
            return True
        try:
            Stage(name=self.name, resources=resources, server=server).dynamodb.describe_table(TableName=resources.table)
        except (ClientError, BotoCoreError):
            return False
        return True

    def _fresh_folder(self) -> StageFolder:
        self.folder.root.mkdir(parents=True, exist_ok=True)
        return self.folder

    def _deploy(self, server: Server, held: int) -> Stage:
        folder = self.folder
        for name in SOURCES:
            mirror(self.workspace.repo / name, folder.root / name)
        # In a file, not on command lines, so that Terraform run by hand in the stage's folder has them too.
        (folder.infra / VARIABLES_FILE).write_text(json.dumps(self._all_variables()), encoding="utf-8")
        native = runs_lambda_wheels(platform.system(), platform.machine())
        if not native:
            # Wheels for Lambda do not load here; the functions find their requirements beside this interpreter instead.
            (folder.app / "requirements.txt").write_text("", encoding="utf-8")
            self.output.say("Not Linux on x86-64: the local functions use this environment's packages.")
        deployer = self._deployer(server, held, native=native)
        with self._marked_unfinished():
            # The local stages share the provider's folder, so one stage at a time installs it.
            lock = self.workspace.lock_file("terraform")
            with exclusive(lock, what="the provider of local stages", say=self.output.say):
                deployer.init()
            if Resources.read(folder.outputs) is None:
                self._make_queues(deployer, server)
            resources = deployer.provision()
            stage = Stage(name=self.name, resources=resources, server=server)
            deployer.deploy(stage)
            resources.save(folder.outputs)
        return stage

    def _make_queues(self, deployer: Deployer, server: Server) -> None:
        """Make the queues of a stage that comes up for the first time, and have Terraform import them."""
        sqs = Stage(name=self.name, resources=Resources(table="", inbox_bucket=""), server=server).client("sqs")
        with deployer.step("queues, as Terraform plans them") as (step, tool):
            urls = queues.make(sqs, tool.planned({}, self.folder.plan))
            step.note = f"{len(urls)} made, for Terraform to adopt"
        (self.folder.infra / queues.ADOPTED).write_text(queues.import_blocks(urls), encoding="utf-8")

    def _deployer(self, server: Server, held: int, *, native: bool) -> Deployer:
        env = tools_environment(self.workspace, self.folder, server, self.environ)
        return Deployer(
            infra=self.folder.infra,
            project=self._project,
            runner=Runner(env=env, log=self.folder.tools_log, keep_open=(held,)),
            variables={},
            output=self.output,
            lambda_wheels=native,
        )

    @contextlib.contextmanager
    def _marked_unfinished(self) -> Iterator[None]:
        """Leave a mark unless the block succeeds, or fails in Terraform, whose state continues from there.

        A Terraform that was killed has made what its state does not know. A local stage keeps nothing, so that the
        next bring-up, which finds the mark, need not take it over.
        """
        mark = self.folder.unfinished
        mark.write_text(f"{os.getpid()}\n", encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            self.folder.fingerprint.unlink()
        try:
            yield
        except TerraformError as error:
            if causes.exists_already(error.detail):
                raise TerraformError(
                    f"An earlier bring-up of the local stage {self.name} was killed, and Terraform does not know all "
                    "that it made",
                    hint="run this again: it starts afresh",
                    detail=error.detail,
                ) from error
            mark.unlink()
            raise
        mark.unlink()

    def _deciders(self) -> tuple[str, ...]:
        """Return the values, beside the sources, that decide what is deployed."""
        tools = [f"{name} {version(name)}" for name in ("ministack", "chalice")]
        return sys.version, *tools, json.dumps(self._all_variables(), sort_keys=True)

    def _all_variables(self) -> dict[str, Any]:
        """Return Terraform's variables: the caller's over the defaults for one machine.

        Every concurrent invocation is a process here that starts an interpreter: more of them than cores get in
        each other's way, and a burst of a hundred brings the machine to a halt. Nothing here measures a queue, so
        alarms and a dashboard would be of no use. Nothing here expires an upload either, and the provider would wait
        55 s for the rules.
        """
        processes = {"maximum_concurrency": max(2, os.cpu_count() or 1)}
        overrides = dict.fromkeys(_QUEUE_FUNCTIONS, processes)
        suited = {
            "force_destroy": True,
            "alarms": False,
            "dashboard": False,
            "object_settling_minutes": 0,
            "inbox_lifecycle_rules": bool(self.variables.get("object_expiration_days")),
            "function_overrides": overrides,
        }
        return suited | dict(self.variables) | {"stage": self.name}


def tools_environment(
    workspace: Workspace, folder: StageFolder, server: Server, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment for Terraform and Chalice on a local stage."""
    return localaws.environment(server, environ) | {
        "AWS_DATA_PATH": str(localaws.models(folder)),
        "TF_DATA_DIR": str(workspace.terraform_data),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }


def _stamp(sources: str, record: DeployedRecord) -> str:
    """Return the mark of a deployment of these sources; it changes when the record of the deployment is repaired."""
    entries = sorted(record.entries(), key=itemgetter("name"))
    return fingerprint([], sources, json.dumps(entries, sort_keys=True))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
