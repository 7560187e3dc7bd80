"""A copy of each dead letter is kept; one that is about no row stays in its queue."""

import pytest

from chalicelib import services
from chalicelib.errors import MessageError, NotFoundError
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests
from tests.support.dead_letters import FINISHED_DLQ, HEAVY_DLQ, INGEST_DLQ, WORK_DLQ, dead_letter_of, handle
from tests.support.plain import READ, upload


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        ("not JSON", WORK_DLQ),
        ("{}", HEAVY_DLQ),
        ('{"batch":"b"}', FINISHED_DLQ),
        ("[]", INGEST_DLQ),
        ('{"batch":"plain-1","chunk":0}', "tally-test-work"),
        ('{"batch":"plain-1","chunk":0}', "somebody-elses-dlq"),
    ],
)
def test_what_cannot_be_mapped_to_a_row_stays_in_its_queue(pipeline: Pipeline, body: str, queue: str) -> None:
    """Its alarm calls somebody; a copy in ``dead-letters`` would look dealt with."""
    with pytest.raises(MessageError):
        handle(body, queue)
    assert not pipeline.waiting("dead-letters")
    assert not pipeline.dynamodb.items


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        ('{"batch":"gone-1","chunk":0}', INGEST_DLQ),
        ('{"batch":"gone-1","chunk":0,"generation":1}', WORK_DLQ),
        ('{"batch":"gone-1","chunk":0,"generation":1,"rows":[0]}', HEAVY_DLQ),
    ],
)
def test_a_dead_letter_of_a_batch_that_was_deleted_stays_in_its_queue(
    pipeline: Pipeline, body: str, queue: str
) -> None:
    """An operator decides whether anybody misses it."""
    with pytest.raises(NotFoundError):
        handle(body, queue)
    assert not pipeline.waiting("dead-letters")
    assert not pipeline.dynamodb.items


@pytest.mark.parametrize(
    ("queue", "steps", "dlq"),
    [
        ("ingest", ["upload", "dispatch"], INGEST_DLQ),
        ("work", READ, WORK_DLQ),
        ("heavy", READ, HEAVY_DLQ),
        ("finished", [*READ, "work"], FINISHED_DLQ),
    ],
)
def test_the_dead_letter_is_kept_with_where_it_came_from(
    pipeline: Pipeline, queue: str, steps: list[str], dlq: str
) -> None:
    """An operator who looks at it later needs the message and the queue that gave it up."""
    upload(pipeline, *steps)
    dead_letter = dead_letter_of(pipeline, queue)
    requests = Requests(pipeline.sqs)
    pipeline.clients["sqs"] = requests  # type: ignore[assignment]
    handle(dead_letter, dlq)
    assert requests.of("send_message") == [
        {
            "QueueUrl": services.settings().queues["dead-letters"].url,
            "MessageBody": dead_letter,
            "MessageAttributes": {"queue": {"DataType": "String", "StringValue": dlq}},
        }
    ]
