"""``tally try``: what it shows of a file is what the pipeline makes of it, and it needs no stage."""

import gzip
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tally import testing
from tally.cli import run
from tally.errors import ExitCode
from tally.local import sample
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.trial import planning, trial
from tests.support.builders import deployed_job, forget_jobs

JOB = """
import sys

from chalicelib import rows
from chalicelib.errors import PermanentError

ATTEMPTS = 2
tried = []

class Row(rows.Row):
    station: str
    celsius: float

def heavy(row):
    return row.station == "heavy"

def process(row):
    print("processing", row.station)
    tried.append(row.station)
    if row.station == "down":
        raise PermanentError(f"{row.station} was taken down")
    if row.station == "shaky" and tried.count("shaky") < 2:
        raise ConnectionError("no answer")
    if row.station == "stop":
        import os, signal
        os.kill(os.getpid(), signal.SIGINT)
    if row.station == "leave":
        import os
        os._exit(0)
    if row.station == "fork":
        import os
        child = os.fork()
        if not child:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"station": row.station}
"""
READINGS = 'station,celsius\na,1.5\n"b\nc",2\ndown,3\nshaky,4\nheavy,5\na,warm\n\na,6\n'


@pytest.fixture(autouse=True)
def weather(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "jobs").mkdir()
    with deployed_job(monkeypatch, tmp_path / "jobs", "weather", JOB):
        yield


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    file = tmp_path / "readings.csv"
    file.write_text(READINGS, encoding="utf-8")
    return file


def _tried(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], ExitCode]:
    capfd.readouterr()
    code = run(["try", *arguments, "--json"])
    return json.loads(capfd.readouterr().out), code


def test_outcomes_are_those_of_the_pipeline(readings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Retries, a heavy row, a row over two lines, one for good, one that is no row."""
    found, code = _tried(capfd, "weather", str(readings))
    forget_jobs("weather")
    batch = testing.run("weather", READINGS)
    assert (found["succeeded"], found["failed"], found["rejected"]) == (5, 1, 1)
    assert (found["succeeded"], found["failed"], found["rejected"]) == (batch.succeeded, batch.failed, batch.rejected)
    assert [each["result"] for each in found["results"]] == batch.results
    assert [each["line"] for each in found["results"]] == [2, 3, 6, 7, 10]
    assert {each["example"]["reason"] for each in found["reasons"]} == set(batch.reasons)
    assert {each["example"]["line"] for each in found["reasons"]} == {5, 8}
    assert found["calls"] == batch.calls == 7
    assert found["whole"] is True
    assert code is ExitCode.NOT_AS_HOPED


def test_a_job_that_prints_does_not_break_json(readings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor does a process that it starts: what has file descriptor 1 writes to stderr."""
    run(["try", "weather", str(readings), "--json"])
    out, err = capfd.readouterr()
    assert json.loads(out)["rows"] == 7
    assert "processing a" in err


def test_a_job_that_ends_its_process_fails_its_row_and_not_the_trial(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else the command would end in silence, with the status that the job gives: 0 says that every row succeeded."""
    file = tmp_path / "leaves.csv"
    file.write_text("station,celsius\na,1\nleave,2\nfork,3\n")
    result, code = _tried(capfd, "weather", str(file))
    assert code is ExitCode.NOT_AS_HOPED
    assert (result["succeeded"], result["failed"]) == (2, 1)
    assert [reason["example"]["reason"] for reason in result["reasons"]] == [
        "ExitCalledError: os._exit(0) ends the worker: a stage dead-letters the row"
    ]
    assert 7 in [each["result"] for each in result["results"]]  # a child of the job's ends as it says


def test_a_file_whose_rows_all_succeed_exits_0(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "good.csv"
    file.write_text("station,celsius\na,1\n", encoding="utf-8")
    found, code = _tried(capfd, "weather", str(file))
    assert (found["succeeded"], found["reasons"], code) == (1, [], ExitCode.OK)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"station,fahrenheit\na,1\n", "the header lacks celsius and has unknown 'fahrenheit'"),
        (b"PK\x03\x04" + bytes(60), "the file is a zip archive"),
        (b"", "the object is empty"),
        (gzip.compress(b"station,celsius\n" * 9, mtime=0)[:30], "the gzip data are cut off"),
    ],
    ids=["header", "zip", "empty", "gzip"],
)
def test_a_file_that_a_stage_would_reject_is_rejected_with_the_same_words(
    content: bytes, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    found, code = _tried(capfd, "weather", str(file))
    assert reason in found["reason"]
    assert found["reason"] == testing.run("weather", content).reason
    assert (found["rows"], found["estimate"], code) == (0, None, ExitCode.NOT_AS_HOPED)


def test_a_file_comes_packed_and_from_stdin_too(
    readings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "readings.csv.gz"
    packed.write_bytes(gzip.compress(READINGS.encode()))
    wanted, _ = _tried(capfd, "weather", str(readings))
    forget_jobs("weather")
    from_packed, _ = _tried(capfd, "weather", str(packed))
    forget_jobs("weather")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed.read_bytes())))
    from_stdin, _ = _tried(capfd, "weather", "-")
    for found in (from_packed, from_stdin):
        assert found["results"] == wanted["results"]
        assert found["reasons"] == wanted["reasons"]


@pytest.mark.parametrize("most", [1, 3, 6])
def test_so_many_rows_are_tried_and_no_more(most: int, readings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found, _ = _tried(capfd, "weather", str(readings), "--rows", str(most))
    assert found["rows"] == most
    assert found["whole"] is False
    assert found["estimate"]["rows"] == 7
    assert found["estimate"]["scaled"] is True


def test_the_first_rows_of_several_chunks_are_those_of_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sample.csv"
    sample.write_file(file, 5_000)
    found, _ = _tried(capfd, "transactions", str(file), "--rows", "2500")
    wanted = sample.expected(2500)
    assert (found["rows"], found["failed"], found["rejected"]) == (2500, wanted.failed, wanted.rejected)


def test_a_row_is_shown_by_its_line(readings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Cells, what they were parsed to, the outcome and where the job raised; a row spans its second line."""
    found, code = _tried(capfd, "weather", str(readings), "--line", "5")
    assert found["cells"] == [{"column": "station", "cell": "down"}, {"column": "celsius", "cell": "3"}]
    assert found["fields"] == {"station": "'down'", "celsius": "3.0"}
    assert (found["outcome"], found["code"], found["tries"]) == ("failed", "permanent", 1)
    assert found["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert found["traceback"].count("File ") == 1
    assert found["traceback"].endswith("PermanentError: down was taken down")
    assert code is ExitCode.NOT_AS_HOPED
    spanned, code = _tried(capfd, "weather", str(readings), "--line", "4")
    assert (spanned["line"], spanned["result"], code) == (3, {"station": "b c"}, ExitCode.OK)
    rejected, _ = _tried(capfd, "weather", str(readings), "--line", "8")
    assert (rejected["outcome"], rejected["fields"]) == ("rejected", {})
    assert rejected["cells"][1] == {"column": "celsius", "cell": "warm"}
    heavy, _ = _tried(capfd, "weather", str(readings), "--line", "7")
    assert (heavy["heavy"], heavy["outcome"]) == (True, "succeeded")


def test_a_row_of_json_lines_is_shown_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A column that no field matches is shown with the fields, for the job keeps it."""
    file = tmp_path / "readings.jsonl"
    file.write_text('{"station": "a", "celsius": 1.5, "by": ["x"]}\n{"station": 3}\n', encoding="utf-8")
    source = 'FORMAT = "jsonl"\nEXTRA = "keep"\n' + JOB
    with deployed_job(monkeypatch, tmp_path / "jobs", "lines", source):
        found, code = _tried(capfd, "lines", str(file), "--line", "1")
        whole, _ = _tried(capfd, "lines", str(file))
    assert [(each["column"], each["cell"]) for each in found["cells"]] == [
        ("station", '"a"'),
        ("celsius", "1.5"),
        ("by", '["x"]'),
    ]
    assert found["fields"] == {"station": "'a'", "celsius": "1.5", "extra": "{'by': ['x']}"}
    assert (found["outcome"], code) == ("succeeded", ExitCode.OK)
    assert (whole["succeeded"], whole["rejected"]) == (1, 1)


def test_a_row_of_utf_16_is_shown_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wide.csv"
    file.write_text(READINGS.replace("down", "d\u00f6wn"), encoding="utf-16")
    with deployed_job(monkeypatch, tmp_path / "jobs", "wide", 'ENCODING = "utf-16"\n' + JOB):
        found, _ = _tried(capfd, "wide", str(file), "--line", "5")
    assert found["cells"][0] == {"column": "station", "cell": "d\u00f6wn"}


def test_no_other_row_runs_when_one_is_shown(readings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(["try", "weather", str(readings), "--line", "2"])
    assert capfd.readouterr().out.count("processing") == 1


def test_a_line_far_into_a_file_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "many.csv"
    file.write_text("station,celsius\n" + "".join(f"s{n},1\n" for n in range(4_500)), encoding="utf-8")
    for line in (2, 1001, 1002, 3_210, 4_501):
        found, _ = _tried(capfd, "weather", str(file), "--line", str(line))
        assert (found["line"], found["result"]) == (line, {"station": f"s{line - 2}"})


@pytest.mark.parametrize(("line", "why"), [(1, "no row begins before it"), (9, "row"), (99, "row")])
def test_a_line_without_a_row_is_an_error(
    line: int, why: str, readings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, code = _tried(capfd, "weather", str(readings), "--line", str(line))
    assert f"no row at line {line}" in found["error"]
    assert why in found["error"]
    assert code is ExitCode.USAGE


def test_the_debugger_stops_where_a_row_raises(
    readings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("p row.celsius\nc\np row.station\nq\n"))
    code = run(["try", "weather", str(readings), "--pdb"])
    out = capfd.readouterr().out
    assert "(Pdb) 3.0" in out
    assert "(Pdb) 'shaky'" in out
    assert "interrupted: " in out
    assert code is ExitCode.INTERRUPTED


def test_the_debugger_stops_at_the_start_of_a_row(
    readings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("p row.station\nc\n"))
    assert run(["try", "weather", str(readings), "--pdb", "--line", "2"]) is ExitCode.OK
    out = capfd.readouterr().out
    assert out.index('-> print("processing", row.station)') < out.index("(Pdb) 'a'") < out.index("processing a")
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    assert run(["try", "weather", str(readings), "--pdb", "--line", "2"]) is ExitCode.INTERRUPTED


def test_an_interrupt_shows_what_was_seen_so_far(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stops.csv"
    file.write_text("station,celsius\na,1\ndown,2\nstop,3\n" + "a,4\n" * 3_000, encoding="utf-8")
    before = signal.getsignal(signal.SIGINT)
    found, code = _tried(capfd, "weather", str(file))
    assert (found["succeeded"], found["failed"], found["interrupted"]) == (2, 1, True)
    assert found["estimate"]["scaled"] is True
    assert code is ExitCode.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_of_a_wait_shows_what_was_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ten chunks were tried when it comes; the planner does not outlive it."""
    file = tmp_path / "many.csv"
    file.write_text("station,celsius\n" + "a,1\n" * 20_000, encoding="utf-8")
    asked: Counter[str] = Counter()
    planned = planning.Planning.planned

    def interrupted(self: planning.Planning, most: int) -> list[planning.Record]:
        asked["times"] += 1
        if asked["times"] == 2:
            raise KeyboardInterrupt
        return planned(self, most)

    monkeypatch.setattr(planning.Planning, "planned", interrupted)
    found, code = _tried(capfd, "weather", str(file))
    assert (found["rows"], found["interrupted"], code) == (10_000, True, ExitCode.INTERRUPTED)


def test_memory_is_bounded_whatever_the_size_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The planner waits for the rows: of four hundred chunks never more than a few are in the table."""
    monkeypatch.setattr(planning, "MAX_AHEAD", 5)
    monkeypatch.setattr(trial, "MAX_TOGETHER", 2)
    most = Counter[str]()
    transact = MemoryDynamoDB.transact_write_items

    def watched(self: MemoryDynamoDB, **request: Any) -> Any:
        most["items"] = max(most["items"], len(self.items))
        return transact(self, **request)

    monkeypatch.setattr(MemoryDynamoDB, "transact_write_items", watched)
    file = tmp_path / "many.csv"
    file.write_text("station,celsius\n" + "a,1\n" * 800, encoding="utf-8")
    with deployed_job(monkeypatch, tmp_path / "jobs", "tiny", "CHUNK_ROWS = 2\n" + JOB):
        found, _ = _tried(capfd, "tiny", str(file))
    assert (found["rows"], found["estimate"]["chunks"]) == (800, 400)
    assert most["items"] < 400


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("from chalicelib import rows\n\ndef process(row:\n", "broken.py:3: SyntaxError: "),
        ("import no_such_module\n", "broken.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("from chalicelib import rows\n\nclass Row(rows.Row):\n    a: int\n", "must define Row"),
        ("\n\nraise SystemExit(3)\n", "broken.py:3: SystemExit: 3"),
        ("ATTEMPTS = 0\n" + JOB.replace("ATTEMPTS = 2", ""), "ATTEMPTS must be a number from 1"),
        (f"{JOB}THEN = 'nothing'\n", "THEN is 'nothing', and there is no such job"),
        (f"{JOB}THEN = 'transactions'\n", "jobs/transactions.py reads CSV, while results are JSON lines"),
    ],
)
def test_a_broken_job_is_an_error_with_file_and_line(
    source: str,
    said: str,
    readings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with deployed_job(monkeypatch, tmp_path / "jobs", "broken", source):
        found, code = _tried(capfd, "broken", str(readings))
    assert said in found["error"]
    assert "broken.py" in found["error"]
    assert code is ExitCode.USAGE


def test_a_job_that_is_not_there_is_an_error_that_names_those_that_are(
    readings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, code = _tried(capfd, "wether", str(readings))
    assert "no job 'wether'" in found["error"]
    assert "offices" in found["error"]
    assert code is ExitCode.USAGE


def test_failures_over_the_limit_stop_the_batch_as_on_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "down.csv"
    file.write_text("station,celsius\n" + "down,1\n" * 15_000, encoding="utf-8")
    with deployed_job(monkeypatch, tmp_path / "jobs", "limited", "FAILURE_LIMIT = 100\n" + JOB):
        found, _ = _tried(capfd, "limited", str(file))
    assert found["hold"] == "threshold"
    assert found["failed"] == 15_000
    assert any("the batch was stopped (threshold)" in each["reason"] for each in found["reasons"])


def test_no_aws_is_asked_and_no_stage_is_needed(
    readings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "TALLY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it connects"))
    found, _ = _tried(capfd, "weather", str(readings), "--stage", "nowhere")
    assert found["rows"] == 7


@pytest.mark.parametrize("width", [60, 100, 200])
def test_what_people_read_says_it_all(
    width: int, readings: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run(["try", "weather", str(readings)])
    out = capfd.readouterr().out
    assert "7 rows: 5 succeeded, 1 failed, 1 rejected" in out
    assert "for example line 5: PermanentError: down was taken down" in out
    assert "for example line 8, column 2 'celsius': expected float, got 'warm'" in out
    assert 'line 3: {"station":"b c"}' in out
    assert "chunks: 1, work messages: 3" in out
    assert "50 process" in out


def test_a_job_with_a_key_says_what_its_stage_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = "from chalicelib import rows\nclass Row(rows.Row):\n    name: str\ndef process(row):\n    return 1\n"
    file = tmp_path / "shelves.csv"
    file.write_text("name\na\n", encoding="utf-8")
    with deployed_job(monkeypatch, tmp_path, "shelves", f"{job}KEY = 'name'\n"):
        assert run(["try", "shelves", str(file)]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "by name of the row" in shown
    assert "--var 'results_table={}'" in shown
