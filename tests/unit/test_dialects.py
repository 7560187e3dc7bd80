"""Files as they are, from upload to results."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from chalicelib.files.source import ObjectReader
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey
from tally.batch.lines import find_row
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import RETRY, at_call, deployed_job, faulty, killed, planner, uploaded

JOB = """
import msgspec
from chalicelib import rows
DELIMITER = ";"
NULLS = {"NA"}
EXTRA = "ignore"
class Row(rows.Row, kw_only=True):
    number: int = msgspec.field(name="")
    length: float | None = msgspec.field(name="Sepal.Length")
    kind: str = msgspec.field(name="kind (of it)", default="none")
def process(row):
    return [row.number, row.length, row.kind]
"""
FILE = b"""\
;"Sepal.Length";note;note;Kind (of it)
1;5.1;a,b;c;"iris; ""blue""
and white"
2;NA;x;y;NA
NA;long;x;y;z
"""


def test_a_file_with_semicolons_nulls_and_other_names_is_processed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What ingest keeps under the names of the file, process reads again."""
    with deployed_job(monkeypatch, tmp_path, "flowers", JOB):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/flowers/day.csv", FILE)
        pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED_WITH_FAILURES
    results = [bytes(outcome.result) for _, outcome in pipeline.outcomes(batch)]
    assert results[:2] == [b'[1,5.1,"iris; \\"blue\\" and white"]', b'[2,null,"none"]']
    assert pipeline.outcomes(batch)[2][1].reason == (
        "line 5, column 1 '': empty; column 2 'Sepal.Length': expected float | null, got 'long'"
    )


QUOTED = """
from chalicelib import rows
DELIMITER = ";"
CHUNK_ROWS = 1
class Row(rows.Row):
    a: str
    b: str
def process(row):
    return [row.a, row.b]
"""
QUOTES = b'a;b\nx;"y\nz"\n1,2;"3\n4"\n'
RESULTS = [b'["x","y z"]', b'["1,2","3 4"]']


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
@pytest.mark.parametrize("calls", range(12))
def test_a_deployment_within_a_plan_changes_nothing_of_what_is_cut_and_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, calls: int
) -> None:
    """Crash window: the plan dies after any of its writes, and the next one meets a job with another delimiter."""
    content = gzip.compress(QUOTES) if name.endswith(".gz") else QUOTES
    dynamodb, s3 = MemoryDynamoDB(), MemoryS3()
    upload = uploaded(s3, content, key=f"inbox/quoted/{name}")
    with deployed_job(monkeypatch, tmp_path, "quoted", QUOTED):
        killed(lambda: planner(faulty(dynamodb, at_call(calls, Fault.KILLED_AFTER)), s3).plan(upload))
    batches = [item for (_, sk), item in dynamodb.items.items() if sk == "batch"]
    if not any("cursor_offset" in item or "chunks" in item for item in batches):
        return  # nothing was cut: the file is the new job's
    with deployed_job(monkeypatch, tmp_path, "quoted", QUOTED.replace('";"', '","')):
        planner(dynamodb, s3).plan(upload)
    (item,) = [item for (_, sk), item in dynamodb.items.items() if sk == "batch"]
    chunks = sorted(
        (Chunk.from_item(item) for (_, sk), item in dynamodb.items.items() if sk == "chunk"), key=lambda c: c.key
    )
    assert (Batch.from_item(item).status, Batch.from_item(item).delimiter) == (BatchStatus.RUNNING, ";")
    assert [(chunk.first_line, chunk.expected_rows) for chunk in chunks] == [(2, 1), (4, 1)]


def test_a_deployment_between_plan_and_ingest_does_not_part_rows_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read with a comma, the quotes would part nothing, and a chunk would have more rows than it was planned with."""
    with deployed_job(monkeypatch, tmp_path, "quoted", QUOTED):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/quoted/day.csv", QUOTES)
        pipeline.drain_uploads()
    with deployed_job(monkeypatch, tmp_path, "quoted", QUOTED.replace('";"', '","')):
        pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.COMPLETED
    assert [bytes(outcome.result) for _, outcome in pipeline.outcomes(batch)] == RESULTS


def test_a_line_within_a_row_is_found_with_the_delimiter_of_the_batch() -> None:
    """The quote opens a cell behind a semicolon, so the second line is a part of the first row."""
    s3: Any = MemoryS3()
    source = uploaded(s3, b'x;"y\nz"\n1;2\n').source
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=12, first_line=1, expected_rows=2)
    file = ObjectReader(s3=s3, source=source, retry=RETRY)
    assert [find_row(file, chunk, line, ";") for line in (1, 2, 3)] == [(0, 1), (0, 1), (1, 3)]
