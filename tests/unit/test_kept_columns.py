"""EXTRA = "keep": columns that no field matches stay with their rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.errors import FatalError
from chalicelib.store.items import MAX_ITEM_BYTES
from chalicelib.store.marker import ReasonCode
from tally.batch.reader import Reader
from tally.batch.rows import by_name
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job

JOB = """
from typing import Any
from chalicelib import rows
EXTRA = "keep"
NULLS = {{"NA"}}
seen = []
class Row(rows.Row):
    a: int
    b: str = ""
    {0}
def heavy(row):
    seen.append(row.extra)
    return False
def process(row):
    assert isinstance(row, Row)
    return [row.a, row.b, row.extra, row.idempotency_key != ""]
"""


def _run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, field: str = "") -> tuple[Pipeline, str]:
    with deployed_job(monkeypatch, tmp_path, "kept", JOB.format(field)):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/kept/day.csv", content)
        pipeline.drain()
    return pipeline, batch


@pytest.mark.parametrize("field", ["", "extra: dict[str, str] = {}", "extra: dict[str, Any] | None = None"])
def test_unmatched_columns_are_with_the_row_by_their_names_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str
) -> None:
    """Clean, as text; a cell that means nothing is empty. A job may declare the field itself."""
    pipeline, batch = _run(
        monkeypatch, tmp_path, "Größe (m), B ,idempotency_key,A,extra\n1, x ,k,2,NA\n,,,3,e\n".encode(), field
    )
    assert [json.loads(bytes(outcome.result)) for _, outcome in pipeline.outcomes(batch)] == [
        [2, "x", {"Größe (m)": "1", "idempotency_key": "k", "extra": ""}, True],
        [3, "", {"Größe (m)": "", "idempotency_key": "", "extra": "e"}, True],
    ]


def test_heavy_sees_them_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ingest asks it, before the row is stored."""
    with deployed_job(monkeypatch, tmp_path, "kept", JOB.format("")):
        pipeline = Pipeline(monkeypatch)
        pipeline.upload("inbox/kept/day.csv", b"a,x\n1,2\n")
        pipeline.drain()
        seen: Any = jobs.require("kept").heavy.__globals__["seen"]
        assert seen == [{"x": "2"}]


def test_they_count_where_a_row_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A row that is too large with them is rejected, and the next one is not."""
    large = b"x" * (MAX_ITEM_BYTES - 5)
    pipeline, batch = _run(monkeypatch, tmp_path, b"a,note\n1," + large + b"\n2,y\n")
    first, second = (outcome for _, outcome in pipeline.outcomes(batch))
    assert first.code is ReasonCode.TOO_LARGE
    assert json.loads(bytes(second.result)) == [2, "", {"note": "y"}, True]


def test_an_operator_sees_them_among_the_cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By their names in the file."""
    pipeline, batch = _run(monkeypatch, tmp_path, b"a,Note\n1,x\n")
    reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
    found = by_name(reader, batch, "0:0")
    assert found.cells == {"a": 1, "b": "", "Note": "x"}


def test_two_columns_of_one_name_cannot_both_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is lost without a word."""
    pipeline, batch = _run(monkeypatch, tmp_path, b"note,a,note\nx,1,y\n")
    assert pipeline.batch(batch).reason == "line 1: column 3 repeats 'note' of column 1"


def test_a_deployment_that_keeps_no_more_reads_rows_that_were_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between ingest and process; the other way round there is nothing to see."""
    for before, after in (("keep", "ignore"), ("ignore", "keep")):
        with deployed_job(monkeypatch, tmp_path, "kept", JOB.replace("keep", before).format("")):
            pipeline = Pipeline(monkeypatch)
            batch = pipeline.upload("inbox/kept/day.csv", b"a,x\n1,2\n")
            pipeline.drain_uploads()
            pipeline.deliver("dispatch")
            pipeline.deliver("ingest")
        with deployed_job(monkeypatch, tmp_path, "kept", JOB.replace("keep", after).format("")):
            pipeline.drain()
        ((_, outcome),) = pipeline.outcomes(batch)
        assert json.loads(bytes(outcome.result)) == [1, "", {}, True]


@pytest.mark.parametrize("field", ["extra: int = 0", "extra: str = ''"])
def test_a_column_named_extra_is_in_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str) -> None:
    """Said when the job is loaded; without EXTRA = "keep" it is a column like any other."""
    with deployed_job(monkeypatch, tmp_path, "kept", JOB.format(field)), pytest.raises(FatalError) as raised:
        jobs.find("kept")
    assert str(raised.value).startswith('jobs/kept.py: EXTRA = "keep" keeps columns in row.extra, and Row has a field')
    with deployed_job(monkeypatch, tmp_path, "kept", JOB.replace("keep", "reject").format(field)):
        assert jobs.require("kept").schema.columns == ("a", "b", "extra")


def test_rows_of_other_jobs_have_nothing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job may ask all the same."""
    with deployed_job(monkeypatch, tmp_path, "kept", JOB.replace("keep", "ignore").format("")):
        schema = jobs.require("kept").schema
    assert schema.row_of(("a",), (1,), "k").extra == {}
