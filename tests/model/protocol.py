"""Tally as the explorer runs it: the real steps over taped clients, a small file, a job that may meet an outage."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from chalicelib import jobs, rows, services
from chalicelib.jobs import offices
from chalicelib.rows import Schema
from chalicelib.steps.finish import Finisher
from chalicelib.steps.ingest import Ingester
from chalicelib.steps.reconcile import Reconciler
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import BATCH_SK, ROWS_PREFIX, ChunkKey, Outcome, number
from chalicelib.store.ledger import Ledger
from chalicelib.store.starts import Starts
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode, encode
from chalicelib.transport.partial_batch_response import Failures
from chalicelib.transport.partial_batch_response import Message as Delivery
from chalicelib.transport.streams import changes
from tally.testing.memory_aws import MemoryLambda, MemoryS3, etag
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.model.invariants import unrest, violation
from tests.model.replay import Operation, Tape, TapedDynamoDB, TapedEvents, TapedSQS
from tests.model.system import Message
from tests.model.table import Item, Place
from tests.support.builders import NOW, RETENTION, RETRY, starts, table

BATCH = "offices-1"
CREATED_AT = "2026-03-01T12:00:00"
"""When the batch was made."""
HEADER = "office_id,user_count,contract_count\n"
OUTAGE: Item = {"outage": {"BOOL": True}}
"""What the job meets outside until somebody has repaired it and starts a redrive."""
QUEUES = {name: services.settings().queues[name].url for name in ("ingest", "work", "finished")}


class OutageError(Exception):
    """What the job raises while the outage lasts."""


class _AnyRow(rows.Row):
    """What the job takes once it is corrected."""

    office_id: str
    user_count: int | str
    contract_count: int


@dataclass(frozen=True, slots=True)
class Tally:
    """One version of the system; ``flaky`` are the offices whose rows the outage hits.

    ``corrected`` is a job that takes every row, deployed since the file was read. ``judges_failures`` is whether a
    redrive takes back all that has failed before it.
    """

    content: bytes
    flaky: frozenset[str] = frozenset()
    corrected: bool = False
    judges_failures: bool = True
    forgets: bool = True
    """Whether invocations that differ in what no longer matters are the same; without it, for tests of this."""
    s3: MemoryS3 = field(default_factory=MemoryS3)
    queues: Mapping[str, str] = field(
        default_factory=lambda: {QUEUES["ingest"]: "ingest", QUEUES["work"]: "process", QUEUES["finished"]: "finish"}
    )
    consumers: Sequence[str] = ("dispatch", "settle")

    def __post_init__(self) -> None:
        """Upload the file."""
        self.s3.objects["inbox/offices/day.csv", "v1"] = self.content

    def deliver(self, handler: str, messages: Sequence[Message], tape: Tape) -> None:
        """Run the handler of a queue."""
        tape.forgets = self.forgets
        step = steps(tape, self.s3)
        deliveries = [Delivery(str(at), body, receive_count=count) for at, (body, count) in enumerate(messages)]
        failures = Failures()
        if handler == "finish":
            bodies = {delivery: decode(delivery.body, FinishedMessage) for delivery in deliveries}
            step.finisher.finish(bodies, failures)
        for delivery in deliveries:
            with failures.isolated(delivery):
                match handler:
                    case "ingest":
                        with self._job(tape):
                            step.ingester.ingest(decode(delivery.body, ChunkMessage))
                    case "process":
                        with self._job(tape):
                            step.processor.work(decode(delivery.body, WorkMessage), delivery)
                    case "dead_letters":
                        queue, _, body = delivery.body.partition(" ")
                        step.dead_letter_handler.handle(replace(delivery, body=body), f"tally-test-{_DLQS[queue]}-dlq")
        if failures.errors:
            raise next(iter(failures.errors.values()))

    def consume(self, consumer: str, records: Sequence[Any], tape: Tape) -> None:
        """Run a handler of the stream."""
        tape.forgets = self.forgets
        step = steps(tape, self.s3)
        found = changes({"Records": records})
        if consumer == "dispatch":
            step.dispatcher.dispatch(found)
        else:
            step.settler.settle(found)

    def command(self, name: str, tape: Tape) -> None:
        """Run a command of an operator, or the schedule's repair."""
        tape.forgets = self.forgets
        step = steps(tape, self.s3)
        match name:
            case "redrive":
                step.redriver.redrive(BATCH, on_chunk=lambda: None)
            case "redrive rejected":
                step.redriver.redrive(BATCH, outcome=Outcome.REJECTED, on_chunk=lambda: None)
            case "repair":
                step.reconciler.repair(BATCH)
            case "thorough repair":
                step.reconciler.repair(BATCH, thorough=True)

    def view(self, handler: str, position: int, item: Item) -> Item:
        """Return a batch item without what does not matter to workers, and to the first reads of a command.

        ``test_what_is_left_out_makes_no_difference`` holds this, and what is forgotten, to be true.
        """
        if item["sk"]["S"] != BATCH_SK or not self.forgets:
            return item
        if handler == "repair" and position == 1 and BatchStatus(item["status"]["S"]).final:
            return item
        if position < _FIRST_READS.get(handler, 0):
            return {**{name: value for name, value in item.items() if name not in _MOVING}, "status": {"S": "running"}}
        return item

    def writes_once(self, place: Place) -> bool:
        """Tell whether an item has rows: a pure function of file and job."""
        return place[1].startswith(ROWS_PREFIX)

    def violation(self, before: Mapping[Place, Item], after: Mapping[Place, Item]) -> str:
        """Say which invariant a table breaks."""
        return violation(before, after, judges_failures=self.judges_failures)

    def unrest(self, table: Mapping[Place, Item], events: Collection[str]) -> str:
        """Say what is not settled when nothing is on its way."""
        return unrest(table, events, judges_failures=self.judges_failures)

    @contextmanager
    def _job(self, tape: Tape) -> Iterator[None]:
        def process(row: Any) -> str:
            if row.office_id in self.flaky and tape.ask(Operation.ASK, row.office_id):
                raise OutageError(row.office_id)
            return str(row.office_id)

        row = _AnyRow if self.corrected else offices.Row
        job = jobs.Job(name="offices", schema=Schema.of(row), process=process, attempts=1)
        with patch.object(jobs, "require", lambda _: job):
            yield


_FIRST_READS = {"ingest": 1, "process": 1, "redrive": 1, "redrive rejected": 1, "repair": 2}
_MOVING = {
    *("version", "remaining", "rows", "succeeded", "failed", "rejected"),
    *("attempt", "published_attempt", "completed_at", "listing"),
}
COUNTED = _MOVING - {"attempt"}
"""What moves of a batch item, but for the attempt by which a step knows that a redrive has overtaken it."""
_DLQS = {"ingest": "ingest", "process": "work", "finish": "finished"}


class _Steps:
    """The steps of one invocation: put together as the functions are, with a clock that stands still."""

    def __init__(self, tape: Tape, s3: MemoryS3) -> None:
        clients: dict[str, Any] = {
            "dynamodb": TapedDynamoDB(tape),
            "sqs": TapedSQS(tape),
            "events": TapedEvents(tape),
            "s3": s3,
            "lambda": MemoryLambda(),
        }
        self.services = found = services.Services(services.settings(), RETRY, clients.__getitem__)
        self.ledger = _Ledger(table=found.ledger.table, retention=found.ledger.retention, clock=lambda: NOW, tape=tape)
        marks = _Died(table=found.ledger.table, run="run")
        self.ingester = replace(found.ingester, starts=marks, clock=lambda: NOW)
        self.dispatcher = found.dispatcher
        self.processor = replace(found.processor, starts=marks, clock=lambda: 0.0, random=lambda _, high: high)
        self.finisher = Finisher(ledger=self.ledger)
        self.settler = replace(found.settler, clock=lambda: NOW)
        self.reconciler = _Reconciler(
            table=found.ledger.table,
            planner=found.planner,
            dispatcher=self.dispatcher,
            settler=self.settler,
            patience=RETENTION,
            clock=lambda: NOW,
            tape=tape,
        )
        self.redriver = _Redriver(table=found.ledger.table, clock=lambda: NOW, tape=tape)
        self.dead_letter_handler = replace(
            found.dead_letter_handler,
            ledger=self.ledger,
            starts=marks,
            ingester=self.ingester,
            finisher=self.finisher,
        )


def steps(tape: Tape, s3: MemoryS3) -> _Steps:
    """Return the steps of one invocation."""
    return _Steps(tape, s3)


class _Died(Starts):
    """Marks without items: a message comes again only because its worker died, for the explorer knows no throttling."""

    @contextmanager
    def marked(self, chunk: ChunkKey, message_id: str) -> Iterator[int]:
        del chunk, message_id
        yield 1

    def died(self, chunk: ChunkKey, message_id: str) -> int:
        del chunk, message_id
        return 2


# Where the answers so far stop to matter: the code continues from arguments alone.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ledger(Ledger):
    tape: Tape

    def _count(self, key: Any, outcomes: Any, seen: Any) -> Any:
        self.tape.forget(key, outcomes, seen)
        return Ledger._count(self, key, outcomes, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reconciler(Reconciler):
    tape: Tape

    def _repair_chunk(self, chunk: Any, repairs: Any) -> None:
        with self.tape.scope():
            Reconciler._repair_chunk(self, chunk, repairs)

    def _repair_batch(self, batch_id: str, repairs: Any) -> None:
        self.tape.forget(batch_id)
        Reconciler._repair_batch(self, batch_id, repairs)
        self.tape.forget("batch repaired")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Redriver(Redriver):
    tape: Tape

    def _take_back(self, key: Any, wanted: Any) -> Any:
        self.tape.forget(key, wanted.rows)
        return Redriver._take_back(self, key, wanted)


def planned(*chunks: str) -> dict[Place, Item]:
    """Return the table as plan leaves it for a file whose chunks have these lines."""
    batch = Batch(
        id=BATCH,
        job="offices",
        source=Source(bucket="inbox", key="inbox/offices/day.csv", version_id="v1", etag=etag("v1")),
        size=len(content(*chunks)),
        status=BatchStatus.RUNNING,
        created_at=CREATED_AT,
        expires_at=int(NOW.timestamp()) + 86_400,
        chunk_rows=2,
        chunk_bytes=4096,
        header=tuple(HEADER.strip().split(",")),
    )
    totals = [chunk.count("\n") for chunk in chunks]
    counted = {
        "chunks": number(len(chunks)),
        "remaining": number(len(chunks)),
        "expected_rows": number(sum(totals)),
    }
    items: list[Item] = [batch.to_item() | counted]
    end = len(HEADER)
    line = 2
    for position, chunk in enumerate(chunks):
        start, end = end, end + len(chunk)
        planned = Chunk(
            key=ChunkKey(BATCH, position), start=start, end=end, first_line=line, expected_rows=totals[position]
        )
        line += totals[position]
        items.append(planned.to_item())
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}


def ready(*chunks: str) -> dict[Place, Item]:
    """Return the table as ingest leaves it."""
    dynamodb = MemoryDynamoDB()
    dynamodb.items = {place: dict(item) for place, item in planned(*chunks).items()}
    s3: Any = MemoryS3()
    s3.objects["inbox/offices/day.csv", "v1"] = content(*chunks)
    ingester = Ingester(
        table=table(dynamodb), s3=s3, retry=RETRY, retention=RETENTION, starts=starts(dynamodb), clock=lambda: NOW
    )
    for chunk in range(len(chunks)):
        ingester.ingest(ChunkMessage(BATCH, chunk))
    return dict(dynamodb.items)


def content(*chunks: str) -> bytes:
    """Return a file that has these chunks."""
    return (HEADER + "".join(chunks)).encode()


def to_ingest(chunk: int) -> tuple[str, str]:
    """Return the message that asks for a chunk to be read."""
    return QUEUES["ingest"], encode(ChunkMessage(BATCH, chunk))


def to_process(chunk: int, rows: list[int] | None = None, *, generation: int = 1) -> tuple[str, str]:
    """Return the message that asks for rows to be processed."""
    return QUEUES["work"], encode(WorkMessage(batch=BATCH, chunk=chunk, generation=generation, rows=rows))
