"""The export step: the manifest is right or absent, whatever dies in between."""

import csv
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.steps import begin_export
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Counts
from chalicelib.transport.messages import ExportMessage, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import deployed_job, table
from tests.support.exports import exporting

HEADER = b"office_id,user_count,contract_count\n"
BOM = b"\xef\xbb\xbf"
KEY = "inbox/branches/day.csv"


JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    office_id: str
    user_count: int
    contract_count: int

failing = set()

def process(row):
    if row.office_id in failing:
        raise PermanentError("not today")
    return {"users": row.user_count}
"""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[set[str]]:
    """Deploy a job and return the offices whose rows raise."""
    with deployed_job(monkeypatch, tmp_path, "branches", JOB):
        yield sys.modules[jobs.require("branches").process.__module__].failing


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, failing: set[str]) -> Pipeline:
    return exporting(monkeypatch)


def files(pipeline: Pipeline, batch_id: str, attempt: int = 1) -> dict[str, bytes]:
    """Return the newest version of each file of an export, by name."""
    prefix = f"results/branches/{batch_id}/attempt-{attempt}/"
    found = pipeline.s3.objects
    return {key.removeprefix(prefix): body for (key, _), body in found.items() if key.startswith(prefix)}


def lines(found: dict[str, bytes]) -> list[dict[str, Any]]:
    """Return the rows of all parts in order."""
    parts = sorted(name for name in found if name.startswith("results-"))
    return [json.loads(line) for name in parts for line in gzip.decompress(found[name]).splitlines()]


def until_exports(pipeline: Pipeline) -> None:
    """Deliver everything but the messages of the export queue."""
    while work := [what for what in pipeline.work() if what != "export"]:
        for what in work:
            assert pipeline.deliver(what, most=1000)


def test_each_row_of_the_file_is_in_the_results_once_and_in_order(pipeline: Pipeline) -> None:
    rows = b"".join(b"o%d,%d,2\n" % (row, row) if row % 4 else b"o%d,x,2\n" % row for row in range(11))
    batch_id = pipeline.upload(KEY, HEADER + rows)
    pipeline.drain()
    found = files(pipeline, batch_id)
    rows_found = lines(found)
    assert [row["line"] for row in rows_found] == list(range(2, 13))
    assert [row["outcome"] for row in rows_found] == ["succeeded" if row % 4 else "rejected" for row in range(11)]
    assert rows_found[1]["result"]
    assert rows_found[0]["code"] == "invalid"
    assert "user_count" in rows_found[0]["reason"]


def test_the_manifest_says_what_the_files_are(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    content = HEADER + b"".join(b"o%d,%d,2\n" % (row, row) for row in range(9)) + b"bad,x,1\n"
    batch_id = pipeline.upload(KEY, content)
    pipeline.drain()
    found = files(pipeline, batch_id)
    manifest = json.loads(found["manifest.json"])
    batch = pipeline.batch(batch_id)
    assert manifest["schema_version"] == 1
    assert (manifest["batch_id"], manifest["job"], manifest["attempt"]) == (batch_id, "branches", 1)
    assert manifest["source"] == {
        "bucket": "inbox",
        "key": KEY,
        "version": "v1",
        "etag": batch.source.etag,
        "size": len(content),
        "format": "csv",
        "encoding": "utf-8",
        "delimiter": ",",
    }
    assert manifest["counts"] == {"rows": 10, "succeeded": 9, "failed": 0, "rejected": 1}
    assert [part["name"] for part in manifest["parts"]] == [f"results-{n:06d}.jsonl.gz" for n in (1, 2, 3)]
    assert [(part["rows"], part["first_line"], part["last_line"]) for part in manifest["parts"]] == [
        (4, 2, 5),
        (4, 6, 9),
        (2, 10, 11),
    ]
    for part in [*manifest["parts"], manifest["failed"]]:
        body = found[part["name"]]
        assert (part["bytes"], part["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert manifest["failed"]["rows"] == 1


def test_failed_csv_has_the_original_bytes_of_rows_that_did_not_succeed(pipeline: Pipeline) -> None:
    header = b'office_id , user_count,"contract_count"\r\n'
    content = BOM + header + b'fine,1,2\r\n"a ""b""", x ,\xc3\xa9\r\n\r\n=1+2,x,1\r\nshort,1'
    batch_id = pipeline.upload(KEY, content)
    pipeline.drain()
    found = files(pipeline, batch_id)
    failed = found["failed.csv"]
    assert failed.startswith(BOM + b"tally_line,tally_reason," + header)
    read = list(csv.reader(io.StringIO(failed.decode("utf-8-sig"), newline="")))
    assert [row[0] for row in read[1:]] == ["3", "5", "6"]
    assert b',"a ""b""", x ,\xc3\xa9\r\n' in failed
    assert failed.endswith(b",short,1\n")
    assert all(row[1] for row in read)
    assert json.loads(found["manifest.json"])["failed"]["formula_rows"] == 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_failed_rows_of_another_encoding_are_the_bytes_that_they_were(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    source = f'ENCODING = "utf-16"\nDELIMITER = ";"\n{JOB}'
    with deployed_job(monkeypatch, tmp_path, "wide", source):
        text = "office_id;user_count;contract_count\r\nfine;1;2\r\né😀;x;1\r\nlast;y;1"
        batch_id = pipeline.upload("inbox/wide/day.csv", ("\ufeff" + text).encode(encoding))
        pipeline.drain()
    (failed,) = [body for (key, _), body in pipeline.s3.objects.items() if key.endswith("/failed.csv")]
    read = failed.decode("utf-16").split("\n")
    assert read[0] == "tally_line;tally_reason;office_id;user_count;contract_count\r"
    assert read[1].startswith('3;"')
    assert read[1].endswith(";é😀;x;1\r")
    assert read[2].endswith(";last;y;1")
    assert read[3:] == [""]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=1, rejected=2)


def test_failed_json_lines_are_the_lines_that_they_were(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with deployed_job(monkeypatch, tmp_path, "objects", f'FORMAT = "jsonl"\n{JOB}'):
        good = b'{"office_id": "a", "user_count": 1, "contract_count": 2}\n'
        pipeline.upload("inbox/objects/day.jsonl", good + b'\n{"office_id" : 7}\r\nno object')
        pipeline.drain()
    (failed,) = [body for (key, _), body in pipeline.s3.objects.items() if key.endswith("/failed.jsonl")]
    assert failed == b'{"office_id" : 7}\r\nno object\n'


def test_a_failed_csv_that_was_corrected_is_taken_as_it_is(pipeline: Pipeline) -> None:
    """Its two columns are ignored, also by a job that refuses columns that it does not know."""
    batch_id = pipeline.upload(KEY, BOM + HEADER + b"fine,1,2\n=1,x,2\nshort,1\n")
    pipeline.drain()
    failed = files(pipeline, batch_id)["failed.csv"]
    corrected = failed.replace(b",x,", b",3,").replace(b"short,1", b"short,1,2")
    again = pipeline.upload("inbox/branches/failed.csv", corrected)
    pipeline.drain()
    assert pipeline.batch(again).counts == Counts(succeeded=2)


def test_an_export_is_announced_with_its_place(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\n")
    pipeline.drain()
    completed, exported = pipeline.events.details
    assert (completed["type"], exported["type"]) == ("Batch Completed", "Batch Exported")
    prefix = f"results/branches/{batch_id}/attempt-1/"
    assert (exported["bucket"], exported["prefix"]) == ("inbox", prefix)
    assert exported["manifest"] == prefix + "manifest.json"
    assert exported["event_id"] == f"{batch_id}#1#exported"
    assert exported["manifest_sha256"] == hashlib.sha256(files(pipeline, batch_id)["manifest.json"]).hexdigest()


def test_a_file_without_rows_has_a_manifest_without_parts(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER)
    pipeline.drain()
    manifest = json.loads(files(pipeline, batch_id)["manifest.json"])
    assert (manifest["parts"], manifest["counts"]["rows"]) == ([], 0)


def test_a_rejected_file_has_no_export(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, b"what,is,this\n1,2,3\n")
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.REJECTED
    assert files(pipeline, batch_id) == {}


def test_a_redrive_has_an_export_of_its_own_beside_the_old_one(pipeline: Pipeline, failing: set[str]) -> None:
    failing.add("o2")
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\no2,1,2\n")
    pipeline.drain()
    before = files(pipeline, batch_id)
    failing.clear()
    assert Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None).rows == 1
    pipeline.drain()
    assert files(pipeline, batch_id) == before
    assert [row["outcome"] for row in lines(before)] == ["succeeded", "failed"]
    assert [row["outcome"] for row in lines(files(pipeline, batch_id, 2))] == ["succeeded", "succeeded"]


def test_a_message_from_before_a_redrive_exports_nothing(pipeline: Pipeline, failing: set[str]) -> None:
    failing.add("o2")
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\no2,1,2\n")
    until_exports(pipeline)
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    assert pipeline.deliver("export")
    assert files(pipeline, batch_id) == {}
    pipeline.drain()
    assert "manifest.json" in files(pipeline, batch_id, 2)
    assert "manifest.json" not in files(pipeline, batch_id, 1)


def test_a_redrive_in_the_middle_of_a_part_leaves_no_part(pipeline: Pipeline, failing: set[str]) -> None:
    """It comes after the first chunk was read, and before the others are."""
    failing.add("o7")
    rows = b"".join(b"o%d,1,2\n" % row for row in range(9))
    batch_id = pipeline.upload(KEY, HEADER + rows)
    until_exports(pipeline)
    queries = 0

    def redrive_at_second_query(operation: str) -> Fault:
        nonlocal queries
        queries += operation == "query"
        if operation == "query" and queries == 2:
            Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
        return Fault.NONE

    pipeline.faults = redrive_at_second_query
    assert pipeline.deliver("export")
    assert pipeline.batch(batch_id).attempt == 2
    assert files(pipeline, batch_id) == {}


def test_a_redrive_that_ends_in_the_middle_of_a_part_leaves_no_part_of_two_attempts(
    pipeline: Pipeline, failing: set[str]
) -> None:
    """The later chunks are closed again when they are read, and say what the next attempt made of them."""
    failing.add("o7")
    batch_id = pipeline.upload(KEY, HEADER + b"".join(b"o%d,1,2\n" % row for row in range(9)))
    until_exports(pipeline)
    asked = pipeline.waiting("export").copy()
    queries = 0

    def redrive_to_the_end(operation: str) -> Fault:
        nonlocal queries
        queries += operation == "query"
        if operation == "query" and queries == 2:
            pipeline.faults = lambda _: Fault.NONE
            failing.clear()
            Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
            until_exports(pipeline)
        return Fault.NONE

    pipeline.faults = redrive_to_the_end
    pipeline.waiting("export")[:] = asked
    assert pipeline.deliver("export")
    assert pipeline.batch(batch_id).attempt == 2
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED
    assert files(pipeline, batch_id, 1) == {}


def test_a_chunk_whose_rows_are_not_proven_exports_nothing(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\n")
    until_exports(pipeline)
    (place,) = [key for key in pipeline.dynamodb.items if key[1].startswith("mark#")]
    del pipeline.dynamodb.items[place]
    assert not pipeline.deliver("export")
    assert files(pipeline, batch_id) == {}


def test_the_export_of_a_batch_that_was_deleted_does_not_begin_in_the_middle(pipeline: Pipeline) -> None:
    """It was deleted while a piece was written: an item that only counts pieces would be no export."""
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\n")
    until_exports(pipeline)

    def deleted_before_the_mark(operation: str) -> Fault:
        if operation == "transact_write_items":
            del pipeline.dynamodb.items[f"batch#{batch_id}", "export#000001"]
        return Fault.NONE

    pipeline.faults = deleted_before_the_mark
    assert not pipeline.deliver("export")
    assert not [key for key in pipeline.dynamodb.items if key[1].startswith("export#")]


def test_a_job_that_says_so_has_no_export(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin_export, "_form", lambda _: None)
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\n")
    pipeline.drain()
    assert files(pipeline, batch_id) == {}


def test_rows_of_a_deleted_object_are_exported_without_their_bytes(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\no2,1,2\n")
    assert pipeline.deliver("upload")
    pipeline.s3.objects.clear()
    pipeline.drain()
    found = files(pipeline, batch_id)
    manifest = json.loads(found["manifest.json"])
    assert manifest["failed"]["without_bytes"] == manifest["counts"]["failed"] == 2
    assert [row["line"] for row in lines(found)] == [None, None]


def test_rows_of_a_chunk_that_was_never_read_have_their_lines(pipeline: Pipeline) -> None:

    batch_id = pipeline.upload(KEY, HEADER + b"\no1,1,2\n\no2,1,2\n")
    assert pipeline.deliver("upload")
    Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    found = files(pipeline, batch_id)
    assert [(row["line"], row["code"]) for row in lines(found)] == [(3, "cancelled"), (5, "cancelled")]
    assert found["failed.csv"].count(b",o2,1,2\n") == 1


def _message(batch_id: str, *pieces: int) -> str:
    return encode(ExportMessage(batch=batch_id, attempt=1, pieces=list(pieces)))


def test_a_piece_written_twice_is_the_same_bytes_and_counted_once(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\no2,x,2\n")
    until_exports(pipeline)
    pipeline.faults = lambda operation: Fault.KILLED_BEFORE if operation == "transact_write_items" else Fault.NONE
    assert not pipeline.deliver("export")
    pipeline.drain()
    pipeline.waiting("export").append(_message(batch_id, 1, 0))
    pipeline.drain()
    prefix = f"results/branches/{batch_id}/attempt-1/"
    for name in ("results-000001.jsonl.gz", "failed.csv"):
        bodies = [body for (key, _), body in pipeline.s3.objects.items() if key == prefix + name]
        assert len(bodies) in (1, 2)
        assert len(set(bodies)) == 1
    assert [event["type"] for event in pipeline.events.details].count("Batch Exported") == 1


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER])
@pytest.mark.parametrize("position", range(20))
def test_an_export_that_dies_anywhere_is_right_in_the_end(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, fault: Fault, position: int
) -> None:
    """Each call of the export meets each fault, and no manifest is there before its parts are."""
    monkeypatch.setattr(begin_export, "CHUNKS_PER_PART", 1)
    batch_id = pipeline.upload(KEY, HEADER + b"".join(b"o%d,%d,2\n" % (row, row) for row in range(7)) + b"bad,x,1\n")
    until_exports(pipeline)
    calls = iter(range(1000))
    pipeline.faults = lambda _: fault if next(calls) == position else Fault.NONE
    for _ in range(3):
        if pipeline.waiting("export"):
            pipeline.deliver("export")
        found = files(pipeline, batch_id)
        if "manifest.json" in found:
            assert {"results-000001.jsonl.gz", "results-000002.jsonl.gz", "failed.csv"} <= found.keys()
    pipeline.drain()
    found = files(pipeline, batch_id)
    manifest = json.loads(found["manifest.json"])
    assert manifest["counts"] == {"rows": 8, "succeeded": 7, "failed": 0, "rejected": 1}
    assert [row["line"] for row in lines(found)] == list(range(2, 10))
    for part in [*manifest["parts"], manifest["failed"]]:
        assert hashlib.sha256(found[part["name"]]).hexdigest() == part["sha256"]
    exported = [event for event in pipeline.events.details if event["type"] == "Batch Exported"]
    assert {event["event_id"] for event in exported} == {f"{batch_id}#1#exported"}


def test_settle_that_dies_between_the_export_and_its_messages_asks_again(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload(KEY, HEADER + b"o1,1,2\n")
    pipeline.faults = lambda operation: (
        Fault.KILLED_BEFORE if operation == "send_message_batch" and _ended() else Fault.NONE
    )

    def _ended() -> bool:
        return pipeline.has_batch(batch_id) and pipeline.batch(batch_id).status.final

    for _ in range(20):
        for what in pipeline.work():
            pipeline.deliver(what, most=1000)
    assert (f"batch#{batch_id}", "export#000001") in pipeline.dynamodb.items
    assert not pipeline.waiting("export")
    assert not pipeline.events.details
    pipeline.drain()
    assert "manifest.json" in files(pipeline, batch_id)
