"""The questions, files and refusals of `tally new`."""

import gzip
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tally import testing
from tally.cli import run
from tally.commands import new as new_command
from tally.draft.draft import Draft, draft
from tally.draft.files import Files
from tally.errors import ExitCode, OperatorError
from tally.stages.workspace import Workspace
from tests.support.builders import deployed_job

REPO = Path(__file__).parents[4]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of which nothing but the folders are there."""
    folder = tmp_path / "repo"
    for name in ("infra", "app/chalicelib/jobs"):
        (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_bytes((REPO / "pyproject.toml").read_bytes())
    monkeypatch.setattr(new_command, "workspace", lambda: Workspace(repo=folder, home=tmp_path / "home"))
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weather.csv"
    path.write_text("Station ID,day,Temp (C),wind\n001,2026-01-01,3.5,\n002,2026-01-02,NA,4\n")
    return path


def test_the_command_that_tries_the_job_can_be_pasted_whatever_the_file_is_called(
    repo: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Excel and people put spaces into names."""
    spaced = file.rename(file.with_name("weather of May.csv"))
    assert run(["new", "weather", "--from", str(spaced)]) is ExitCode.OK
    (command,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  tally try"))
    assert shlex.split(command) == ["tally", "try", "weather", str(spaced)]


def _draft(path: Path, content: str | bytes) -> Draft:
    path = path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return draft("job", path)


def _doubts(path: Path, content: str) -> list[str]:
    drafted = _draft(path, content)
    return [*drafted.doubts, *(doubt for column in drafted.columns for doubt in column.type.doubts)]


def test_a_job_and_its_test_are_written_and_shown(repo: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "weather", "--from", str(file)]) is ExitCode.OK
    module = (repo / "app/chalicelib/jobs/weather.py").read_text()
    assert 'NULLS = {"NA"}' in module
    assert (
        '    temp_c: float | None = msgspec.field(name="Temp (C)", default=None)\n    wind: int | None = None\n'
        in module
    )
    assert "001,2026-01-31,1.5,1\n001,2026-01-31,,\n" in (repo / "tests/jobs/test_weather.py").read_text()
    shown = capsys.readouterr().out
    assert "digits such as '001' are kept as text" in shown
    assert "Wrote app/chalicelib/jobs/weather.py and tests/jobs/test_weather.py." in shown


def test_nothing_is_overwritten_unless_that_is_asked_for(
    repo: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = repo / "app/chalicelib/jobs/weather.py"
    module.write_text("mine")
    assert run(["new", "weather", "--from", str(file)]) is ExitCode.USAGE
    assert "app/chalicelib/jobs/weather.py exist already: --force overwrites" in capsys.readouterr().err
    assert module.read_text() == "mine"
    assert not (repo / "tests").exists()
    assert run(["new", "weather", "--from", str(file), "--force"]) is ExitCode.OK
    assert "class Row" in module.read_text()


def test_a_dry_run_shows_both_files_and_writes_neither(
    repo: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["new", "weather", "--from", str(file), "--dry-run", "--json"]) is ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["written"] is False
    assert "def process(row: Row)" in shown["module"]["source"]
    assert 'testing.run("weather"' in shown["test"]["source"]
    assert not list(repo.rglob("*weather*"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my-job", "for example `my_job`"),
        ("2024", "is no name for a job"),
        ("1st", "for example `st`"),
        ("_hidden", "for example `hidden`"),
        ("class", "a word of Python"),
        ("x" * 61, "at most 60"),
        ("../up", "for example `up`"),
        ("OFFICES", "There is a job 'offices'"),
    ],
)
def test_what_no_job_can_be_called_is_refused(
    repo: Path, file: Path, name: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "app/chalicelib/jobs/offices.py").write_text("")
    assert run(["new", name, "--from", str(file)]) is ExitCode.USAGE
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"PK\x03\x04rest", "a zip archive"),
        (bytes(range(32)) * 20, "it is no text"),
        (b"\x1f\x8b\x08\0\0\0", "damaged or cut off"),
        ("a,b".encode("utf-32"), "UTF-32"),
        ("名前,住所\n東京都,千代田区\n大阪府,北区\n".encode("shift_jis"), "iconv -f Shift-JIS"),
        ("id,名前\n1,山田\n2,田中\n".encode("shift_jis"), "iconv -f Shift-JIS"),
        ("id,城市\n1,台北\n2,台中\n".encode("big5"), "iconv -f BIG5"),
        (b'[{"a": 1}, {"a": 2}]', "not one object a line"),
        (b'{\n  "a": 1\n}', "not one object a line"),
        (b"The report of May\n\na,b,c\n1,2,3\n4,5,6\n", "tail -n +3 a.csv"),
        (b"# of May\na,b\n1,x\n2,y\n", "tail -n +2 a.csv"),
        (b"# of May\n# by me\na,b\n" + b"1,x\n" * 9, "tail -n +3 a.csv"),
        (b"sep=;\na;b\n1;2\n3;4\n", "a line for Excel"),
        (",".join(f"c{number}" for number in range(2_001)).encode(), "has 2,001 columns"),
    ],
)
def test_a_file_that_no_job_takes_is_named_as_what_it_is(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(OperatorError) as raised:
        _draft(tmp_path, content)
    assert why in str(raised.value)
    assert raised.value.code is ExitCode.USAGE


def test_a_header_that_no_batch_can_keep_is_refused_before_anything_is_written(
    repo: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long questions as names of columns: a stage would reject the whole file."""
    file.write_text(",".join(f"question {number} {'x' * 500}" for number in range(200)) + "\n")
    assert run(["new", "weather", "--from", str(file)]) is ExitCode.USAGE
    assert "at most 65,536 can be kept" in capsys.readouterr().err
    assert not list(repo.rglob("*weather*"))


@pytest.mark.parametrize(
    ("content", "doubt"),
    [
        ("day\n01/02/2024\n03/04/2024\n", "days or months first?"),
        ("day\n13/02/2024\n03/04/2024\n", "'%d/%m/%Y')"),
        ("day\n2/13/24\n3/4/24\n", "'%m/%d/%y')"),
        ("day\n2024/01/31\n2024/02/01\n", "not written as 2026-01-31"),
        ("day\n3 Jan 2024\n1 Feb 2024\n", "the name of the month"),
        ("a;b\n1,5;x\n2,5;y\n", "numbers with a decimal comma"),
        ("a;b\n1.957,60;x\n767,80;y\n", "float(row.a.replace('.', '').replace(',', '.'))"),
        ("a;b\n1 957,60;x\n1\u00a0957,60;x\n767,80;y\n", "float(''.join(row.a.split()).replace(',', '.'))"),
        ("a;b\n12,50 \u20ac;x\n1.012,50 \u20ac;y\n", "sums of money"),
        ("a\n12.50 EUR\n7 USD\n", "sums of money"),
        ('a,b\n"1,500",x\n"2,500",y\n', "numbers with commas"),
        ("a\n5%\n7.5 %\n", "percentages"),
        ("a\n$5\n$7.50\n", "sums of money"),
        ("at\n2024-01-31 12:00\n2024-01-31 12:30\n", "times without seconds"),
        ("zip\n90210\n10001\n", "if it may begin with 0"),
        ("id\n1\n2\n", "an id?"),
        ("a\n0\n1\n0\n", "bool takes them"),
        ("a\n1\n2\n3\nmany\n", "int, but 1 of 4 values are not, such as 'many'"),
        ("a,b\n1,\n2,\n", "none of 2 rows has a value"),
        ("a,b\nNA,1\nx,NA\n", "'NA' was taken for nothing, 1 times"),
        ("a,b\n1,2\n3\n", "rejected, 1 times: more or fewer cells than the 2 columns"),
        ("a,b\n1,2\n,\n", "rejected, 1 times: no value in any column"),
        ("a,b\n1,2\na,b\n", "rejected, 1 times: the header again"),
        ("a,b\n", "no row follows the header"),
        ("a\nx\ny\n", "nothing tells whether line 1 is a header"),
        ("1,2\n3,4\n", "line 1 looks like a row"),
        ("name   size   weight\nx      1      2\n", "parted by spaces"),
    ],
)
def test_it_says_what_it_was_not_sure_of(tmp_path: Path, content: str, doubt: str) -> None:
    assert any(doubt in said for said in _doubts(tmp_path, content)), _doubts(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a,b\nx,1,2\ny,3,4\n", ["index", "a", "b"]),
        ("a,b\n1,2,\n3,4,\n", ["a", "b", "column_3"]),
        ("2,2,red,blue\n" + "1.5,2,3,4,5,6\n" * 9, [f"column_{column}" for column in range(1, 7)]),
        ("a,b,c,d\n1,2,3\n4,5,6\n", ["column_1", "column_2", "column_3"]),
    ],
)
def test_a_first_line_that_does_not_fit_the_rows_is_rejected_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, names: list[str]
) -> None:
    """As R writes row names, and as tables with a line about themselves begin."""
    drafted = _draft(tmp_path, content)
    assert [column.header for column in drafted.columns] == names
    with deployed_job(monkeypatch, tmp_path, "job", Files.of(drafted, REPO).module_source):
        batch = testing.run("job", content)
    assert (batch.succeeded, batch.rejected) == (drafted.rows, 1)
    assert batch.at_line(1).outcome == "rejected"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("a,b\nx,é\n".encode(), ""),
        ("\ufeffa,b\nx,é\n".encode(), ""),
        ("ort,n\nMünchen,1\nKöln,2\nCafé für Bücher,3\n".encode("cp1252"), "cp1252"),
        ("a,b\nx,é\n".encode("utf-16"), "utf-16"),
        ("a,b\nx,é\n".encode("utf-16-le"), "utf-16-le"),
        ("a,b\nx,é\n".encode("utf-16-be"), "utf-16-be"),
        ("miasto\nŁódź\nKraków\nGdańsk\nżółw\n".encode("cp1250"), "cp1250"),
        ("at,temp\n1,20 °C\n2,5 €\n".encode("cp1252"), "cp1252"),
        ("name\nCafé\nMüller\nnaïve Zoë\n".encode("mac_roman"), "mac_roman"),
        ("имя,цвет\nлиния,жёлтый\nплющ,синий\n".encode("cp1251"), "cp1251"),
        ("é,b\né,1\né,2\n".encode() + b"\xe9,3\n", ""),
    ],
)
def test_the_encoding_is_told_by_the_bytes(tmp_path: Path, content: bytes, encoding: str) -> None:
    assert _draft(tmp_path, content).encoding == encoding


def test_json_lines_have_the_types_of_json(tmp_path: Path) -> None:
    lines = (
        '{"id": 1, "Name": "x", "at": "2026-01-31", "n": "5", "tags": ["a"]}\n{"id": 2.5, "ok": true, "n": null}\nno\n'
    )
    drafted = _draft(tmp_path, lines)
    assert {column.header: (column.attribute, column.alias, column.type.annotation) for column in drafted.columns} == {
        "id": ("id", None, "float"),
        "Name": ("name", None, "str"),
        "at": ("at", None, "dt.date"),
        "n": ("n", None, "str"),
        "tags": ("tags", None, "Any"),
        "ok": ("ok", None, "bool"),
    }
    assert [column.type.missing for column in drafted.columns] == [0, 1, 1, 1, 1, 1]
    assert (drafted.rows, drafted.unfit) == (2, 1)


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_large_file_the_beginning_the_middle_and_the_end_are_looked_at(tmp_path: Path, *, packed: bool) -> None:
    """The values that make a column text, and nullable, are at its end only."""
    rows = b"".join(b"%d,%d\n" % (number, number) for number in range(20_000))
    content = b"a,b\n" + rows + b"x,\n"
    path = tmp_path / "large"
    path.write_bytes(gzip.compress(content) if packed else content)
    drafted = draft("job", path, whole_bytes=10_000)
    assert not drafted.whole
    assert [(column.type.annotation, column.type.nullable) for column in drafted.columns] == [
        ("str", False),
        ("int", True),
    ]
    assert any("read in part" in doubt for doubt in drafted.doubts)


def test_a_literal_is_written_only_where_all_rows_or_very_many_were_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,colour\n" + "".join(f"{number},{'rb'[number % 2]}\n" for number in range(2_000)))
    assert draft("job", path).columns[1].type.annotation == 'Literal["b", "r"]'
    assert draft("job", path, whole_bytes=5_000).columns[1].type.annotation == "str"


def test_the_test_that_is_written_has_no_value_of_the_file(tmp_path: Path) -> None:
    drafted = _draft(tmp_path, "name,secret\nAda,hunter2\nBob,swordfish\n")
    assert "hunter2" not in Files.of(drafted, REPO).test_source


def test_what_is_written_is_clean_by_the_rules_of_the_project(tmp_path: Path) -> None:
    """Formatter, linter and types: nobody has to correct what a command wrote."""
    from tests.unit.tally.draft.test_tally_new_shapes import SHAPES  # noqa: PLC0415

    ruff = Path(sys.executable).with_name("ruff")
    for number, (content, _) in enumerate(SHAPES.values()):
        drafted = _draft(tmp_path, content)
        files = Files.of(drafted, REPO)
        for path, source in ((files.module, files.module_source), (files.test, files.test_source)):
            named = ["--stdin-filename", str(path.with_stem(f"{path.stem}{number}")), "-"]
            for tool in (["check", "--output-format", "concise"], ["format", "--check"]):
                done = subprocess.run(
                    [ruff, *tool, *named], input=source, cwd=REPO, capture_output=True, encoding="utf-8", check=False
                )
                assert done.returncode == 0, done.stdout + done.stderr + source
