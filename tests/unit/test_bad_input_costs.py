"""Bad input costs no more memory than a chunk; how its time grows is measured by bench/growth.py."""

import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.steps.ingest import Ingester
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.transport.messages import ChunkMessage
from tally.batch.reasons import matches
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    NOW,
    RETENTION,
    RETRY,
    deployed_job,
    outcomes_of,
    planner,
    starts,
    table,
    uploaded,
)

MIB = 1_048_576
MAX_PEAK_BYTES = 64 * MIB
"""Four blocks of 2 MiB that are being read, and what is cut: a few MiB, for a moment with a cell for each byte."""


@dataclass(frozen=True, slots=True)
class Long:
    """An object that is never whole in memory: a head, one byte so many times, and a tail."""

    head: bytes
    filler: bytes
    times: int
    tail: bytes

    def __len__(self) -> int:
        """Return its size."""
        return len(self.head) + self.times + len(self.tail)

    def __getitem__(self, part: slice) -> bytes:
        """Return a range."""
        start, end, _ = part.indices(len(self))
        filled = len(self.head) + self.times
        middle = self.filler * max(0, min(end, filled) - max(start, len(self.head)))
        return self.head[start:end] + middle + self.tail[max(0, start - filled) : max(0, end - filled)]


JOB = """
from chalicelib import rows
class Row(rows.Row):
    id: str
    note: str = ""
def process(row):
    return None
"""


@pytest.mark.parametrize(
    ("content", "good", "reasons"),
    [
        (
            Long(b"id,note\na,b\n", b"x", 100 * MIB, b"\nc,d\n"),
            2,
            ["line 3: the line is 104,857,601 bytes long; the longest record may have 1,048,576"],
        ),
        (
            Long(b"id,note\na,b\n", b",", 100 * MIB, b""),
            1,
            ["line 3: the line is 104,857,600 bytes long; the longest record may have 1,048,576"],
        ),
        (
            Long(b'id,note\na,"', b"x", 100 * MIB, b'"\nc,d\n'),
            1,
            ["line 2: the line is 104,857,605 bytes long; the longest record may have 1,048,576"],
        ),
        (Long(b"id,note\na,b\n", b"\n", 100 * MIB, b"c,d\n"), 2, []),
        (Long(b"id,note\na,b\n", b"\r", 20 * MIB, b"c,d\n"), 2, []),
    ],
    ids=["a line", "a line of delimiters", "a quoted line", "blank lines", "carriage returns"],
)
def test_a_file_of_100_mb_without_rows_is_planned_and_read_in_little_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: Any, good: int, reasons: list[str]
) -> None:
    """Its bytes are forgotten as they come."""
    dynamodb = MemoryDynamoDB()
    s3: Any = MemoryS3()
    upload = uploaded(s3, content, key="inbox/long/day.csv")
    with deployed_job(monkeypatch, tmp_path, "long", JOB):
        tracemalloc.start()
        try:
            batch = planner(dynamodb, s3, chunk_rows=1_000, chunk_bytes=262_144).plan(upload)
            ingester = Ingester(
                table=table(dynamodb),
                s3=s3,
                retry=RETRY,
                retention=RETENTION,
                starts=starts(dynamodb),
                clock=lambda: NOW,
            )
            for number in range(batch.chunks or 0):
                ingester.ingest(ChunkMessage(batch=batch.id, chunk=number))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    keys = [ChunkKey(batch.id, number) for number in range(batch.chunks or 0)]
    found = [outcome for key in keys for outcome in outcomes_of(dynamodb, key).values()]
    assert [(outcome.outcome, outcome.reason) for outcome in found] == [(Outcome.REJECTED, said) for said in reasons]
    assert batch.expected_rows == len(reasons) + good
    assert peak < MAX_PEAK_BYTES


@pytest.mark.parametrize("pattern", ["*a" * 500, "*" * 1_000, "a*" * 500 + "b"])
def test_a_pattern_of_many_values_is_compared_in_time(pattern: str) -> None:
    """In steps that grow with the text, not with the ways to part it."""
    assert not matches(pattern + "!", "a" * 1_000)
