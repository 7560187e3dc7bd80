"""Redriving failed rows of a batch on an operator's word."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.items import Outcome
from tally.batch import failures
from tally.batch.reader import Reader
from tally.batch.reasons import matches
from tally.batch.row_names import Rows, row_name
from tally.errors import ExitCode, OperatorError
from tally.output import Output

if TYPE_CHECKING:
    from chalicelib.store.table import Table


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which failed rows are run again: those that fit all of what is given.

    ``error`` is a regular expression that a part of the reason matches, ``reason`` a pattern and ``group`` a number of
    `tally failures`.
    """

    error: str = ""
    reason: str | None = None
    group: int | None = None
    rows: Rows = frozenset()

    def __post_init__(self) -> None:
        try:
            re.compile(self.error)
        except re.error as error:
            message = f"--error {self.error!r} is no regular expression: {error}."
            raise OperatorError(message, code=ExitCode.USAGE) from error
        if self.reason is not None and self.group is not None:
            raise OperatorError("--reason and --group both name a group: give one.", code=ExitCode.USAGE)


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


def run(output: Output, reader: Reader, table: "Table", batch_id: str, which: Which) -> Redriven:
    """Run failed rows again, with a progress bar; what has stopped the batch is lifted with the first of them."""
    before = reader.require(batch_id)
    chunks = check_batch(before, which.rows)
    in_group = _in_group(output, reader, before, which)
    pattern = re.compile(which.error)

    def wanted(reason: str) -> bool:
        return pattern.search(reason) is not None and in_group(reason)

    with output.progress("taking failures back, chunks", chunks) as advance:
        taken = Redriver(table=table).redrive(batch_id, reason=wanted, rows=which.rows, on_chunk=lambda: advance(1))
    redriven = Redriven(batch=reader.require(batch_id), rows=taken.rows, lifted=taken.lifted)
    _report(output, before, redriven)
    return redriven


def _in_group(output: Output, reader: Reader, batch: Batch, which: Which) -> Callable[[str], bool]:
    """Return what tells whether a failed row with some reason is wanted.

    A pattern that is a group's means exactly that group, even if other reasons fit it too. One that is none, as after
    a part of its rows succeeded, means every reason that fits it.
    """
    if which.reason is None and which.group is None:
        return lambda _: True
    grouping = failures.run(output, reader, batch)
    if which.reason is None:
        number = which.group or 0
        if number > len(grouping.groups):
            raise OperatorError(
                f"--group: batch {batch.id} has {len(grouping.groups)} groups: `tally failures {batch.id}` shows them.",
                code=ExitCode.USAGE,
            )
        group = grouping.groups[number - 1]
        if group.outcome is not Outcome.FAILED:
            raise OperatorError(
                f"--group: the rows of group {number} were rejected, and only failed rows run again.",
                code=ExitCode.USAGE,
            )
    else:
        found = grouping.find(Outcome.FAILED, which.reason)
        if found is None:
            pattern = which.reason
            return lambda reason: matches(pattern, reason)
        group = found
    output.say(f"Group: {group.rows:,} failed: {group.pattern}")
    return lambda reason: grouping.group_of(Outcome.FAILED, reason) == group.key


def _report(output: Output, before: Batch, redriven: Redriven) -> None:
    batch = redriven.batch
    if not redriven.rows:
        output.say(f"0 rows run again: no failed row matches; `tally failures {batch.id}` shows their reasons.")
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
