"""Holds: pause, resume and cancel one batch; what is counted stays counted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.items import BATCH_SK, batch_pk, number, text
from chalicelib.store.table import Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

HAS_NOT_ENDED = "(#status = :unpacking OR #status = :planning OR #status = :running)"
"""A batch that has ended has nothing left to hold."""
IS_FREE = "attribute_not_exists(#hold)"
"""Nothing holds it, so pausing it changes something."""
IS_NOT_STOPPED = "(attribute_not_exists(#hold) OR #hold = :paused)"
"""A batch that was cancelled or stopped stays so until a redrive lifts it."""
IS_IN_ATTEMPT = "attempt = :attempt"
"""A decision that was made about an earlier attempt must not hold this one."""
IS_PAUSED = "#hold = :paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """Holds batches; a worker reads the hold with each message, so a hold takes effect within one message."""

    table: "Table"

    def hold(self, batch_id: str, hold: Hold, *, attempt: int | None = None) -> bool:
        """Hold a batch that is under way, in this attempt if one is given; tells whether this changed anything."""
        clauses = [HAS_NOT_ENDED, IS_FREE if hold is Hold.PAUSED else IS_NOT_STOPPED]
        values = {
            ":hold": text(hold),
            ":unpacking": text(BatchStatus.UNPACKING),
            ":planning": text(BatchStatus.PLANNING),
            ":running": text(BatchStatus.RUNNING),
        }
        if hold is not Hold.PAUSED:
            values[":paused"] = text(Hold.PAUSED)
        if attempt is not None:
            clauses.append(IS_IN_ATTEMPT)
            values[":attempt"] = number(attempt)
        return self.table.update(
            Update(
                pk=batch_pk(batch_id),
                sk=BATCH_SK,
                expression="SET #hold = :hold",
                condition=" AND ".join(clauses),
                values=values,
            )
        )

    def resume(self, batch_id: str) -> bool:
        """Let a paused batch run again; tells whether it was paused."""
        return self.table.update(
            Update(
                pk=batch_pk(batch_id),
                sk=BATCH_SK,
                expression="REMOVE #hold",
                condition=IS_PAUSED,
                values={":paused": text(Hold.PAUSED)},
            )
        )
