"""A job beside those that ship: it breaks none of the project's own tests, whatever it is called."""

from pathlib import Path

from tests.support.clone import clone


def test_a_job_that_was_drafted_breaks_no_test_of_the_project(tmp_path: Path) -> None:
    """Also one that is called as a test of the project is, and one that comes last in the list of jobs."""
    copy = clone(tmp_path / "clone")
    for name in ("jobs", "zebra"):
        new = copy.tally("new", name, "--from", "examples/weather.csv")
        assert new.returncode == 0, new.stderr
    tested = copy.python(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/jobs",
        "tests/unit/jobs",
        "--ignore",
        "tests/unit/jobs/test_another_job.py",
    )
    assert tested.returncode == 0, tested.stdout
    assert "tests/jobs/test_jobs.py" in copy.python("-m", "pytest", "-q", "--collect-only", "tests/jobs").stdout


def test_what_was_drafted_is_clean_by_the_rules_of_the_project(tmp_path: Path) -> None:
    copy = clone(tmp_path / "clone")
    new = copy.tally("new", "zebra", "--from", "examples/weather.csv")
    assert new.returncode == 0, new.stderr
    files = ("app/chalicelib/jobs/zebra.py", "tests/jobs/test_zebra.py")
    for tool in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)):
        checked = copy.python("-m", *tool, *files)
        assert checked.returncode == 0, checked.stdout + checked.stderr
