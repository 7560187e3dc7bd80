"""A copy of the repository, as somebody has it who has just cloned it: what a test writes there harms no other."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_REPO = Path(__file__).parents[2]
_COPIED = ("app", "docs", "examples", "infra", "tally", "tests", "tools", "pyproject.toml", "README.md", "CHANGELOG.md")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", ".chalice", ".terraform*", "terraform.tfstate*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """The folder of the copy."""

    repo: Path

    def tally(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a ``tally`` command of the copy, whose stages are in it, too."""
        return self.python("-m", "tally", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the copy's own modules."""
        return self.run("python", *arguments)

    def run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a tool in the copy; ``python`` is this one, with the copy's own modules."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TALLY_"))}
        return subprocess.run(
            [sys.executable if tool == "python" else tool, *arguments],
            cwd=self.repo,
            env=kept | {"PYTHONPATH": f"{self.repo / 'app'}{os.pathsep}{self.repo}"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


def clone(folder: Path) -> Clone:
    """Copy the repository into a folder."""
    folder.mkdir(parents=True)
    for name in _COPIED:
        source = _REPO / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_NOT_COPIED)
        else:
            shutil.copy(source, folder / name)
    return Clone(repo=folder)
