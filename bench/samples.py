"""The files to measure: Tally's own sample, a file with the shape of real ones, and a random one.

No row fails in the job: it would be tried again after a delay of seconds, by design, and the benchmark would measure
that delay.
"""

import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tally.local import sample
from tally.local.sample import Expected

_RANDOM_BYTES = 200
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_MERCHANTS = 200
"""Few, because most rows of a real file are about few things."""
_FLUSH_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file and its expected outcomes."""

    file: Path
    expected: Expected

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.expected.rows


Write = Callable[[BinaryIO, int], Expected]


def without_failures(target: BinaryIO, rows: int) -> Expected:
    """Write Tally's sample, but with an exchange rate for every row: a row in a hundred is rejected."""
    written = BytesIO()
    had = sample.write(written, rows)
    unknown = f",{sample.UNKNOWN_CURRENCY},".encode()
    target.write(written.getvalue().replace(unknown, b",EUR,"))
    return Expected(rows=rows, succeeded=had.succeeded + had.failed, failed=0, rejected=had.rejected)


def real_shape(target: BinaryIO, rows: int) -> Expected:
    """Write rows that resemble their neighbours: in the order of their time, about few merchants, some cells empty.

    A row is stored in about 30 bytes, like the flight records that were measured.
    """
    return _write(target, rows, _alike)


def incompressible(target: BinaryIO, rows: int) -> Expected:
    """Write rows that each have 200 random bytes in them, beside the cells that they must have."""
    return _write(target, rows, _unlike)


SHAPES: dict[str, Write] = {
    "sample": without_failures,
    "real shape": real_shape,
    "incompressible": incompressible,
}


def make(folder: Path, rows: int, shape: str = "sample") -> Sample:
    """Write a file of so many rows and of one of the ``SHAPES``."""
    file = folder / f"{shape.replace(' ', '-')}-{rows}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        return Sample(file=file, expected=SHAPES[shape](target, rows))


def _write(target: BinaryIO, rows: int, line_of: Callable[[int, random.Random], list[str]]) -> Expected:
    rng = random.Random(1)
    lines = (",".join(line_of(number, rng)) for number in range(rows))
    target.write(sample.HEADER.encode() + b"\n")
    target.writelines("\n".join(group).encode() + b"\n" for group in _grouped(lines))
    return Expected(rows=rows, succeeded=rows, failed=0, rejected=0)


def _grouped(lines: Iterator[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for line in lines:
        group.append(line)
        if len(group) == _FLUSH_ROWS:
            yield group
            group = []
    if group:
        yield group


def _alike(number: int, rng: random.Random) -> list[str]:
    merchant = min(int(rng.expovariate(1 / 20)), _MERCHANTS - 1)
    at = _FIRST_DAY + timedelta(seconds=7 * number + rng.randrange(7))
    cents = rng.randrange(100, 20_000)
    return [
        f"T{number:010d}", f"A{rng.randrange(90_000_000):08d}", f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d}",
        f"{cents / 100:.2f}", "EUR", "debit", f"Merchant No {merchant}", "", "groceries", "DE", "card",
        f"{5000 + merchant:04d}", f"INV-{rng.randrange(100_000)}", "", f"0.{rng.randrange(1_000):03d}",
    ]  # fmt: skip


def _unlike(number: int, rng: random.Random) -> list[str]:
    note = b64encode(rng.randbytes(_RANDOM_BYTES)).decode()
    return [
        f"T{number:010d}", "A00000001", "2026-01-01T00:00:00Z", "2026-01-01", "1.00", "EUR", "debit", "Somebody", "",
        "groceries", "DE", "card", "", "", note, "",
    ]  # fmt: skip
