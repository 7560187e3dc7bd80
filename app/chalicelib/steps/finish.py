"""Finish: outcomes from the queue become markers and counts, as many as fit into each transaction."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.store.items import ChunkKey, Marker
from chalicelib.store.ledger import Recorded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chalicelib.store.ledger import Ledger
    from chalicelib.transport.messages import FinishedMessage, RowOutcome
    from chalicelib.transport.partial_batch_response import Failures, Message


@dataclass(slots=True)
class _ChunkOutcomes:
    """What one invocation has to count of a chunk, and the messages that asked for it."""

    markers: list[Marker] = field(default_factory=list)
    messages: "set[Message]" = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Counts outcomes."""

    ledger: "Ledger"

    def finish(self, finished: "Mapping[Message, FinishedMessage]", failures: "Failures") -> Recorded:
        """Count the outcomes of all messages, those of a chunk together; safe to repeat with any of them.

        A chunk that cannot be counted fails the messages that have rows of it, and no others.
        """
        by_chunk: dict[ChunkKey, _ChunkOutcomes] = defaultdict(_ChunkOutcomes)
        for message, body in finished.items():
            for chunk, markers in _markers(body).items():
                by_chunk[chunk].markers += markers
                by_chunk[chunk].messages.add(message)
        counted = duplicates = 0
        for chunk, outcomes in by_chunk.items():
            with failures.isolated(*outcomes.messages):
                recorded = self.ledger.record(chunk, outcomes.markers)
                counted += recorded.counted
                duplicates += recorded.duplicates
        return Recorded(counted=counted, duplicates=duplicates)

    def count(self, body: "FinishedMessage") -> Recorded:
        """Count the outcomes of one message; raises when one of its chunks cannot be counted."""
        counted = sum(self.ledger.record(chunk, markers).counted for chunk, markers in _markers(body).items())
        return Recorded(counted=counted, duplicates=len(body.rows) - counted)


def _markers(body: "FinishedMessage") -> dict[ChunkKey, list[Marker]]:
    by_chunk: dict[ChunkKey, list[Marker]] = defaultdict(list)
    for row in body.rows:
        chunk = ChunkKey(body.batch, row.chunk)
        by_chunk[chunk].append(_marker(chunk, row.outcome))
    return by_chunk


def _marker(chunk: ChunkKey, outcome: "RowOutcome") -> Marker:
    return Marker(
        chunk=chunk,
        row=outcome.row,
        outcome=outcome.outcome,
        result=bytes(outcome.result).decode(),
        error=outcome.error,
        ms=outcome.ms,
    )
