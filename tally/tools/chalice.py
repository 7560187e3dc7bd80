"""The Chalice project of a stage: its rendered configuration, its deployment and its deletion."""

import contextlib
import json
import platform
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from tally.errors import ChaliceError, OperatorError
from tally.tools import causes
from tally.tools.subprocess import Runner

SHIPPED = {"msgspec": "msgspec/__init__.py", "aws-lambda-powertools": "aws_lambda_powertools/__init__.py"}
"""Each requirement of the functions, with a file that proves that the package contains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaliceProject:
    """A folder with ``app.py``, as the Chalice project of one stage."""

    folder: Path
    stage: str

    @property
    def config_file(self) -> Path:
        """Return the configuration that Terraform renders."""
        return self.folder / ".chalice" / "config.json"

    @property
    def deployed_file(self) -> Path:
        """Return Chalice's record of its deployment; written at the very end."""
        return self.folder / ".chalice" / "deployed" / f"{self.stage}.json"

    def render(self, chalice_config: str) -> None:
        """Write the configuration; raises OperatorError if it lacks the stage, which Chalice would not notice."""
        self.environment_in(chalice_config)
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(chalice_config, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the stage's functions get."""
        try:
            return self.environment_in(self.config_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise OperatorError(
                f"Stage {self.stage} has no {self.config_file}: bring it up first (tally up or tally deploy)."
            ) from error

    def environment_in(self, chalice_config: str) -> dict[str, str]:
        """Return the stage's environment variables in a configuration; raises OperatorError without any."""
        config = json.loads(chalice_config)
        if self.stage not in config.get("stages", {}):
            raise OperatorError(
                f"Terraform's output chalice_config has no stage {self.stage!r}",
                hint=f"select its workspace: `terraform -chdir=infra workspace select {self.stage}`.",
            )
        variables = config["stages"][self.stage].get("environment_variables", {})
        return {**config.get("environment_variables", {}), **variables}

    def deploy(self, runner: Runner) -> None:
        """Package and deploy; raises ChaliceError with Chalice's output."""
        self._discard_torn_packages()
        self._run("deploy", runner)

    def delete(self, runner: Runner) -> None:
        """Delete everything in the record; raises ChaliceError with Chalice's output, also if some of it was gone."""
        self._run("delete", runner)

    def forget(self) -> None:
        """Remove the record of a stage that is gone, and its configuration unless that is another stage's."""
        self.deployed_file.unlink(missing_ok=True)
        with contextlib.suppress(OperatorError):
            self.environment()
            self.config_file.unlink()

    def _run(self, command: str, runner: Runner) -> None:
        script = Path(sysconfig.get_path("scripts")) / "chalice"
        # Bytecode would enter the package, and change its digest from one deployment to the next.
        runner = replace(runner, env={**runner.env, "PYTHONDONTWRITEBYTECODE": "1"})
        argv = [str(script), "--project-dir", str(self.folder), command, "--stage", self.stage]
        finished = runner(argv, cwd=self.folder)
        if finished.returncode:
            written = (finished.stdout + finished.stderr).strip()
            raise ChaliceError(
                f"chalice {command} failed in {self.folder}. {causes.failure(finished.returncode, written)}; then run "
                f"this again (log: {runner.log}).",
                detail=written,
            )

    def check_package(self) -> None:
        """Raise ChaliceError if the package lacks a requirement, and remove it so that Chalice does not reuse it.

        Chalice only warns of a requirement without a fitting wheel, and exits with 0.
        """
        packages = sorted(self._packages(), key=lambda path: path.stat().st_mtime)
        if not packages:
            raise ChaliceError(
                f"chalice deploy left no package in {self.folder / '.chalice/deployments'}", hint="run this again."
            )
        names = _names(packages[-1])
        missing = [requirement for requirement, file in SHIPPED.items() if file not in names]
        if missing:
            packages[-1].unlink()
            raise ChaliceError(
                f"The Lambda package lacks {', '.join(missing)}: pip found no wheel for Lambda's Linux and this Python "
                f"({platform.python_version()}); check app/requirements.txt and pip's index, or use another Python."
            )

    def _packages(self) -> list[Path]:
        return list(self.folder.glob(".chalice/deployments/*.zip"))

    def _discard_torn_packages(self) -> None:
        """Remove packages that lack a source: Chalice would deploy them again unchecked.

        A kill leaves an unreadable package, an interrupt one that ends early; the sources enter it last.
        """
        sources = {"app.py"} | {
            path.relative_to(self.folder).as_posix() for path in (self.folder / "chalicelib").rglob("*.py")
        }
        for package in self._packages():
            if not sources <= _names(package):
                package.unlink()


def _names(package: Path) -> set[str]:
    """Return the names of the files in a package; none if it cannot be read."""
    try:
        with ZipFile(package) as opened:
            return set(opened.namelist())
    except BadZipFile:
        return set()


def runs_lambda_wheels(system: str, machine: str) -> bool:
    """Tell whether a machine can run packages made for Lambda: Linux on x86-64.

    Elsewhere the local AWS, which runs the functions on this interpreter, must find their requirements here.
    """
    return system == "Linux" and machine in {"x86_64", "amd64"}
