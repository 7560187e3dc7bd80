"""Runs over a batch's rows that seem to have died: they began, and their message came again."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tally.look import several

if TYPE_CHECKING:
    from chalicelib.store.chunk import Chunk
    from tally.batch.reader import Progress, Reader

MAX_CHUNKS = 20
"""Open chunks whose marks are read, at most: one query each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRuns:
    """Runs that seem to have died, also of earlier attempts; the newest run over a message may live and is left out.

    ``last_tried_at`` is None without a lost run.
    """

    runs: int = 0
    chunks: tuple[int, ...] = ()
    last_tried_at: datetime | None = None

    def __str__(self) -> str:
        """Return in words what happened and what follows; empty without a lost run."""
        if self.last_tried_at is None:
            return ""
        numbers = ", ".join(map(str, self.chunks))
        where = f"chunk {numbers}" if len(self.chunks) == 1 else f"chunks {numbers}"
        seem = "seems" if self.runs == 1 else "seem"
        return (
            f"{several(self.runs, 'run')} over rows of {where} {seem} to have died (crash, time limit or memory); the "
            f"rows were last tried at {self.last_tried_at:%Y-%m-%d %H:%M:%S} UTC. They come again after the visibility "
            "timeout; a row that stops every run fails as dead_lettered"
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        tried_at = self.last_tried_at.isoformat() if self.last_tried_at else ""
        return {"runs": self.runs, "chunks": list(self.chunks), "last_tried_at": tried_at}


NO_LOST_RUNS = LostRuns()


def lost_runs_of(reader: "Reader", progress: "Progress") -> LostRuns:
    """Return the lost runs over the open chunks of a batch; of many chunks those with the fewest rows left are read."""
    left = sorted((chunk for chunk in progress.chunks.values() if chunk.to_be_read or chunk.undone), key=_rows_left)
    found = {chunk.key.number: reader.lost_runs(chunk.key) for chunk in left[:MAX_CHUNKS]}
    lost = [each for messages in found.values() for each in messages]
    return LostRuns(
        runs=sum(each.runs for each in lost),
        chunks=tuple(sorted(number for number, messages in found.items() if messages)),
        last_tried_at=max((each.last_tried_at for each in lost), default=None),
    )


def _rows_left(chunk: "Chunk") -> tuple[int, int]:
    return chunk.expected_rows - chunk.counts.total, chunk.key.number
