"""Benchmarks without AWS: cleaning and parsing, planning, and importing the handlers, each on one core."""

import csv
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bench.line import Line
from bench.samples import Sample
from chalicelib import jobs
from chalicelib.files.boundaries import split
from chalicelib.files.cells import read_cells
from chalicelib.files.dialect import Dialect, Format, Layout
from chalicelib.files.ranges import ranges
from chalicelib.files.records import MAX_RECORD_BYTES
from chalicelib.files.source import BLOCK_BYTES, ObjectReader
from chalicelib.retry import Retry
from chalicelib.rows import RejectedRow, Row, Schema, ValidRow
from chalicelib.steps.heads import read_head
from chalicelib.store.batch import Source
from tally.batch.submit import upload
from tally.stages.stage import Stage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SEED_ROWS, _SEED_SECONDS = 558_000, 90.0
"""What the script that Tally replaces took, by its author's account."""
_REQUEST_BYTES = 90e6
"""Bytes a second: S3's performance guidelines advise one request for each 85 to 90 MB/s."""
_FIRST_BYTE_SECONDS = 0.03
_IMPORTS = 7
_IMPORT = "import time; began = time.perf_counter(); import app; print(time.perf_counter() - began)"


def parsing(sample: Sample) -> list[Line]:
    """Clean, parse and encode every row as ingest does, against the csv module only reading cells."""
    schema = jobs.require("transactions").schema
    data = sample.file.read_bytes()
    start = data.index(b"\n") + 1
    header = schema.header(data[: start - 1].decode().split(","), 1)
    parts = list(split([data[start:]], max_rows=1000, max_bytes=262_144, offset=start, first_line=2))
    chunks = [(data[found.start : found.end], found.first_line) for found in parts]

    def exhaust(read: Callable[[bytes, int], Iterable[object]]) -> Callable[[], None]:
        def run() -> None:
            for chunk, line in chunks:
                deque(read(chunk, line), maxlen=0)

        return run

    alone = _best(exhaust(lambda chunk, _: csv.reader(io.StringIO(chunk.decode("utf-8", "replace"), newline=""))), 5)
    parsed = _best(exhaust(read_cells), 5)
    whole = _best(exhaust(lambda chunk, line: schema.read(chunk, header, line)), 5)
    checked = _best(_checks(schema, [row for chunk, line in chunks for row in schema.read(chunk, header, line)]), 3)
    scaled = whole * _SEED_ROWS / sample.rows
    return [
        Line(
            name="cleaning and parsing / csv module", value=whole / alone, unit="x", most=3,
            raw={"rows": sample.rows, "Tally s": whole, "csv module s": alone,
                 "msgspec's part alone s": checked, "x": checked / alone},
        ),
        Line(
            name="of it, bytes to clean cells / csv module", value=parsed / alone, unit="x",
            raw={"Tally s": parsed},
        ),
        Line(
            name=f"cleaning and parsing {_SEED_ROWS:,} rows", value=scaled, unit="s", most=6,
            raw={"rows/s": round(sample.rows / whole), "the script before, s": _SEED_SECONDS,
                 "times faster": _SEED_SECONDS / scaled},
        ),
    ]  # fmt: skip


def formats(sample: Sample) -> list[Line]:
    """Cut and read the same rows in other formats, as plan and ingest do, against CSV in UTF-8."""
    data = sample.file.read_bytes()
    cells = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline="")))
    row = jobs.require("transactions").schema.row
    semicolons = Layout(delimiter=";")
    wide = Layout(encoding="utf-16-le")
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(cells)
    plain = _read_whole(Schema.of(row), data)
    found = {
        "semicolons with NULLS": (Dialect(layout=semicolons, nulls=frozenset({"NA", "-"})), text.getvalue().encode()),
        "UTF-16": (Dialect(layout=wide), data.decode("utf-8", "replace").encode("utf-16-le")),
        "JSON lines": (Dialect(layout=Layout(format=Format.JSONL)), _as_json(row, cells)),
    }
    return [
        Line(
            name=f"cutting and reading: {name} / CSV in UTF-8", unit="x",
            value=_read_whole(Schema.of(row, dialect), content) / plain,
            raw={"rows": sample.rows, "MB": len(content) / 1e6, "CSV in UTF-8 s": plain},
        )
        for name, (dialect, content) in found.items()
    ]  # fmt: skip


def _as_json(row: type[Row], cells: Sequence[Sequence[str]]) -> bytes:
    """Return rows as JSON lines: values that fit the schema with their types, the others as texts."""
    header, *rows = cells
    lines = []
    for values in rows:
        named = {name: value for name, value in zip(header, values, strict=False) if value}
        try:
            typed = msgspec.to_builtins(msgspec.convert(named, row, strict=False))
        except msgspec.ValidationError:
            typed = named
        lines.append(msgspec.json.encode(typed))
    return b"\n".join(lines)


def _read_whole(schema: Schema, data: bytes) -> float:
    """Return the seconds to cut a file and to read all of its rows."""
    head = read_head(schema, data[:MAX_RECORD_BYTES], len(data), "")
    read_as = schema.laid_out(head.layout)

    def run() -> None:
        blocks = (data[begin : begin + BLOCK_BYTES] for begin in range(head.start, len(data), BLOCK_BYTES))
        places = {"offset": head.start, "first_line": head.first_line}
        for found in ranges(blocks, head.layout, max_rows=1000, max_bytes=262_144, **places):
            deque(read_as.read(data[found.start : found.end], head.header, found.first_line), maxlen=0)

    return _best(run, 5)


def _checks(schema: Schema, rows: Iterable[ValidRow | RejectedRow]) -> Callable[[], None]:
    """Return the least checks of a row reader: msgspec takes ready cells, and writes JSON."""
    valid = [row for row in rows if isinstance(row, ValidRow)]
    cells = [
        {name: str(value) for name, value in zip(schema.columns, row.values, strict=True) if value is not None}
        for row in valid
    ]

    def run() -> None:
        for row in cells:
            msgspec.json.encode(msgspec.convert(row, schema.row, strict=False))

    return run


def planning(stage: Stage, sample: Sample) -> list[Line]:
    """Cut an object into chunks while reading it, against reading it alone; with quotes in it, and without."""
    data = sample.file.read_bytes()
    plain = sample.file.with_stem(f"{sample.file.stem}-unquoted")
    plain.write_bytes(data.replace(b'"', b""))
    return [
        _planned(stage, sample.file, "planning / plain read of the object", least=0.5),
        _planned(stage, plain, "planning / plain read, no quotes in the object"),
        _planned_from_afar(data),
    ]


def _planned(stage: Stage, file: Path, name: str, *, least: float | None = None) -> Line:
    data = file.read_bytes()
    size = len(data)
    key = f"bench/{file.name}"  # not the inbox: nothing is to process it
    source = upload(stage.s3, file, stage.resources.inbox_bucket, key, lambda _: None)
    reader = ObjectReader(s3=stage.s3, source=source, retry=Retry())

    def read() -> None:
        for _ in reader.blocks(0, size):
            pass

    def part() -> None:
        for begin in range(0, size, 65_536):
            window = data[begin : begin + 65_536]
            len(window.split(b"\n")) + len(window.split(b'"'))

    reading, planned, parting = _best(read, 5), _best(lambda: _cut(reader, size), 5), _best(part, 5)
    raw = {
        "MB": size / 1e6,
        "MB/s planned": size / 1e6 / planned,
        "MB/s read": size / 1e6 / reading,
        "MB/s at which bytes.split finds line ends and quotes": size / 1e6 / parting,
    }
    return Line(name=name, value=reading / planned, unit="x", least=least, raw=raw)


def _cut(reader: ObjectReader, size: int) -> None:
    for _ in split(reader.blocks(0, size), max_rows=1000, max_bytes=262_144):
        pass


@dataclass(frozen=True, slots=True)
class _FarS3:
    """An object whose requests each take as long as AWS says to expect of S3."""

    data: bytes

    def get_object(self, *, Range: str, **_: str) -> dict[str, Any]:  # noqa: N803  boto3's names
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        time.sleep(_FIRST_BYTE_SECONDS + (last + 1 - first) / _REQUEST_BYTES)
        return {"Body": io.BytesIO(self.data[first : last + 1]), "ContentRange": Range}


def _planned_from_afar(data: bytes) -> Line:
    """Cut an object through requests that are slower than the machine, against reading it in one request."""
    size = len(data)
    source = Source(bucket="far", key="sample.csv", version_id="", etag="1")
    reader = ObjectReader(s3=cast("S3Client", _FarS3(data)), source=source, retry=Retry())

    reading, planned = _best(lambda: reader.read(0, size), 1), _best(lambda: _cut(reader, size), 2)
    raw = {
        "MB/s planned": size / 1e6 / planned,
        "MB/s read": size / 1e6 / reading,
        "a request": f"{_REQUEST_BYTES / 1e6:.0f} MB/s after {_FIRST_BYTE_SECONDS * 1000:.0f} ms, simulated",
    }
    return Line(name="planning / reading in one request, at the pace of S3", value=reading / planned, unit="x", raw=raw)


def cold_start(repo: Path) -> Line:
    """Import app.py in fresh processes, as a deploy does; also with the making of clients, as Lambda does."""
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(repo / "app")}
    environ |= _settings()
    took = _imports(environ)
    function = {"AWS_LAMBDA_FUNCTION_NAME": "tally-bench-process", "AWS_DEFAULT_REGION": "us-east-1"}
    raw = {
        "fastest ms": min(took),
        "slowest ms": max(took),
        "with the clients of process ms": statistics.median(_imports(environ | function)),
        "imports": _IMPORTS,
    }
    return Line(name="cold start: import app", value=statistics.median(took), unit="ms", most=250, raw=raw)


def _imports(environ: dict[str, str]) -> list[float]:
    took = []
    for _ in range(_IMPORTS):
        done = subprocess.run([sys.executable, "-c", _IMPORT], env=environ, capture_output=True, check=True)
        took.append(float(done.stdout) * 1000)
    return took


def _settings() -> dict[str, str]:
    queue = {"url": "http://127.0.0.1/queue", "arn": "arn:aws:sqs:us-east-1:000000000000:queue"}
    names = ("ingest", "work", "heavy", "finished", "export", "save", "work-dlq", "dead-letters")
    consumers = ("ingest", "process", "process_heavy", "finish", "dead_letters", "export", "save")
    functions = (*consumers, "dispatch", "settle")
    return {
        "TALLY_STAGE": "bench",
        "TALLY_TABLE": "tally-bench",
        "TALLY_STREAM_ARN": "arn:aws:dynamodb:us-east-1:000000000000:table/tally-bench/stream/2026-01-01T00:00:00.000",
        "TALLY_INBOX_BUCKET": "inbox",
        "TALLY_EVENT_BUS": "tally-bench",
        "TALLY_QUEUES": json.dumps(dict.fromkeys(names, queue)),
        "TALLY_FUNCTIONS": json.dumps({name: {"batch_size": 10} for name in functions}),
        "TALLY_RETENTION_DAYS": "30",
        "TALLY_EXPORT": "true",
        "TALLY_RESULTS_RETENTION_DAYS": "90",
        "TALLY_CHUNK_ROWS": "1000",
        "TALLY_CHUNK_BYTES": "262144",
        "TALLY_RECONCILE_MINUTES": "5",
        "TALLY_OBJECT_SETTLING_MINUTES": "20",
        "TALLY_WRITE_SHARE": "0",
    }


def _best(operation: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        operation()
        took.append(time.perf_counter() - began)
    return min(took)
