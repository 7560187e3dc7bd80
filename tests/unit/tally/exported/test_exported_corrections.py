"""Fetched results of a corrected batch: the corrected rows come with them, and are held to what the results say."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.store.exports import Exports
from tally import results
from tally.exported.fetch import fetch, require_export
from tally.exported.verify import verify
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table
from tests.support.correcting import JOB, corrected, output, written
from tests.support.exports import Downloads, exporting

CONTENT = b"kind,size\na,1\nb,x\nbroken,3\nd,4\ne,y\n"


@pytest.fixture
def form() -> str:
    """Say what the job's results are written as."""
    return "jsonl"


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str) -> Iterator[Pipeline]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    with deployed_job(monkeypatch, folder, "sizes", f'EXPORT = "{form}"\n{JOB}'):
        yield exporting(monkeypatch)


@pytest.fixture
def folder(pipeline: Pipeline, tmp_path: Path) -> Path:
    """Return the fetched results of a batch that was corrected twice."""
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    for rows in (("3,,b,20", "4,,broken,30"), ("4,,c,31",)):
        corrected(pipeline, batch_id, written(tmp_path, *rows))
        pipeline.drain()
    fetched(pipeline, batch_id, tmp_path / "results")
    return tmp_path / "results"


def fetched(pipeline: Pipeline, batch_id: str, folder: Path, said: io.StringIO | None = None) -> dict[str, Any]:
    """Fetch the results of the attempt that has ended."""
    export = require_export(Exports(table=table(pipeline.dynamodb)), pipeline.batch(batch_id), None, timeout=0)
    downloads: Any = Downloads(pipeline.s3, [])
    found = fetch(output(said), downloads, "inbox", export, folder).as_json()
    results.check("results", found)
    return found


def files(folder: Path) -> list[Path]:
    """Return the files with corrected rows, that with more rows first."""
    return sorted(folder.glob("corrections-*.csv"), key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize("form", ["csv"])
def test_results_as_csv_have_the_corrected_cells_and_name_their_file(folder: Path, tmp_path: Path) -> None:
    """In the places of the rows that they replace; the others have the cells of the upload."""
    (tmp_path / "day.csv").write_bytes(CONTENT)
    header, *rows = list(csv.reader(io.StringIO(gzip.decompress(next(folder.glob("results-*")).read_bytes()).decode())))
    named = [dict(zip(header, row, strict=True)) for row in rows]
    first, second = (path.name for path in files(folder))
    assert [(row["kind"], row["size"], row["tally_corrected"], row["tally_outcome"]) for row in named] == [
        ("a", "1", "", "succeeded"),
        ("b", "20", first, "succeeded"),
        ("c", "31", second, "succeeded"),
        ("d", "4", "", "succeeded"),
        ("e", "y", "", "rejected"),
    ]
    found = verify(folder, tmp_path / "day.csv")
    assert (found.problems, found.rows) == ([], 5)
    (folder / second).write_text("tally_line,kind,size\n5,c,31\n")
    assert any("was changed" in problem for problem in verify(folder).problems)


def test_files_of_corrections_are_fetched_and_everything_is_proven(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_bytes(CONTENT)
    assert [path.read_text() for path in files(folder)] == [
        "tally_line,kind,size\n3,b,20\n4,broken,30\n",
        "tally_line,kind,size\n4,c,31\n",
    ]
    found = verify(folder, tmp_path / "day.csv")
    assert (found.problems, found.rows) == ([], 5)


def test_a_file_of_corrections_that_was_changed_or_is_missing_is_named(folder: Path) -> None:
    first, second = files(folder)
    first.write_bytes(first.read_bytes().replace(b"20", b"21"))
    second.unlink()
    assert sorted(verify(folder).problems) == sorted(
        [f"{first.name}: was changed, its SHA-256 is not that of manifest.json", f"{second.name}: is missing"]
    )


def test_a_row_that_the_corrections_have_not_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the results said of another row that it was corrected, with a manifest that fits."""
    first, _ = files(folder)
    monkeypatch.setattr("tally.exported.verify._is_as_written", lambda *_: True)
    first.write_text("tally_line,kind,size\n2,b,20\n4,broken,30\n")
    assert verify(folder).problems == [f"{first.name}: has no row for line 3, and the results have one of it"]


def test_results_are_fetched_also_when_their_corrections_have_expired(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
    pipeline.drain()
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    pipeline.drain()
    for place in [place for place in pipeline.s3.objects if place[0].startswith("corrections/")]:
        del pipeline.s3.objects[place]
    said = io.StringIO()
    found = fetched(pipeline, batch_id, tmp_path / "results", said)
    assert (found["rows"], found["files"]) == (5, 3)
    assert "is gone: uploads expire" in said.getvalue()
    assert [problem.partition(": ")[2] for problem in verify(tmp_path / "results").problems] == ["is missing"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_json_lines_to_correct_have_their_lines_and_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    """Corrected and given back as they are: also what was no JSON, and a member that only that encoding has."""
    folder = tmp_path / "json jobs"
    folder.mkdir()
    more = f'\nFORMAT = "jsonl"\nENCODING = "{encoding}"\n'
    with deployed_job(monkeypatch, folder, "sizes", JOB + more):
        pipeline = exporting(monkeypatch)
        content = '{"kind":"b\u00e4r","size":"x"}\n{"kind":"a","size":2}\n\nno json\n{"kind":"broken","size":4}\n[5]\n'
        batch_id = pipeline.upload("inbox/sizes/day.jsonl", content.encode(encoding))
        pipeline.drain()
        fetched(pipeline, batch_id, tmp_path / "results")
        path = tmp_path / "results" / "to-correct.jsonl"
        lines = list(map(json.loads, path.read_text(encoding="utf-8-sig").splitlines()))
        assert [line["tally_line"] for line in lines] == [1, 4, 5, 6]
        assert [line.get("tally_text") for line in lines] == [None, "no json", None, "[5]"]
        assert all(line["tally_reason"] for line in lines)
        assert lines[0]["kind"] == "b\u00e4r"
        mark = "\ufeff" if encoding == "latin-1" else ""
        fixed = "".join(json.dumps({**line, "kind": line.get("kind", "c"), "size": 1}) + "\n" for line in lines)
        path.write_text(mark + fixed.replace("broken", "b"), encoding="utf-8")
        assert corrected(pipeline, batch_id, path).rows == 4
        pipeline.drain()
        assert pipeline.batch(batch_id).counts.succeeded == 5


def test_nothing_is_to_correct_where_all_rows_succeeded(pipeline: Pipeline, tmp_path: Path) -> None:
    batch_id = pipeline.upload("inbox/sizes/day.csv", b"kind,size\na,1\n")
    pipeline.drain()
    fetched(pipeline, batch_id, tmp_path / "results")
    assert not (tmp_path / "results" / "to-correct.jsonl").exists()


def test_results_as_csv_have_the_corrected_cells_and_say_where_they_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beside the result of the corrected row; the others have the cells of the upload."""
    folder = tmp_path / "csv jobs"
    folder.mkdir()
    more = '\nEXPORT = "csv"\n\nclass Result(__import__("msgspec").Struct):\n    doubled: int\n\n'
    more += "def process(row) -> Result:\n    return Result(doubled=2 * row.size)\n"
    with deployed_job(monkeypatch, folder, "sizes", JOB + more):
        pipeline = exporting(monkeypatch)
        batch_id = pipeline.upload("inbox/sizes/day.csv", CONTENT)
        pipeline.drain()
        corrected(pipeline, batch_id, written(tmp_path, "3,,b,20", "6,,e,50"))
        pipeline.drain()
        fetched(pipeline, batch_id, tmp_path / "results")
        (part,) = (tmp_path / "results").glob("results-*.csv.gz")
        rows = list(csv.DictReader(io.StringIO(gzip.decompress(part.read_bytes()).decode(), newline="")))
        (file,) = files(tmp_path / "results")
        assert [(row["kind"], row["size"], row["doubled"], row["tally_corrected"]) for row in rows] == [
            ("a", "1", "2", ""),
            ("b", "20", "40", file.name),
            ("broken", "3", "6", ""),
            ("d", "4", "8", ""),
            ("e", "50", "100", file.name),
        ]
        (tmp_path / "day.csv").write_bytes(CONTENT)
        assert verify(tmp_path / "results", tmp_path / "day.csv").problems == []
