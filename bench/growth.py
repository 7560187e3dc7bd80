"""How the cost of hostile input grows with its size: ``python -m bench.growth``.

Every line compares the processor time of two files of one kind, the larger four times as large. Linear cost grows 4
times, quadratic cost 16 times. Both files are so large that no cache of the first run makes the second cheaper.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from bench.line import Line
from chalicelib import rows
from chalicelib.files.boundaries import split
from chalicelib.files.kinds import kind_of
from chalicelib.files.source import BLOCK_BYTES
from chalicelib.headers import HeaderError
from chalicelib.rows import Schema
from chalicelib.steps.results import encoded
from chalicelib.store.items import Outcome
from tally.batch.reasons import Reason, Reasons
from tally.errors import ExitCode
from tally.output import Output

_KIB = 1_024
_TIMES = 4
_MAX_GROWTH = 10.0
"""Far from both 4 and 16: a processor that is shared with others sometimes runs at half its speed."""
_SHORTEST_SECONDS = 0.005
"""A shorter time counts as this: the clock and the first call cost about as much."""
_RUNS = 3


class Row(rows.Row, kw_only=True):
    """A row with a column of each kind that is parsed differently."""

    a: str = ""
    b: int | None = None
    c: float | None = None


_SCHEMA = Schema.of(Row)
_HEADER = _SCHEMA.header(["a", "b", "c"], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of input: ``unit`` is repeated; in a sentence each ``#`` is the number of its line."""

    name: str
    run: Callable[[bytes], object]
    unit: bytes
    size: int = 32 * _KIB
    sentence: bool = False

    def made(self, size: int) -> bytes:
        """Return an input of a size."""
        times = size // len(self.unit)
        if not self.sentence:
            return self.unit * times
        return b"\n".join(self.unit.replace(b"#", b"%d" % number) for number in range(times))


def _read(data: bytes) -> None:
    """Cut and read a file as plan and ingest do."""
    blocks = (data[begin : begin + BLOCK_BYTES] for begin in range(0, len(data), BLOCK_BYTES))
    for found in split(blocks, max_rows=1_000, max_bytes=262_144, first_line=2):
        if not found.unreadable:
            for _ in _SCHEMA.read(data[found.start : found.end], _HEADER, found.first_line):
                pass


def _head(data: bytes) -> None:
    with suppress(HeaderError):
        _SCHEMA.header(data.decode("latin-1").split(","), 1)


def _group(data: bytes) -> None:
    reasons = Reasons()
    for line in data.decode().splitlines():
        reasons.add(Reason(outcome=Outcome.FAILED, text=line))
    reasons.grouped()


def _encode(data: bytes) -> None:
    encoded(data.decode())


_MARK = "\u0301".encode()
_KINDS = (
    _Kind(name="a quote a line, never closed", run=_read, unit=b'a,"\n'),
    _Kind(name="nothing but quotes and lines", run=_read, unit=b'"\n'),
    _Kind(name="quotes within cells", run=_read, unit=b'a"b,"c"d\n'),
    _Kind(name="nothing but quotes", run=_read, unit=b'"""', size=256 * _KIB),
    _Kind(name="empty quoted cells", run=_read, unit=b'"",', size=256 * _KIB),
    _Kind(name="lines that end in \\r", run=_read, unit=b"x\r"),
    _Kind(name="mixed line ends in quotes", run=_read, unit=b'"\r\n\n\r",1,2\r'),
    _Kind(name="blank lines", run=_read, unit=b"\n\r", size=2_048 * _KIB),
    _Kind(name="control characters", run=_read, unit=b"\0\1,\n"),
    _Kind(name="bytes that are not UTF-8", run=_read, unit=b"\xff\xc3,\n"),
    _Kind(name="900 marks on a letter", run=_read, unit=b"e" + _MARK * 900 + b"\n", size=256 * _KIB),
    _Kind(name="50,000 marks on a letter", run=_read, unit=b"e" + _MARK * 50_000 + b"\n", size=256 * _KIB),
    _Kind(name="white space", run=_read, unit=b" \t" * 2_000 + b"\n", size=256 * _KIB),
    _Kind(name="rows of 10,000 columns", run=_read, unit=b"," * 10_000 + b"\n", size=256 * _KIB),
    _Kind(name="bad cells", run=_read, unit=b"x,y,nan\n"),
    _Kind(name="numbers of 4,000 digits", run=_read, unit=(b"9" * 4_000 + b",") * 2 + b"1\n", size=1_024 * _KIB),
    _Kind(name="unknown columns", run=_head, unit=b"x,"),
    _Kind(name="unknown columns with marks", run=_head, unit=b"\xe9\xcc\x81,"),
    _Kind(name="a header of every delimiter", run=_head, unit=b";|\t:^~"),
    _Kind(
        name="reasons of one pattern", run=_group, unit=b"ValueError: no rate # for # in 'x#'", sentence=True,
        size=128 * _KIB,
    ),
    _Kind(name="reasons of many values", run=_group, unit=b"a#b " * 20, sentence=True, size=128 * _KIB),
    _Kind(
        name="reasons of open quotes", run=_group, unit=b"column # 'a': column # 'b': got 'x", sentence=True,
        size=128 * _KIB,
    ),
    _Kind(name="the kind of a file", run=kind_of, unit=b"PK\3\4" + b"x" * 100, size=1_024 * _KIB),
    _Kind(name="brackets in a result", run=_encode, unit=b'["\\', size=1_024 * _KIB),
)  # fmt: skip


def lines() -> Iterator[Line]:
    """Measure every kind of input."""
    for kind in _KINDS:
        small, large = (_least(kind, times * kind.size) for times in (1, _TIMES))
        yield Line(
            name=f"{kind.name}, {_TIMES} times as many",
            value=max(large, _SHORTEST_SECONDS) / max(small, _SHORTEST_SECONDS),
            unit="x",
            most=_MAX_GROWTH,
            raw={"KiB": kind.size // _KIB, "s": small, "s of the larger": large},
        )


def _least(kind: _Kind, size: int) -> float:
    """Return the least processor time of a few runs, because other processes only add to it."""
    data = kind.made(size)
    took = []
    for _ in range(_RUNS):
        began = time.process_time()
        kind.run(data)
        took.append(time.process_time() - began)
    return min(took)


def main() -> ExitCode:
    """Print the table; exits with 1 if a cost grows out of proportion."""
    found = list(lines())
    Output.make(as_json=False).table("", ("what", "measured", "goal", "", "figures"), [line.cells() for line in found])
    return ExitCode.OK if all(line.met for line in found) else ExitCode.NOT_AS_HOPED


if __name__ == "__main__":
    sys.exit(main())
