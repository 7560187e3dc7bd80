"""Terraform: python-terraform builds the command lines, and Tally runs them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import python_terraform

from tally.errors import OperatorError, TerraformError
from tally.tools import causes
from tally.tools.subprocess import Runner

OLDEST = (1, 9)
DEFAULT_WORKSPACE = "default"
WHERE_TO_GET = "https://developer.hashicorp.com/terraform/install"

_CHANGED = re.compile(r"^(?:Apply complete!|Destroy complete!|Plan:|No changes\.).*$", re.MULTILINE)
# A warning about a CLI configuration file that is not there; it precedes every answer and is no error.
_ABOUT_CLI_CONFIG = re.compile(r"There are some problems with the CLI configuration:.*?╵\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource in Terraform's state, or in a plan."""

    address: str
    type: str
    values: Mapping[str, Any]


class _CommandLine(python_terraform.Terraform):  # type: ignore[misc]  # the package carries no types
    """python-terraform with its process handling replaced.

    Its own takes the environment of this process, which would mix up two stages, leaves Terraform behind on an
    interrupt, and reports a failure through a deprecated logging call.
    """

    def __init__(self, runner: Runner, folder: Path, var_files: Sequence[Path]) -> None:
        self.runner = runner
        self.folder = folder
        self.var_files = var_files
        super().__init__(working_dir=str(folder))

    def cmd(self, cmd: str, *args: str, **options: Any) -> tuple[int, str, str]:
        """Run one Terraform command; returns its exit status and its output."""
        try:
            argv = self.generate_cmd_string(cmd, *args, **options)
            if any(argument.startswith("-var-file=") for argument in argv):
                # Before the variables that were given by name, which Terraform then prefers.
                argv[2:2] = [f"-var-file={path}" for path in self.var_files]
            finished = self.runner(argv, cwd=self.folder)
        finally:
            self.temp_var_files.clean_up()
        return finished.returncode, finished.stdout, _ABOUT_CLI_CONFIG.sub("", finished.stderr)

    def read_state_file(self, file_path: str | None = None) -> None:
        """Read nothing: a state file torn by a kill would break commands that never needed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terraform:
    """One root module in one environment. Every method raises TerraformError with Terraform's message."""

    command_line: _CommandLine

    @classmethod
    def at(cls, folder: Path, runner: Runner, *, var_files: Sequence[Path] = ()) -> Self:
        """Return Terraform for the root module in ``folder``; the runner's environment names account and endpoint.

        ``var_files`` are absolute; every command that takes variables reads them.
        """
        return cls(command_line=_CommandLine(runner, folder, var_files))

    def init(self) -> None:
        """Install the provider and the modules."""
        # -reconfigure is python-terraform's default; there is nothing to reconfigure, and it hides a changed backend.
        self._check("init", self.command_line.init(reconfigure=python_terraform.IsNotFlagged))

    def select_workspace(self, name: str) -> None:
        """Select the workspace of that name; it is created if it does not exist."""
        self._check("workspace select", self.command_line.cmd("workspace select", "-or-create=true", name))

    def workspaces(self) -> set[str]:
        """Return the names of the workspaces."""
        written = self._check("workspace list", self.command_line.cmd("workspace list"))
        return {line.lstrip("* ").strip() for line in written.splitlines()} - {""}

    def delete_workspace(self, name: str) -> None:
        """Delete a workspace; Terraform refuses while its state holds anything, and keeps its default."""
        self.select_workspace(DEFAULT_WORKSPACE)
        if name != DEFAULT_WORKSPACE:
            self._check("workspace delete", self.command_line.cmd("workspace delete", name))

    def resources(self) -> list[Resource]:
        """Return the resources in the state, without data sources."""
        written = self._check("show", self.command_line.cmd("show", "-json", "-no-color"))
        return list(_managed(json.loads(written).get("values", {}).get("root_module", {})))

    def adopt(self, address: str, identifier: str, variables: Mapping[str, Any]) -> None:
        """Import an existing resource into the state, without changing it."""
        answer = self.command_line.cmd(
            "import", address, identifier, var=dict(variables), no_color=python_terraform.IsFlagged
        )
        self._check("import", answer)

    def forget(self, address: str) -> None:
        """Remove a resource from the state without destroying it."""
        self._check("state rm", self.command_line.cmd("state rm", address))

    def plan(self, variables: Mapping[str, Any], plan_file: Path) -> str:
        """Write a plan and return its summary."""
        answer = self.command_line.plan(
            detailed_exitcode=python_terraform.IsNotFlagged, var=dict(variables), out=str(plan_file)
        )
        return self._check("plan", answer)

    def planned(self, variables: Mapping[str, Any], plan_file: Path) -> list[Resource]:
        """Write a plan and return the resources that it would create, with their values known so far."""
        self.plan(variables, plan_file)
        return self.creates(plan_file)

    def creates(self, plan_file: Path) -> list[Resource]:
        """Return the resources that a written plan would create, with their values known so far."""
        written = self._check("show", self.command_line.cmd("show", "-json", "-no-color", str(plan_file)))
        return [
            Resource(address=found["address"], type=found["type"], values=found["change"]["after"])
            for found in json.loads(written).get("resource_changes", [])
            if found["change"]["actions"] == ["create"]
        ]

    def apply(self, variables: Mapping[str, Any], *, targets: Sequence[str] = ()) -> str:
        """Apply without asking, only to ``targets`` if there are any; returns Terraform's summary."""
        answer = self.command_line.apply(skip_plan=True, var=dict(variables), target=list(targets))
        return summary(self._check("apply", answer))

    def destroy(self, variables: Mapping[str, Any]) -> str:
        """Destroy everything in the state without asking; returns Terraform's summary."""
        # python-terraform's default is an option that Terraform has no longer.
        answer = self.command_line.destroy(
            force=python_terraform.IsNotFlagged, auto_approve=python_terraform.IsFlagged, var=dict(variables)
        )
        return summary(self._check("destroy", answer))

    def apply_plan(self, plan_file: Path) -> str:
        """Apply a written plan; returns Terraform's summary."""
        return summary(
            self._check("apply", self.command_line.cmd("apply", "-input=false", "-no-color", str(plan_file)))
        )

    def outputs(self) -> dict[str, Any]:
        """Return every root output by name; none before the first apply."""
        written = self._check("output", self.command_line.output_cmd(json=python_terraform.IsFlagged))
        return {name: output["value"] for name, output in json.loads(written or "{}").items()}

    def _check(self, command: str, answer: tuple[int, str, str]) -> str:
        returncode, stdout, stderr = answer
        if returncode:
            written = (stderr or stdout).strip()
            cause, line = causes.failure(returncode, written), self.command_line
            raise TerraformError(
                f"terraform {command} failed in {line.folder}. {cause}; then run this again (log: {line.runner.log}).",
                detail=written,
            )
        return stdout


def summary(written: str) -> str:
    """Return Terraform's summary line of what it changed or would change."""
    found = _CHANGED.findall(written)
    return str(found[-1]) if found else ""


def _managed(module: Mapping[str, Any]) -> Iterator[Resource]:
    for found in module.get("resources", []):
        if found["mode"] == "managed":
            yield Resource(address=found["address"], type=found["type"], values=found["values"])
    for child in module.get("child_modules", []):
        yield from _managed(child)


def require(environ: Mapping[str, str]) -> str:
    """Return Terraform's version; raises OperatorError if it is missing, does not run or is too old."""
    binary = shutil.which("terraform", path=environ.get("PATH"))
    if binary is None:
        raise OperatorError(f"terraform is not on PATH: Tally needs {_oldest()} or newer, get it from {WHERE_TO_GET}")
    answer = subprocess.run([binary, "version", "-json"], capture_output=True, encoding="utf-8", check=False)
    try:
        version = str(json.loads(answer.stdout)["terraform_version"])
    except (ValueError, KeyError) as error:
        raise OperatorError(
            f"{binary} does not say its version; Tally needs {_oldest()} or newer, get it from {WHERE_TO_GET}",
            detail=answer.stderr.strip(),
        ) from error
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise OperatorError(
            f"{binary} is {version}: Tally needs Terraform {_oldest()} or newer, get it from {WHERE_TO_GET}"
        )
    return version


def _oldest() -> str:
    return ".".join(map(str, OLDEST))
