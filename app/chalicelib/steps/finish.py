"""Finish: outcomes become markers and counts, those of a chunk that arrive together in one transaction."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey
from chalicelib.store.ledger import Finished, Recorded, Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chalicelib.store.ledger import Ledger
    from chalicelib.transport.messages import FinishedMessage
    from chalicelib.transport.partial_batch_response import Failures, Message


@dataclass(slots=True)
class _Deliveries:
    """The outcomes of a chunk that one invocation has to count, and their messages."""

    bodies: "list[FinishedMessage]" = field(default_factory=list)
    messages: "set[Message]" = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Counts outcomes."""

    ledger: "Ledger"

    def finish(self, finished: "Mapping[Message, FinishedMessage]", failures: "Failures") -> Recorded:
        """Count the outcomes of all messages, those of a chunk together; safe to repeat with any of them.

        A chunk that cannot be counted fails the messages that have rows of it, and no others.
        """
        by_chunk: dict[ChunkKey, _Deliveries] = defaultdict(_Deliveries)
        for message, body in finished.items():
            deliveries = by_chunk[ChunkKey(body.batch, body.chunk)]
            deliveries.bodies.append(body)
            deliveries.messages.add(message)
        counted = dropped = 0
        for key, deliveries in by_chunk.items():
            with failures.isolated(*deliveries.messages):
                recorded = self.count(key, deliveries.bodies)
                counted += recorded.counted
                dropped += recorded.dropped
        return Recorded(counted=counted, dropped=dropped)

    def count(self, key: ChunkKey, bodies: "Iterable[FinishedMessage]") -> Recorded:
        """Count the outcomes of messages about one chunk.

        Those of an older generation are counted by themselves: the chunk has moved since, so that they learn from it
        which rows were corrected.
        """
        by_generation: dict[int, list[FinishedMessage]] = defaultdict(list)
        for body in bodies:
            by_generation[body.generation].append(body)
        counted = dropped = 0
        for generation, found in sorted(by_generation.items(), reverse=True):
            newest = max(found, key=lambda body: body.version)  # what was read last is most likely still true
            seen = Seen(newest.version, generation, RowBits.from_bytes(newest.done))
            finished = [Finished(generation, outcome) for body in found for outcome in body.outcomes]
            recorded = self.ledger.record(key, finished, seen)
            counted += recorded.counted
            dropped += recorded.dropped
        return Recorded(counted=counted, dropped=dropped)
