"""The project's own pages and files: every module has a home in CONTRIBUTING, every target that is named exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # moto brings it

REPO = Path(__file__).parents[2]
CONTRIBUTING = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (REPO / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
NAMED = set(re.findall(r"`([\w./-]+)`", CONTRIBUTING))
PAGES = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("infra/**/*.md")]


def modules() -> set[str]:
    """Return every package and every single module, as CONTRIBUTING names them: below app/chalicelib or tally."""
    found = set()
    for root in (REPO / "app" / "chalicelib", REPO / "tally"):
        found |= {path.stem for path in root.glob("*.py") if not path.stem.startswith("__")}
        found |= {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py") if path.parent != root}
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_contributing_names_the_home_of_every_module(module: str) -> None:
    assert module in NAMED, f"give {module} a line in CONTRIBUTING.md, below Where things are"


def test_every_make_target_that_a_page_names_exists() -> None:
    named = {
        (page.name, target) for page in PAGES for target in re.findall(r"`make ([a-z0-9-]+)", page.read_text("utf-8"))
    }
    assert {(page, target) for page, target in named if target not in TARGETS} == set()


def test_every_tool_that_writes_pages_is_run_by_make() -> None:
    """A tool that takes --check writes something that is kept."""
    writers = {path.stem for path in (REPO / "tools").glob("*.py") if '"--check"' in path.read_text("utf-8")}
    listed = re.search(r"^GENERATED := (.*)$", MAKEFILE, re.MULTILINE)
    assert listed
    assert set(listed[1].split()) == writers


def test_the_packages_tell_type_checkers_that_they_are_typed() -> None:
    data = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert data == {"tally": ["py.typed"], "chalicelib": ["py.typed"]}
    assert (REPO / "tally" / "py.typed").exists()
    assert (REPO / "app" / "chalicelib" / "py.typed").exists()


def test_pre_commit_runs_what_exists_here_and_downloads_nothing() -> None:
    (repo,) = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    for hook in repo["hooks"]:
        if hook["entry"].startswith("make "):
            assert hook["entry"].split()[-1] in TARGETS
