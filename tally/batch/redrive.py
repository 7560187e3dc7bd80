"""Redrive failed or rejected rows of a batch for an operator."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import SourceGoneError
from chalicelib.files.source import ObjectReader
from chalicelib.retry import Retry
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.corrections import files_of
from chalicelib.store.items import Outcome
from tally.batch import failures
from tally.batch.reader import Reader
from tally.batch.reasons import matches
from tally.batch.row_names import Rows, row_name
from tally.errors import ExitCode, OperatorError
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """The result of a redrive: ``rows`` run again, ``lifted`` is the hold that it removed."""

    batch: Batch
    rows: int
    lifted: Hold | None

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` shows."""
        lifted = self.lifted.value if self.lifted else ""
        return {"id": self.batch.id, "redriven": self.rows, "attempt": self.batch.attempt, "lifted": lifted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """The rows to run again: those that match every condition given.

    ``outcome`` is failed, or rejected for rows to be read again; ``group`` implies it. ``error`` is a regular
    expression for a part of the reason, ``reason`` a pattern and ``group`` a number of `tally failures`.
    """

    outcome: Outcome = Outcome.FAILED
    error: str = ""
    reason: str | None = None
    group: int | None = None
    rows: Rows = frozenset()

    def __post_init__(self) -> None:
        try:
            re.compile(self.error)
        except re.error as error:
            message = f"--error {self.error!r} is not a regular expression: {error}."
            raise OperatorError(message, code=ExitCode.USAGE) from error
        if self.reason is not None and self.group is not None:
            raise OperatorError("--reason and --group both name a group: give one.", code=ExitCode.USAGE)


def check_batch(batch: Batch, rows: Rows) -> int:
    """Return the number of a batch's chunks; raises OperatorError for a batch that cannot be redriven."""
    if batch.status is BatchStatus.REJECTED:
        raise OperatorError(
            f"Batch {batch.id} was rejected as a file and has no rows: {batch.reason}",
            hint="correct the file, and upload it again.",
            code=ExitCode.USAGE,
        )
    if batch.chunks is None:
        raise OperatorError(
            f"Batch {batch.id} is still being planned: redrive it once `tally status` says running.",
            code=ExitCode.USAGE,
        )
    outside = sorted(row_name(chunk, row) for chunk, row in rows if chunk >= batch.chunks)
    if outside:
        raise OperatorError(
            f"--rows: batch {batch.id} has chunks 0 to {batch.chunks - 1}, so there is no {outside[0]}",
            hint=f"`tally rows {batch.id}` names its rows.",
            code=ExitCode.USAGE,
        )
    return batch.chunks


def run(output: Output, reader: Reader, batch_id: str, which: Which, *, table: "Table", s3: "S3Client") -> Redriven:
    """Run rows again, with a progress bar; a hold that has stopped the batch is lifted with the first of them.

    Rejected rows are read again from the object, so its existence is checked before anything is changed.
    """
    before = reader.require(batch_id)
    chunks = check_batch(before, which.rows)
    outcome, in_group = _group(output, reader, before, which)
    if outcome is Outcome.REJECTED:
        _require_object(output, reader, s3, before, table)
    pattern = re.compile(which.error)

    def wanted(reason: str) -> bool:
        return pattern.search(reason) is not None and in_group(reason)

    with output.progress(f"taking {outcome} rows back, chunks", chunks) as advance:
        taken = Redriver(table=table).redrive(
            batch_id, outcome=outcome, reason=wanted, rows=which.rows, on_chunk=lambda: advance(1)
        )
    redriven = Redriven(batch=reader.require(batch_id), rows=taken.rows, lifted=taken.lifted)
    _report(output, before, redriven, outcome)
    return redriven


def _require_object(output: Output, reader: Reader, s3: "S3Client", batch: Batch, table: "Table") -> None:
    """Raise OperatorError if the object with the rows is gone, for the rows could not be read again.

    Corrected rows are read from the corrections instead, so with those it only warns.
    """
    file = ObjectReader(s3=s3, source=batch.content, retry=Retry(sleep=reader.sleep))
    try:
        file.read(0, 1)
    except SourceGoneError as error:
        if any(files_of(table, batch.id, batch.attempt)):
            output.warn("the upload is gone: only rows that were corrected can be read, the others stay rejected.")
            return
        raise OperatorError(
            f"Rejected rows are read again from s3://{batch.content.bucket}/{batch.content.key}, and the version of it "
            "that this batch was made of is gone: upload the file again. Nothing was changed.",
            code=ExitCode.USAGE,
        ) from error


def _group(output: Output, reader: Reader, batch: Batch, which: Which) -> tuple[Outcome, Callable[[str], bool]]:
    """Return the outcome of the wanted rows, and a function that tells whether a reason is wanted.

    The pattern of a group means exactly that group, even if other reasons match it too. A pattern of no group, as after
    a part of its rows succeeded, means every reason that matches it.
    """
    if which.reason is None and which.group is None:
        return which.outcome, lambda _: True
    grouping = failures.run(output, reader, batch)
    if which.reason is None:
        number = which.group or 0
        if number > len(grouping.groups):
            raise OperatorError(
                f"--group: batch {batch.id} has {len(grouping.groups)} groups: `tally failures {batch.id}` shows them.",
                code=ExitCode.USAGE,
            )
        group = grouping.groups[number - 1]
    else:
        found = grouping.find(which.outcome, which.reason)
        if found is None:
            pattern = which.reason
            return which.outcome, lambda reason: matches(pattern, reason)
        group = found
    output.say(f"Group: {group.rows:,} {group.outcome}: {group.pattern}")
    return group.outcome, lambda reason: grouping.group_of(group.outcome, reason) == group.key


def _report(output: Output, before: Batch, redriven: Redriven, outcome: Outcome) -> None:
    batch = redriven.batch
    does = "are read" if outcome is Outcome.REJECTED else "run"
    if not redriven.rows:
        output.say(f"0 rows {does} again: no {outcome} row matches; `tally failures {batch.id}` shows their reasons.")
        other = batch.counts.rejected if outcome is Outcome.FAILED else 0
        if other:
            rejected = (
                "1 was rejected: --rejected reads it"
                if other == 1
                else f"{other:,} were rejected: --rejected reads them"
            )
            output.say(f"{rejected} again, by the job as it is deployed now.")
        return
    say_lifted(output, before, redriven.lifted)
    one = "is read" if outcome is Outcome.REJECTED else "runs"
    again = f"1 row {one}" if redriven.rows == 1 else f"{redriven.rows:,} rows {does}"
    output.say(f"{again} again, in attempt {batch.attempt}.")
    warn_of_hold(output, batch)


def say_lifted(output: Output, before: Batch, lifted: Hold | None) -> None:
    """Say which hold was lifted, if one was."""
    if lifted:
        why = "cancelled" if lifted is Hold.CANCELLED else "stopped, because too many of its rows had failed"
        too = "" if before.status.final else "; those that are not stopped yet run too"
        output.say(f"Batch {before.id} was {why}: the hold is lifted, so that its rows may run{too}.")


def warn_of_hold(output: Output, batch: Batch) -> None:
    """Warn that a hold keeps the redriven rows from running."""
    if batch.hold is Hold.PAUSED:
        output.warn(f"the batch is paused: they wait until `tally resume {batch.id}`.")
    elif batch.hold:
        output.warn(f"the batch has been stopped again ({batch.hold}): these rows may fail for that reason.")
