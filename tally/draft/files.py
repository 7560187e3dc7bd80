"""The files of a drafted job: their paths, allowed names, and writing them without harm to other jobs."""

import keyword
import re
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

from chalicelib import jobs
from chalicelib.errors import TallyError
from tally.draft.draft import Draft
from tally.draft.example import test_module
from tally.draft.source import module
from tally.errors import ExitCode, OperatorError

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
"""The allowed names of jobs, as in the jobs package."""
_MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The module of a job and its test, as text, with their paths below the repository."""

    repo: Path
    module: Path
    module_source: str
    test: Path
    test_source: str

    @classmethod
    def of(cls, draft: Draft, repo: Path) -> Self:
        """Return the files of a draft, formatted as ``make format`` would."""
        job, test = _paths(draft.job)
        return cls(
            repo=repo,
            module=job,
            module_source=formatted(module(draft), job, repo),
            test=test,
            test_source=formatted(test_module(draft), test, repo),
        )

    def check(self, draft: Draft) -> None:
        """Raise OperatorError if the job does not load, or would not take the header of its own file."""
        loaded = ModuleType(draft.job)
        exec(compile(self.module_source, str(self.module), "exec"), vars(loaded))  # noqa: S102  what was just written
        try:
            schema = jobs.job_of(draft.job, loaded).schema
            if draft.is_csv:
                schema.header(draft.header, 1)
        except TallyError as error:
            raise _refused(f"No job can be drafted from {draft.path}: {error}.") from error

    def write(self) -> None:
        """Write both files, in place of those that exist."""
        for path, text in ((self.module, self.module_source), (self.test, self.test_source)):
            target = self.repo / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def require_name(job: str, repo: Path, *, force: bool) -> None:
    """Raise OperatorError for a name that no job can have, and for an existing job unless ``force``."""
    if not _NAME.fullmatch(job) or len(job) > _MAX_NAME_CHARACTERS:
        wanted = re.sub("[^A-Za-z0-9_]+", "_", job).strip("_0123456789")[:_MAX_NAME_CHARACTERS]
        hint = f", for example `{wanted}`" if wanted else ""
        raise _refused(
            f"{job!r} is no name for a job: letters, digits and underscores, a letter first, at most "
            f"{_MAX_NAME_CHARACTERS}{hint}."
        )
    if keyword.iskeyword(job):
        raise _refused(f"{job!r} is a word of Python, and no module can be imported by it: call the job {job}_rows.")
    folder = repo / _paths(job)[0].parent
    alike = [path.stem for path in folder.glob("*.py") if path.stem.lower() == job.lower() and path.stem != job]
    if alike:
        raise _refused(f"There is a job {alike[0]!r}, and not every disk tells it from {job!r}: take another name.")
    present = [path for path in _paths(job) if (repo / path).exists()]
    if present and not force:
        raise _refused(f"{' and '.join(map(str, present))} exist already: --force overwrites them.")


def formatted(source: str, path: Path, repo: Path) -> str:
    """Return the source as ``make format`` would write it; unchanged where ruff is not installed."""
    ruff = Path(sysconfig.get_path("scripts")) / "ruff"
    if not ruff.exists():
        return source
    argv = [str(ruff), "format", "--stdin-filename", str(path), "-"]
    done = subprocess.run(argv, input=source, cwd=repo, capture_output=True, encoding="utf-8", check=False)
    return done.stdout if done.returncode == 0 else source


def _paths(job: str) -> tuple[Path, Path]:
    return Path("app/chalicelib/jobs") / f"{job}.py", Path("tests/jobs") / f"test_{job}.py"


def _refused(why: str) -> OperatorError:
    return OperatorError(why, code=ExitCode.USAGE)
