"""The Chalice project of a stage: its rendered configuration, its deployment, and what it deployed."""

import json
import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tally.errors import ChaliceError, OperatorError
from tally.process import Runner

SHIPPED = {"msgspec": "msgspec/__init__.py", "aws-lambda-powertools": "aws_lambda_powertools/__init__.py"}
"""Each requirement of the functions, and the file that shows that it travels in the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaliceProject:
    """A folder with ``app.py``, as one stage sees it."""

    folder: Path
    stage: str

    @property
    def config_file(self) -> Path:
        """Return the configuration that Terraform renders."""
        return self.folder / ".chalice" / "config.json"

    @property
    def deployed_file(self) -> Path:
        """Return Chalice's record of what it created; written at the very end of a deployment."""
        return self.folder / ".chalice" / "deployed" / f"{self.stage}.json"

    def render(self, chalice_config: str) -> None:
        """Write the configuration; raises when it does not know the stage, which Chalice itself would not notice."""
        if self.stage not in json.loads(chalice_config).get("stages", {}):
            raise OperatorError(
                f"Terraform's output chalice_config has no stage {self.stage!r}: is this workspace another's?"
            )
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(chalice_config, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the stage's functions get."""
        try:
            config = json.loads(self.config_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise OperatorError(
                f"Stage {self.stage} has no {self.config_file}: bring it up first (tally up or tally deploy)."
            ) from error
        variables = config["stages"][self.stage].get("environment_variables", {})
        return {**config.get("environment_variables", {}), **variables}

    def deploy(self, runner: Runner) -> None:
        """Package and deploy; raises ChaliceError with what Chalice said."""
        script = Path(sysconfig.get_path("scripts")) / "chalice"
        argv = [str(script), "--project-dir", str(self.folder), "deploy", "--stage", self.stage]
        finished = runner(argv, cwd=self.folder)
        if finished.returncode:
            raise ChaliceError(
                f"chalice deploy failed in {self.folder}: read below what it says (all of it: {runner.log}).",
                detail=(finished.stdout + finished.stderr).strip(),
            )

    def check_package(self) -> None:
        """Raise when the package lacks a requirement, and remove it so that Chalice will not use it again.

        A requirement without a fitting wheel is a mere warning to Chalice, which exits with 0.
        """
        packages = sorted(self.folder.glob(".chalice/deployments/*.zip"), key=lambda path: path.stat().st_mtime)
        if not packages:
            raise ChaliceError(f"chalice deploy left no package in {self.folder / '.chalice/deployments'}.")
        with ZipFile(packages[-1]) as package:
            names = set(package.namelist())
        missing = [requirement for requirement, file in SHIPPED.items() if file not in names]
        if missing:
            packages[-1].unlink()
            raise ChaliceError(
                f"The Lambda package lacks {', '.join(missing)}: pip found no wheel for Lambda's Linux and this Python "
                f"({platform.python_version()}); check app/requirements.txt and pip's index, or use another Python."
            )

    def deployed(self) -> list[dict[str, Any]]:
        """Return what Chalice created, as it recorded it; nothing before the first deployment."""
        try:
            recorded = json.loads(self.deployed_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return list(recorded["resources"])

    def require_record(self, *, adopted: int) -> None:
        """Raise when Terraform has adopted triggers and the record that names them is missing.

        Terraform would refuse to give them up, in the middle of an apply, and Chalice would make them a second time.
        """
        if adopted and not self.deployed_file.exists():
            raise OperatorError(
                f"Stage {self.stage} was deployed before, but {self.deployed_file} is missing, Chalice's record of it: "
                "bring it back from where it was deployed last. docs/deploy.md says what to do if it is lost."
            )

    def stale_streams(self, stream_arn: str) -> list[dict[str, Any]]:
        """Return the mappings that read a stream which is not the table's any more: Chalice would keep them."""
        return [entry for entry in self.deployed() if entry.get("stream_arn", stream_arn) != stream_arn]

    def forget(self, entries: list[dict[str, Any]]) -> None:
        """Strike resources from Chalice's record, so that its next deployment makes them anew."""
        names = {entry["name"] for entry in entries}
        recorded = json.loads(self.deployed_file.read_text(encoding="utf-8"))
        recorded["resources"] = [entry for entry in recorded["resources"] if entry["name"] not in names]
        self.deployed_file.write_text(json.dumps(recorded, indent=2), encoding="utf-8")


def runs_lambda_wheels(system: str, machine: str) -> bool:
    """Tell whether a machine can run what is packaged for Lambda: Linux on x86-64.

    Elsewhere the local AWS, which runs the functions on this interpreter, must find their requirements here.
    """
    return system == "Linux" and machine in {"x86_64", "amd64"}
