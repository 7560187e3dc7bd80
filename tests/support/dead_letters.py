"""Dead letters of each queue, and the handler that gives their rows an outcome."""

from collections.abc import Callable
from typing import Any

import msgspec

from chalicelib import services
from chalicelib.steps.dead_letters import DeadLetterHandler, HandledDeadLetter
from chalicelib.store.items import Outcome
from chalicelib.store.marker import RowOutcome
from chalicelib.transport.messages import WorkMessage, decode, encode
from chalicelib.transport.partial_batch_response import Message
from tally.testing.pipeline import Pipeline
from tests.support.builders import plant_deaths

INGEST_DLQ, WORK_DLQ, HEAVY_DLQ, FINISHED_DLQ = (
    f"tally-test-{name}-dlq" for name in ("ingest", "work", "heavy", "finished")
)


def handler() -> DeadLetterHandler:
    """Return the handler of an invocation."""
    return services.Services.of(None).dead_letter_handler


def handle(body: str, queue: str) -> HandledDeadLetter:
    """Handle a dead letter, whose id is ``m``."""
    return handler().handle(Message("m", body), queue)


def dead_letter_of(pipeline: Pipeline, queue: str) -> str:
    """Take a message out of its queue, as SQS does when it was received too often, after its workers died of it.

    By then a message of the work queue is about one row: here the first. The others are in messages of their own.
    """
    body = pipeline.waiting(queue).pop(0)
    if queue == "work":
        message = decode(body, WorkMessage)
        body = encode(msgspec.structs.replace(message, rows=[0]))
        pipeline.waiting(queue).append(encode(msgspec.structs.replace(message, rows=[1, 3])))
    if queue != "finished":
        plant_deaths(pipeline.dynamodb, body)
    return body


def failed_rows(pipeline: Pipeline, batch_id: str) -> dict[tuple[int, int], RowOutcome]:
    """Return the outcomes of failed rows, by chunk and row."""
    outcomes = pipeline.outcomes(batch_id)
    return {(chunk, found.row): found for chunk, found in outcomes if found.outcome is Outcome.FAILED}


def handling(dead_letter: str, dlq: str) -> Callable[[], Any]:
    """Return a call that handles a dead letter."""
    return lambda: handle(dead_letter, dlq)
