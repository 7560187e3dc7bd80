"""Files as they are, from upload to results."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from chalicelib.files.dialect import Layout
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
    """Process reads the values that ingest keeps under the names of the file."""
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
    assert (Batch.from_item(item).status, Batch.from_item(item).layout.delimiter) == (BatchStatus.RUNNING, ";")
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
    assert [find_row(file, chunk, line, Layout(delimiter=";")) for line in (1, 2, 3)] == [(0, 1), (0, 1), (1, 3)]


ENCODED = """
from chalicelib import rows
ENCODING = "{encoding}"
CHUNK_ROWS = 2
class Row(rows.Row):
    größe: str
    b: int
def process(row):
    return [row.größe, row.b]
"""
TABLE = 'größe,b\r\n"é\r\nü",1\r\n\r\nß,x\r\nä,3\r\n'


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8", TABLE.encode("utf-8-sig")),
        ("utf-16", TABLE.encode("utf-16")),
        ("utf-16", b"\xfe\xff" + TABLE.encode("utf-16-be")),
        ("utf-16-le", TABLE.encode("utf-16-le")),
        ("utf-16-le", TABLE.encode("utf-16")),
        ("utf-16-be", TABLE.encode("utf-16-be")),
        ("latin-1", TABLE.encode("latin-1")),
        ("cp1252", TABLE.encode("cp1252")),
        ("mac_roman", TABLE.encode("mac_roman")),
    ],
)
@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_a_file_in_another_encoding_is_processed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, content: bytes, name: str
) -> None:
    """The job says the encoding; lines and columns are those of the text."""
    with deployed_job(monkeypatch, tmp_path, "encoded", ENCODED.format(encoding=encoding)):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload(f"inbox/encoded/{name}", gzip.compress(content) if name.endswith(".gz") else content)
        pipeline.drain()
    outcomes = [outcome for _, outcome in pipeline.outcomes(batch)]
    assert [bytes(outcome.result).decode() for outcome in outcomes] == ['["é ü",1]', "", '["ä",3]']
    assert outcomes[1].reason == "line 5, column 2 'b': expected int, got 'x'"


@pytest.mark.parametrize(
    ("encoding", "content", "reason"),
    [
        (
            "utf-8",
            TABLE.encode("utf-16"),
            'the file is UTF-16-LE: set ENCODING = "utf-16" in the job, or save it as UTF-8',
        ),
        (
            "cp1252",
            TABLE.encode("utf-16-be"),
            'the file is UTF-16-BE without a byte order mark: set ENCODING = "utf-16-be" in the job, or save it as',
        ),
        ("utf-16", TABLE.encode(), 'the file is UTF-8: set ENCODING = "utf-8" in the job, or save it as UTF-16'),
        ("utf-16-le", TABLE.encode(), 'the file is UTF-8: set ENCODING = "utf-8" in the job, or save it as UTF-16-LE'),
        ("latin-1", TABLE.encode("utf-8-sig"), 'the file is UTF-8: set ENCODING = "utf-8" in the job, or save it as'),
        (
            "utf-16",
            TABLE.encode("utf-16-le"),
            'the file is UTF-16-LE without a byte order mark: set ENCODING = "utf-16-le"',
        ),
        ("utf-16-le", TABLE.encode("utf-16-be"), "the file is UTF-16-BE without a byte order mark: set ENCODING"),
        (
            "utf-16",
            TABLE.encode("latin-1"),
            'the file has no byte order mark: set ENCODING = "utf-16-le" or "utf-16-be"',
        ),
        ("utf-16", b"", "line 1: the object is empty, not even a header"),
        ("utf-16", b"\xff\xfe", "line 1: the object is empty, not even a header"),
        ("utf-16", b"\xff\xfe" + b"\x3d\xd8,\0b\0\n\0", "line 1: the header is not UTF-16-LE: "),
        (
            "utf-8",
            TABLE.encode("latin-1"),
            "line 1: the header is not UTF-8: invalid start byte; set ENCODING in the job",
        ),
        ("utf-8", TABLE.encode("utf-32"), "the file is UTF-32; upload CSV as UTF-8"),
    ],
)
def test_a_file_in_another_encoding_than_the_job_says_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, content: bytes, reason: str
) -> None:
    """The batch is rejected, with what to do."""
    with deployed_job(monkeypatch, tmp_path, "encoded", ENCODED.format(encoding=encoding)):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/encoded/day.csv", content)
        pipeline.drain()
    assert pipeline.batch(batch).status is BatchStatus.REJECTED
    assert pipeline.batch(batch).reason.startswith(reason)


@pytest.mark.parametrize(
    ("encoding", "rows", "reason"),
    [
        ("utf-8", b"a\xe9b,1\n", "line 2, column 1 'gr\xf6\xdfe': byte 0xe9 at character 2 is not UTF-8"),
        ("cp1252", b"a\x81b,1\n", "line 2, column 1 'gr\xf6\xdfe': byte 0x81 at character 2 is not cp1252"),
        ("utf-16-le", b"a\0\x3d\xd8,\x001\0\n\0", "line 2, column 1 'gr\xf6\xdfe': character 2 is half of a UTF-16"),
    ],
)
def test_what_is_no_character_rejects_its_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str, rows: bytes, reason: str
) -> None:
    """The row behind it is processed; a file that ends within a character has a last row like that."""
    content = "größe,b\n".encode(encoding) + rows + "ä,3\n".encode(encoding)
    odd = b"x" if encoding.startswith("utf-16") else b""
    with deployed_job(monkeypatch, tmp_path, "encoded", ENCODED.format(encoding=encoding)):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/encoded/day.csv", content + odd)
        pipeline.drain()
    outcomes = [outcome for _, outcome in pipeline.outcomes(batch)]
    assert outcomes[0].reason.startswith(reason)
    assert bytes(outcomes[1].result).decode() == '["ä",3]'
    assert [outcome.reason for outcome in outcomes[2:]] == [
        "line 4, column 1 'größe': character 1 is half of a UTF-16 character" for _ in odd
    ]


def test_a_deployment_between_plan_and_ingest_does_not_decode_rows_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The batch keeps what the mark said."""
    with deployed_job(monkeypatch, tmp_path, "encoded", ENCODED.format(encoding="utf-16")):
        pipeline = Pipeline(monkeypatch)
        batch = pipeline.upload("inbox/encoded/day.csv", b"\xfe\xff" + TABLE.encode("utf-16-be"))
        pipeline.drain_uploads()
    with deployed_job(monkeypatch, tmp_path, "encoded", ENCODED.format(encoding="utf-8")):
        pipeline.drain()
    assert pipeline.batch(batch).layout.encoding == "utf-16-be"
    assert [bytes(outcome.result).decode() for _, outcome in pipeline.outcomes(batch)][::2] == ['["é ü",1]', '["ä",3]']


def test_a_line_within_a_row_is_found_in_the_encoding_of_the_batch() -> None:
    """Half a character in a cell is no reason not to find its row."""
    s3: Any = MemoryS3()
    data = 'x,"y\nz"\n1,2\n'.encode("utf-16-le") + b"\x3d\xd8\n\0"
    source = uploaded(s3, data).source
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=len(data), first_line=1, expected_rows=3)
    file = ObjectReader(s3=s3, source=source, retry=RETRY)
    layout = Layout(encoding="utf-16-le")
    assert [find_row(file, chunk, line, layout) for line in (1, 2, 3, 4)] == [(0, 1), (0, 1), (1, 3), (2, 4)]
