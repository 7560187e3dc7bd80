"""Results as CSV: the cells of the file as they are, in their order, then outcome and result."""

import csv
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import jobs, services
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.steps import begin_export
from chalicelib.steps.redrive import Redriver
from tally.testing import environment
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table
from tests.support.exports import exporting

JOB = """
import msgspec
from chalicelib import rows
from chalicelib.errors import PermanentError

EXPORT = "csv"
EXTRA = "ignore"

class Row(rows.Row):
    name: str
    count: int = 0

class Result(msgspec.Struct, omit_defaults=True):
    name: str
    double: int = 0
    parts: list[str] = []

failing = set()

def process(row) -> Result | None:
    if row.name in failing:
        raise PermanentError("=not today")
    return None if row.name == "none" else Result(row.name, 2 * row.count, row.name.split())
"""
OURS = [
    "tally_result",
    "tally_code",
    "tally_reason",
    "tally_tries",
    "tally_line",
    "tally_chunk",
    "tally_row",
    "tally_corrected",
]
CELLS = st.text(st.sampled_from("ab ,;\t|'\"\r\n\\=+-@\x00\x07\x85\u2028\ufeff\uff1dé😀e\u0301"), max_size=6)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[set[str]]:
    """Deploy a job and return the names whose rows raise."""
    with deployed_job(monkeypatch, tmp_path, "doubles", JOB):
        yield sys.modules[jobs.require("doubles").process.__module__].failing


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    return exporting(monkeypatch)


def manifest(pipeline: Pipeline, attempt: int = 1) -> dict[str, Any]:
    """Return the manifest of the newest export of an attempt."""
    found = [
        body for (key, _), body in pipeline.s3.objects.items() if key.endswith(f"/attempt-{attempt}/manifest.json")
    ]
    return dict(json.loads(found[-1]))


def records(pipeline: Pipeline, attempt: int = 1) -> list[list[str]]:
    """Return the header and the records of all parts, each of which has the header."""
    found = manifest(pipeline, attempt)
    header, rows = found["columns"], []
    for part in found["parts"]:
        (body,) = [body for (key, _), body in pipeline.s3.objects.items() if key.endswith(f"-{attempt}/{part['name']}")]
        own, *others = csv.reader(io.StringIO(gzip.decompress(body).decode(), newline=""))
        assert own == header
        assert len(others) == part["rows"]
        rows += others
    assert all(len(row) == len(header) for row in rows)
    return [header, *rows]


def exported(pipeline: Pipeline, content: bytes, name: str = "doubles") -> list[list[str]]:
    """Upload a file, and return what is exported of it."""
    pipeline.upload(f"inbox/{name}/day.csv", content)
    pipeline.drain()
    return records(pipeline)


def test_each_row_has_its_cells_its_outcome_and_its_result(pipeline: Pipeline, failing: set[str]) -> None:
    failing.add("bad")
    header, *rows = exported(pipeline, b' note ,COUNT,name\n" a\n",1,x y\n=1,2,bad\n,no,z\n\n-,3,none\n')
    assert header == ["note", "COUNT", "name", "tally_outcome", "result_name", "double", "parts", *OURS]
    assert rows[0] == [" a\n", "1", "x y", "succeeded", "x y", "2", '["x","y"]', "", "", "", "1", "2", "0", "0", ""]
    assert rows[1][:10] == ["=1", "2", "bad", "failed", "", "", "", "", "permanent", rows[1][9]]
    assert "=not today" in rows[1][9]
    assert rows[2][:8] == ["", "no", "z", "rejected", "", "", "", ""]
    assert rows[3][3:8] == ["succeeded", "", "", "", "null"]
    assert [row[11] for row in rows] == ["2", "4", "5", "7"]


@settings(max_examples=40)
@given(
    cells=st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=9),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_any_cells_are_those_of_the_file_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], delimiter: str, encoding: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["name", "other", "count"], *cells])
    with pytest.MonkeyPatch.context() as patch:
        source = f"DELIMITER = {delimiter!r}\nENCODING = {encoding!r}\n{JOB}"
        with deployed_job(patch, tmp_path_factory.mktemp("jobs"), "doubles", source):
            environment.handlers()
            as_set = msgspec.structs.replace(services.settings(), export=True)
            patch.setattr(services, "settings", lambda: as_set)
            patch.setattr(begin_export, "CHUNKS_PER_PART", 1)
            found = exported(Pipeline(patch), text.getvalue().encode(encoding))[1:]
    assert [row[:3] for row in found] == [[*row, "", ""][:3] for row in cells]


def test_bytes_that_are_no_characters_leave_the_results_utf_8(pipeline: Pipeline, failing: set[str]) -> None:
    assert not failing
    _, bad, good = exported(pipeline, b"name,count\n\xff\xfea,1\nb,2\n")
    assert bad[:3] == ["\ufffd\ufffda", "1", "rejected"]
    assert good[:3] == ["b", "2", "succeeded"]


def test_columns_that_the_job_ignores_and_those_of_an_earlier_export_are_told_apart(
    pipeline: Pipeline, failing: set[str]
) -> None:
    assert not failing
    header, row = exported(pipeline, b"tally_line,other,tally_outcome,name\n7,o,failed,n\n")
    assert header[:4] == ["other", "name", "tally_outcome", "result_name"]
    assert row[:4] == ["o", "n", "succeeded", "n"]


def test_cells_that_start_a_formula_are_kept_and_counted(pipeline: Pipeline, failing: set[str]) -> None:
    """Results are for machines: a cell is what it was, and the manifest says how many rows have such a cell."""
    assert not failing
    rows = exported(pipeline, b"name,count\n=1+2,1\n-3,-1\n@x,2\nfine,3\n")[1:]
    assert [row[0] for row in rows] == ["=1+2", "-3", "@x", "fine"]
    assert [part["formula_rows"] for part in manifest(pipeline)["parts"]] == [2]


def test_json_lines_have_the_columns_of_the_job(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with deployed_job(monkeypatch, tmp_path, "objects", f'FORMAT = "jsonl"\n{JOB}'):
        content = b'{"Count" : 1, "name": "\\"a\\"\\n", "x": 1}\n{"name": null, "count": 1.0e5}\nno object\n'
        header, *rows = exported(pipeline, content + b'{"name": "\\ud800"}\n', "objects")
    assert header[:3] == ["name", "count", "tally_outcome"]
    assert [row[:3] for row in rows] == [
        ['"a"\n', "1", "succeeded"],
        ["", "1.0e5", "rejected"],
        ["", "", "rejected"],
        [rows[3][0], "", "rejected"],
    ]


def test_a_job_without_a_type_of_results_has_them_in_one_column(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with deployed_job(monkeypatch, tmp_path, "untyped", JOB.replace(" -> Result | None", "")):
        header, row = exported(pipeline, b"name\nx\n", "untyped")
    assert header == ["name", "tally_outcome", *OURS]
    assert row[:3] == ["x", "succeeded", '{"name":"x","parts":["x"]}']


def test_a_deployment_between_two_parts_changes_no_column(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second part is written while the job says nothing of its results any more, nor that they are CSV."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
    with deployed_job(monkeypatch, tmp_path / "a", "doubles", JOB):
        pipeline.upload("inbox/doubles/day.csv", b"name\n" + b"x\n" * 9)
        while len(pipeline.waiting("export")) < 3:
            for what in pipeline.work():
                if what != "export":
                    pipeline.deliver(what)
        pipeline.deliver("export", most=2)
    other = JOB.replace(" -> Result | None", "").replace('EXPORT = "csv"', "")
    with deployed_job(monkeypatch, tmp_path / "b", "doubles", other):
        pipeline.drain()
        assert len(manifest(pipeline)["parts"]) == 3
        assert len(records(pipeline)) == 10


@pytest.mark.parametrize("position", range(14))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TIMEOUT_AFTER])
def test_a_part_that_dies_anywhere_is_the_same_bytes_in_the_end(
    pipeline: Pipeline, failing: set[str], fault: Fault, position: int
) -> None:
    failing.add("b")
    pipeline.upload("inbox/doubles/day.csv", b'name,count\n"a\n",1\nb,2\n=c,x\nd,4\ne,5\n')
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            pipeline.deliver(what)
    calls = iter(range(1_000))
    pipeline.faults = lambda _: fault if next(calls) == position else Fault.NONE
    pipeline.deliver("export", most=9)
    pipeline.drain()
    assert [row[0] for row in records(pipeline)[1:]] == ["a\n", "b", "=c", "d", "e"]
    for part in manifest(pipeline)["parts"]:
        bodies = {body for (key, _), body in pipeline.s3.objects.items() if key.endswith(f"/{part['name']}")}
        assert [hashlib.sha256(body).hexdigest() for body in bodies] == [part["sha256"]]


def test_a_line_that_is_too_long_for_a_row_has_no_cells(pipeline: Pipeline, failing: set[str]) -> None:
    assert not failing
    long = b'"' + b"x" * (MAX_RECORD_BYTES + 1) + b'",1\n'
    rows = exported(pipeline, b"name,count\na,1\n" + long + b"b,2\n")[1:]
    assert [row[:3] for row in rows] == [["a", "1", "succeeded"], ["", "", "rejected"], ["b", "2", "succeeded"]]
    assert sum(part["without_bytes"] for part in manifest(pipeline)["parts"]) == 0


def test_rows_of_a_deleted_object_have_no_cells(pipeline: Pipeline, failing: set[str]) -> None:
    assert not failing
    pipeline.upload("inbox/doubles/day.csv", b"name\nx\n")
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            pipeline.deliver(what)
    pipeline.s3.objects.clear()
    pipeline.drain()
    _, row = records(pipeline)
    assert row[:4] == ["", "succeeded", "x", ""]
    assert [part["without_bytes"] for part in manifest(pipeline)["parts"]] == [1]


def test_the_results_of_a_redrive_are_csv_too(pipeline: Pipeline, failing: set[str]) -> None:
    failing.add("x")
    batch_id = pipeline.upload("inbox/doubles/day.csv", b"name\nx\ny\n")
    pipeline.drain()
    failing.clear()
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    pipeline.drain()
    assert [row[1] for row in records(pipeline)[1:]] == ["failed", "succeeded"]
    assert [row[1] for row in records(pipeline, 2)[1:]] == ["succeeded", "succeeded"]
