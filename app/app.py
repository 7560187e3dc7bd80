"""Tally's handlers: decode, call, encode. The steps in ``chalicelib`` do the work; Terraform says where they run."""

from collections.abc import Sequence
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, DynamoDBEvent, Rate, S3Event, SQSEvent

from chalicelib.handlers import prepare
from chalicelib.logs import logger
from chalicelib.services import Services, settings
from chalicelib.transport.messages import ChunkMessage, ExportMessage, FinishedMessage, SaveMessage, WorkMessage, decode
from chalicelib.transport.partial_batch_response import Failures, Message
from chalicelib.transport.streams import changes
from chalicelib.transport.uploads import INBOX_PREFIX, uploads

app = Chalice(app_name="tally")
_settings = settings()
prepare()


def _queue(queue: str, function: str) -> dict[str, Any]:
    trigger = _settings.functions[function]
    return {
        "queue_arn": _settings.queues[queue].arn,
        "batch_size": trigger.batch_size,
        "maximum_batching_window_in_seconds": trigger.maximum_batching_window_seconds,
        "maximum_concurrency": trigger.maximum_concurrency,
    }


def _stream(function: str) -> dict[str, Any]:
    trigger = _settings.functions[function]
    return {
        "stream_arn": _settings.stream_arn,
        "batch_size": trigger.batch_size,
        "maximum_batching_window_in_seconds": trigger.maximum_batching_window_seconds,
        "starting_position": "TRIM_HORIZON",  # a new mapping must not miss what was written before it was there
    }


@app.on_s3_event(bucket=_settings.inbox_bucket, events=["s3:ObjectCreated:*"], prefix=INBOX_PREFIX)
def plan(event: S3Event) -> None:
    """Make the batch and the chunks of objects that arrived."""
    planner = Services.of(event.context).planner
    for upload in uploads(event.to_dict()):
        batch = planner.plan(upload)
        logger.info("batch.planned", batch_id=batch.id, status=batch.status, chunks=batch.chunks, reason=batch.reason)


@app.on_dynamodb_record(**_stream("dispatch"))
def dispatch(event: DynamoDBEvent) -> None:
    """Send new chunks, and rows whose failure was taken back, to their queues."""
    sent = Services.of(event.context).dispatcher.dispatch(changes(event.to_dict()))
    logger.info("outbox.sent", batches=sent.batches, chunks=sent.chunks, rows=sent.rows)


@app.on_sqs_message(**_queue("ingest", "ingest"))
def ingest(event: SQSEvent) -> dict[str, Any]:
    """Read chunks: make their rows durable and send them on."""
    services = Services.of(event.context)

    def handle(message: Message) -> None:
        chunk = decode(message.body, ChunkMessage)
        done = services.ingester.ingest(chunk, message)
        logger.info("chunk.ingested", batch_id=chunk.batch, chunk=chunk.chunk, rows=done.rows, rejected=done.rejected)

    return services.partial_batch_response.each(event.to_dict(), handle)


@app.on_sqs_message(**_queue("work", "process"))
def process(event: SQSEvent) -> dict[str, Any]:
    """Run the job over rows and hand on the outcomes."""
    with Services.metered(event.context) as services:

        def handle(message: Message) -> None:
            work = decode(message.body, WorkMessage)
            done = services.processor.work(work, message)
            services.metrics.time_rows(done.run, done.seconds)
            logger.info("rows.processed", extra={"batch_id": work.batch, **done.sizes})

        return services.partial_batch_response.each(event.to_dict(), handle)


@app.on_sqs_message(**_queue("heavy", "process_heavy"))
def process_heavy(event: SQSEvent) -> dict[str, Any]:
    """Run the job over one heavy row, leased, with a heartbeat."""
    services = Services.of(event.context)

    def handle(message: Message) -> None:
        work = decode(message.body, WorkMessage)
        done = services.heavy_processor.work(work, message)
        logger.info("rows.processed", extra={"batch_id": work.batch, **done.sizes})

    return services.partial_batch_response.each(event.to_dict(), handle)


@app.on_sqs_message(**_queue("finished", "finish"))
def finish(event: SQSEvent) -> dict[str, Any]:
    """Count outcomes."""
    services = Services.of(event.context)

    def handle(messages: Sequence[Message], failures: Failures) -> None:
        finished: dict[Message, FinishedMessage] = {}
        for message in messages:
            with failures.isolated(message):
                finished[message] = decode(message.body, FinishedMessage)
        done = services.finisher.finish(finished, failures)
        batches = sorted({body.batch for body in finished.values()})
        logger.info("rows.counted", batches=batches, counted=done.counted, dropped=done.dropped)

    return services.partial_batch_response.answer(event.to_dict(), handle)


@app.on_sqs_message(**_queue("export", "export"))
def export(event: SQSEvent) -> dict[str, Any]:
    """Write the results of batches that have ended, as files or as the next job's input."""
    services = Services.of(event.context)

    def handle(message: Message) -> None:
        asked = decode(message.body, ExportMessage)
        if asked.chain:
            services.chainer.chain(asked)  # it logs what it decides, with the reason
            return
        done = services.exporter.export(asked)
        logger.info("results.exported", extra={"batch_id": asked.batch, **done.sizes})

    return services.partial_batch_response.each(event.to_dict(), handle)


@app.on_sqs_message(**_queue("save", "save"))
def save(event: SQSEvent) -> dict[str, Any]:
    """Put the results of jobs that say KEY into the results table."""
    services = Services.of(event.context)

    def handle(message: Message) -> None:
        asked = decode(message.body, SaveMessage)
        saved = services.saver.save(asked)
        logger.info("results.saved", extra={"batch_id": asked.batch, **saved.sizes})

    return services.partial_batch_response.each(event.to_dict(), handle)


@app.on_sqs_message(**_queue("work-dlq", "dead_letters"))
def dead_letters(event: SQSEvent) -> dict[str, Any]:
    """Turn dead letters of every queue of rows into outcomes."""
    services = Services.of(event.context)
    queue = event.to_dict()["Records"][0]["eventSourceARN"].rpartition(":")[2]

    def handle(message: Message) -> None:
        done = services.dead_letter_handler.handle(message, queue)
        if done.returned:
            logger.warning("dead_letter.returned", queue=queue, message_id=message.id, rows=done.returned)
        else:
            logger.error(
                "dead_letter.handled", queue=queue, message_id=message.id, rows=done.rows, counted=done.counted
            )

    return services.partial_batch_response.each(event.to_dict(), handle)


@app.schedule(Rate(_settings.reconcile_minutes, unit=Rate.MINUTES))
def reconcile(event: CloudWatchEvent) -> None:
    """Plan uploads whose event was lost, and push on batches that stand still and results that were not written."""
    with Services.metered(event.context) as services:
        try:
            inbox = services.lost_uploads.sweep()
            logger.info("inbox.swept", versions=inbox.seen, handed_over=inbox.handed_over)
        finally:  # the batches must not wait until the inbox can be listed
            swept = services.reconciler.sweep_stage()
    logger.info("batches.reconciled", repaired=len(swept.repaired), pieces_sent=swept.pieces_sent)


@app.on_dynamodb_record(**_stream("settle"))
def settle(event: DynamoDBEvent) -> None:
    """Close chunks and batches whose counters say so, and announce those that have ended."""
    with Services.metered(event.context) as services:
        done = services.settler.settle(changes(event.to_dict()))
    logger.info("batch.settled", batches=done.seen, chunks=done.chunks, ended=done.batches, events=done.events)
