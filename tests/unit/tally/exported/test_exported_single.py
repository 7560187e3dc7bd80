"""Results in one file: whole or not there, with one header, whatever interrupts."""

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.exports import Export, Exports
from tally import results
from tally.cli import run
from tally.errors import ExitCode, OperatorError
from tally.exported import single
from tally.exported.fetch import Fetched, fetch, require_export
from tally.exported.show import show_fetched
from tally.exported.single import fetch_file, pipe, require_free, target_of
from tally.exported.verify import verify
from tally.output import Output
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table
from tests.support.exports import Downloads, silent_output

JOB = """
import msgspec
from chalicelib import rows

class Row(rows.Row):
    name: str
    count: int

class Result(msgspec.Struct):
    double: int

def process(row) -> Result:
    return Result(2 * row.count)
"""
SOURCE = b'name,count\n"a\nb",1\n' + b"".join(b"o%d,%d\n" % (row, row) for row in range(9)) + b"=bad,x\n"


@pytest.fixture(params=["csv", "jsonl"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Deploy a job whose results have a form."""
    (tmp_path / "jobs").mkdir()
    with deployed_job(monkeypatch, tmp_path / "jobs", "doubles", f'EXPORT = "{request.param}"\n{JOB}'):
        yield request.param


@pytest.fixture
def export(pipeline: Pipeline, form: str) -> Export:
    """Return an export of three parts."""
    assert form
    batch_id = pipeline.upload("inbox/doubles/day.csv", SOURCE)
    pipeline.drain()
    return require_export(Exports(table=table(pipeline.dynamodb)), pipeline.batch(batch_id), None, timeout=0)


def fetched(downloads: Downloads, export: Export, place: Path) -> Fetched:
    """Fetch an export into one file."""
    found = fetch_file(silent_output(), downloads, "inbox", export, place)  # type: ignore[arg-type]
    results.check("results", found.as_json())
    return found


def of_parts(pipeline: Pipeline, form: str) -> list[bytes]:
    """Return what is in the parts."""
    places = sorted(key for key, _ in pipeline.s3.objects if key.endswith(f".{form}.gz"))
    bodies = dict[str, bytes]({key: body for (key, _), body in pipeline.s3.objects.items()})
    return [gzip.decompress(bodies[place]) for place in places]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_one_file_has_every_row_of_every_part_and_one_header(
    pipeline: Pipeline, downloads: Downloads, export: Export, form: str, tmp_path: Path, packed: str
) -> None:
    place = tmp_path / f"out.{form}{packed}"
    fetched(downloads, export, place)
    data = gzip.decompress(place.read_bytes()) if packed else place.read_bytes()
    parts = of_parts(pipeline, form)
    assert len(parts) == 3
    if form == "jsonl":
        assert data == b"".join(parts)
        return
    rows = [list(csv.reader(io.StringIO(part.decode(), newline=""))) for part in parts]
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == [
        rows[0][0],
        *(row for part in rows for row in part[1:]),
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name != "jobs"] == [place.name]


def test_packed_files_of_the_same_results_are_the_same_bytes(
    downloads: Downloads, export: Export, form: str, tmp_path: Path
) -> None:
    for name in "ab":
        fetched(downloads, export, tmp_path / f"{name}.{form}.gz")
    assert (tmp_path / f"a.{form}.gz").read_bytes() == (tmp_path / f"b.{form}.gz").read_bytes()


def test_json_lines_become_csv_without_the_cells_of_the_file(
    downloads: Downloads, export: Export, form: str, tmp_path: Path
) -> None:
    place = tmp_path / "out.csv"
    found = fetched(downloads, export, place)
    output = Output(console=silent_output().console, as_json=False)
    show_fetched(output, found)
    said = output.console.file.getvalue()  # type: ignore[attr-defined]
    header, *rows = list(csv.reader(io.StringIO(place.read_text(), newline="")))
    assert header[-9:-7] == ["double", "tally_result"]
    assert [row[-9] for row in rows] == ["2", *(str(2 * row) for row in range(9)), ""]
    assert [row[-3:-1] for row in rows] == [[str(row // 4), str(row % 4)] for row in range(11)]
    assert header[0] == ("name" if form == "csv" else "tally_outcome")
    assert ("It has no cells of the file" in said) is (form == "jsonl")
    assert "1 row did not succeed" in said


def test_csv_does_not_become_json_lines(downloads: Downloads, export: Export, form: str, tmp_path: Path) -> None:
    if form == "jsonl":
        fetched(downloads, export, tmp_path / "out.jsonl")
        assert len(list(map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines()))) == 11
        return
    with pytest.raises(OperatorError, match=r"are CSV.*ends in \.csv"):
        fetched(downloads, export, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_that_is_there_is_replaced_by_force_alone(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OperatorError, match="--force replaces it"):
        require_free(tmp_path / "out.csv", force=False)
    require_free(tmp_path / "out.csv", force=True)
    require_free(tmp_path / "other.csv", force=False)
    require_free(tmp_path, force=False)
    for force in (True, False):
        with pytest.raises(OperatorError, match="is a file"):
            require_free(tmp_path / "notes", force=force)


def test_a_folder_is_told_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert target_of(tmp_path / "folder.csv") is None
    assert target_of(tmp_path / "results.d") is None
    assert target_of(tmp_path / "OUT.CSV.GZ") == ("csv", True)
    assert target_of(tmp_path / "a.jsonl") == ("jsonl", False)


def test_what_interrupts_leaves_the_old_file_and_what_was_fetched(
    downloads: Downloads, export: Export, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / f"out.{form}"
    place.write_text("old")

    def interrupted(*_: Any, **__: Any) -> Any:
        yield b"half of "
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(single, "_joined", interrupted)
        fetched(downloads, export, place)
    assert place.read_text() == "old"
    downloads.asked.clear()
    fetched(downloads, export, place)
    assert [key.rpartition("/")[2] for key in downloads.asked] == ["manifest.json"]
    assert place.read_text() != "old"


def test_a_pipe_gets_the_same_bytes_as_a_file(downloads: Downloads, export: Export, form: str, tmp_path: Path) -> None:
    fetched(downloads, export, tmp_path / f"out.{form}")
    out = io.BytesIO()
    pipe(silent_output(), downloads, "inbox", export, out)  # type: ignore[arg-type]
    assert out.getvalue() == (tmp_path / f"out.{form}").read_bytes()


def test_a_reader_that_stops_ends_a_pipe_without_a_word(
    downloads: Downloads, export: Export, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        pipe(silent_output(), downloads, "inbox", export, out)  # type: ignore[arg-type]
    assert capfd.readouterr().err == ""


def test_parts_in_either_form_are_whole_until_a_row_is_changed(
    downloads: Downloads, export: Export, form: str, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    fetch(silent_output(), downloads, "inbox", export, folder)  # type: ignore[arg-type]
    source = tmp_path / "day.csv"
    source.write_bytes(SOURCE)
    assert verify(folder, source).problems == []
    second = folder / f"results-000002.{form}.gz"
    lines = gzip.decompress(second.read_bytes()).splitlines(keepends=True)
    second.write_bytes(gzip.compress(b"".join([*lines[:-2], lines[-1]]), mtime=0))
    assert any("rows are missing before row 1:3" in problem for problem in verify(folder).problems)
    second.write_bytes(gzip.compress(b"".join([*lines[:-1], lines[-2]]), mtime=0))
    assert any("comes twice" in problem for problem in verify(folder).problems)
    second.write_bytes(gzip.compress(b"".join(lines)[:-9], mtime=0))
    assert any("cannot be read" in problem for problem in verify(folder).problems)


def test_one_file_is_no_folder_to_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.csv").write_text("a\n")
    assert run(["verify", str(tmp_path / "out.csv")]) is ExitCode.USAGE
    assert "out.csv is one file, which cannot be verified without a manifest" in capsys.readouterr().err
