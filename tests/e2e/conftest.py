"""One stage for all end-to-end tests: a local AWS, real Terraform, a real Chalice deployment, in its own folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from chalicelib.store.batch import Batch
from tally.batch.reader import Reader
from tally.local import localaws
from tally.stages.stage import Stage, find
from tally.stages.workspace import Workspace

T = TypeVar("T")

STAGE = "e2e"
_WAIT_SECONDS = 300
# Visibility is six timeouts, and a message that kills its worker has to come five times: short ones end a test in time.
OVERRIDES = {
    "ingest": {"maximum_concurrency": 2},
    "process": {"maximum_concurrency": 3, "timeout_seconds": 3},
    "process_heavy": {"maximum_concurrency": 2},
    "finish": {"maximum_concurrency": 2},
    "export": {"maximum_concurrency": 2, "timeout_seconds": 60},
    "dead_letters": {"maximum_concurrency": 2, "timeout_seconds": 10},
}
VARIABLES = ("--var", f"function_overrides={json.dumps(OVERRIDES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The command line and the resources of the stage."""

    home: Path
    repo: Path
    name: str = STAGE

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a ``tally`` command for the stage, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "tally", *arguments, "--stage", self.name],
            env=self.environ,
            cwd=self.repo,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command with ``--json`` that must end well, and return what it says."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def tool(self, *command: str, folder: str) -> subprocess.CompletedProcess[str]:
        """Run Terraform or Chalice in the stage's own copy of a source folder, as a user would by hand."""
        server = self.stage.server
        assert server is not None
        env = localaws.environment(server, self.environ) | {
            "AWS_DATA_PATH": str(localaws.models(self.workspace.stage(self.name))),
            "TF_DATA_DIR": str(self.workspace.terraform_data),
        }
        return subprocess.run(
            command,
            cwd=self.home / self.name / folder,
            env=env | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    @property
    def environ(self) -> dict[str, str]:
        """The environment of this run: the stage lies in its own home."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TALLY_"))}
        return kept | {"TALLY_HOME": str(self.home)}

    @property
    def workspace(self) -> Workspace:
        """Where the stage lies."""
        return Workspace(repo=self.repo, home=self.home)

    @property
    def stage(self) -> Stage:
        """The stage's resources and clients."""
        return find(self.workspace, self.name, environ=self.environ)

    @property
    def reader(self) -> Reader:
        """What reads the stage's table."""
        return Reader(dynamodb=self.stage.dynamodb, table=self.stage.resources.table)

    def submit(self, name: str, content: bytes, *, job: str = "offices") -> str:
        """Upload a file through the command line and return its batch's id."""
        path = self.home / name
        path.write_bytes(content)
        return str(self.json("submit", str(path), "--job", job, "--force")["id"])

    def deploy_job(self, name: str, source: str) -> None:
        """Deploy a job of a test's own with the stage's copy of the sources, as a user would by hand."""
        (self.home / self.name / "app" / "chalicelib" / "jobs" / f"{name}.py").write_text(source)
        chalice = str(Path(sys.executable).parent / "chalice")
        deployed = self.tool(chalice, "deploy", "--stage", self.name, folder="app")
        assert deployed.returncode == 0, f"{deployed.stdout}\n{deployed.stderr}"

    def ended(self, batch_id: str, *, attempt: int = 1, seconds: float = _WAIT_SECONDS) -> Batch:
        """Wait until an attempt of a batch has ended and its event is out."""
        reader = self.reader  # one client for all looks at it

        def ended() -> Batch | None:
            batch = reader.batch(batch_id)
            return batch if batch and batch.status.final and batch.published_attempt == attempt else None

        return wait_for(ended, what=f"the end of {batch_id}", seconds=seconds)


def wait_for(condition: Callable[[], T | None], *, what: str, seconds: float = _WAIT_SECONDS) -> T:
    """Return what ``condition`` returns once it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s for {what}")


@contextmanager
def standstill(tally: Tally) -> Iterator[None]:
    """Let no row be processed during the block."""
    functions = tally.stage.functions
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"tally-{tally.name}-process")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@pytest.fixture(scope="session")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tally]:
    """Bring the stage up, and take it down at the end."""
    made = Tally(home=tmp_path_factory.mktemp("tally"), repo=Path(__file__).resolve().parents[2])
    try:
        up = made.run("up", *VARIABLES)
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
        yield made
    finally:
        made.run("down")
