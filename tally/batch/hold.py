"""Pausing, resuming and cancelling a batch on an operator's word, and saying what follows."""

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
    Hold.PAUSED: "rows wait in their queue, looked at every 60 s; those being processed now are still counted. "
    "`tally resume {id}` lets them go on.",
    Hold.CANCELLED: "rows without an outcome fail with that reason as they come up, then the batch ends; those being "
    "processed now are still counted. `tally redrive {id}` runs the failed ones again.",
    Hold.THRESHOLD: "its other rows fail with that reason, then the batch ends. `tally redrive {id}` runs them again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controlled:
    """A batch before and after an operator's word."""

    before: Batch
    after: Batch
    wanted: Hold | None

    @property
    def changed(self) -> bool:
        """Tell whether anything is otherwise than it was; whoever did it."""
        return self.before.hold is not self.after.hold

    @property
    def verdict(self) -> ExitCode:
        """Return the exit status: not as hoped if the batch neither is as wanted nor has ended."""
        as_wanted = self.after.hold is self.wanted or (self.wanted is not None and self.after.status.final)
        return ExitCode.OK if as_wanted else ExitCode.NOT_AS_HOPED

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` shows."""
        hold = self.after.hold.value if self.after.hold else ""
        return {"id": self.after.id, "changed": self.changed, "status": self.after.status.value, "hold": hold}


def run(output: Output, reader: Reader, table: "Table", batch_id: str, wanted: Hold | None) -> Controlled:
    """Hold a batch, or with None let a paused one go on, and say what came of it.

    What came of it is read, not concluded: a write that was applied and not heard of looks like one refused.
    """
    before = reader.require(batch_id)
    controls = Holds(table=table)
    if wanted is None:
        controls.resume(batch_id)
    else:
        controls.hold(batch_id, wanted)
    controlled = Controlled(before=before, after=reader.require(batch_id), wanted=wanted)
    output.say(described(controlled))
    return controlled


def described(controlled: Controlled) -> str:
    """Return what an operator should know of what was done, or why nothing was."""
    batch, hold = controlled.after, controlled.after.hold
    if batch.status.final:
        return f"Nothing to do: batch {batch.id} has ended, it is {status_of(batch)}."
    if hold is None:
        goes_on = "goes on: rows that waited are taken up within 60 s" if controlled.changed else "was not paused"
        return f"Batch {batch.id} {goes_on}."
    became = "is" if controlled.changed else "was already"
    return f"Batch {batch.id} {became} {_NAMES[hold]}: {_FOLLOWS[hold].format(id=batch.id)}"
