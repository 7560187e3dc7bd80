"""A chunk of a job that does what a row names, and workers that process its messages."""

import sys
from collections.abc import Callable
from typing import Any

from chalicelib import jobs
from chalicelib.retry import Retry
from chalicelib.steps.process import Processor
from chalicelib.steps.run import Processed
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.items import ChunkKey
from chalicelib.store.marker import RowOutcome
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import RETRY, Requests, delivery, faulty, plant_batch, plant_rows, starts, table

FINISHED, WORK = "finished", "work"
KEY = ChunkKey("moody-1", 3)
LAST = 3
"""The attempt at which a row that raises fails; so that these tests need not say each time that it is the last."""
JOB = """
import asyncio
import sys
import msgspec
from chalicelib import rows
from chalicelib.errors import PermanentError
from tally.testing.faults import Killed

ran = []
seconds = lambda what: 0.0
ATTEMPTS = 3

class Row(rows.Row):
    what: str

class Panic(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("an error that cannot say what it is")

def process(row):
    ran.append(row.what)
    if row.what != "deep":
        seconds(row.what)
    match row.what:
        case "permanent":
            raise PermanentError("never")
        case "raise":
            raise ValueError("no good")
        case "exit":
            sys.exit(3)
        case "cancelled":
            raise asyncio.CancelledError
        case "panic":
            raise Panic("index out of bounds")
        case "raw result":
            return msgspec.Raw(b"no JSON")
        case "killed":
            raise Killed
        case "deep":
            return process(row)
        case "surrogate":
            raise OSError("no such file: \\udcff")
        case "surrogate result":
            return "\\udcff"
        case "mute":
            raise Mute
        case "long":
            raise ValueError("x" * 100_000)
        case "unencodable":
            return object()
        case "none":
            return None
    if row.what.isdigit():
        return "x" * int(row.what)
    return {"what": row.what, "key": row.idempotency_key}
"""


def _module() -> Any:
    return sys.modules[jobs.require("moody").process.__module__]


class World:
    """A batch with one chunk whose rows are durable, and workers that come for it; no time passes but what rows take.

    ``seconds`` is how long the job takes for a row.
    """

    def __init__(self, *rows: str, heavy: RowBits = NO_ROWS, seconds: Callable[[str], float] = lambda _: 0.0) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.requests = Requests(self.sqs)
        self.now = 0.0
        plant_batch(self.dynamodb, KEY.batch_id)
        plant_rows(self.dynamodb, KEY, ["what"], [[what] for what in rows], heavy=heavy)

        def run(what: str) -> None:
            self.now += seconds(what)

        self.module = _module()
        self.module.seconds = run

    def worker(
        self,
        *,
        faults: Callable[[str], Fault] = lambda _: Fault.NONE,
        remaining_seconds: Callable[[], float] = RETRY.remaining_seconds,
    ) -> Processor:
        """Return a worker that meets faults at any call to either service."""
        return Processor(
            table=table(faulty(self.dynamodb, faults)),
            sqs=faulty(self.requests, faults),
            queue_url=WORK,
            finished_queue_url=FINISHED,
            retry=Retry(sleep=lambda _: None, random=lambda _, high: high, remaining_seconds=remaining_seconds),
            starts=starts(faulty(self.dynamodb, faults)),
            random=lambda _, high: high,
            clock=lambda: self.now,
        )

    def work(self, *, receive_count: int = 1, worker: Processor | None = None, **message: Any) -> Processed:
        """Process a message about the chunk, and about all of its rows unless it names them."""
        return (worker or self.worker()).work(self.message(**message), delivery(receive_count))

    def message(self, **given: Any) -> WorkMessage:
        """Return a message about the chunk."""
        return WorkMessage(batch=KEY.batch_id, chunk=KEY.number, **{"generation": 1, **given})

    def change_chunk(self, **changed: Any) -> None:
        """Change attributes of the chunk, as something that happened meanwhile."""
        self.dynamodb.items[KEY.pk, "chunk"].update(changed)

    @property
    def ran(self) -> list[str]:
        """Return the rows that the job has run on, in order."""
        return list(self.module.ran)

    @property
    def sent(self) -> list[WorkMessage]:
        """Return what went back to the work queue."""
        return [decode(body, WorkMessage) for body in self.sqs.bodies[WORK]]

    @property
    def finished(self) -> list[FinishedMessage]:
        """Return the messages to finish."""
        return [decode(body, FinishedMessage) for body in self.sqs.bodies[FINISHED]]

    @property
    def outcomes(self) -> list[RowOutcome]:
        """Return the outcomes that were sent, in order."""
        return [outcome for message in self.finished for outcome in message.outcomes]

    def delays(self) -> list[int]:
        """Return the delays of what went back to the work queue."""
        requests = [request for request in self.requests.of("send_message_batch") if request["QueueUrl"] == WORK]
        return [entry.get("DelaySeconds", 0) for request in requests for entry in request["Entries"]]
