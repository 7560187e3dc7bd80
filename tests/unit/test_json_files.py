"""Files of JSON lines, from upload to results."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import MAX_ITEM_BYTES
from chalicelib.store.marker import ReasonCode
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

JOB = """
from datetime import date
from decimal import Decimal
from typing import Any
import msgspec
from chalicelib import rows
FORMAT = "jsonl"
NULLS = {{"NA"}}
CHUNK_ROWS = 2
{0}
class Row(rows.Row, kw_only=True):
    number: int
    amount: Decimal | None
    day: date | None = None
    share: float = 0.5
    name: str = msgspec.field(name="Full Name", default="nobody")
    tags: list[str] = []
    places: dict[int, Any] = {{}}
    def __post_init__(self):
        if self.number < 0:
            raise ValueError("number must not be negative")
def process(row):
    return [row.number, row.amount, row.day, row.share, row.name, row.tags, row.places, row.extra]
"""


def _run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, name: str = "day.jsonl", more: str = ""
) -> tuple[Pipeline, str]:
    with deployed_job(monkeypatch, tmp_path, "objects", JOB.format(more)):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload(f"inbox/objects/{name}", content)
        pipeline.drain()
    return pipeline, batch


def _outcomes(run: tuple[Pipeline, str]) -> list[Any]:
    """Return results, and reasons where there is none."""
    pipeline, batch = run
    found = [outcome for _, outcome in pipeline.outcomes(batch)]
    return [json.loads(bytes(each.result)) if bytes(each.result) else each.reason for each in found]


FIRST = {
    "number": 1,
    "amount": "1.50",
    "day": "2026-03-01",
    "share": 1,
    "full name": "Ö",
    "tags": ["a"],
    "places": {"7": {}},
}
LINES = [
    FIRST,
    {"Number": 2, "amount": None, "day": "NA", "share": None, "Full_Name": ""},
    {"number": 3, "amount": 0.1},
    {"number": 4, "amount": 12345678901234567890123, "share": 2.5e10},
]
RESULTS: list[list[Any]] = [
    [1, "1.50", "2026-03-01", 1.0, "Ö", ["a"], {"7": {}}, {}],
    [2, None, None, 0.5, "", [], {}, {}],
    [3, "0.1", None, 0.5, "nobody", [], {}, {}],
    [4, "12345678901234567890123", None, 2.5e10, "nobody", [], {}, {}],
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \t\n"])
@pytest.mark.parametrize("name", ["day.jsonl", "day.json", "day.ndjson", "day", "day.jsonl.gz"])
def test_objects_are_processed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str, name: str) -> None:
    """Fields match as columns do; null and the job's NULLS are an empty cell; nothing is rounded."""
    content = end.join(json.dumps(line) for line in LINES).encode("utf-8-sig")
    run = _run(monkeypatch, tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)
    assert _outcomes(run) == RESULTS
    assert run[0].batch(run[1]).status is BatchStatus.COMPLETED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_objects_may_be_in_any_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str) -> None:
    """As CSV may."""
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES).encode(encoding)
    assert _outcomes(_run(monkeypatch, tmp_path, content, more=f"ENCODING = {encoding!r}")) == RESULTS


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"number":1', ": no JSON: it breaks off"),
        (b"[1,2]", ": expected an object, got array"),
        (b'{"number":1,"number":2,"amount":1}', ": the name 'number' comes twice"),
        (b'{"number":1,"NUMBER":2,"amount":1}', ", field 'NUMBER': it repeats 'number'"),
        (b'{"number":"1","amount":1}', ", field 'number': expected int, got '\"1\"'"),
        (b'{"number":1.0,"amount":1}', ", field 'number': expected int, got '1.0'"),
        (b'{"number":true,"amount":1}', ", field 'number': expected int, got 'true'"),
        (b'{"number":null,"amount":1}', ", field 'number': empty"),
        (b'{"number":"NA","amount":1}', ", field 'number': empty"),
        (b'{"number":"N\\u0041","amount":1}', ", field 'number': empty"),
        (b"{}", ", field 'number': missing"),
        (b'{"amount":1}', ", field 'number': missing"),
        (b'{"number":1,"amount":1,"x":1,"y":2}', ", field 'x': unknown; field 'y': unknown"),
        (b'{"number":1,"amount":1,"idempotency_key":"k"}', ", field 'idempotency_key': unknown"),
        (b'{"number":"x","day":"2026-13-01","Full Name":7}', ", field 'number': expected int, got '\"x\"'; field"),
        (b'{"number":1,"amount":1,"full name":7}', ", field 'Full Name': expected str, got '7'"),
        (b'{"number":1,"amount":1,"full name":"\\ud800"}', ": no JSON: a \\u escape is half of a character"),
        (b'{"number":1,"amount":1,"tags":["a",1]}', ", field 'tags': expected str at [1], got '[\"a\",1]'"),
        (b'{"number":1,"amount":1,"share":1e999}', ", field 'share': number out of range, got '1e999'"),
        (b'{"number":' + b"9" * 5_000 + b',"amount":1}', ", field 'number': integer value out of range, got '999"),
        (b'{"number":-1,"amount":1}', ", field 'number': number must not be negative"),
        (b'{"number":1,"amount":1,"full name":"\xe9"}', ": byte 0xe9 at character 37 is not UTF-8"),
        (b'{"number":1,"amount":1,"places":{"a":1}}', ", field 'places': expected int"),
        (b'{"number":1,"amount":1,"places":{"1":' + b"[" * 150 + b"]" * 150 + b"}}", ": objects and arrays are nested"),
        (b'{"number":1,"amount":1,"full name":"' + b"x" * MAX_RECORD_BYTES + b'"}', ": the line is 1,048,615 bytes"),
        (b'{"number":1,"amount":1,"full name":"' + b"x" * MAX_ITEM_BYTES + b'"}', ": the row is 380,"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_rejected_with_line_and_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: bytes, reason: str
) -> None:
    """The others are processed; the last line has no end."""
    good = b'{"number":3,"amount":0.1}'
    run = _run(monkeypatch, tmp_path, good + b"\n\n" + line + b"\n" + good)
    first, rejected, last = _outcomes(run)
    assert first == last == RESULTS[2]
    assert str(rejected).startswith(f"line 3{reason}")
    assert run[0].batch(run[1]).counts.rejected == 1


def test_a_number_that_takes_more_room_as_it_is_kept_is_measured_as_it_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """1e15 has a byte more for each zero as a float: a line below a third of an item may be too large for one."""
    numbers = b"[" + b",".join([b"1e15"] * 24_000) + b"]"
    content = b'{"number":1,"amount":1,"places":{"1":' + numbers + b"}}\n"
    run = _run(monkeypatch, tmp_path, content)
    (outcome,) = [outcome for _, outcome in run[0].outcomes(run[1])]
    assert len(content) < MAX_ITEM_BYTES // 3
    assert outcome.code is ReasonCode.TOO_LARGE


@pytest.mark.parametrize(("extra", "kept"), [("ignore", {}), ("keep", {"x": {"y": [1, "ü"]}, "É": "NA", "n": None})])
def test_fields_that_no_field_matches_are_left_out_or_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: str, kept: dict[str, Any]
) -> None:
    """Kept are the values as they are, by the names that they have in the object."""
    content = '{"number":3,"x":{"y":[1,"ü"]},"amount":0.1,"É":"NA","n":null}\n{"amount":0.1,"number":3}'.encode()
    found = _outcomes(_run(monkeypatch, tmp_path, content, more=f"EXTRA = {extra!r}"))
    assert found == [[*RESULTS[2][:-1], kept], RESULTS[2]]


def test_a_kept_value_that_cannot_be_read_rejects_its_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a number that no float holds, or a text with half of a character."""
    content = b'{"number":3,"amount":0.1,"x":1e999}\n{"number":3,"amount":0.1,"x":"\\udc00"}'
    assert _outcomes(_run(monkeypatch, tmp_path, content, more='EXTRA = "keep"')) == [
        "line 1, field 'x': number out of range, got '1e999'",
        "line 2: no JSON: a \\u escape is half of a character",
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "day.csv",
            b"a,b\n1,2\n",
            'line 1: the file looks like CSV: set FORMAT = "csv" in the job, or upload JSON lines',
        ),
        ("day", b"number;amount\n1;2\n", "line 1: the file looks like CSV"),
        (
            "day.json",
            b'[\n{"number":1,"amount":2}\n]',
            "line 1: the file is one JSON document, and not an object a line",
        ),
        ("day.json", b'{\n"number":1,"amount":2}\n', "line 1: the file is one JSON document"),
        ("day.json", b'{"number":1,\n"amount":2}\n', "line 1: the file is one JSON document"),
        ("day.jsonl", b"PK\x03\x04", "the file is a zip archive; upload JSON lines as UTF-8"),
        ("day.jsonl", '{"number":1}'.encode("utf-16"), "the file is UTF-16-LE: set ENCODING"),
    ],
)
def test_a_file_that_is_no_json_lines_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """The batch is rejected, with what to do."""
    pipeline, batch = _run(monkeypatch, tmp_path, content, name)
    assert pipeline.batch(batch).status is BatchStatus.REJECTED
    assert pipeline.batch(batch).reason.startswith(reason)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_line_completes_without_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    """There is no header to miss."""
    pipeline, batch = _run(monkeypatch, tmp_path, content)
    assert (pipeline.batch(batch).status, pipeline.batch(batch).rows) == (BatchStatus.COMPLETED, 0)


def test_a_bad_first_line_harms_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only where the whole file is of another kind it is rejected."""
    found = _outcomes(_run(monkeypatch, tmp_path, b'{"number":1\n{"number":3,"amount":0.1}\n'))
    assert found == ["line 1: no JSON: it breaks off", RESULTS[2]]


CSV = """
from chalicelib import rows
{}
class Row(rows.Row):
    a: str = ""
def process(row):
    return row.a
"""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "day.jsonl",
            b'{"a":"x"}\n{"a":"y"}\n',
            'line 1: the file looks like JSON lines: set FORMAT = "jsonl" in the job',
        ),
        ("day.csv.gz", gzip.compress(b'\n{"a":"x"}\n', mtime=0), "line 1: the file looks like JSON lines"),
        ("day.csv", b"[\n{}\n]\n", "line 1: the file looks like one JSON document: write one object a line"),
        ("day.csv", b'[{"a":"x"}]', "line 1: the file looks like one JSON document"),
        ("day.json", b'{"a":\n"x"}', "line 1: the file looks like one JSON document"),
    ],
)
def test_json_for_a_job_of_csv_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """Also where the job would ignore a header that no field matches."""
    with deployed_job(monkeypatch, tmp_path, "cells", CSV.format('EXTRA = "ignore"')):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload(f"inbox/cells/{name}", content)
        pipeline.drain()
    assert pipeline.batch(batch).reason.startswith(reason)


def test_rows_of_a_file_without_a_header_may_be_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A text like any other."""
    with deployed_job(monkeypatch, tmp_path, "cells", CSV.format('HEADER = ["a"]\nDELIMITER = "|"')):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/cells/day.log", b'{"b":1}\n')
        pipeline.drain()
    assert [bytes(outcome.result) for _, outcome in pipeline.outcomes(batch)] == [b'"{\\"b\\":1}"']


def test_a_deployment_between_plan_and_ingest_does_not_read_objects_as_cells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The batch keeps its format, also where it was unpacked."""
    with deployed_job(monkeypatch, tmp_path, "cells", CSV.format('FORMAT = "jsonl"')):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/cells/day.jsonl.gz", gzip.compress(b'{"a":"x,\\"y"}\n{"a":"z"}\n'))
        pipeline.drain_uploads()
    with deployed_job(monkeypatch, tmp_path, "cells", CSV.format("")):
        pipeline.drain()
    assert [bytes(outcome.result) for _, outcome in pipeline.outcomes(batch)] == [b'"x,\\"y"', b'"z"']
