"""An upload, and planners that meet faults."""

from collections.abc import Callable

from chalicelib.store.batch import Batch, Source
from chalicelib.store.chunk import Chunk
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemoryS3
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import calls_of, faulty, planner, uploaded

HEADER = b"office_id,user_count,contract_count\n"
FILE = HEADER + b"".join(b"o%d,1,2\n" % row for row in range(7))
SPACED = HEADER + b"\n\r\n" + b"o1,1,2\n\no2,1,2\n" + b"o3,1,2\r\n" + b"\n" * 9_000 + b"o4,1,2"
SOURCE = Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag="etag-of-v1")
Faults = Callable[[str], Fault]


class World:
    """A table, a bucket, and planners over both that meet the same faults."""

    def __init__(self, content: bytes = FILE, key: str = "inbox/offices/day.csv") -> None:
        self.dynamodb = MemoryDynamoDB()
        self.s3 = MemoryS3()
        self.upload = uploaded(self.s3, content, key=key)

    def plan(self, faults: Faults = lambda _: Fault.NONE, *, chunk_rows: int = 2) -> Batch:
        """Plan the upload, with faults at any call to either service."""
        clients = faulty(self.dynamodb, faults), faulty(self.s3, faults)
        return planner(*clients, chunk_rows=chunk_rows).plan(self.upload)

    def batch(self) -> Batch:
        """Return the only batch as it stands."""
        (item,) = [item for (_, sk), item in self.dynamodb.items.items() if sk == "batch"]
        return Batch.from_item(item)

    def chunks(self) -> list[Chunk]:
        """Return all chunks in order."""
        found = [item for (_, sk), item in self.dynamodb.items.items() if sk == "chunk"]
        return sorted(map(Chunk.from_item, found), key=lambda chunk: chunk.key)

    def delete_object(self) -> None:
        """Delete what was uploaded."""
        self.s3.objects.clear()


def plan_calls(content: bytes) -> list[str]:
    """Return the operations that a plan of a file calls."""
    return calls_of(lambda faults: World(content).plan(faults))
