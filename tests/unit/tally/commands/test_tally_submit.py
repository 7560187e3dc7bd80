"""Submitting: which job takes a file, and whether the stage runs it as it is on this disk."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from tally.batch.reader import Reader
from tally.cli import run
from tally.commands import batches, current, options
from tally.errors import ExitCode, OperatorError
from tally.local.localaws import Server
from tally.local.stack import VARIABLES_FILE, LocalStack
from tally.output import Output
from tally.stages import job_code
from tally.stages.stage import Stage
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

JOB = "from chalicelib import rows\nclass Row(rows.Row):\n    kind: str\ndef process(row): ...\n"
ON_DISK = {"weather": "1" * 12, "offices": "2" * 12}
NEWEST: dict[str, str] = ON_DISK
OLDER = {**ON_DISK, "weather": "0" * 12}
WITHOUT = {"offices": "2" * 12}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weather.csv"
    path.write_text("kind\nfine\n")
    return path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Iterator[list[str]]:
    """Return the jobs that files were sent for; there is a job ``weather`` on this disk."""
    jobs: list[str] = []
    assert stage.name == "test"

    def send(_output: Output, _stage: Stage, _file: Path, job: str, _name: str) -> str:
        jobs.append(job)
        return f"{job}-1"

    monkeypatch.setattr(batches, "send", send)
    monkeypatch.setattr(job_code, "digests", lambda _app: ON_DISK)
    folder = tmp_path / "jobs"
    folder.mkdir()
    with deployed_job(monkeypatch, folder, "weather", JOB):
        yield jobs


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str] | None], None]:
    """Return what sets which jobs the stage runs."""
    return lambda found: monkeypatch.setattr(job_code, "deployed", lambda _functions, _stage: found)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> list[dict[str, Any]]:
    """Make the stage a local one; returns what it was told each time that it was brought up."""
    here = replace(stage, server=Server(pid=1, port=4567))
    told: list[dict[str, Any]] = []

    def up(stack: LocalStack, port: int | None) -> Stage:
        assert port is None
        told.append(dict(stack.variables))
        return here

    monkeypatch.setattr(options, "find", lambda *_arguments, **_options: here)
    monkeypatch.setattr(LocalStack, "up", up)
    return told


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Return what puts an operator at the terminal, who answers always the same; that returns the questions."""

    def sit(answer: bool) -> list[str]:
        asked: list[str] = []

        def confirm(question: str, **_: Any) -> bool:
            asked.append(question)
            return answer

        monkeypatch.setattr(Output, "live", property(lambda _output: True))
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr(click, "confirm", confirm)
        return asked

    return sit


def test_a_file_goes_to_the_job_that_it_is_named_after(file: Path, sent: list[str]) -> None:
    assert run(["submit", str(file)]) is ExitCode.OK
    packed = file.with_name("weather.csv.gz")
    packed.write_bytes(b"")
    assert run(["submit", str(packed)]) is ExitCode.OK
    assert run(["submit", str(file), "--job", "offices"]) is ExitCode.OK
    assert sent == ["weather", "weather", "offices"]


def test_a_file_named_after_no_job_needs_one(file: Path, sent: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    other = file.with_name("weather-2.csv")
    other.write_bytes(b"")
    assert run(["submit", str(other)]) is not ExitCode.OK
    said = capsys.readouterr().err
    assert "weather-2.csv is not named after a job: name one with --job: documents," in said
    assert "`tally new JOB --from FILE` drafts one" in said
    assert sent == []


def test_a_job_that_is_nowhere_has_near_names(file: Path, sent: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", str(file), "--job", "wether"]) is ExitCode.USAGE
    assert "There is no job wether in app/chalicelib/jobs: did you mean weather?" in capsys.readouterr().err
    assert run(["submit", str(file), "--job", "wether", "--force"]) is ExitCode.OK
    assert sent == ["wether"]


@pytest.mark.parametrize("found", [NEWEST, {**NEWEST, "offices": "another"}, None])
def test_nothing_is_said_where_the_stage_runs_the_job_or_does_not_say(
    found: dict[str, str] | None, file: Path, sent: list[str], runs: Callable[..., None], capfd: Any
) -> None:
    """Another job's change is none of this file's business."""
    runs(found)
    assert run(["submit", str(file)]) is ExitCode.OK
    assert "version" not in capfd.readouterr().err
    assert sent == ["weather"]


def test_a_job_of_another_version_is_a_warning_on_stderr_and_the_file_is_sent(
    file: Path, sent: list[str], runs: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    """In AWS a deployment is never a side effect, and a pipe cannot be asked."""
    runs(OLDER)
    assert run(["submit", str(file), "--up"]) is ExitCode.OK
    said = capfd.readouterr()
    assert (
        "Stage test runs another version of the job weather than this disk has: `tally deploy --stage test`" in said.err
    )
    assert "version" not in said.out
    assert sent == ["weather"]


def test_a_job_that_the_stage_does_not_have_is_refused_before_the_upload(
    file: Path, sent: list[str], runs: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    runs(WITHOUT)
    assert run(["submit", str(file)]) is ExitCode.ENVIRONMENT
    said = capsys.readouterr().err
    assert "Stage test does not have the job weather, which is on this disk, so that it would reject the file" in said
    assert "`tally deploy --stage test`" in said
    assert sent == []
    assert run(["submit", str(file), "--force"]) is ExitCode.OK
    assert sent == ["weather"]


@pytest.mark.parametrize("found", [OLDER, WITHOUT])
def test_a_local_stage_is_brought_up_to_date_with_what_it_was_told_before(
    found: dict[str, str],
    file: Path,
    sent: list[str],
    runs: Callable[..., None],
    local: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TALLY_HOME", str(tmp_path / "home"))
    variables = tmp_path / "home" / "test" / "infra" / VARIABLES_FILE
    variables.parent.mkdir(parents=True)
    variables.write_text('{"chunk_rows": 7, "stage": "test"}')
    runs(found)
    assert run(["submit", str(file), "--up"]) is ExitCode.OK
    assert (local, sent) == ([{"chunk_rows": 7, "stage": "test"}], ["weather"])


@pytest.mark.parametrize("answer", [True, False])
def test_an_operator_at_a_terminal_is_asked_once(
    answer: bool,
    file: Path,
    sent: list[str],
    runs: Callable[..., None],
    local: list[dict[str, Any]],
    answers: Callable[[bool], list[str]],
) -> None:
    """No is an answer too: the file is sent to what runs."""
    runs(OLDER)
    asked = answers(answer)
    assert run(["submit", str(file)]) is ExitCode.OK
    assert len(asked) == 1
    assert "another version of the job weather" in asked[0]
    assert (len(local), sent) == (int(answer), ["weather"])


def test_json_is_never_interrupted_by_a_question(
    file: Path,
    sent: list[str],
    runs: Callable[..., None],
    local: list[dict[str, Any]],
    answers: Callable[[bool], list[str]],
) -> None:
    runs(OLDER)
    asked = answers(True)
    assert run(["submit", str(file), "--json"]) is ExitCode.OK
    assert (asked, local, sent) == ([], [], ["weather"])


@pytest.mark.parametrize("way", ["--up", "asked", "refused", "piped"])
def test_a_stage_that_is_not_up_is_brought_up_if_that_is_wanted(
    way: str,
    file: Path,
    sent: list[str],
    local: list[dict[str, Any]],
    answers: Callable[[bool], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find(*_arguments: Any, **_options: Any) -> Stage:
        raise OperatorError("There is no stage test on this machine", hint="`tally up --stage test` makes one.")

    monkeypatch.setattr(options, "find", find)
    if way in {"asked", "refused"}:
        answers(way == "asked")
    code = run(["submit", str(file), *(["--up"] if way == "--up" else [])])
    if way in {"--up", "asked"}:
        assert (code, len(local), sent) == (ExitCode.OK, 1, ["weather"])
    else:
        assert (code, local, sent) == (ExitCode.ENVIRONMENT, [], [])
        assert "`tally up --stage test` makes one." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "list", "status --watch"])
def test_a_batch_of_a_job_that_is_only_on_this_disk_says_so(
    command: str,
    stage: Stage,
    sent: list[str],
    runs: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wherever its rejection is shown; and the reason itself has near names."""
    del sent
    pipeline = Pipeline(monkeypatch)
    vars(stage)["dynamodb"] = pipeline.dynamodb
    lost = pipeline.upload("inbox/weather2/day.csv", b"kind\nfine\n")
    pipeline.drain()
    assert "no job 'weather2' (did you mean 'weather'?)" in pipeline.batch(lost).reason
    batch = pipeline.upload("inbox/weather/day.csv", b"wrong\nfine\n")
    pipeline.drain()
    monkeypatch.setattr(Reader, "newest", lambda _reader, _limit: _Newest([pipeline.batch(batch)]))
    runs(WITHOUT)
    words = command.split()
    run([*words[:1], *([batch] if words[0] == "status" else []), *words[1:]])
    said = " ".join(capsys.readouterr().out.split())
    assert "Stage test does not have the job weather, which is on this disk: `tally deploy --stage test`" in said
    runs(NEWEST)
    run([*words[:1], *([batch] if words[0] == "status" else []), *words[1:]])
    assert "does not have" not in capsys.readouterr().out


class _Newest:
    of_other_versions = 0

    def __init__(self, found: list[Any]) -> None:
        self.batches = found


def test_this_disk_is_compared_with_the_functions_themselves(
    stage: Stage, file: Path, sent: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """As Lambda has them, by their tags."""
    tags = {"tally-jobs-1": f"weather={'0' * 12} offices={'2' * 12}"}
    vars(stage)["functions"] = SimpleNamespace(get_function=lambda **_: {"Tags": tags})
    assert run(["submit", str(file)]) is ExitCode.OK
    assert "another version of the job weather" in capfd.readouterr().err
    assert current.standing_of(stage, "offices") is job_code.Standing.SAME
    assert sent == ["weather"]
