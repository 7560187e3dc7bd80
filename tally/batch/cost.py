"""The cost of a batch over all attempts, from its counters, a sample of its chunks, and the functions' logs.

No request is made for it while the batch runs. Sizes and the job's time are read from a sample of chunks, spread
evenly, and stand for the others. The rest follows from how the pipeline works; only the work messages are counted, in
the logs. Seconds of functions are those that Lambda reports of the invocations whose own lines name the batch; an
invocation for several batches counts for each in equal parts.

Dollars are all-in: they include the storage of the table and of results, for as long as they are kept, and the logs.
They do not include an idle stage (``idle``), nor the uploaded object, which is the user's.

Not counted: requests that failed or were made twice, and invocations that died before they wrote a line.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.exports import Exports
from chalicelib.store.items import MARKER_PREFIX, ROWS_PREFIX, Outcome
from chalicelib.store.marker import Marker
from chalicelib.store.pacing import item_size, write_units
from chalicelib.store.saves import Saves
from chalicelib.transport.messages import outcome_size
from tally.batch import export_use, prices, save_use
from tally.batch.export_use import NO_EXPORT, ExportUse
from tally.batch.prices import Use
from tally.batch.reader import Reader
from tally.look import several
from tally.output import Output
from tally.stages.log_events import events, reports
from tally.stages.stage import Stage

SAMPLED_CHUNKS = 10
FUNCTIONS = (
    "plan",
    "dispatch",
    "ingest",
    "process",
    "process_heavy",
    "finish",
    "settle",
    "export",
    "save",
    "dead_letters",
    "reconcile",
)
"""Every function, in the order in which a batch meets them; a test holds them to Terraform's list."""
_AROUND = timedelta(seconds=10)
"""Planning begins before its batch is created, and the last workers answer after its end."""
_WORKED = "rows.processed"
"""The event that ``process`` logs for each work message."""
_BATCH_WRITES = 8
"""Put with its index entry, the end of planning, the end, the note that it was published: the index doubles them."""
_PLANNED = 2
"""Units of a chunk that is put in a transaction."""
_IN_TRANSACTION = 2
"""Units of an item that a transaction changes: each that counts, redrives or closes changes a chunk or the batch."""
_READ_UNIT_BYTES = 4096
_CHUNK_BYTES = 500
"""The rough size of a chunk's own item."""
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The use of one batch; ``functions`` is invocations and GB-seconds, empty where no log is left.

    Units and requests include those of ``exported``. ``s3_requests`` are those that read.

    ``messages`` are the work messages, counted in the logs or, if the logs are gone, ``estimated``.
    """

    rows: int
    chunks: int
    sampled: int
    write_units: float
    read_units: float
    dynamodb_requests: int
    sqs_requests: int
    s3_requests: int
    job_seconds: float
    functions: Mapping[str, tuple[float, float]]
    redriven: int = 0
    messages: int = 0
    messages_estimated: bool = True
    stored_gb_months: float = 0.0
    exported: ExportUse = NO_EXPORT
    log_bytes: int = 0

    @property
    def dollars(self) -> dict[str, float]:
        """Dollars by service."""
        each = 1 / self.rows if self.rows else 0
        use = Use(
            write_units=self.write_units * each,
            read_units=self.read_units * each,
            sqs_requests=self.sqs_requests * each,
            invocations=sum(count for count, _ in self.functions.values()) * each,
            gb_seconds=sum(seconds for _, seconds in self.functions.values()) * each,
            s3_gets=self.s3_requests * each,
            s3_puts=self.exported.s3_puts * each,
            results_gb_months=self.exported.kept_gb_months * each,
            stored_gb_months=self.stored_gb_months * each,
            log_gb=self.log_bytes / prices.GB * each,
        )
        return {service: dollars * self.rows / prices.MILLION for service, dollars in use.dollars().items()}

    @property
    def summary(self) -> str:
        """The cost in one line."""
        rows = self.rows or 1
        requests = self.dynamodb_requests + self.sqs_requests + self.s3_requests + self.exported.s3_puts
        gb_seconds = sum(seconds for _, seconds in self.functions.values())
        dollars = sum(self.dollars.values())
        return (
            f"{self.write_units:,.0f} write units ({self.write_units / rows:.3f} a row), "
            f"{requests:,} requests ({requests / rows:.3f} a row), {gb_seconds:,.1f} GB-s of functions, "
            f"{dollars:.4f} dollars ({dollars / rows * prices.MILLION:.2f} a million rows)"
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        rows = self.rows or 1
        total = sum(self.dollars.values())
        return {
            "rows": self.rows,
            "chunks": self.chunks,
            "sampled_chunks": self.sampled,
            "write_units": round(self.write_units, 1),
            "write_units_per_row": round(self.write_units / rows, 3),
            "read_units": round(self.read_units, 1),
            "requests": {
                "dynamodb": self.dynamodb_requests,
                "sqs": self.sqs_requests,
                "s3": self.s3_requests + self.exported.s3_puts,
            },
            "results_bytes": self.exported.kept_bytes,
            "redriven_rows": self.redriven,
            "work_messages": {"count": self.messages, "estimated": self.messages_estimated},
            "job_seconds": round(self.job_seconds, 3),
            "functions": {
                name: {"invocations": round(count, 1), "gb_seconds": round(seconds, 3)}
                for name, (count, seconds) in self.functions.items()
            },
            "dollars": {service: round(dollars, 6) for service, dollars in self.dollars.items()},
            "dollars_total": round(total, 6),
            "dollars_per_million_rows": round(total / rows * prices.MILLION, 4),
            "prices_of": prices.CHECKED,
        }


def of(stage: Stage, batch: Batch, now: datetime) -> Cost:
    """Return the cost of a batch of a stage so far."""
    names = {name: f"tally-{stage.name}-{name}" for name in FUNCTIONS}
    reader = Reader(dynamodb=stage.dynamodb, table=stage.resources.table)
    export = Exports(table=reader.repository.table).find(batch.id, batch.attempt)
    # The files of the last attempt are written after its end.
    ended = export.exported_at if export else batch.completed_at
    until = datetime.fromisoformat(ended) if ended else now
    return estimate(reader, batch, used(stage.logs, names, batch, until))


def estimate(reader: Reader, batch: Batch, worked: "Worked") -> Cost:
    """Return the cost of a batch so far."""
    chunks = reader.chunks(batch)
    counted = [chunk for chunk in chunks.values() if chunk.counts.total]
    sampled = counted[:: -(-len(counted) // SAMPLED_CHUNKS) or 1]
    found = [_of_chunk(reader, chunk) for chunk in sampled]
    rows = sum(chunk.counts.total for chunk in counted)
    of = rows / (sum(chunk.counts.total for chunk in sampled) or 1)
    messages = worked.messages or len(counted)
    # An outcome is sent once. The part of its message beyond 64 KB is billed on sending and on receiving.
    steps = _mean([each.steps for each in found])
    kept_days = batch.expires_at / _DAY_SECONDS - datetime.fromisoformat(batch.created_at).timestamp() / _DAY_SECONDS
    # The batch's version was raised by the end of planning and of each attempt, and by each transaction that closed
    # chunks or took them back.
    moved = max(0, batch.version - 1 - batch.attempt)
    stored = sum(each.stored for each in found) * of
    table, partition = reader.repository.table, _mean([each.partition for each in found])
    exported = export_use.of_batch(Exports(table=table), batch.id, batch.attempt, list(chunks.values()), partition)
    saved = save_use.of_batch(Saves(table=table), batch.id, batch.attempt, chunks=len(chunks), read_units=partition)
    return Cost(
        rows=rows,
        chunks=len(chunks),
        sampled=len(sampled),
        write_units=sum(each.written for each in found) * of
        + _PLANNED * len(chunks)
        + messages  # marked as begun, but for those of a single row
        + _IN_TRANSACTION * moved
        + _BATCH_WRITES
        + exported.write_units
        + saved.write_units,
        read_units=2 * len(chunks)
        + (2 + _mean([each.read for each in found])) * messages
        + exported.read_units
        + saved.read_units,
        # Each chunk is read by ingest and has its rows written, each message is read for and marked as begun, and
        # chunks are closed together.
        dynamodb_requests=round(2 * len(chunks) + 2 * messages + sum(each.counted for each in found) * of + moved)
        + exported.dynamodb_requests
        + saved.dynamodb_requests,
        # Sent, ten to a request, received and deleted: chunks to read, chunks to process, outcomes.
        sqs_requests=round(2.1 * len(chunks) + 2.1 * messages + (1 + 2 * steps) * messages)
        + exported.sqs_requests
        + saved.sqs_requests,
        s3_requests=len(chunks) + 2 + exported.s3_gets,
        job_seconds=sum(each.milliseconds for each in found) * of / 1000,
        functions=worked.functions,
        redriven=sum(chunk.redriven for chunk in chunks.values()),
        messages=messages,
        messages_estimated=not worked.messages,
        stored_gb_months=stored / prices.GB * max(0.0, kept_days) / prices.MONTH_DAYS,
        log_bytes=worked.log_bytes,
        exported=exported,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """The use of one chunk: units, transactions that counted it, bytes kept, 64 KB steps of its outcomes.

    ``read`` are the units of its rows, ``partition`` those of all its items in one query.
    """

    written: int
    read: int
    partition: int
    counted: int
    stored: int
    steps: int
    milliseconds: int


def _of_chunk(reader: Reader, chunk: Chunk) -> _Chunk:
    pages = [item_size(item) for item in reader.repository.table.query(chunk.key.pk, ROWS_PREFIX)]
    items = list(reader.repository.table.query(chunk.key.pk, MARKER_PREFIX))
    markers = [Marker.from_item(item) for item in items]
    written = sum(map(write_units, pages))
    # Each redrive has written again the markers that it took rows out of.
    written += sum(write_units(item_size(item), transactional=True) for item in items) * chunk.generation
    # Every change of a chunk raises its version. The totals alone are no transaction, unless rows were rejected.
    plain = chunk.version > 0 and not any(marker.version == 1 for marker in markers)
    written += _IN_TRANSACTION * chunk.version - plain
    travelled = [
        outcome for marker in markers for outcome in marker.outcomes if outcome.outcome is not Outcome.REJECTED
    ]
    return _Chunk(
        written=written,
        read=sum(-(-size // _READ_UNIT_BYTES) for size in pages),
        partition=-(-(_CHUNK_BYTES + sum(pages) + sum(map(item_size, items))) // _READ_UNIT_BYTES),
        counted=chunk.version - chunk.closed,
        stored=sum(size + prices.ITEM_OVERHEAD_BYTES for size in [*pages, *map(item_size, items)]),
        steps=-(-sum(map(outcome_size, travelled)) // prices.SQS_STEP_BYTES) or 1,
        milliseconds=sum(outcome.duration_ms for marker in markers for outcome in marker.outcomes),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / (len(values) or 1)


def show(output: Output, cost: Cost) -> None:
    """Write the cost of a batch, in all and per row."""
    rows = cost.rows or 1
    s3_requests, results = cost.s3_requests + cost.exported.s3_puts, cost.exported.kept_bytes
    seconds = {
        name: f"{took:.2f} GB-s in {several(count, 'invocation')}" for name, (count, took) in cost.functions.items()
    }
    lines = [
        ("write units", f"{cost.write_units:,.0f}", f"{cost.write_units / rows:.3f}"),
        ("read units", f"{cost.read_units:,.0f}", f"{cost.read_units / rows:.3f}"),
        ("requests to DynamoDB", f"{cost.dynamodb_requests:,}", f"{cost.dynamodb_requests / rows:.3f}"),
        ("requests to SQS", f"{cost.sqs_requests:,}", f"{cost.sqs_requests / rows:.3f}"),
        ("requests to S3", f"{s3_requests:,}", f"{s3_requests / rows:.4f}"),
        *([("bytes of results", f"{results:,}", f"{results / rows:.1f}")] if results else []),
        ("seconds in the job's own code", f"{cost.job_seconds:,.2f}", f"{cost.job_seconds / rows:.6f}"),
        *((f"function {name}", took, "") for name, took in seconds.items()),
        *((f"dollars, {name}", f"{dollars:.6f}", "") for name, dollars in cost.dollars.items()),
    ]
    total = sum(cost.dollars.values())
    million = total / rows * prices.MILLION
    output.table(f"{several(cost.rows, 'row')} in {several(cost.chunks, 'chunk')}", ("", "in all", "a row"), lines)
    output.say(f"{total:.6f} dollars, {million:.2f} a million rows, at the prices of {prices.CHECKED} (us-east-1)")
    counted = "there are no logs to count them in" if cost.messages_estimated else "counted in the logs"
    output.say(
        f"Sizes are those of the items in {cost.sampled} of the chunks; requests follow from the counters and from "
        f"{cost.messages:,} work messages ({counted}). Function time is that of the invocations whose logs name the "
        "batch. Failed and repeated requests, and invocations that died, are not included."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A batch's work by the functions' logs: invocations and GB-seconds by function, work messages, bytes."""

    functions: Mapping[str, tuple[float, float]]
    messages: int = 0
    log_bytes: int = 0


def used(logs: Any, names: Mapping[str, str], batch: Batch, until: datetime) -> Worked:
    """Return the work of the functions for a batch until its end; ``names`` maps the name to show to the function."""
    since, until = datetime.fromisoformat(batch.created_at) - _AROUND, until + _AROUND
    functions: dict[str, tuple[float, float]] = {}
    messages = log_bytes = 0
    for shown, function in names.items():
        lines = list(_named(logs, function, batch.id, since, until))
        if not lines:
            continue
        messages += sum(line["message"] == _WORKED for line in lines)
        shares = {line["request_id"]: 1 / len(line.get("batches", [batch.id])) for line in lines}
        took = [
            (shares[report.request], report.gb_seconds)
            for report in reports(logs, function, since, until)
            if report.request in shares
        ]
        functions[shown] = (sum(share for share, _ in took), sum(share * spent for share, spent in took))
        log_bytes += sum(len(json.dumps(line)) + prices.LOG_LINE_BYTES for line in lines)
        log_bytes += len(shares) * prices.INVOCATION_LOG_BYTES
    return Worked(functions=functions, messages=messages, log_bytes=log_bytes)


def _named(logs: Any, function: str, batch_id: str, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """Yield each log line in which a function names a batch, with the invocation that wrote it."""
    for event in events(logs, function, f'"{batch_id}"', since, until):
        try:
            line = json.loads(event["message"])
        except ValueError:
            continue  # a traceback, or what a job printed
        if (
            isinstance(line, dict)
            and batch_id in (line.get("batch_id"), *line.get("batches", ()))
            and line.get("request_id")
        ):
            yield line
