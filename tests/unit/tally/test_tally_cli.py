"""The command line: exit statuses, one line for an error, JSON alone on stdout."""

import errno
import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from chalicelib.errors import NotFoundError
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.items import Counts
from tally.batch.audit import Audit, Difference
from tally.batch.reader import Progress
from tally.cli import explain, run
from tally.cli import tally as group
from tally.errors import EXIT_CODES_HELP, ExitCode, OperatorError
from tally.local import sample
from tally.local.demo import find_problems

REPO = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    for name in ("TALLY_STAGE", "TALLY_TABLE", "TALLY_INBOX_BUCKET"):
        monkeypatch.delenv(name, raising=False)


def test_every_exit_status_is_documented() -> None:
    assert all(f"  {code.value} " in EXIT_CODES_HELP for code in ExitCode)


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_explains_itself_and_takes_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) is ExitCode.OK
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_is_in_the_documentation(name: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (REPO / "README.md", *REPO.glob("docs/*.md")))
    assert re.search(rf"\btally {name}\b", text)


@pytest.mark.parametrize("arguments", [["nonsense"], ["status"], ["up", "--port", "0"], ["up", "--var", "novalue"]])
def test_wrong_arguments_are_2(arguments: list[str]) -> None:
    assert run(arguments) is ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments", [["status", "b"], ["rows", "b"], ["list"], ["audit", "b"], ["env"], ["logs", "plan"]]
)
def test_a_stage_that_is_not_up_is_3_and_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--stage", "absent"]) is ExitCode.ENVIRONMENT
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: There is no stage absent on this machine: `tally up --stage absent`")
    assert shown.err.count("\n") == 1


def test_a_file_for_an_unknown_job_is_not_uploaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    assert run(["submit", str(tmp_path / "a.csv"), "--job", "nonsense"]) is ExitCode.USAGE
    assert "There is no job nonsense" in capsys.readouterr().err


def test_down_without_a_stage_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["down", "--json"]) is ExitCode.OK
    assert json.loads(capsys.readouterr().out) == [
        {"stage": "local", "stopped": None, "console": None, "removed": None}
    ]


def test_with_json_nothing_else_is_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    assert run(["sample", "--rows", "1000", "--out", str(file), "--json"]) is ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "rows": 1000, "succeeded": 990, "failed": 2, "rejected": 8, "file": str(file),
    }  # fmt: skip


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(sample, "write_file", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutItem"), ExitCode.UNEXPECTED),
        (ZeroDivisionError("a\nb"), ExitCode.UNEXPECTED),
        (NotFoundError("a chunk of it is not in the table"), ExitCode.USAGE),
        (NoCredentialsError(), ExitCode.ENVIRONMENT),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), ExitCode.ENVIRONMENT),
        (OperatorError("x", code=ExitCode.TIMED_OUT), ExitCode.TIMED_OUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_an_error_has_its_exit_status_and_no_traceback(
    error: BaseException, code: ExitCode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(error, monkeypatch)
    assert run(["sample", "--out", "/dev/null"]) is code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert len(shown.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "b", "--stage", "absent"], ExitCode.ENVIRONMENT),
        (["nonsense"], ExitCode.USAGE),
        (["status"], ExitCode.USAGE),
        (["up", "--port", "0"], ExitCode.USAGE),
    ],
)
def test_with_json_an_error_is_the_json_on_stdout(
    arguments: list[str], code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--json"]) is code
    shown = capsys.readouterr()
    error = json.loads(shown.out)
    assert set(error) == {"error", "hint", "exit_status", "detail"}
    assert error["exit_status"] == code
    assert error["error"]
    assert error["hint"]
    assert error["error"] in shown.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("boom"), ExitCode.UNEXPECTED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (OperatorError("terraform failed", detail="its own words"), ExitCode.ENVIRONMENT),
    ],
)
def test_with_json_no_error_leaves_stdout_empty(
    error: BaseException, code: ExitCode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(error, monkeypatch)
    assert run(["sample", "--out", "/dev/null", "--json"]) is code
    shown = json.loads(capsys.readouterr().out)
    assert shown["exit_status"] == code
    assert shown["detail"] == getattr(error, "detail", "")


def test_every_error_has_a_hint() -> None:
    assert all(OperatorError("x", code=code).as_json()["hint"] for code in ExitCode)
    assert OperatorError("x", hint="do y").as_json()["hint"] == "do y"
    assert str(OperatorError("x", hint="do y")) == "x: do y"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room there and in TMPDIR"),
        (OSError(errno.ENOTDIR, "Not a directory", "/a/b"), "Not a directory: /a/b: name another place."),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Permission denied: /a: name another place, or"),
    ],
)
def test_an_error_of_the_disk_says_where_and_what_to_do(error: OSError, said: str) -> None:
    shown = explain(error)
    assert str(shown).startswith(said)
    assert shown.code is ExitCode.ENVIRONMENT


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(ZeroDivisionError("boom"), monkeypatch)
    assert run(["sample", "--out", "/dev/null", "--debug"]) is ExitCode.UNEXPECTED
    assert "Traceback" in capsys.readouterr().err


def test_an_operators_error_is_shown_as_it_is() -> None:
    error = OperatorError("as it is")
    assert explain(error) is error


def at(status: BatchStatus, succeeded: int) -> Progress:
    batch = Batch(
        id="b",
        job="transactions",
        source=Source(bucket="inbox", key="k", version_id="v", etag="e"),
        size=1,
        status=status,
        created_at="2026-03-01T00:00:00.000000+00:00",
        expires_at=1,
        chunk_rows=500,
        chunk_bytes=1000,
        expected_rows=100,
        counts=Counts(succeeded=succeeded),
    )
    return Progress(batch=batch, chunks={})


def test_a_demo_is_right_only_if_totals_audit_and_status_are() -> None:
    good = at(BatchStatus.COMPLETED, 100)
    exact = Audit(batch=good.batch, chunks=1, counts=good.counts, differences=())
    differs = Audit(batch=good.batch, chunks=1, counts=good.counts, differences=(Difference("batch", "x"),))
    expected = sample.Expected(rows=100, succeeded=100, failed=0, rejected=0)
    others = sample.Expected(rows=100, succeeded=99, failed=1, rejected=0)
    assert find_problems(good, exact, expected) == []
    assert find_problems(good, exact, None) == []
    assert find_problems(good, exact, others)
    assert find_problems(good, differs, expected)
    assert find_problems(at(BatchStatus.COMPLETED, 99), exact, None)
    assert find_problems(at(BatchStatus.REJECTED, 100), exact, None)
