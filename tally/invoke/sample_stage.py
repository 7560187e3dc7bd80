"""A stage in memory that fits an event: the batch, chunk, rows or object that its handler must find."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus
from uuid import uuid4

import msgspec

from chalicelib import jobs
from chalicelib.clock import utc_now
from chalicelib.errors import FatalError, TallyError
from chalicelib.keys import Key, KeySource
from chalicelib.retry import Retry
from chalicelib.services import Services
from chalicelib.settings import Settings
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.batch import Source as ObjectVersion
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Exports
from chalicelib.store.items import BATCH_SK, CHUNK_SK, ChunkKey, Outcome, batch_pk, binary_of, number, text
from chalicelib.store.ledger import Finished, Seen
from chalicelib.store.marker import RowOutcome
from chalicelib.store.saves import Place, Save, Saves
from chalicelib.store.starts import Starts
from chalicelib.store.table import Table
from chalicelib.transport.messages import (
    ChunkMessage,
    ExportMessage,
    FinishedMessage,
    SaveMessage,
    WorkMessage,
    decode,
)
from chalicelib.transport.uploads import Upload, uploads
from tally.errors import ExitCode, OperatorError
from tally.invoke.events import queue_of
from tally.invoke.handlers import DEAD_LETTERS, FAILED_PLANS, MESSAGES, SAMPLES, Handler, Source, message_queue
from tally.testing import environment
from tally.testing.memory_aws import MemoryEvents, MemoryLambda, MemoryS3, MemorySQS
from tally.testing.memory_dynamodb import MemoryDynamoDB

STANDING_STILL = "transactions-5e1f0c9a7b3d24680ace"
"""The batch that a run of the schedule finds."""
LOST = "inbox/transactions/lost.csv"
"""The upload that a run of the schedule finds."""

_MAX_ROWS, _MAX_BYTES = 2_000, 1_048_576
"""Of a file of sample rows, which is one chunk."""
_VERSION = "sample"


class SampleS3(MemoryS3):
    """Objects with the etags of the event."""

    def __init__(self) -> None:
        super().__init__()
        self.etags: dict[str, str] = {}

    def get_object(self, *, IfMatch: str = "", **request: Any) -> dict[str, Any]:  # noqa: N803
        """Return an object; the event's etag names its newest version."""
        known = IfMatch.strip('"') == self.etags.get(request["Key"])
        return super().get_object(IfMatch="" if known else IfMatch, **request)


@dataclass(frozen=True, slots=True)
class SampleStage:
    """The services in memory, and the sample rows of ``repo`` to fill them with."""

    repo: Path
    dynamodb: MemoryDynamoDB = field(default_factory=MemoryDynamoDB)
    sqs: MemorySQS = field(default_factory=MemorySQS)
    events: MemoryEvents = field(default_factory=MemoryEvents)
    s3: SampleS3 = field(default_factory=SampleS3)
    lambda_: MemoryLambda = field(default_factory=MemoryLambda)

    def client(self, service: str) -> Any:
        """Return a client, by boto3's name for the service."""
        return {
            "dynamodb": self.dynamodb,
            "sqs": self.sqs,
            "events": self.events,
            "s3": self.s3,
            "lambda": self.lambda_,
        }[service]

    def fit(self, handler: Handler, event: Any) -> Any:
        """Store what the handler of a checked event must find; return the event, with real sizes.

        Raises OperatorError if its job has no sample rows, or too few.
        """
        match handler.source:
            case Source.S3:
                return self._upload(event)
            case Source.QUEUE:
                for record in event["Records"]:
                    self._prepare(handler, record)
            case Source.STREAM:
                self._put_images(event)
            case Source.SCHEDULE:
                self._stand_still()
        return event

    def _upload(self, event: Any) -> Any:
        for upload in uploads(event):
            source = upload.source
            content = self._rows(source.key.split("/")[1])
            self.s3.objects[source.key, source.version_id or _VERSION] = content
            self.s3.etags[source.key] = source.etag
        return {**event, "Records": [self._sized(record) for record in event["Records"]]}

    def _sized(self, record: Any) -> Any:
        """Return the record of an upload with the size of the sample rows."""
        found = record["s3"]["object"]
        size = len(self._rows(unquote_plus(found["key"]).split("/")[1]))
        return {**record, "s3": {**record["s3"], "object": {**found, "size": size}}}

    def _prepare(self, handler: Handler, record: Mapping[str, Any]) -> None:
        queue = queue_of(record["eventSourceARN"], handler.queues) or handler.queues[0]
        if queue == FAILED_PLANS:
            self._upload(msgspec.json.decode(record["body"])["requestPayload"])
            return
        message: Any = decode(record["body"], MESSAGES[message_queue(queue)])
        if isinstance(message, ExportMessage):
            self._end(message)
            return
        if isinstance(message, SaveMessage):
            self._begin_save(message)
            return
        key = ChunkKey(message.batch, message.chunk)
        self._plan(key)
        rows: Iterable[int] = ()
        match message:
            case WorkMessage():
                rows = message.rows or ()
            case FinishedMessage():
                rows = [outcome.row for outcome in message.outcomes]
        if not isinstance(message, ChunkMessage):
            self._ingest(key, message.generation, rows)
        if handler.name == DEAD_LETTERS:
            # Two runs that never ended prove that a message kills its workers; after one it would be sent again.
            for _ in range(2):
                with suppress(_DiedError), self._starts().marked(key, record["messageId"]):
                    raise _DiedError

    def _plan(self, key: ChunkKey) -> None:
        """Put a batch with one chunk of sample rows, under the number that is asked for."""
        if (key.pk, CHUNK_SK) in self.dynamodb.items:
            return
        job = key.batch_id.rpartition("-")[0]
        content = self._rows(job)
        scratch = SampleStage(repo=self.repo)
        place = f"inbox/{job}/sample.csv"
        source = ObjectVersion(bucket="inbox", key=place, version_id=_VERSION, etag=f"etag-of-{_VERSION}")
        for stage in (scratch, self):
            stage.s3.objects[place, _VERSION] = content
        try:
            batch = scratch._services.planner.plan(Upload(source=source, size=len(content)))
        except FatalError as error:
            raise OperatorError(f"{error}", hint="the event is of a batch of that job.", code=ExitCode.USAGE) from error
        if batch.status is BatchStatus.REJECTED or batch.chunks != 1:
            why = batch.reason or f"more than {_MAX_ROWS:,} rows or {_MAX_BYTES:,} bytes"
            raise OperatorError(f"{self._sample(job)} is not a sample for the job {job}: {why}.", code=ExitCode.USAGE)
        planned = scratch.dynamodb.items
        found = planned[batch_pk(batch.id), BATCH_SK]
        chunks = {"chunks": number(key.number + 1), "remaining": number(1)}  # so that it is the last
        self.dynamodb.items.setdefault(
            (batch_pk(key.batch_id), BATCH_SK), {**found, **chunks, "pk": text(batch_pk(key.batch_id))}
        )
        chunk = planned[ChunkKey(batch.id, 0).pk, CHUNK_SK]
        self.dynamodb.items[key.pk, CHUNK_SK] = {**chunk, "pk": text(key.pk)}

    def _ingest(self, key: ChunkKey, generation: int, rows: Iterable[int]) -> None:
        """Run ``ingest`` on the rows of a chunk."""
        self._services.ingester.ingest(ChunkMessage(key.batch_id, key.number))
        item = self.dynamodb.items[key.pk, CHUNK_SK]
        item["generation"] = number(generation)
        chunk = self._chunk(key)
        beyond = [row for row in rows if row >= (chunk.rows or 0)]
        if beyond:
            job = key.batch_id.rpartition("-")[0]
            raise OperatorError(
                f"The event names row {beyond[0]}, and {self._sample(job)} has the rows 0 to {(chunk.rows or 0) - 1}",
                hint="put more rows into that file, or run the event on its stage: --stage NAME.",
                code=ExitCode.USAGE,
            )

    def _end(self, message: ExportMessage) -> None:
        """Bring a batch of one chunk to the end of its attempt, whose results are requested.

        No job runs for it: every row succeeds without a result.
        """
        key = ChunkKey(message.batch, 0)
        self._plan(key)
        self._ingest(key, 1, ())
        services = self._services
        self.dynamodb.items[batch_pk(key.batch_id), BATCH_SK]["attempt"] = number(message.attempt)
        chunk = self._chunk(key)
        outcomes = [RowOutcome(row=row, outcome=Outcome.SUCCEEDED) for row in chunk.undone]
        services.ledger.record(key, [Finished(chunk.generation, outcome) for outcome in outcomes], Seen.of(chunk))
        services.settler.close(key.batch_id, [self._chunk(key)])
        services.settler.complete(self._batch(key.batch_id))
        services.settler.publish([self._batch(key.batch_id)])
        export = Exports(table=self._table).require(key.batch_id, message.attempt)
        beyond = [piece for piece in message.pieces if piece not in export.pieces]
        if beyond:
            raise OperatorError(
                f"The event asks for piece {beyond[0]} of the results, and those of the sample have the pieces 0 and 1",
                hint="run the event on its stage: --stage NAME.",
                code=ExitCode.USAGE,
            )

    def _begin_save(self, message: SaveMessage) -> None:
        """Bring a batch to the request to save its results, by the first column of its job."""
        self._end(ExportMessage(batch=message.batch, attempt=message.attempt, pieces=[]))
        batch = self._batch(message.batch)
        save = Save(
            batch_id=batch.id,
            attempt=message.attempt,
            key=Key(name=jobs.require(batch.job).schema.columns[0], source=KeySource.ROW),
            rows=batch.counts.succeeded,
            completed_at=batch.completed_at,
            begun_at=batch.completed_at,
            place=Place(chunks_left=batch.chunks or 0),
        )
        Saves(table=self._table).begin(save)

    def _batch(self, batch_id: str) -> Batch:
        return Batch.from_item(self.dynamodb.items[batch_pk(batch_id), BATCH_SK])

    def _chunk(self, key: ChunkKey) -> Chunk:
        return Chunk.from_item(self.dynamodb.items[key.pk, CHUNK_SK])

    def _put_images(self, event: Any) -> None:
        """Put the items of the images; a chunk gets a batch in which it is the last."""
        for record in event["Records"]:
            image = record["dynamodb"]["NewImage"]
            pk, sk = image["pk"]["S"], image["sk"]["S"]
            if sk == CHUNK_SK:
                key = ChunkKey.from_pk(pk)
                self._plan(key)
            binary = {name: {"B": binary_of(image, name)} for name in image if "B" in image[name]}
            self.dynamodb.items[pk, sk] = {**image, **binary}

    def _stand_still(self) -> None:
        """Put a batch whose messages were lost an hour ago, and an upload whose event was lost."""
        an_hour_ago, yesterday = utc_now() - timedelta(hours=1), utc_now() - timedelta(days=1)
        services = self._services
        self._plan(ChunkKey(STANDING_STILL, 0))
        reconciler = replace(services.reconciler, clock=lambda: an_hour_ago)
        reconciler.sweep(reconciler.open_batches())
        lost = services.lost_uploads
        replace(lost, notes=replace(lost.notes, clock=lambda: yesterday)).sweep()
        content = self._rows("transactions")
        self.s3.objects[LOST, _VERSION] = content
        self.s3.modified[LOST, _VERSION] = an_hour_ago

    def _rows(self, job: str) -> bytes:
        """Return the sample rows of a job."""
        return self._sample(job, exists=True).read_bytes()

    def _sample(self, job: str, *, exists: bool = False) -> Path:
        if job not in jobs.names():
            raise OperatorError(
                f"The event is of a batch of the job {job!r}, and this checkout has {', '.join(jobs.names())}",
                hint=f"a job is a module app/chalicelib/jobs/{job or 'JOB'}.py.",
                code=ExitCode.USAGE,
            )
        found = sorted(path for path in (self.repo / SAMPLES).glob(f"{job}.*") if path.suffix != ".json")
        if exists and not found:
            raise OperatorError(
                f"There are no sample rows for the job {job}: no {SAMPLES}/{job}.csv",
                hint="put some lines of a real file there; or run the event on its stage: --stage NAME.",
                code=ExitCode.USAGE,
            )
        return found[0] if exists else SAMPLES / (found[0].name if found else f"{job}.csv")

    def _starts(self) -> Starts:
        return Starts(table=self._table, run=uuid4().hex)

    @property
    def _table(self) -> Table:
        dynamodb: Any = self.dynamodb
        return Table(dynamodb=dynamodb, name=environment.VARIABLES["TALLY_TABLE"], retry=Retry())

    @property
    def _services(self) -> Services:
        """The pipeline's own services over this stage, which make the items that a handler finds."""
        settings = Settings.from_env(environment.VARIABLES)
        whole = msgspec.structs.replace(settings, chunk_rows=_MAX_ROWS, chunk_bytes=_MAX_BYTES, export=True)
        client: Callable[[str], Any] = self.client
        return Services(whole, Retry(), client=client)


class _DiedError(TallyError):
    """A run that never ended."""
