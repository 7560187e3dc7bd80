"""Starts: which runs over a message began and never ended, the one proof that a message kills its workers.

The receive count is none: a delivery that Lambda throttled raises it too, and so does a worker that asked for another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib.clock import Clock, utc_now
from chalicelib.errors import RetryableError
from chalicelib.store.items import STARTED_PREFIX, ChunkKey, number, started_sk
from chalicelib.store.table import Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

_KEPT = timedelta(days=14)
"""No queue keeps a message for longer. One that outlived its mark would be run like a new one."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The runs over a message that seem to have died: all but the newest, which may live.

    A message that SQS delivers twice looks the same. ``last_tried_at`` is when a run last began, or asked for another.
    """

    runs: int
    last_tried_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The marks of one invocation, called ``run``: no other has its name, so a mark that is written twice is one.

    A mark belongs to a message's id. A message that is sent again, or moved back from its dead-letter queue by hand,
    has a new one: nothing speaks against it, and it is run like a new one.
    """

    table: "Table"
    run: str
    clock: Clock = utc_now

    @contextmanager
    def marked(self, chunk: ChunkKey, message_id: str) -> Iterator[int]:
        """Mark a message as begun before the block runs; yields how many earlier runs began and never ended.

        The mark stays when the block ends, for the message is deleted then, and when the worker dies in it. It is taken
        back when the block raises RetryableError: the worker lives and asks for another delivery. Dying between the
        mark and the block leaves proof of a run that touched no row: its rows run in smaller messages.
        """
        died = len(self._change(chunk, message_id, "ADD runs :run") - {self.run})
        try:
            yield died
        except RetryableError:
            # Dying before this, or failing at it, leaves a run that seems to have died: likewise.
            self._change(chunk, message_id, "DELETE runs :run")
            raise

    def died(self, chunk: ChunkKey, message_id: str) -> int:
        """Return how many runs over a message began and never ended."""
        item = self.table.get(chunk.pk, started_sk(message_id)) or {}
        return len(item["runs"]["SS"]) if "runs" in item else 0

    def _change(self, chunk: ChunkKey, message_id: str, expression: str) -> set[str]:
        """Change the runs of a message, which may happen twice; returns those that there are then."""
        changed = self.table.change(
            Update(
                pk=chunk.pk,
                sk=started_sk(message_id),
                expression=f"SET expires_at = :expires_at {expression}",
                values={
                    ":run": {"SS": [self.run]},
                    ":expires_at": number(int((self.clock() + _KEPT).timestamp())),
                },
            )
        )
        return set(changed["runs"]["SS"]) if "runs" in changed else set()


def lost_runs(table: "Table", chunk: ChunkKey) -> list[Lost]:
    """Return the messages of a chunk over which runs seem to have died, in any order."""
    marks = table.query(chunk.pk, STARTED_PREFIX)
    return [
        Lost(len(mark["runs"]["SS"]) - 1, datetime.fromtimestamp(int(mark["expires_at"]["N"]), UTC) - _KEPT)
        for mark in marks
        if "runs" in mark and len(mark["runs"]["SS"]) > 1
    ]
