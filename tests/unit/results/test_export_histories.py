"""Exports after any history: what one process would have written, and never a manifest that is wrong."""

import csv
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import jobs, services
from chalicelib.steps import begin_export
from chalicelib.steps.redrive import Redriver
from chalicelib.store.items import Outcome
from tally.testing import environment
from tally.testing.faults import Fault, Killed
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table
from tests.support.correcting import corrector, written

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    name: str
    count: int

failing = set()

def heavy(row):
    return row.count > 90

def process(row):
    if row.name in failing:
        raise PermanentError(row.name)
    return {"double": 2 * row.count}
"""
HEADER = b"name,count\n"
RECORDS = st.sampled_from(
    [
        b"a,1\n",
        b"b,2\n",
        b"heavy,99\n",
        b'"a,\n""b""",3\r\n',
        b"bad,x\n",
        b"short\n",
        b"\n",
        b"=1+2,x\n",
        b'c"d,4\n',
        b"\xff,5\n",
    ]
)
FAULTS = st.sampled_from([Fault.NONE] * 12 + list(Fault))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """Deploy a job and return the names whose rows raise."""
    with deployed_job(monkeypatch, tmp_path_factory.mktemp("jobs"), "doubles", JOB):
        yield sys.modules[jobs.require("doubles").process.__module__].failing


@settings(max_examples=60)
@given(records=st.lists(RECORDS, max_size=14), broken=st.sets(st.sampled_from("ab")), data=st.data())
def test_the_results_of_any_history_are_what_one_process_would_have_written(
    failing: set[str], records: list[bytes], broken: set[str], data: st.DataObject
) -> None:
    """Workers die, answers are lost, messages come again, and failures are redriven at any moment."""
    content = HEADER + b"".join(records)
    failing.clear()
    failing.update(broken)
    with pytest.MonkeyPatch.context() as patch:
        pipeline = _exporting(patch, data)
        batch_id = pipeline.upload("inbox/doubles/day.csv", content)
        for _ in range(data.draw(st.integers(0, 30))):
            _act(pipeline, batch_id, data)
        pipeline.faults = lambda _: Fault.NONE
        pipeline.drain()
        _check(pipeline, batch_id, content, broken)
        failing.clear()
        pipeline.faults = lambda _: data.draw(FAULTS)
        for _ in range(data.draw(st.integers(0, 3))):
            _act(pipeline, batch_id, data)
        pipeline.faults = lambda _: Fault.NONE
        redriven = Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
        pipeline.drain()
        _check(pipeline, batch_id, content, set() if redriven.rows or pipeline.batch(batch_id).attempt > 1 else broken)


@settings(max_examples=40)
@given(records=st.lists(RECORDS, max_size=14), broken=st.sets(st.sampled_from("ab")), data=st.data())
def test_the_results_of_any_history_of_corrections_are_what_one_process_would_have_written(
    failing: set[str],
    tmp_path_factory: pytest.TempPathFactory,
    records: list[bytes],
    broken: set[str],
    data: st.DataObject,
) -> None:
    """A row is the upload's or the corrected one, as the results say, whatever dies where; in the end all succeed."""
    content = HEADER + b"".join(records)
    folder = tmp_path_factory.mktemp("corrected")
    failing.clear()
    failing.update(broken)
    with pytest.MonkeyPatch.context() as patch:
        pipeline = _exporting(patch, data)
        batch_id = pipeline.upload("inbox/doubles/day.csv", content)
        for _ in range(data.draw(st.integers(0, 30))):
            if data.draw(st.integers(0, 5)) == 0 and pipeline.has_batch(batch_id):
                with suppress(Killed, Exception):  # the command met a fault, or nothing has failed yet
                    _correct(pipeline, batch_id, folder, data.draw(st.integers(0, 3)), pipeline.faults)
            else:
                _act(pipeline, batch_id, data)
        pipeline.drain()
        found = _check_corrected(pipeline, batch_id, content, broken)
        if any(outcome != "succeeded" for _, outcome, _ in found):
            _correct(pipeline, batch_id, folder, 0, pipeline.faults)
            pipeline.drain()
            found = _check_corrected(pipeline, batch_id, content, broken)
        assert all(outcome == "succeeded" for _, outcome, _ in found)


def _correct(pipeline: Pipeline, batch_id: str, folder: Path, left_out: int, faults: Callable[[str], Fault]) -> None:
    """Correct rows that have failed or were rejected, all but some: the row of a line is always corrected alike."""
    first = {chunk.key.number: chunk for chunk in pipeline.chunks(batch_id)}
    lines = [
        found.line or first[number].first_line
        for number, found in pipeline.outcomes(batch_id)
        if found.outcome is not Outcome.SUCCEEDED
    ][left_out:]
    rows = [f"{line},fixed,{line}" for line in lines]
    corrector(pipeline, faults, skips=True).run(batch_id, written(folder, *rows, header="tally_line,name,count\n"))


def _check_corrected(pipeline: Pipeline, batch_id: str, content: bytes, broken: set[str]) -> list[tuple[int, str, Any]]:
    """Hold the last export to the file and its corrections; returns its rows."""
    rows = _read(pipeline, batch_id, pipeline.batch(batch_id).attempt) or []
    found = [(row["line"], row["outcome"], row.get("result")) for row in rows]
    corrected = {row["line"] for row in rows if "corrected" in row}
    expected = [
        (line, "succeeded", {"double": 2 * line}) if line in corrected else (line, outcome, result)
        for line, outcome, result in _expected(content, broken)
    ]
    assert found == expected
    never = {line for line, outcome, _ in _expected(content, broken) if outcome == "succeeded"}
    assert not corrected & never
    return found


def _exporting(patch: pytest.MonkeyPatch, data: st.DataObject) -> Pipeline:
    environment.handlers()
    as_set = msgspec.structs.replace(services.settings(), export=True)
    patch.setattr(services, "settings", lambda: as_set)
    patch.setattr(begin_export, "CHUNKS_PER_PART", data.draw(st.integers(1, 3)))
    return Pipeline(patch, faults=lambda _: data.draw(FAULTS))


def _act(pipeline: Pipeline, batch_id: str, data: st.DataObject) -> None:
    """Deliver something, once or to come again, or redrive."""
    if data.draw(st.integers(0, 9)) == 0 and pipeline.has_batch(batch_id):
        with suppress(Killed, Exception):  # the command met a fault, or there was nothing to redrive yet
            Redriver(table=table(pipeline.clients["dynamodb"])).redrive(batch_id, on_chunk=lambda: None)
    elif work := pipeline.work():
        pipeline.deliver(
            data.draw(st.sampled_from(work)), most=data.draw(st.integers(1, 12)), again=data.draw(st.booleans())
        )


def _check(pipeline: Pipeline, batch_id: str, content: bytes, broken: set[str]) -> None:
    """Hold every export that has a manifest to its own SHA-256s, and the last one to the file."""
    attempt = pipeline.batch(batch_id).attempt
    exports = {number: _read(pipeline, batch_id, number) for number in range(1, attempt + 1)}
    assert exports[attempt] is not None, "the last attempt has an export"
    rows = exports[attempt] or []
    assert [(row["line"], row["outcome"], row.get("result")) for row in rows] == _expected(content, broken)


def _read(pipeline: Pipeline, batch_id: str, attempt: int) -> list[dict[str, Any]] | None:
    """Return the rows of an export by its manifest; None if it has none."""
    prefix = f"results/doubles/{batch_id}/attempt-{attempt}/"
    manifests = [body for (key, _), body in pipeline.s3.objects.items() if key == f"{prefix}manifest.json"]
    assert len(set(manifests)) <= 1, "a manifest that is written again is the same"
    if not manifests:
        return None
    manifest = json.loads(manifests[0])
    rows: list[dict[str, Any]] = []
    for part in [*manifest["parts"], manifest["failed"]]:
        body = pipeline.s3.objects[prefix + part["name"], part["version"]]
        assert hashlib.sha256(body).hexdigest() == part["sha256"]
        if part is not manifest["failed"]:
            rows += map(json.loads, gzip.decompress(body).splitlines())
    assert len(rows) == manifest["counts"]["rows"]
    assert sum(row["outcome"] != "succeeded" for row in rows) == manifest["failed"]["rows"]
    return rows


def _expected(content: bytes, broken: set[str]) -> list[tuple[int, str, Any]]:
    """Return line, outcome and result of every row, as the csv module and the job in a loop have them."""
    text = content.decode(errors="surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""))
    found: list[tuple[int, str, Any]] = []
    line = 1
    for cells in reader:
        begins, line = line, reader.line_num + 1
        if not cells or begins == 1:
            continue
        if len(cells) != 2 or not cells[1].isdigit() or "\udcff" in cells[0]:
            found.append((begins, "rejected", None))
        elif cells[0] in broken:
            found.append((begins, "failed", None))
        else:
            found.append((begins, "succeeded", {"double": 2 * int(cells[1])}))
    return found
