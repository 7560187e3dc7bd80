"""The files that are measured: Tally's own sample, one row in a hundred rejected, and none that the job fails.

A row that fails is tried again after a delay of seconds, by design: a file with one would measure that delay.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tally.local import sample
from tally.local.sample import Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file and what must come of it."""

    file: Path
    expected: Expected

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.expected.rows


def make(folder: Path, rows: int) -> Sample:
    """Write a sample of so many rows."""
    file = folder / f"sample-{rows}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as target:
        return Sample(file=file, expected=without_failures(target, rows))


def without_failures(target: BinaryIO, rows: int) -> Expected:
    """Write Tally's sample, but with an exchange rate for every row, and return what must come of it."""
    written = BytesIO()
    had = sample.write(written, rows)
    unknown = f",{sample.UNKNOWN_CURRENCY},".encode()
    target.write(written.getvalue().replace(unknown, b",EUR,"))
    return Expected(rows=rows, succeeded=had.succeeded + had.failed, failed=0, rejected=had.rejected)
