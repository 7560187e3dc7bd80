"""The whole of Tally in one process: the real handlers over AWS in memory, in any order that a test wants."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from chalicelib import services
from chalicelib.retry import Retry
from chalicelib.steps import export_content, save
from chalicelib.steps.plan import batch_id_of
from chalicelib.store.batch import Batch, Source
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, CHUNK_SK, batch_pk
from chalicelib.store.marker import Marker, RowOutcome
from chalicelib.transport.uploads import INBOX_PREFIX, Upload, event_of
from tally.testing.configuration import delivers
from tally.testing.environment import handlers
from tally.testing.faults import Fault, FaultyClient, Killed
from tally.testing.memory_aws import MemoryEvents, MemoryLambda, MemoryS3, MemorySQS, etag
from tally.testing.memory_dynamodb import MemoryDynamoDB

HANDLERS = {
    "ingest": "ingest",
    "work": "process",
    "heavy": "process_heavy",
    "finished": "finish",
    "export": "export",
    "save": "save",
}
QUEUES = tuple(HANDLERS)


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Pipeline:
    """Delivers uploads, messages and stream records to the handlers; ``faults`` returns the fault of each AWS call.

    ``deliver`` keeps the promises of AWS and no more: a message goes only when its handler has answered without it,
    a stream position moves only when its handler has returned. The stream is filtered as Terraform says.
    """

    def __init__(self, monkeypatch: Any, faults: Callable[[str], Fault] = lambda _: Fault.NONE) -> None:
        self.handlers = handlers()
        self.dynamodb = MemoryDynamoDB()
        self.sqs = MemorySQS()
        self.events = MemoryEvents()
        self.s3 = MemoryS3()
        self.s3.on_put = self._arrived
        self.lambda_ = MemoryLambda()
        self.uploads = self.lambda_.uploads
        self.received: dict[str, Counter[str]] = defaultdict(Counter)
        self.positions = {"dispatch": 0, "settle": 0}
        self.faults = faults
        self.last_error: BaseException | None = None
        self.clients = {
            name: FaultyClient(client, self._next_fault)
            for name, client in (
                ("dynamodb", self.dynamodb),
                ("sqs", self.sqs),
                ("events", self.events),
                ("s3", self.s3),
                ("lambda", self.lambda_),
            )
        }
        patched = services.Services(
            settings=services.settings(), retry=Retry(sleep=lambda _: None), client=self.clients.__getitem__
        )
        monkeypatch.setattr(services.Services, "of", lambda _: patched)
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally-test-process")
        for step, threads in ((export_content, "READERS"), (save, "WRITERS")):
            monkeypatch.setattr(step, threads, 1)  # the target of a fault must not depend on chance

    def _next_fault(self, operation: str) -> Fault:
        return self.faults(operation)

    def upload(self, key: str, content: bytes, version: str = "v1") -> str:
        """Put an object and queue its event; returns the id that its batch will have."""
        self.s3.objects[key, version] = content
        return batch_id_of(self._notify(key, version))

    def _arrived(self, key: str, version: str) -> None:
        """Queue the event of an object that Tally itself put into the inbox."""
        if key.startswith(INBOX_PREFIX):
            self._notify(key, version)

    def _notify(self, key: str, version: str) -> Upload:
        source = Source(bucket="inbox", key=key, version_id=version, etag=etag(version))
        upload = Upload(source=source, size=len(self.s3.objects[key, version]))
        self.uploads.append(event_of(upload))
        return upload

    def waiting(self, queue: str) -> list[str]:
        """Return the bodies in a queue."""
        return self.sqs.bodies[services.settings().queues[queue].url]

    def work(self) -> list[str]:
        """Return the names of the steps that have a delivery waiting."""
        names = ["upload"] if self.uploads else []
        names += [queue for queue in QUEUES if self.waiting(queue)]
        return names + [name for name, position in self.positions.items() if position < len(self.dynamodb.stream)]

    def deliver(self, what: str, *, most: int = 10, again: bool = False, start: int = 0) -> bool:
        """Deliver once, from ``start``; tells whether the handler answered. ``again`` keeps it for another delivery."""
        try:
            if what == "upload":
                self.handlers.plan(self.uploads[start % len(self.uploads)], _Context())
                if not again:
                    del self.uploads[start % len(self.uploads)]
            elif what in QUEUES:
                self._deliver_messages(what, start, most, again=again)
            else:
                end = min(self.positions[what] + most, len(self.dynamodb.stream))
                records = [found for found in self.dynamodb.stream[self.positions[what] : end] if delivers(what, found)]
                if records:
                    getattr(self.handlers, what)({"Records": records}, _Context())
                if not again:
                    self.positions[what] = end
        except (Killed, Exception) as error:  # noqa: BLE001  Lambda delivers again after any error
            self.last_error = error
            return False
        return True

    def drain(self) -> None:
        """Deliver everything, without faults, until nothing is left."""
        self.faults = lambda _: Fault.NONE
        for _ in range(10_000):
            work = self.work()
            if not work:
                return
            self.expire_leases()
            for what in work:
                # A heavy row that is delivered twice is put back while its first worker has it.
                assert self.deliver(what, most=1000) or what == "heavy"
        raise AssertionError(f"never comes to rest: {work}")

    def expire_leases(self) -> None:
        """Move the time past the end of every lease."""
        for key in [key for key in self.dynamodb.items if key[1].startswith("lease#") or key[1] == "saver"]:
            del self.dynamodb.items[key]

    def drain_uploads(self) -> None:
        """Deliver the uploads, so that there is a batch."""
        while self.uploads:
            assert self.deliver("upload")

    def has_batch(self, batch: str) -> bool:
        """Tell whether a plan has made the batch."""
        return (batch_pk(batch), BATCH_SK) in self.dynamodb.items

    def batch(self, batch: str) -> Batch:
        """Return a batch as it is now."""
        return Batch.from_item(self.dynamodb.items[batch_pk(batch), BATCH_SK])

    def chunks(self, batch: str) -> list[Chunk]:
        """Return the chunks of a batch in order."""
        found = [
            item
            for (pk, sk), item in self.dynamodb.items.items()
            if sk == CHUNK_SK and pk.startswith(f"batch#{batch}#")
        ]
        return sorted(map(Chunk.from_item, found), key=lambda chunk: chunk.key.number)

    def markers(self, batch: str) -> list[Marker]:
        """Return all markers of a batch in order."""
        return [
            Marker.from_item(item)
            for (pk, sk), item in sorted(self.dynamodb.items.items())
            if sk.startswith("mark#") and pk.startswith(f"batch#{batch}#")
        ]

    def outcomes(self, batch: str) -> list[tuple[int, RowOutcome]]:
        """Return the outcomes of all rows of a batch with their chunks, in order, each as often as it was counted."""
        found = [(marker.chunk.number, outcome) for marker in self.markers(batch) for outcome in marker.outcomes]
        return sorted(found, key=lambda each: (each[0], each[1].row))

    def _deliver_messages(self, queue: str, start: int, most: int, *, again: bool) -> None:
        bodies = self.waiting(queue)
        # As in Terraform: these come one message at a time.
        most = 1 if queue in {"work", "heavy", "export", "save"} else min(most, 10)
        chosen = list(range(start % len(bodies), len(bodies)))[:most]
        arn = services.settings().queues[queue].arn
        received = self.received[queue]
        received.update(bodies[index] for index in chosen)
        names = _names(bodies)
        records = [
            {
                "messageId": names[index],
                "receiptHandle": "r",
                "body": bodies[index],
                "eventSourceARN": arn,
                "attributes": {"ApproximateReceiveCount": str(received[bodies[index]])},
            }
            for index in chosen
        ]
        answer = getattr(self.handlers, HANDLERS[queue])({"Records": records}, _Context())
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        if not again:
            done = {index for index in chosen if names[index] not in failed}
            bodies[:] = [body for index, body in enumerate(bodies) if index not in done]


def _names(bodies: list[str]) -> list[str]:
    """Return the ids of messages: each keeps its own until it is done; those with equal bodies are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for body in bodies:
        names.append(f"{zlib.crc32(body.encode()):08x}-{seen[body]}")
        seen[body] += 1
    return names
