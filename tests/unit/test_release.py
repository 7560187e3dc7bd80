"""The release process, on a copy of the repository: what it writes, and what it refuses."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import click
import pytest

from tests.support.clone import clone
from tools.release import Release

DAY = date(2026, 12, 1)


def git(repo: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=repo, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of the repository, with one commit."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    made = clone(tmp_path / "clone").repo
    git(made, "init", "--quiet")
    git(made, "add", "--all")
    git(made, "commit", "--quiet", "--message", "Begin")
    return made


def release(repo: Path, version: str) -> Release:
    return Release(repo=repo, version=version, on=DAY)


def test_a_release_sets_the_version_closes_the_changelog_commits_and_tags(repo: Path) -> None:
    """The READMEs of the modules, and the references in the pages, have the new version too."""
    notes = release(repo, "9.0.0").notes
    release(repo, "9.0.0").check()
    release(repo, "9.0.0").cut()
    assert release(repo, "9.0.1").current == "9.0.0"
    changelog = (repo / "CHANGELOG.md").read_text("utf-8")
    assert f"## Unreleased\n\n## 9.0.0 - 2026-12-01\n{notes}" in changelog
    assert "Version 9.0.0." in (repo / "infra" / "modules" / "queue" / "README.md").read_text("utf-8")
    assert "?ref=v9.0.0" in (repo / "docs" / "adopting.md").read_text("utf-8")
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "log", "-1", "--format=%s") == "Release 9.0.0"
    assert git(repo, "tag", "--points-at", "HEAD") == "v9.0.0"


@pytest.mark.parametrize(
    ("version", "why"), [("next", "three numbers"), ("1.0", "three numbers"), ("0.0.1", "not higher than")]
)
def test_a_version_that_is_none_or_not_higher_is_refused(repo: Path, version: str, why: str) -> None:
    with pytest.raises(click.ClickException, match=why):
        release(repo, version).check()


def test_a_checkout_with_changes_is_refused(repo: Path) -> None:
    (repo / "README.md").write_text("changed\n")
    with pytest.raises(click.ClickException, match=r"commit or stash(?s:.)*README\.md"):
        release(repo, "9.0.0").check()


def test_a_tag_that_exists_is_refused(repo: Path) -> None:
    git(repo, "tag", "v9.0.0")
    with pytest.raises(click.ClickException, match="take the next version"):
        release(repo, "9.0.0").check()


def test_a_changelog_without_news_is_refused(repo: Path) -> None:
    (repo / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n- It was there.\n")
    git(repo, "commit", "--quiet", "--all", "--message", "Empty")
    with pytest.raises(click.ClickException, match="nothing below Unreleased"):
        release(repo, "9.0.0").check()


def test_a_dry_run_changes_nothing(repo: Path) -> None:
    before = git(repo, "rev-parse", "HEAD")
    done = subprocess.run(
        [sys.executable, "-m", "tools.release", "9.0.0", "--dry-run", "--repo", str(repo)],
        cwd=Path(__file__).parents[2], capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert "-> 9.0.0: ready." in done.stdout
    assert git(repo, "rev-parse", "HEAD") == before
    assert git(repo, "status", "--porcelain") == ""
