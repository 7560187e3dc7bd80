"""A file as a worker has it: cut into chunks, with the job's outcomes, without any AWS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chalicelib import jobs
from chalicelib.files.boundaries import split
from chalicelib.rows import RejectedRow, ValidRow
from chalicelib.store.items import Outcome
from chalicelib.store.marker import ReasonCode, RowOutcome, unsuccessful
from chalicelib.store.rows import StoredRow

JOB = "transactions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bytes of one chunk and the line of the file where it begins."""

    data: bytes
    first_line: int
    header: tuple[str, ...]


def parts(file: Path, *, chunk_rows: int, chunk_bytes: int) -> Iterator[Part]:
    """Cut a file as the planner does."""
    data = file.read_bytes()
    start = data.index(b"\n") + 1
    header = jobs.require(JOB).schema.header(data[:start].decode().rstrip("\r\n").split(","), 1)
    for found in split([data[start:]], max_rows=chunk_rows, max_bytes=chunk_bytes, offset=start, first_line=2):
        yield Part(data=data[found.start : found.end], first_line=found.first_line, header=header)


def read(part: Part) -> Iterator[ValidRow | RejectedRow]:
    """Parse, clean and validate the rows of a chunk, as ingest does."""
    return jobs.require(JOB).schema.read(part.data, part.header, part.first_line)


def outcomes(part: Part) -> tuple[list[StoredRow], list[RowOutcome]]:
    """Return the stored rows of a chunk, and the outcomes of its rows."""
    process = jobs.require(JOB).process
    stored: list[StoredRow] = []
    made: list[RowOutcome] = []
    for row in read(part):
        if isinstance(row, RejectedRow):
            made.append(unsuccessful(row.row, Outcome.REJECTED, ReasonCode.INVALID, row.reason, line=row.line))
            continue
        stored.append(StoredRow(row.row, row.line, row.values))
        result = msgspec.Raw(msgspec.json.encode(process(row.parsed)))
        made.append(RowOutcome(row=row.row, outcome=Outcome.SUCCEEDED, result=result))
    return stored, made
