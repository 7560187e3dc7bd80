"""Paths on this disk: the sources, and for each local stage a folder with its own copy of them."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from tally.errors import ExitCode, OperatorError

SOURCES = ("infra", "app")
RESERVED = frozenset({"aws", "terraform", "check", "proving"})
"""Names under ``TALLY_HOME`` that are not stages."""

_STAGE = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")
# Files that tools write beside the sources. They belong to one stage: never copied, never deleted by mirroring.
_STATE = ("terraform.tfstate*", ".terraform*", ".chalice", "*.auto.tfvars*", "terraform.tfvars*")
# Files that no deployment reads: editing them must not cause one.
_IDLE = (
    "__pycache__",
    "*.pyc",
    "*.md",
    "tests",
    "examples",
    ".pytest_cache",
    ".ruff_cache",
    ".mypy_cache",
    ".DS_Store",
)
_ORPHAN_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The repository, and the folder of local data (``TALLY_HOME``, default ``.tally`` in the repository)."""

    repo: Path
    home: Path

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Self:
        """Return the workspace of this installation, which is editable: the package lies in the repository."""
        repo = Path(__file__).resolve().parents[2]
        return cls(repo=repo, home=Path(environ.get("TALLY_HOME") or repo / ".tally").resolve())

    def require_sources(self) -> None:
        """Raise OperatorError if the repository is not here, so that nothing can be deployed."""
        missing = [name for name in SOURCES if not (self.repo / name).is_dir()]
        if missing:
            raise OperatorError(
                f"No {' and no '.join(missing)} in {self.repo}: run from a checkout of Tally (pip install -e .)."
            )

    def stage(self, name: str) -> "StageFolder":
        """Return the folder of a local stage; raises OperatorError for an invalid name."""
        if not _STAGE.fullmatch(name) or name in RESERVED:
            raise OperatorError(
                f"{name!r} cannot be the name of a stage: use up to 20 of a-z, 0-9 and -, a letter first, no - last, "
                f"and not {', '.join(sorted(RESERVED))}.",
                code=ExitCode.USAGE,
            )
        return StageFolder(name=name, root=self.home / name)

    def local_stages(self) -> list[str]:
        """Return the names of the stages that have a folder here."""
        if not self.home.is_dir():
            return []
        return sorted(path.name for path in self.home.iterdir() if path.is_dir() and path.name not in RESERVED)

    @property
    def terraform_data(self) -> Path:
        """Return the folder of the provider, shared so that a second local stage downloads nothing."""
        return self.home / "terraform"

    def aws_outputs(self, stage: str) -> Path:
        """Return the file of the outputs of a stage in AWS."""
        return self.home / "aws" / f"{stage}.json"

    def aws_log(self, stage: str) -> Path:
        """Return the log of the tools' output about a stage in AWS."""
        return self.home / "aws" / f"{stage}.log"

    def aws_unfinished(self, stage: str) -> Path:
        """Return the mark of a deployment to AWS that began: it stays if the deployment was cut short."""
        return self.home / "aws" / f"{stage}.unfinished"

    def proving(self, stage: str) -> Path:
        """Return the folder where `tally prove` keeps sources, state and logs of a stage."""
        return self.home / "proving" / stage

    def lock_file(self, stage: str) -> Path:
        """Return the lock of a stage: outside its folder, which may be wiped under the lock."""
        return self.home / f"{stage}.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFolder:
    """The folder of a local stage."""

    name: str
    root: Path

    @property
    def exists(self) -> bool:
        """Tell whether a local stage of this name was brought up and not taken down."""
        return self.root.is_dir()

    @property
    def infra(self) -> Path:
        """Return the stage's own copy of ``infra/``, with its Terraform state."""
        return self.root / "infra"

    @property
    def app(self) -> Path:
        """Return the stage's own copy of ``app/``, with its ``.chalice``."""
        return self.root / "app"

    @property
    def server(self) -> Path:
        """Return the record of the local AWS: process and port."""
        return self.root / "server.json"

    @property
    def server_log(self) -> Path:
        """Return the log of the local AWS."""
        return self.root / "logs" / "ministack.log"

    @property
    def console(self) -> Path:
        """Return the file with the background console's output: its address, with its token."""
        return self.root / "console.json"

    @property
    def console_log(self) -> Path:
        """Return the file with all other output of the background console, errors too."""
        return self.root / "logs" / "console.log"

    @property
    def tools_log(self) -> Path:
        """Return the log of Terraform and Chalice."""
        return self.root / "logs" / "tools.log"

    @property
    def tmp(self) -> Path:
        """Return the local AWS's private temporary directory."""
        return self.root / "tmp"

    @property
    def samples(self) -> Path:
        """Return the folder for the demo's files."""
        return self.root / "samples"

    @property
    def plan(self) -> Path:
        """Return Terraform's first plan, which lists the queues to make."""
        return self.root / "first.tfplan"

    @property
    def outputs(self) -> Path:
        """Return the file of Terraform's outputs, in JSON."""
        return self.root / "outputs.json"

    @property
    def fingerprint(self) -> Path:
        """Return the record of the deployed sources; absent before the first bring-up has ended."""
        return self.root / "deployed.sha256"

    @property
    def unfinished(self) -> Path:
        """Return the mark of a bring-up that began: it stays if the bring-up was killed."""
        return self.root / "unfinished"

    def wipe(self) -> None:
        """Remove the stage's folder; the caller has stopped the local AWS."""
        shutil.rmtree(self.root, ignore_errors=True)


def mirror(source: Path, target: Path) -> None:
    """Make ``target`` a copy of the parts of ``source`` that are deployed, and keep the tools' state in it."""
    target.mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(source) for path in _files(source)}
    for path in list(_files(target)):
        if path.relative_to(target) not in wanted:
            path.unlink()
    for relative in sorted(wanted):
        original, copy = source / relative, target / relative
        if copy.is_file() and copy.read_bytes() == original.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, copy)


def fingerprint(sources: list[Path], *extra: str) -> str:
    """Return a digest of the sources that are deployed, by names and contents, and of ``extra``."""
    digest = hashlib.sha256()
    for source in sources:
        for path in sorted(_files(source)):
            content = path.read_bytes()
            digest.update(f"{source.name}/{path.relative_to(source)} {len(content)}\n".encode())
            digest.update(content)
    digest.update("\n".join(extra).encode())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _matches(name)]
        yield from (Path(folder) / name for name in names if not _matches(name))


def _matches(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in (*_STATE, *_IDLE))


@contextlib.contextmanager
def exclusive(
    path: Path,
    *,
    what: str,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Hold the lock file while the block runs and yield its descriptor, for tools to inherit.

    Raises OperatorError at once if another living ``tally`` holds it. If its owner was killed and only a tool that it
    started lives on, waits for that tool to end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = clock() + _ORPHAN_SECONDS
        told = False
        while not _taken(descriptor):
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            if alive(int(owner)) if owner.isdigit() else False:
                raise OperatorError(f"Another tally (process {owner}) is working on {what}: wait for it, or stop it.")
            if clock() > deadline:
                raise OperatorError(
                    f"A tool of an interrupted run still works on {what}: find it with `fuser {path}`, and stop it."
                )
            if not told:
                say(f"A tool of an interrupted run still works on {what}; waiting for it to end.")
                told = True
            sleep(0.5)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def alive(pid: int) -> bool:
    """Tell whether a process of this id exists, no matter who owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
