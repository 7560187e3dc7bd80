"""Workers in simulated time: the real Processor, a queue that redelivers, and rows that take as long as a test says.

A discrete-event simulation: the free worker and the waiting message that can meet first do so, and what the worker
sends is in the queue at the moment of its own clock when it sent it. No real time passes.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from chalicelib.retry import Retry
from chalicelib.steps.process import Processor
from chalicelib.store.items import ChunkKey
from chalicelib.transport.messages import FinishedMessage, WorkMessage, decode, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.faults import Killed
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import count_rows, starts, table

WORK, FINISHED = "work", "finished"
_TIMEOUT_SECONDS = 58.0
"""The seconds that a worker has for a message: its function's timeout less the time to answer."""


@dataclass(order=True, slots=True)
class _Delivery:
    """A message that waits, until ``at``; ``order`` is its name, and keeps those of one moment as they were sent."""

    at: float
    order: int
    body: str = field(compare=False)
    received: int = field(compare=False, default=0)


@dataclass(slots=True)
class Workers:
    """So many workers at one work queue, over the table that ``dynamodb`` is; ``now`` is the running worker's clock.

    ``visibility_seconds`` is after how long the message of a worker that died comes again, and after
    ``max_receive_count`` deliveries it is dead. Outcomes are counted at once.
    """

    dynamodb: MemoryDynamoDB
    workers: int = 1
    visibility_seconds: float = 360.0
    max_receive_count: int = 5
    now: float = 0.0
    ended: float = 0.0
    dead: list[WorkMessage] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    _waiting: list[_Delivery] = field(default_factory=list)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Take messages as SQS does, at the moment that it is for the worker that sends them."""
        assert 0 < len(Entries) <= 10
        for entry in Entries:
            self.sent[QueueUrl] += 1
            if QueueUrl == FINISHED:
                self._count(decode(entry["MessageBody"], FinishedMessage))
            else:
                self._push(self.now + entry.get("DelaySeconds", 0), entry["MessageBody"])
        return {"Failed": []}

    def spend(self, seconds: float) -> None:
        """Let time pass for the worker that is running."""
        self.now += seconds

    def run(self, message: WorkMessage) -> None:
        """Work until the queue is empty, from a message that is there at 0."""
        self.sent[WORK] += 1
        self._push(0.0, encode(message))
        free = [0.0] * self.workers
        while self._waiting:
            delivery = heapq.heappop(self._waiting)
            began = max(heapq.heappop(free), delivery.at)
            self.now = began
            self._deliver(delivery, self._processor(began))
            self.ended = max(self.ended, self.now)
            heapq.heappush(free, self.now)

    def _push(self, at: float, body: str, received: int = 0, order: int | None = None) -> None:
        order = self.sent.total() if order is None else order
        heapq.heappush(self._waiting, _Delivery(at, order, body, received))

    def _processor(self, began: float) -> Processor:
        sqs: Any = self

        def remaining_seconds() -> float:
            return began + _TIMEOUT_SECONDS - self.now

        return Processor(
            table=table(self.dynamodb),
            sqs=sqs,
            queue_url=WORK,
            finished_queue_url=FINISHED,
            retry=Retry(sleep=lambda _: None, remaining_seconds=remaining_seconds),
            starts=starts(self.dynamodb),
            random=lambda _, high: high,
            clock=lambda: self.now,
        )

    def _deliver(self, delivery: _Delivery, processor: Processor) -> None:
        message = decode(delivery.body, WorkMessage)
        try:
            processor.work(message, Message(str(delivery.order), delivery.body, receive_count=delivery.received + 1))
        except Killed:
            self.deaths += 1
            if delivery.received + 1 < self.max_receive_count:
                self._push(self.now + self.visibility_seconds, delivery.body, delivery.received + 1, delivery.order)
            else:
                self.dead.append(message)

    def _count(self, message: FinishedMessage) -> None:
        key = ChunkKey(message.batch, message.chunk)
        count_rows(self.dynamodb, key, *message.outcomes, generation=message.generation)
