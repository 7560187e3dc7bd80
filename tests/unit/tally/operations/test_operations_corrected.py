"""`tally redrive --corrected` as an operator types it."""

from pathlib import Path

import pytest

from tally.cli import run
from tally.errors import ExitCode
from tally.testing.pipeline import Pipeline
from tests.support.operating import answer, exact


def corrected_file(folder: Path, *rows: str) -> str:
    """Write a corrected file; returns its path."""
    path = folder / "corrected.csv"
    path.write_text("tally_line,kind\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_corrected_rows_run_again_in_place_of_the_failed_ones(
    pipeline: Pipeline, batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First without a change, then for real: what --json says of both, and what people read."""
    path = corrected_file(tmp_path, "3,fine", "6,fine")
    code, shown = answer(capsys, "redrive", batch, "--from", path, "--dry-run")
    assert (code, shown["redriven"], shown["attempt"]) == (ExitCode.OK, 0, 1)
    assert (shown["corrected"]["rows"], shown["corrected"]["dry_run"]) == (2, True)
    assert run(["redrive", batch, "--from", path]) is ExitCode.OK
    assert "2 rows run again as corrected, in attempt 2." in capsys.readouterr().out
    pipeline.drain()
    assert pipeline.batch(batch).counts.failed == 1
    assert exact(pipeline, batch)
    code, shown = answer(capsys, "redrive", batch, "--from", path)
    assert (code, shown["redriven"], shown["corrected"]["already"]) == (ExitCode.OK, 0, 2)


def test_lines_that_cannot_run_are_an_error_that_names_them(
    batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corrected_file(tmp_path, "2,fine", "3,fine", "99,fine")
    code, shown = answer(capsys, "redrive", batch, "--from", path)
    assert (code, shown["exit_status"]) == (ExitCode.USAGE, 2)
    assert shown["error"] == "2 lines of corrected.csv cannot run, 1 can: nothing was changed"
    assert shown["hint"] == "correct them, or leave them out with --skip-invalid."
    assert shown["detail"].startswith("1 succeeded, 1 unknown\nline 2: ")
    code, shown = answer(capsys, "redrive", batch, "--from", path, "--skip-invalid")
    assert (code, shown["redriven"], shown["corrected"]["left_out"]) == (ExitCode.OK, 1, 2)
    assert [each["kind"] for each in shown["corrected"]["problems"]] == ["succeeded", "unknown"]


@pytest.mark.parametrize(
    "options", [["--rejected"], ["--group", "1"], ["--rows", "0:1"], ["--error", "x"], ["--reason", ""]]
)
def test_a_corrected_file_says_by_itself_which_rows_run(
    batch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert run(["redrive", batch, "--from", corrected_file(tmp_path, "3,fine"), *options]) is ExitCode.USAGE
    assert f"leave out {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--dry-run", "--skip-invalid"])
def test_options_for_a_corrected_file_are_refused_without_one(
    batch: str, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run(["redrive", batch, option]) is ExitCode.USAGE
    assert "need --from FILE" in capsys.readouterr().err
