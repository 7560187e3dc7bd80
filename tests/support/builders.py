"""Short ways to what unit tests are about: Tally's own objects over the fakes, and the events that reach them."""

import copy
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import jobs
from chalicelib.events.bus import EventBus
from chalicelib.retry import Retry
from chalicelib.steps.dispatch import Dispatcher
from chalicelib.steps.plan import Planner
from chalicelib.store import rows
from chalicelib.store.batch import Batch, BatchStatus, Source
from chalicelib.store.bits import NO_ROWS, RowBits
from chalicelib.store.chunk import Chunk, ChunkState
from chalicelib.store.items import ChunkKey, Counts, Outcome, bits, number, text
from chalicelib.store.ledger import Finished, Ledger, Recorded, Seen
from chalicelib.store.marker import Marker, ReasonCode, RowOutcome, unsuccessful
from chalicelib.store.rows import StoredRow
from chalicelib.store.starts import Starts
from chalicelib.store.table import Table
from chalicelib.transport.partial_batch_response import Message
from chalicelib.transport.streams import Change, changes
from chalicelib.transport.uploads import Upload
from tally.testing.faults import Fault, FaultyClient, Killed
from tally.testing.memory_aws import MemoryS3, etag
from tally.testing.memory_dynamodb import MemoryDynamoDB

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RETENTION = timedelta(days=30)
RETRY = Retry(sleep=lambda _: None, random=lambda _, high: high)
"""Tries again at once; its delays are the longest, so that nothing depends on luck."""
_RUNS = itertools.count(1)


def table(client: Any) -> Table:
    """Return a table over any client."""
    return Table(dynamodb=client, name="tally-test", retry=RETRY)


def bus_of(client: Any) -> EventBus:
    """Return the bus ``bus`` over any client."""
    return EventBus(events=client, name="bus", retry=RETRY)


def starts(client: Any) -> Starts:
    """Return the marks of one invocation, which has a name of its own, over any client."""
    return Starts(table=table(client), run=f"run {next(_RUNS)}", clock=lambda: NOW)


def delivery(receive_count: int = 1, *, message_id: str = "m") -> Message:
    """Return a delivery of a message; what it says comes beside it."""
    return Message(id=message_id, body="", receive_count=receive_count)


def ledger(client: Any) -> Ledger:
    """Return a ledger over any client."""
    return Ledger(table=table(client), retention=RETENTION, clock=lambda: NOW)


def dispatcher(sqs: Any) -> Dispatcher:
    """Return a dispatcher over any client; the queues' URLs are their names."""
    return Dispatcher(sqs=sqs, ingest_queue_url="ingest", work_queue_url="work", heavy_queue_url="heavy", retry=RETRY)


def planner(
    dynamodb: Any,
    s3: Any,
    *,
    chunk_rows: int = 2,
    chunk_bytes: int = 4096,
    hand_over: Callable[[Upload], None] = lambda _: None,
    remaining_seconds: Callable[[], float] = RETRY.remaining_seconds,
) -> Planner:
    """Return a planner over any clients."""
    return Planner(
        table=table(dynamodb),
        s3=s3,
        retry=replace(RETRY, remaining_seconds=remaining_seconds),
        hand_over=hand_over,
        chunk_rows=chunk_rows,
        chunk_bytes=chunk_bytes,
        retention=RETENTION,
        clock=lambda: NOW,
    )


def uploaded(s3: MemoryS3, content: bytes, *, key: str = "inbox/offices/day.csv", version: str = "v1") -> Upload:
    """Put an object and return what its event says of it."""
    s3.objects[key, version] = content
    source = Source(bucket="inbox", key=key, version_id=version, etag=etag(version))
    return Upload(source=source, size=len(content))


def in_turn(*faults: Fault) -> Callable[[str], Fault]:
    """Let the first calls meet these faults, and all later ones none."""
    waiting = iter(faults)
    return lambda _: next(waiting, Fault.NONE)


def at_call(position: int, fault: Fault) -> Callable[[str], Fault]:
    """Let one call, counted from 0, meet a fault."""
    return in_turn(*[Fault.NONE] * position, fault)


def before_call(operation: str, act: Callable[[], object], *, call: int = 1) -> Callable[[str], Fault]:
    """Let something happen just before a call of an operation, the first unless said otherwise, reaches AWS."""
    calls: list[str] = []

    def fault(name: str) -> Fault:
        calls.append(name)
        if name == operation and calls.count(name) == call:
            act()
        return Fault.NONE

    return fault


def calls_of(run: Callable[[Callable[[str], Fault]], object]) -> list[str]:
    """Return the operations that a run without faults calls: where a history may be cut."""
    operations: list[str] = []

    def watch(operation: str) -> Fault:
        operations.append(operation)
        return Fault.NONE

    run(watch)
    return operations


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += timedelta(seconds=seconds)


def killed(run: Callable[[], object]) -> bool:
    """Run until the end or the worker's death; tells whether it died."""
    try:
        run()
    except Killed:
        return True
    return False


class Requests:
    """Passes calls on to a client and keeps every request, as it was when it was made."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.made: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        call = getattr(self._client, operation)

        def kept(**request: Any) -> Any:
            self.made.append((operation, copy.deepcopy(request)))
            return call(**request)

        return kept

    def of(self, operation: str) -> list[dict[str, Any]]:
        """Return the requests of one operation in order."""
        return [request for made, request in self.made if made == operation]


def plant(dynamodb: MemoryDynamoDB, chunk: Chunk, **changed: Mapping[str, Any]) -> None:
    """Put a planned chunk, with attributes as they may have become since."""
    table(dynamodb).write_all([{**chunk.to_item(), **changed}])


def plant_ready(dynamodb: MemoryDynamoDB, key: ChunkKey, rows: int, **changed: Mapping[str, Any]) -> Chunk:
    """Put a chunk whose rows were read, none of them done yet, and return it."""
    planned = Chunk(key=key, start=0, end=1, first_line=2, expected_rows=rows)
    read = {"rows": rows, "remaining": rows, "pages": 1, "version": 1, "succeeded": 0, "failed": 0, "rejected": 0}
    attributes: dict[str, Any] = {name: number(value) for name, value in read.items()}
    plant(dynamodb, planned, **{"state": text(ChunkState.READY), "done": bits(NO_ROWS), **attributes, **changed})
    return chunk_of(dynamodb, key)


def plant_rows(
    dynamodb: MemoryDynamoDB,
    key: ChunkKey,
    columns: Sequence[str],
    values: Sequence[Sequence[Any]],
    *,
    heavy: RowBits = NO_ROWS,
) -> None:
    """Put a chunk whose rows are durable, as ingest does; none of them has an outcome."""
    stored = [StoredRow(row, 2 + row, cells) for row, cells in enumerate(values)]
    pages = rows.to_items(key, columns, stored, expires_at=int((NOW + RETENTION).timestamp()))
    table(dynamodb).write_all(pages)
    plant_ready(dynamodb, key, len(values), pages=number(len(pages)), heavy=bits(heavy))


def plant_deaths(client: Any, body: str, *, message_id: str = "m", deaths: int = 4) -> None:
    """Leave the marks of workers that died over a message of the ingest, the work or the heavy queue."""
    about = msgspec.json.decode(body)
    key = ChunkKey(about["batch"], about["chunk"])
    for _ in range(deaths):
        with suppress(Killed), starts(client).marked(key, message_id):
            raise Killed


def count_rows(dynamodb: MemoryDynamoDB, key: ChunkKey, *outcomes: RowOutcome, generation: int = 1) -> Recorded:
    """Count outcomes of rows, as a worker that has just read their chunk does."""
    finished = [Finished(generation, outcome) for outcome in outcomes]
    return ledger(dynamodb).record(key, finished, Seen.of(chunk_of(dynamodb, key)))


def succeeded(row: int, result: str = "{}") -> RowOutcome:
    """Return the outcome of a row that succeeded, with a result in JSON."""
    return RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=msgspec.Raw(result.encode()))


def failed(row: int, reason: str = "no good") -> RowOutcome:
    """Return the outcome of a row that raised at its last try."""
    return unsuccessful(row, Outcome.FAILED, ReasonCode.RAISED, reason, line=2 + row, tries=3)


def plant_batch(dynamodb: MemoryDynamoDB, batch_id: str, *, chunks: int = 1, **changed: Mapping[str, Any]) -> None:
    """Put a batch that runs, with attributes as they may have become since; its job is what its id begins with."""
    job = batch_id.rpartition("-")[0]
    batch = Batch(
        id=batch_id,
        job=job,
        source=Source(bucket="inbox", key=f"inbox/{job}/day.csv", version_id="v1", etag=etag("v1")),
        size=9,
        status=BatchStatus.RUNNING,
        created_at="2026-03-01T00:00:00.000000+00:00",
        expires_at=int((NOW + RETENTION).timestamp()),
        chunk_rows=2,
        chunk_bytes=99,
    )
    counted = {"chunks": number(chunks), "remaining": number(chunks), "status": text(BatchStatus.RUNNING)}
    table(dynamodb).write_all([{**batch.to_item(), **counted, **changed}])


def chunk_of(dynamodb: MemoryDynamoDB, key: ChunkKey) -> Chunk:
    """Return a chunk as it stands."""
    return Chunk.from_item(dynamodb.items[key.pk, "chunk"])


def markers_of(dynamodb: MemoryDynamoDB, key: ChunkKey) -> list[Marker]:
    """Return the markers of a chunk in order."""
    return [
        Marker.from_item(item)
        for (pk, sk), item in sorted(dynamodb.items.items())
        if pk == key.pk and sk.startswith("mark#")
    ]


def outcomes_of(dynamodb: MemoryDynamoDB, key: ChunkKey) -> dict[int, RowOutcome]:
    """Return the outcomes of a chunk by row; each row is in one marker."""
    found = [outcome for marker in markers_of(dynamodb, key) for outcome in marker.outcomes]
    by_row = {outcome.row: outcome for outcome in found}
    assert len(by_row) == len(found), "a row is in two markers"
    return by_row


def tallied(outcomes: Mapping[int, RowOutcome]) -> Counts:
    """Count rows by outcome, independently of the ledger."""
    totals = dict.fromkeys(Outcome, 0)
    for found in outcomes.values():
        totals[found.outcome] += 1
    return Counts(**{outcome.value: total for outcome, total in totals.items()})


def changed_since(dynamodb: MemoryDynamoDB, position: int = 0) -> list[Change]:
    """Return what the stream would deliver from a position."""
    return list(changes({"Records": dynamodb.stream[position:]}))


def faulty(client: Any, faults: Callable[[str], Fault]) -> Any:
    """Return the client with faults; Any, for it stands in for each of the SDK's."""
    return FaultyClient(client, faults)


@contextmanager
def deployed_job(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, source: str) -> Iterator[None]:
    """Deploy a job module of a test's own beside the shipped ones, for as long as the block lasts."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "__path__", [*jobs.__path__, str(folder)])
        patch.syspath_prepend(str(folder))  # its only effect that matters: the import system forgets what it cached
        forget_jobs(name)
        yield
    forget_jobs(name)


def forget_jobs(name: str) -> None:
    """Forget what was found among the jobs, as a new process would."""
    jobs.names.cache_clear()
    jobs.find.cache_clear()
    sys.modules.pop(f"{jobs.__name__}.{name}", None)


def message_event(*bodies: str, arn: str = "arn:aws:sqs:us-east-1:000000000000:queue") -> dict[str, Any]:
    """Return an event of a queue in which each message has an id of its own."""
    return {
        "Records": [
            {"messageId": f"message-{position}", "body": body, "eventSourceARN": arn}
            for position, body in enumerate(bodies)
        ]
    }
