"""What must be right before a deployment changes anything: tools, sources, jobs, credentials, region."""

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, InvalidRegionError

from tally.errors import OperatorError
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace
from tally.tools import terraform

_HOW = "aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
_UNSAVED_STATE = "errored.tfstate"
"""Where Terraform writes a state that its backend did not take."""

_LOAD_JOBS = """
from chalicelib import jobs
for name in jobs.names():
    try:
        jobs.require(name)
    except Exception as error:
        raise SystemExit(f"{name}.py: {type(error).__name__}: {error}")
print(", ".join(jobs.names()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the caller's credentials lead."""

    id: str
    region: str

    def __str__(self) -> str:
        """Return it as the operator reads it."""
        return f"account {self.id}, region {self.region}"

    def stage(self, name: str) -> Stage:
        """Return a stage there of whose resources nothing is known yet."""
        return Stage(name=name, resources=Resources(table="", inbox_bucket="", region=self.region))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The versions of what deploys."""

    terraform: str
    chalice: str
    python: str

    def __str__(self) -> str:
        """Return them as the operator reads them."""
        return f"Terraform {self.terraform}, Chalice {self.chalice}, Python {self.python}"


def require_tools(workspace: Workspace, environ: Mapping[str, str]) -> Tools:
    """Return what deploys; raises when the sources or a tool are missing, or when a state was not saved."""
    workspace.require_sources()
    unsaved = workspace.repo / "infra" / _UNSAVED_STATE
    if unsaved.exists():
        raise OperatorError(
            f"{unsaved} holds a state that an earlier Terraform could not save. Save it first, with the stage's "
            f"workspace selected: `terraform -chdir=infra state push {_UNSAVED_STATE}`; then remove that file."
        )
    chalice = Path(sysconfig.get_path("scripts")) / "chalice"
    if not chalice.exists():
        raise OperatorError(f"{chalice} is missing: install the tools with `make venv`, and run its tally.")
    return Tools(terraform=terraform.require(environ), chalice=version("chalice"), python=platform.python_version())


def require_account(environ: Mapping[str, str]) -> Account:
    """Return account and region of the caller; raises when there is no region, or AWS does not know the caller."""
    try:
        session = boto3.Session()
        region = environ.get("AWS_REGION") or session.region_name
        if not region:
            raise OperatorError("No AWS region is set: set AWS_REGION, for example AWS_REGION=eu-central-1.")
        identity = session.client("sts", region_name=region).get_caller_identity()
    except (EndpointConnectionError, InvalidRegionError) as error:
        raise OperatorError(
            f"AWS cannot be reached in region {region!r} ({error}): check AWS_REGION for a typing error, then the "
            "network and the proxy."
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"AWS does not accept your credentials ({error}). Set or renew them: {_HOW}.") from error
    return Account(id=identity["Account"], region=region)


def require_jobs(workspace: Workspace) -> str:
    """Return the names of the jobs; raises when one does not load, for no function would start with it.

    A process of its own loads them from the sources that are deployed, with this interpreter.
    """
    app = workspace.repo / "app"
    loaded = subprocess.run(
        [sys.executable, "-B", "-c", _LOAD_JOBS],
        cwd=app,
        env={**os.environ, "PYTHONPATH": str(app)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if loaded.returncode:
        said = loaded.stderr.strip().splitlines()
        raise OperatorError(
            f"A job in {app / 'chalicelib' / 'jobs'} does not load: {said[-1] if said else 'no reason given'}. "
            "Correct it, or add what it imports to app/requirements.txt and to this environment."
        )
    return loaded.stdout.strip()
