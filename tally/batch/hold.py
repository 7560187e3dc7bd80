"""Pausing, resuming and cancelling a batch, and telling the operator what follows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.store.batch import Batch, Hold
from chalicelib.store.hold import Holds
from tally.batch.reader import Reader
from tally.batch.watch import status_of
from tally.errors import ExitCode
from tally.output import Output

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_NAMES = {
    Hold.PAUSED: "paused",
    Hold.CANCELLED: "cancelled",
    Hold.THRESHOLD: "stopped: too many of its rows had failed",
}
_FOLLOWS = {
    Hold.PAUSED: "rows wait in their queue and are checked every 60 s; those being processed now are still counted. "
    "`tally resume {id}` lets them run.",
    Hold.CANCELLED: "rows without an outcome fail with that reason as they come up, then the batch ends; those being "
    "processed now are still counted. `tally redrive {id}` runs the failed ones again.",
    Hold.THRESHOLD: "its other rows fail with that reason, then the batch ends. `tally redrive {id}` runs them again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldChange:
    """A batch before and after a command of an operator."""

    before: Batch
    after: Batch
    wanted: Hold | None

    @property
    def changed(self) -> bool:
        """Tell whether the hold changed, no matter who changed it."""
        return self.before.hold is not self.after.hold

    @property
    def verdict(self) -> ExitCode:
        """Return the exit status: NOT_AS_HOPED if the batch has not ended and lacks the wanted hold."""
        as_wanted = self.after.hold is self.wanted or (self.wanted is not None and self.after.status.final)
        return ExitCode.OK if as_wanted else ExitCode.NOT_AS_HOPED

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` shows."""
        hold = self.after.hold.value if self.after.hold else ""
        return {"id": self.after.id, "changed": self.changed, "status": self.after.status.value, "hold": hold}


def run(output: Output, reader: Reader, table: "Table", batch_id: str, wanted: Hold | None) -> HoldChange:
    """Hold a batch, or with None resume a paused one, and report the result.

    The result is read back: a write that was applied but whose answer was lost looks like a refused one.
    """
    before = reader.require(batch_id)
    holds = Holds(table=table)
    if wanted is None:
        holds.resume(batch_id)
    else:
        holds.hold(batch_id, wanted)
    change = HoldChange(before=before, after=reader.require(batch_id), wanted=wanted)
    output.say(described(change))
    return change


def described(change: HoldChange) -> str:
    """Return a sentence on the effect of the command, or on why it changed nothing."""
    batch, hold = change.after, change.after.hold
    if batch.status.final:
        return f"Nothing to do: batch {batch.id} has ended, it is {status_of(batch)}."
    if hold is None:
        result = "runs again: rows that waited start within 60 s" if change.changed else "was not paused"
        return f"Batch {batch.id} {result}."
    became = "is" if change.changed else "was already"
    return f"Batch {batch.id} {became} {_NAMES[hold]}: {_FOLLOWS[hold].format(id=batch.id)}"
