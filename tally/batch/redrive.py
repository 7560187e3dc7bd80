"""Redriving failed rows of a batch on an operator's word."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Hold
from tally.batch.reader import Reader
from tally.errors import ExitCode, OperatorError
from tally.output import Output

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_ROW = re.compile(r"(\d+):(\d+)", re.ASCII)

Rows = AbstractSet[tuple[int, int]]
"""Pairs of chunk and row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What a redrive did: ``rows`` run again, ``lifted`` is what had stopped the batch."""

    batch: Batch
    rows: int
    lifted: Hold | None

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` shows."""
        lifted = self.lifted.value if self.lifted else ""
        return {"id": self.batch.id, "redriven": self.rows, "attempt": self.batch.attempt, "lifted": lifted}


def row_name(chunk: int, row: int) -> str:
    """Return a row as an operator reads it and gives it back."""
    return f"{chunk}:{row}"


def parse_rows(text: str) -> Rows:
    """Read row names, commas or white space between them; raises for anything else, and for none at all."""
    rows: set[tuple[int, int]] = set()
    for name in text.replace(",", " ").split():
        match = _ROW.fullmatch(name)
        if match is None:
            raise OperatorError(
                f"--rows: {name!r} is no row; write CHUNK:ROW,... as `tally rows` shows them.", code=ExitCode.USAGE
            )
        rows.add((int(match[1]), int(match[2])))
    if not rows:
        raise OperatorError("--rows names no row; write CHUNK:ROW,... or leave it out for all.", code=ExitCode.USAGE)
    return rows


def check_pattern(pattern: str) -> str:
    """Return a regular expression that is one; raises for any other text."""
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"--error {pattern!r} is no regular expression: {error}."
        raise OperatorError(message, code=ExitCode.USAGE) from error
    return pattern


def check_batch(batch: Batch, rows: Rows) -> int:
    """Return how many chunks a batch has; raises for one that nothing can be redriven of."""
    if batch.status is BatchStatus.REJECTED:
        raise OperatorError(
            f"Batch {batch.id} was rejected as a file and has no rows: {batch.reason}", code=ExitCode.USAGE
        )
    if batch.chunks is None:
        raise OperatorError(
            f"Batch {batch.id} is still being planned: redrive it once `tally status` says running.",
            code=ExitCode.USAGE,
        )
    outside = sorted(row_name(chunk, row) for chunk, row in rows if chunk >= batch.chunks)
    if outside:
        raise OperatorError(
            f"--rows: batch {batch.id} has chunks 0 to {batch.chunks - 1}, so there is no {outside[0]}.",
            code=ExitCode.USAGE,
        )
    return batch.chunks


def run(output: Output, reader: Reader, table: "Table", batch_id: str, *, error: str, rows: Rows) -> Redriven:
    """Run failed rows again, with a progress bar; what has stopped the batch is lifted with the first of them."""
    before = reader.require(batch_id)
    chunks = check_batch(before, rows)
    with output.progress("taking failures back, chunks", chunks) as advance:
        taken = Redriver(table=table).redrive(batch_id, error=error, rows=rows, on_chunk=lambda: advance(1))
    redriven = Redriven(batch=reader.require(batch_id), rows=taken.rows, lifted=taken.lifted)
    _report(output, before, redriven)
    return redriven


def _report(output: Output, before: Batch, redriven: Redriven) -> None:
    batch = redriven.batch
    if not redriven.rows:
        output.say("0 rows run again: no failed row matches.")
        return
    if redriven.lifted:
        why = "cancelled" if redriven.lifted is Hold.CANCELLED else "stopped, for too many of its rows had failed"
        too = "" if before.status.final else "; those that are not stopped yet run too"
        output.say(f"Batch {batch.id} was {why}: that is lifted, so that its rows may run{too}.")
    run_again = "1 row runs" if redriven.rows == 1 else f"{redriven.rows:,} rows run"
    output.say(f"{run_again} again, in attempt {batch.attempt}.")
    if batch.hold is Hold.PAUSED:
        output.warn(f"the batch is paused: they wait until `tally resume {batch.id}`.")
    elif batch.hold:
        output.warn(f"the batch has been stopped again ({batch.hold}): these rows may fail of it.")
