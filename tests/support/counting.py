"""A chunk whose rows were read, and outcomes to count in it."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from chalicelib.store.bits import NO_ROWS
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import ReasonCode, RowOutcome
from tally.testing.faults import Fault
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import Requests, chunk_of, markers_of, outcomes_of, plant_ready, tallied

KEY = ChunkKey("offices-1", 0)
ROWS = 40
AMBIGUOUS = [Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER]
READ = Seen(1, 1, NO_ROWS)
"""The chunk as the first worker reads it."""
Faults = Callable[[str], Fault]


def ready_chunk(rows: int = ROWS) -> MemoryDynamoDB:
    """Return a table with one chunk whose rows were read."""
    made = MemoryDynamoDB()
    plant_ready(made, KEY, rows)
    return made


def seen_now(dynamodb: MemoryDynamoDB) -> Seen:
    """Return what a worker reads of the chunk now."""
    return Seen.of(chunk_of(dynamodb, KEY))


def success(row: int, result: Any = None, *, generation: int = 1) -> Finished:
    """Return the outcome of a row that succeeded, with its result."""
    said = msgspec.Raw(msgspec.json.encode(result))
    return Finished(generation, RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=said))


def failure(row: int, reason: str = "ValueError: x", *, generation: int = 1) -> Finished:
    """Return the outcome of a row that failed."""
    return Finished(generation, RowOutcome(row=row, outcome=Outcome.FAILED, code=ReasonCode.RAISED, reason=reason))


def both_outcomes(rows: Iterable[int] = range(ROWS)) -> list[Finished]:
    """Return outcomes of both kinds, so that a count in the wrong counter shows."""
    return [failure(row) if row % 3 == 1 else success(row, row) for row in rows]


def large_outcomes(rows: int = ROWS) -> list[Finished]:
    """Return outcomes of which a transaction holds fourteen, and an item one."""
    return [success(row, f"{row}" * 120_000) for row in range(10, 10 + rows)]


def check_chunk(dynamodb: MemoryDynamoDB, rows: int = ROWS) -> dict[int, RowOutcome]:
    """Hold bits, counters and remainder of the chunk to its markers; returns the outcomes."""
    chunk, outcomes = chunk_of(dynamodb, KEY), outcomes_of(dynamodb, KEY)
    assert set(chunk.done) == outcomes.keys()
    assert chunk.counts == tallied(outcomes)
    assert chunk.remaining == rows - len(outcomes)
    assert all(marker.version <= chunk.version for marker in markers_of(dynamodb, KEY))
    return outcomes


def transactions_of(requests: Requests) -> list[list[dict[str, Any]]]:
    """Return the actions of each transaction that was requested."""
    return [request["TransactItems"] for request in requests.of("transact_write_items")]
