"""A stage in this process: the functions' own steps over AWS in memory, with deliveries as soon as possible."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from chalicelib.retry import Retry
from chalicelib.services import Services
from chalicelib.settings import Queue, Settings
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import MARKER_PREFIX, ROWS_PREFIX, ChunkKey
from chalicelib.store.pacing import item_size
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode
from chalicelib.transport.partial_batch_response import Failures, Message
from chalicelib.transport.streams import changes
from tally.batch import prices
from tally.testing.configuration import default, delivers
from tally.testing.memory_aws import MemoryEvents
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.metering import Meter, metered
from tally.trial.planning import Locked, Record

QUEUES = ("ingest", "work", "heavy", "finished", "export", "save", "dead-letters")
MAX_TOGETHER = 10
"""Stream records, and outcomes, of one invocation: batch_size in functions.tf."""
TABLE = "try"

SETTINGS = Settings(
    stage="try",
    table=TABLE,
    stream_arn="",
    inbox_bucket="inbox",
    event_bus="try",
    queues={name: Queue(url=name, arn=name) for name in QUEUES},
    functions={},
    retention_days=default("retention_days"),
    export=False,
    results_retention_days=0,
    chunk_rows=default("chunk_rows"),
    chunk_bytes=default("chunk_bytes"),
    reconcile_minutes=default("reconcile_minutes"),
    object_settling_minutes=0,
    write_share=0,
)
"""The default settings of a deployment."""


class Queues:
    """SQS: keeps messages by queue, each with the total delay of it and of the messages that led to it.

    ``requests`` are billed requests by queue: each send, and a receive and a delete for each message that is taken.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, deque[tuple[str, float]]] = defaultdict(deque)
        self.requests: Counter[str] = Counter()
        self.delayed_until = 0.0
        """When the message that is handled was delivered, in seconds of waiting for retries."""
        self.longest_wait = 0.0

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Keep messages in order."""
        self.requests[QueueUrl] += _billed(sum(len(entry["MessageBody"].encode()) for entry in Entries))
        for entry in Entries:
            at = self.delayed_until + entry.get("DelaySeconds", 0)
            self.longest_wait = max(self.longest_wait, at)
            self.waiting[QueueUrl].append((entry["MessageBody"], at))
        return {"Failed": []}

    def change_message_visibility(self, *, QueueUrl: str, **_: Any) -> None:  # noqa: N803
        """Count the request; there is no wait here."""
        self.requests[QueueUrl] += 1

    def take(self, queue: str) -> str | None:
        """Return the next message of a queue, None if there is none."""
        if not self.waiting[queue]:
            return None
        body, self.delayed_until = self.waiting[queue].popleft()
        self.requests[queue] += _billed(len(body.encode())) + 1
        return body


def _billed(size: int) -> int:
    """Return the number of billed requests of one: one for each 64 KB."""
    return max(1, -(-size // prices.SQS_STEP_BYTES))


class MemoryStage:
    """Delivers messages and stream records to the steps, and measures each function's time.

    Once ``stopped`` no further row runs. ``seconds`` is wall time by function, ``processor_seconds`` the processor's
    part of it, ``longest`` the longest invocation, ``invocations`` their number.
    """

    def __init__(self, s3: Any, stopped: Callable[[], bool] = lambda: False) -> None:
        self._stopped = stopped
        self.lock = threading.Lock()
        self.dynamodb = MemoryDynamoDB()
        self.sqs = Queues()
        self._clients = {"s3": s3, "sqs": self.sqs, "events": MemoryEvents(), "lambda": None}
        # A worker that is out of time sends on what it has, and the rest of its rows back.
        out_of_time = Retry(sleep=lambda _: None, remaining_seconds=lambda: -1.0 if stopped() else float("inf"))
        self.meters: defaultdict[str, Meter] = defaultdict(Meter)
        """The use of DynamoDB, by function."""
        self._function = ""
        self.unmetered: Any = Locked(self.dynamodb, self.lock)
        """For readers that are not functions."""
        client = Locked(metered(self.dynamodb, lambda: self.meters[self._function]), self.lock)
        self.services = replace(self.services_with(client), retry=out_of_time)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.processor_seconds: defaultdict[str, float] = defaultdict(float)
        self.longest: defaultdict[str, float] = defaultdict(float)
        self.invocations: Counter[str] = Counter()
        self.delivers_heavy = False
        """Whether the present work message, or the last one, is from the heavy queue."""
        self._messages = 0

    def services_with(self, table: Any) -> Services:
        """Return the services over a client of the table."""
        clients: Mapping[str, Any] = {**self._clients, "dynamodb": table}
        return Services(settings=SETTINGS, retry=Retry(sleep=lambda _: None), client=clients.__getitem__)

    def stream(self, records: list[Record], dispatch: Callable[[list[Chunk]], None] | None = None) -> None:
        """Deliver records of the table's stream to the functions that read it."""
        self.sqs.delayed_until = 0.0  # work for a chunk's image waits for no retry
        for start in range(0, len(records), MAX_TOGETHER):
            group = records[start : start + MAX_TOGETHER]
            for function in ("dispatch", "settle"):
                found = {"Records": [record for record in group if delivers(function, record)]}
                if not found["Records"]:
                    continue
                with self._timed(function):
                    if function == "settle":
                        self.services.settler.settle(changes(found))
                    elif dispatch:
                        dispatch([Chunk.from_item(change.new) for change in changes(found)])
                    else:
                        self.services.dispatcher.dispatch(changes(found))

    def deliver(self, on_work: Callable[[WorkMessage], None] = lambda _: None) -> Iterator[None]:
        """Deliver from each queue in turn until all are empty or it is stopped; yields after each round."""
        while not self._stopped() and any(self.sqs.waiting.values()):
            if (body := self.sqs.take("ingest")) is not None:
                self._ingest(body)
            if (body := self.sqs.take("work")) is not None:
                self.delivers_heavy = False
                message = decode(body, WorkMessage)
                on_work(message)
                with self._timed("process"):
                    self.services.processor.work(message, self._message(body))
            if (body := self.sqs.take("heavy")) is not None:
                self.delivers_heavy = True
                message = decode(body, WorkMessage)
                on_work(message)
                with self._timed("process_heavy"):
                    self.services.heavy_processor.work(message, self._message(body))
            if self.sqs.waiting["finished"]:
                self._finish()
            yield

    def read_chunks(self) -> None:
        """Read the chunks that were asked for, and run none of their rows."""
        while (body := self.sqs.take("ingest")) is not None:
            self._ingest(body)

    def count(self) -> None:
        """Count the waiting outcomes."""
        while self.sqs.waiting["finished"]:
            self._finish()

    def chunks(self) -> list[Chunk]:
        """Return the chunks in the table that were read, in order."""
        with self.lock:
            items = [item for (_, sk), item in self.dynamodb.items.items() if sk == "chunk"]
        chunks = map(Chunk.from_item, items)
        return sorted((chunk for chunk in chunks if chunk.rows is not None), key=lambda chunk: chunk.key.number)

    def stored_bytes(self, key: ChunkKey) -> int:
        """Return the bytes of a chunk's rows and outcomes in the table."""
        with self.lock:
            kept = [
                item_size(item) + prices.ITEM_OVERHEAD_BYTES
                for (pk, sk), item in self.dynamodb.items.items()
                if pk == key.pk and sk.startswith((ROWS_PREFIX, MARKER_PREFIX))
            ]
        return sum(kept)

    def forget(self, key: ChunkKey) -> None:
        """Delete a chunk with all of its items."""
        with self.lock:
            for found in [found for found in self.dynamodb.items if found[0] == key.pk]:
                del self.dynamodb.items[found]

    def _ingest(self, body: str) -> None:
        with self._timed("ingest"):
            self.services.ingester.ingest(decode(body, ChunkMessage), self._message(body))

    def _finish(self) -> None:
        messages: dict[Message, FinishedMessage] = {}
        while len(messages) < MAX_TOGETHER and (body := self.sqs.take("finished")) is not None:
            messages[self._message(body)] = decode(body, FinishedMessage)
        failures = Failures()
        with self._timed("finish"):
            self.services.finisher.finish(messages, failures)
        for error in failures.errors.values():
            raise error

    def _message(self, body: str) -> Message:
        self._messages += 1
        return Message(id=f"m{self._messages}", body=body)

    @contextmanager
    def _timed(self, function: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.thread_time()
        self._function = function
        try:
            yield
        finally:
            self._function = ""
            took = time.perf_counter() - wall
            self.seconds[function] += took
            self.processor_seconds[function] += time.thread_time() - processor
            self.longest[function] = max(self.longest[function], took)
            self.invocations[function] += 1
