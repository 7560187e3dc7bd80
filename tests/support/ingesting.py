"""A planned file, and ingesters that read its chunks."""

from collections.abc import Callable
from datetime import timedelta

from chalicelib.steps.ingest import Ingested, Ingester
from chalicelib.steps.redrive import Redriver
from chalicelib.store import rows
from chalicelib.store.batch import Hold
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, text
from chalicelib.store.marker import ReasonCode, RowOutcome
from chalicelib.transport.messages import ChunkMessage
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import (
    NOW,
    RETENTION,
    RETRY,
    calls_of,
    chunk_of,
    delivery,
    faulty,
    outcomes_of,
    planner,
    starts,
    table,
    uploaded,
)

HEADER = b"office_id,user_count,contract_count\n"
MIXED = HEADER + b"o1,1,2\n\no2,x,2\no3,0,1\n,,\no5,5,6\n"
Faults = Callable[[str], Fault]


def many(rows: int, *, valid: bool = False) -> bytes:
    """Return a file of which every third row is rejected, unless all are ``valid``."""
    counts = ("x" if row % 3 == 0 and not valid else "1" for row in range(rows))
    return HEADER + "".join(f"o{row},{count},2\n" for row, count in enumerate(counts)).encode()


VALID, MANY = many(60, valid=True), many(120)
"""Of the first the totals are set by an update, of the other by a transaction with a marker."""


class World:
    """A planned file, and ingesters over it; everything is in one chunk unless said otherwise."""

    def __init__(self, content: bytes = MIXED, *, chunk_rows: int = 1000, key: str = "inbox/offices/day.csv") -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.batch = planner(self.dynamodb, self.s3, chunk_rows=chunk_rows, chunk_bytes=2**20).plan(
            uploaded(self.s3, content, key=key)
        )
        self.key = ChunkKey(self.batch.id, 0)
        self.settling = timedelta()

    def ingester(self, faults: Faults = lambda _: Fault.NONE) -> Ingester:
        """Return an ingester that meets faults at any call to either service."""
        return Ingester(
            table=table(faulty(self.dynamodb, faults)),
            s3=faulty(self.s3, faults),
            retry=RETRY,
            retention=RETENTION,
            starts=starts(faulty(self.dynamodb, faults)),
            settling=self.settling,
            clock=lambda: NOW,
        )

    def ingest(self, position: int = 0, faults: Faults = lambda _: Fault.NONE, *, receive_count: int = 1) -> Ingested:
        """Ingest a chunk."""
        return self.ingester(faults).ingest(ChunkMessage(self.batch.id, position), delivery(receive_count))

    def deaths(self) -> int:
        """Return how many runs over the first chunk began and never ended, as its dead letter would see it."""
        return starts(self.dynamodb).died(self.key, "m")

    def give_up(self, faults: Faults = lambda _: Fault.NONE) -> Ingested:
        """Give the first chunk up, as its dead letter does."""
        message = ChunkMessage(self.key.batch_id, self.key.number)
        return self.ingester(faults).give_up(message, ReasonCode.DEAD_LETTERED, "it could not be read")

    def hold(self, hold: Hold) -> None:
        """Hold the batch."""
        self.dynamodb.items[f"batch#{self.batch.id}", "batch"]["hold"] = text(hold)

    def chunk(self) -> Chunk:
        """Return the first chunk as it stands."""
        return chunk_of(self.dynamodb, self.key)

    def outcomes(self) -> dict[int, RowOutcome]:
        """Return the outcomes of the first chunk by row."""
        return outcomes_of(self.dynamodb, self.key)

    def pages(self, position: int = 0) -> list[dict[str, dict[str, str]]]:
        """Return the rows items of a chunk in order."""
        pk = ChunkKey(self.batch.id, position).pk
        return [item for (at, sk), item in sorted(self.dynamodb.items.items()) if at == pk and sk.startswith("rows#")]

    def stored(self, position: int = 0) -> dict[int, tuple[int, dict[str, object]]]:
        """Return the line and the cells of the rows that are kept of a chunk, by row."""
        return {
            row.row: (row.line, dict(zip(columns, row.values, strict=True)))
            for columns, row in rows.from_items(self.pages(position))
        }

    def redrive(self) -> int:
        """Take every failure back."""
        redriver = Redriver(table=table(self.dynamodb), clock=lambda: NOW)
        return redriver.redrive(self.batch.id, on_chunk=lambda: None).rows


def ingest_calls(content: bytes) -> list[str]:
    """Return the operations that an ingest of a file calls."""
    return calls_of(lambda faults: World(content).ingest(faults=faults))
