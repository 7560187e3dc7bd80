"""Bad input costs no more memory than a chunk, and no more time than its size explains."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib import rows
from chalicelib.files.boundaries import split
from chalicelib.files.kinds import kind_of
from chalicelib.rows import HeaderError, Schema
from chalicelib.steps.ingest import Ingester
from chalicelib.steps.results import encoded
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.transport.messages import ChunkMessage
from tally.batch.reasons import Reason, Reasons, matches
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


class Row(rows.Row, kw_only=True):
    """A row with a column of each kind that is read otherwise."""

    a: str = ""
    b: int | None = None
    c: float | None = None


SCHEMA = Schema.of(Row)
HEADER = SCHEMA.header(["a", "b", "c"], 1)


def _read(data: bytes) -> None:
    """Cut and read a file as plan and ingest do."""
    blocks = (data[begin : begin + 2 * MIB] for begin in range(0, len(data), 2 * MIB))
    for found in split(blocks, max_rows=1_000, max_bytes=262_144, first_line=2):
        if not found.unreadable:
            assert sum(1 for _ in SCHEMA.read(data[found.start : found.end], HEADER, found.first_line)) == found.rows


def _header(data: bytes) -> None:
    with pytest.raises(HeaderError):
        SCHEMA.header(data.decode("latin-1").split(","), 1)


def _group(data: bytes) -> None:
    reasons = Reasons()
    for line in data.decode("latin-1").splitlines():
        reasons.add(Reason(outcome=Outcome.FAILED, text=line))
    reasons.grouped()


def _numbered(sentence: str) -> Callable[[int], bytes]:
    return lambda size: "\n".join(sentence.replace("#", str(n)) for n in range(size // len(sentence))).encode()


def _repeated(unit: bytes, head: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: head + unit * (size // len(unit))


TIMES = 4
"""How much larger the larger file is: a cost in the square of its size grows 16 times."""
MAX_GROWTH = 10.0


@pytest.mark.parametrize(
    ("run", "make", "size"),
    [
        (_read, _repeated(b'"\n'), MIB // 32),
        (_read, _repeated(b'a,"\n'), MIB // 32),
        (_read, _repeated(b'a"b,"c"d\n'), MIB // 32),
        (_read, _repeated(b'"""'), MIB // 32),
        (_read, _repeated(b'"",'), MIB // 32),
        (_read, _repeated(b"x\r"), MIB // 32),
        (_read, _repeated(b'"\r\n\n\r",1,2\r'), MIB // 32),
        (_read, _repeated(b"\n\r"), MIB // 4),
        (_read, _repeated(b"\0\1,\n"), MIB // 32),
        (_read, _repeated(b"\xff\xc3,\n"), MIB // 32),
        (_read, _repeated(b"e" + "\u0301".encode() * 900 + b"\n"), MIB // 4),
        (_read, _repeated(b"e" + "\u0301".encode() * 50_000 + b"\n"), MIB // 4),
        (_read, _repeated(b" \t" * 2_000 + b"\n"), MIB // 4),
        (_read, _repeated(b"," * 10_000 + b"\n"), MIB // 4),
        (_read, _repeated(b"x,y,nan\n"), MIB // 32),
        (_read, _repeated(b"9" * 4_000 + b"," + b"9" * 4_000 + b",1\n"), MIB // 4),
        (_header, _repeated(b"x,"), MIB // 32),
        (_header, _repeated(b"\xe9\xcc\x81,"), MIB // 32),
        (_header, _repeated(b";|\t:^~"), MIB // 32),
        # More sentences than are remembered, in the smaller one too.
        (_group, _numbered("ValueError: no rate # for # in 'x#'"), MIB // 8),
        (_group, _numbered("a#b " * 20), MIB // 8),
        (_group, _numbered("column # 'a': column # 'b': got 'x"), MIB // 8),
        (kind_of, _repeated(b"PK\3\4" + b"x" * 100), MIB),
        (lambda data: encoded(data.decode()), _repeated(b'["\\'), MIB // 8),
    ],
)
def test_a_file_that_is_four_times_as_large_takes_about_four_times_as_long(
    run: Callable[[bytes], object], make: Callable[[int], bytes], size: int
) -> None:
    """Processor time, the least of two runs: another process on the machine changes little."""
    small, large = make(size), make(TIMES * size)
    assert _least(run, large) < MAX_GROWTH * max(_least(run, small), 0.005)


def _least(run: Callable[[bytes], object], data: bytes) -> float:
    def seconds() -> Iterator[float]:
        for _ in range(2):
            began = time.process_time()
            run(data)
            yield time.process_time() - began

    return min(seconds())


@pytest.mark.parametrize("pattern", ["*a" * 500, "*" * 1_000, "a*" * 500 + "b"])
def test_a_pattern_of_many_values_is_compared_in_time(pattern: str) -> None:
    """In steps that grow with the text, not with the ways to part it."""
    assert not matches(pattern + "!", "a" * 1_000)
