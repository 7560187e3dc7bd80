"""Check tools, sources, jobs, credentials and region before a deployment changes anything."""

import json
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, InvalidRegionError

from tally.deploy import load_jobs
from tally.errors import OperatorError
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import Workspace
from tally.tools import terraform

_HOW = "aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
_UNSAVED_STATE = "errored.tfstate"
"""The file to which Terraform writes a state that its backend did not take."""

_JOBS = "app/chalicelib/jobs"
_IMPORT_SECONDS = 60.0
"""The longest import of a job: Lambda gives all jobs together ten seconds."""
_FRAME = re.compile(r'File "(?P<file>.*/chalicelib/jobs/(?!__init__)[^"]*)", line (?P<line>\d+)')
"""A frame as faulthandler writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account and region of the caller's credentials."""

    id: str
    region: str

    def __str__(self) -> str:
        """Return the account for the operator."""
        return f"account {self.id}, region {self.region}"

    def stage(self, name: str) -> Stage:
        """Return a stage in this account; none of its resources are known yet."""
        return Stage(name=name, resources=Resources(table="", inbox_bucket="", region=self.region))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The versions of the tools that deploy."""

    terraform: str
    chalice: str
    python: str

    def __str__(self) -> str:
        """Return the versions for the operator."""
        return f"Terraform {self.terraform}, Chalice {self.chalice}, Python {self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The jobs that load; ``keyed`` are those with KEY, each with its file and line."""

    names: tuple[str, ...]
    keyed: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the jobs for the operator."""
        return ", ".join(self.names)

    @property
    def variables(self) -> dict[str, Any]:
        """Terraform variables about the jobs: Terraform refuses jobs with KEY for a stage without a results table."""
        return {"jobs_with_key": sorted(self.keyed)} if self.keyed else {}

    def require_results_table(self, variables: Mapping[str, Any]) -> None:
        """Raise OperatorError if a job has KEY and these Terraform variables ask for no results table."""
        if self.keyed and variables.get("results_table") is None:
            raise OperatorError(
                f"KEY needs a results table, and the stage has none: {', '.join(self.keyed.values())}",
                hint="add --var 'results_table={}' (docs/jobs.md), or take KEY out of the job.",
            )


def require_tools(workspace: Workspace, environ: Mapping[str, str]) -> Tools:
    """Return the tools' versions; raises if sources or a tool are missing, or if a state was not saved."""
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
    """Return account and region of the caller; raises if no region is set, or AWS refuses the credentials."""
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


def require_jobs(workspace: Workspace, *, seconds: float = _IMPORT_SECONDS) -> Jobs:
    """Return the jobs; raises if one does not load, because then no function would start.

    A process of its own loads them from the sources that are deployed, with this interpreter. The error names each job
    that is broken, with file and line.
    """
    app = workspace.repo / "app"
    with TemporaryDirectory() as folder:
        result = Path(folder) / "jobs"
        command = [sys.executable, "-B", load_jobs.__file__, str(app), str(result), str(seconds)]
        loaded = subprocess.run(command, cwd=app, capture_output=True, encoding="utf-8", errors="replace", check=False)
        written = result.read_text(encoding="utf-8") if result.exists() else ""
    lines = [json.loads(line) for line in written.splitlines()]
    broken = [f"{_JOBS}/{each['file']}:{each['line']}: {each['what']}" for each in lines if "file" in each]
    if loaded.returncode:
        broken.append(_ended(lines, loaded, seconds))
    if broken:
        jobs = "A job does not load" if len(broken) == 1 else f"{len(broken)} jobs do not load"
        raise OperatorError(
            f"{jobs}: {'; '.join(broken)}",
            hint="correct it, or add what it imports to app/requirements.txt and to this environment.",
        )
    loaded_jobs = {each["loaded"]: each["key"] for each in lines if "loaded" in each}
    keyed = {name: f"{_JOBS}/{name}.py:{line}" for name, line in loaded_jobs.items() if line is not None}
    return Jobs(names=tuple(loaded_jobs), keyed=keyed)


def _ended(lines: Sequence[Mapping[str, Any]], loaded: subprocess.CompletedProcess[str], seconds: float) -> str:
    """Say which job was loading when the process ended: one that never returned, or that ended the interpreter."""
    loading = next((each["loading"] for each in reversed(lines) if "loading" in each), "__init__.py")
    frame = _FRAME.search(loaded.stderr)
    where = f"{Path(frame['file']).name}:{frame['line']}" if frame else f"{loading}:1"
    if "Timeout" in loaded.stderr:
        return f"{_JOBS}/{where}: importing it takes longer than {seconds:g} s"
    said = loaded.stderr.strip().splitlines()
    return f"{_JOBS}/{where}: the interpreter ended with status {loaded.returncode}: {said[0] if said else 'no reason'}"
