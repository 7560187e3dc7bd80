"""Cut a release here: check, set the version, close the part of the changelog, commit, tag. Nothing is pushed.

``make release VERSION=1.2.3`` runs it; docs/releasing.md says what comes before and after.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import click

from tools.generated import REPO

BRANCH = "main"
"""A tag on another branch would name a commit that main may never have."""
UNRELEASED = "## Unreleased\n"
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_VERSION = re.compile(r'^version = "(?P<version>[^"]+)"$', re.MULTILINE)
_REF = re.compile(r"(?<=\?ref=v)\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release that is about to be cut in a repository."""

    repo: Path
    version: str
    on: date

    def check(self) -> None:
        """Raise ClickException, with what to do, if the version or the repository is not ready."""
        if not _SEMVER.fullmatch(self.version):
            raise click.ClickException(f"{self.version} is not a version: write three numbers, such as 1.2.3.")
        if _numbers(self.version) <= _numbers(self.current):
            raise click.ClickException(
                f"{self.version} is not higher than {self.current}, the version in pyproject.toml."
            )
        if (branch := self._git("branch", "--show-current")) != BRANCH:
            raise click.ClickException(
                f"This checkout is on {branch or 'no branch'}: releases are cut on {BRANCH}. Run `git switch {BRANCH}`."
            )
        if changed := self._git("status", "--porcelain"):
            raise click.ClickException(f"The checkout has changes: commit or stash them first.\n{changed}")
        if self._git("tag", "--list", self.tag):
            raise click.ClickException(f"There is a tag {self.tag} already: take the next version.")
        if not self.notes.strip():
            raise click.ClickException("CHANGELOG.md has nothing below Unreleased: say what changes for users.")

    @property
    def tag(self) -> str:
        """The tag's name."""
        return f"v{self.version}"

    @property
    def current(self) -> str:
        """The present version of the repository."""
        found = _VERSION.search(self._text("pyproject.toml"))
        if not found:
            raise click.ClickException("pyproject.toml has no line with the version.")
        return found["version"]

    @property
    def notes(self) -> str:
        """The text below Unreleased in the changelog."""
        _, found, rest = self._text("CHANGELOG.md").partition(UNRELEASED)
        if not found:
            raise click.ClickException("CHANGELOG.md has no line ## Unreleased.")
        return rest.partition("\n## ")[0]

    def cut(self) -> None:
        """Write the version everywhere, commit and tag; the check has passed."""
        self._write(
            "pyproject.toml", _VERSION.sub(f'version = "{self.version}"', self._text("pyproject.toml"), count=1)
        )
        heading = f"{UNRELEASED}\n## {self.version} - {self.on.isoformat()}\n"
        self._write("CHANGELOG.md", self._text("CHANGELOG.md").replace(UNRELEASED, heading, 1))
        for path in [*self.repo.glob("docs/*.md"), *self.repo.glob("infra/**/README.md")]:
            name = path.relative_to(self.repo).as_posix()
            self._write(name, _REF.sub(self.version, self._text(name)))
        self._run(sys.executable, "-m", "tools.terraform_readmes")
        self._git("commit", "--quiet", "--all", "--message", f"Release {self.version}")
        self._git("tag", "--annotate", self.tag, "--message", f"Tally {self.version}")

    def _text(self, name: str) -> str:
        return (self.repo / name).read_text(encoding="utf-8")

    def _write(self, name: str, text: str) -> None:
        (self.repo / name).write_text(text, encoding="utf-8")

    def _git(self, *arguments: str) -> str:
        return self._run("git", *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.repo, capture_output=True, encoding="utf-8", check=False)  # noqa: S603  our own
        if done.returncode:
            raise click.ClickException(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@click.command()
@click.argument("version")
@click.option("--dry-run", is_flag=True, help="Check only; change nothing.")
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=REPO, help="The checkout.")
def main(version: str, *, dry_run: bool, repo: Path) -> None:
    """Cut the release VERSION."""
    release = Release(repo=repo, version=version, on=datetime.now(UTC).date())
    before = release.current
    release.check()
    if dry_run:
        click.echo(f"{before} -> {version}: ready.")
        return
    release.cut()
    click.echo(f"{before} -> {version}: committed and tagged {release.tag}. Look at `git show`, then push both:")
    click.echo(f"  git push && git push origin {release.tag}")


if __name__ == "__main__":
    main()
