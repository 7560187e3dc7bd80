"""Heavy rows, and workers that lease them."""

import sys
from collections.abc import Callable
from typing import Any

from chalicelib.steps.heavy import HeavyProcessor
from chalicelib.steps.process import Processor
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.store.leases import Leases
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Fault
from tally.testing.memory_aws import MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import RETRY, Time, faulty, plant_batch, plant_rows, starts, table

HEAVY, FINISHED = "http://127.0.0.1/heavy", "http://127.0.0.1/finished"
BATCH = "weighty-1"
KEY = ChunkKey(BATCH, 3)
LEASE = 60.0
PATIENCE = 20.0
"""Seconds after which a thread that is waited for is not coming; nothing waits so long unless it fails."""
JOB = """
from chalicelib import rows
from tally.testing.faults import Killed

class Row(rows.Row):
    what: str

ran = []
ATTEMPTS = 2
meanwhile = lambda: None

def process(row):
    ran.append(row.what)
    meanwhile()
    match row.what:
        case "raise":
            raise ValueError("no good")
        case "killed":
            raise Killed
    return "done"
"""
ROWS = ["fine", "raise", "killed"]
"""Each is heavy."""


class World:
    """A batch with heavy rows, and workers that come for them."""

    def __init__(self) -> None:
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.time = Time()
        plant_batch(self.dynamodb, BATCH)
        plant_rows(self.dynamodb, KEY, ["what"], [[what] for what in ROWS], heavy=RowBits.first(len(ROWS)))

    def worker(
        self,
        owner: str,
        *,
        dynamodb: Any = None,
        sqs: Any = None,
        seconds: float = LEASE,
        faults: Callable[[str], Fault] = lambda _: Fault.NONE,
    ) -> HeavyProcessor:
        """Return a worker; with a lease as long as the default no beat comes before the end."""
        rows = table(faulty(dynamodb or self.dynamodb, faults))
        client: Any = faulty(sqs or self.sqs, faults)
        processor = Processor(
            table=rows,
            sqs=client,
            queue_url=HEAVY,
            finished_queue_url=FINISHED,
            retry=RETRY,
            starts=starts(self.dynamodb),
            random=lambda low, _: low,
        )
        leases = Leases(table=rows, owner=owner, seconds=seconds, clock=self.time)
        return HeavyProcessor(processor=processor, leases=leases, sqs=client, queue_url=HEAVY)

    def leases(self, owner: str = "somebody else") -> Leases:
        """Return the leases as another worker sees them."""
        return Leases(table=table(self.dynamodb), owner=owner, seconds=LEASE, clock=self.time)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes that were sent."""
        sent = [decode(body, FinishedMessage) for body in self.sqs.bodies[FINISHED]]
        return [outcome.outcome for message in sent for outcome in message.outcomes]


DELIVERY = Message("m", "", "this delivery")


def heavy_message(what: str = "fine", attempt: int = 1) -> WorkMessage:
    """Return the message of a row."""
    row = ROWS.index(what)
    return WorkMessage(batch=BATCH, chunk=KEY.number, generation=1, rows=[row], attempt=attempt)


def job_module() -> Any:
    """Return the job's module, imported as the processor would."""
    from chalicelib import jobs  # noqa: PLC0415

    jobs.require("weighty")
    return sys.modules["chalicelib.jobs.weighty"]


def rows_that_ran() -> list[str]:
    """Return the rows that the job has run on, in order."""
    return list(job_module().ran)
