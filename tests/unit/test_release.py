"""The release process, on a copy of the repository: what it writes, and what it refuses."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pytest

from tests.support.clone import clone
from tools.release import UNRELEASED, Release

DAY = date(2026, 12, 1)
REPO = Path(__file__).parents[2]
NEWS = "\n- Something changes for users.\n"


def git(repo: Path, *arguments: str, check: bool = True) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=repo, capture_output=True, encoding="utf-8", check=check)
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def identity() -> Iterator[None]:
    """Commit as somebody, no matter who runs the tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{name}_NAME", "Test")
            monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
        yield


def committed(repo: Path) -> Path:
    """Commit all of it, with news in the changelog: right after a release there are none."""
    changelog = repo / "CHANGELOG.md"
    changelog.write_text(changelog.read_text("utf-8").replace(UNRELEASED, f"{UNRELEASED}{NEWS}", 1), "utf-8")
    git(repo, "init", "--quiet", "--initial-branch", "main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "Begin")
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Make a repository of what a release is checked by."""
    for name in ("pyproject.toml", "CHANGELOG.md", "README.md"):
        shutil.copy(REPO / name, tmp_path / name)
    return committed(tmp_path)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut version 9.0.0 in a copy of the whole repository."""
    made = committed(clone(tmp_path_factory.mktemp("release") / "clone").repo)
    release(made, "9.0.0").check()
    release(made, "9.0.0").cut()
    return made


def release(repo: Path, version: str) -> Release:
    return Release(repo=repo, version=version, on=DAY)


def test_a_release_sets_the_version_closes_the_changelog_commits_and_tags(cut: Path) -> None:
    """The READMEs of the modules, and the references in the pages, have the new version too."""
    assert release(cut, "9.0.1").current == "9.0.0"
    assert f"## Unreleased\n\n## 9.0.0 - 2026-12-01\n{NEWS}" in (cut / "CHANGELOG.md").read_text("utf-8")
    assert "Version 9.0.0." in (cut / "infra" / "modules" / "queue" / "README.md").read_text("utf-8")
    assert "?ref=v9.0.0" in (cut / "docs" / "adopting.md").read_text("utf-8")
    assert git(cut, "status", "--porcelain") == ""
    assert git(cut, "log", "-1", "--format=%s") == "Release 9.0.0"
    assert git(cut, "tag", "--points-at", "HEAD") == "v9.0.0"


def test_the_version_before_stands_nowhere_after_a_release(cut: Path) -> None:
    """But in the changelog, in tests that make one up, and as that of a dependency."""
    before = release(REPO, "9.0.0").current
    elsewhere = ("--", ".", ":!tests", ":!CHANGELOG.md", ":!requirements", ":!.vscode")
    assert git(cut, "grep", "--name-only", "--fixed-strings", "-e", before, *elsewhere, check=False) == ""
    assert git(cut, "grep", "--count", "--fixed-strings", "-e", "9.0.0", "--", "pyproject.toml") == "pyproject.toml:1"


def test_a_release_touches_only_what_has_the_version(cut: Path) -> None:
    changed = git(cut, "show", "--name-only", "--format=").splitlines()
    assert {"pyproject.toml", "CHANGELOG.md", "docs/adopting.md", "infra/README.md"} <= set(changed)
    assert [name for name in changed if not name.endswith((".md", "pyproject.toml"))] == []


def test_a_version_is_cut_once(cut: Path) -> None:
    """The next one needs news of its own."""
    with pytest.raises(click.ClickException, match=r"not higher than 9\.0\.0"):
        release(cut, "9.0.0").check()
    with pytest.raises(click.ClickException, match="nothing below Unreleased"):
        release(cut, "9.0.1").check()


@pytest.mark.parametrize(
    ("version", "why"), [("next", "three numbers"), ("1.0", "three numbers"), ("0.0.1", "not higher than")]
)
def test_a_version_that_is_none_or_not_higher_is_refused(repo: Path, version: str, why: str) -> None:
    with pytest.raises(click.ClickException, match=why):
        release(repo, version).check()


@pytest.mark.parametrize("switch", [("switch", "--quiet", "--create", "feature"), ("switch", "--quiet", "--detach")])
def test_another_branch_than_main_is_refused(repo: Path, switch: tuple[str, ...]) -> None:
    git(repo, *switch)
    with pytest.raises(click.ClickException, match=r"is on (feature|no branch): releases are cut on main"):
        release(repo, "9.0.0").check()


def test_a_file_that_git_does_not_know_is_a_change(repo: Path) -> None:
    (repo / "notes.txt").write_text("not yet added\n")
    with pytest.raises(click.ClickException, match=r"commit or stash(?s:.)*notes\.txt"):
        release(repo, "9.0.0").check()


def test_a_changelog_without_the_heading_is_refused(repo: Path) -> None:
    (repo / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 - 2026-01-01\n- It was there.\n")
    git(repo, "commit", "--quiet", "--all", "--message", "Lose the heading")
    with pytest.raises(click.ClickException, match="no line ## Unreleased"):
        release(repo, "9.0.0").check()


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
        cwd=REPO, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert "-> 9.0.0: ready." in done.stdout
    assert git(repo, "rev-parse", "HEAD") == before
    assert git(repo, "status", "--porcelain") == ""
