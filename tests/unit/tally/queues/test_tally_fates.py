"""The outcome of dead letters, by what the table and the log of their function say."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from chalicelib.retry import Retry
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, bits, number
from chalicelib.store.table import Table
from tally.queues.dead import DeadQueue, Letter
from tally.queues.fates import fates, taken
from tally.stages.expected import Expected, Mapping
from tests.unit.tally import finished_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
EXPECTED = Expected(
    account_id="1", region="r", table_name="t", stream_arn="", inbox_bucket="i", alarm_topic_arn=None,
    reconcile_minutes=5, queue_age_seconds=1, iterator_age_seconds=1, functions={}, queues={}, failure_queues={},
    mappings=[
        Mapping(
            function="dead_letters", source_arn="arn:aws:sqs:r:1:tally-x-work-dlq", batch_size=1, window_seconds=0,
            maximum_concurrency=None, filters=[], stream=None,
        )
    ],
)  # fmt: skip


def queue(name: str, source_url: str = "") -> DeadQueue:
    return DeadQueue(
        name=name, url=f"https://sqs/1/tally-x-{name}", section="s", source_url=source_url, instead="see the page"
    )


WORK, EXPORT, STREAM, COPIES = queue("work-dlq", "u"), queue("export-dlq", "u"), queue("stream"), queue("dead-letters")


def became(dynamodb: "DynamoDBClient", of: DeadQueue, body: Any, origin: str = "") -> tuple[str, str]:
    """Return the outcome of one dead letter, and the command."""
    attributes = {"queue": {"DataType": "String", "StringValue": origin}} if origin else {}
    text = body if isinstance(body, str) else json.dumps(body)
    letter = Letter(id="letter", receipt="r", body=text, attributes=attributes)
    table = Table(dynamodb=dynamodb, name=finished_batch.TABLE, retry=Retry())
    (fate,) = fates(table, EXPECTED, [(of, letter)])
    return fate.became, fate.command


@pytest.fixture
def chunk(dynamodb: "DynamoDBClient") -> "DynamoDBClient":
    """Write a chunk of three rows, two of them done, in its second generation."""
    made = Chunk(key=ChunkKey("b", 4), start=0, end=1, first_line=2, expected_rows=3, generation=2)
    counted = {"rows": number(3), "done": bits(RowBits.first(2)), "version": number(5)}
    finished_batch.put(dynamodb, made.to_item() | counted)
    return dynamodb


def test_a_copy_says_which_outcome_its_rows_have_and_what_runs_those_again_that_failed(
    chunk: "DynamoDBClient",
) -> None:
    succeeded, failed = replace(finished_batch.SUCCEEDED, row=1), replace(finished_batch.FAILED, row=0)
    finished_batch.put_marker(chunk, ChunkKey("b", 4), 2, failed)
    finished_batch.put_marker(chunk, ChunkKey("b", 4), 3, succeeded)
    work = {"batch": "b", "chunk": 4, "generation": 2}
    both = became(chunk, COPIES, work | {"rows": [0, 1]}, "tally-x-work-dlq")
    assert both == ("its rows have ended: 1 succeeded, 1 failed", "tally redrive b --rows 4:0")
    left = became(chunk, COPIES, work | {"rows": [1, 2]}, "tally-x-work-dlq")
    assert left == ("1 of its rows has no outcome yet", "tally audit --repair b")
    assert became(chunk, COPIES, work, "tally-x-finished-dlq") == ("its outcomes were counted", "")
    assert became(chunk, COPIES, "{}", "tally-x-plan-failures")[0].startswith("its upload was planned again")


def test_a_redrive_of_other_rows_of_its_chunk_is_no_redrive_of_its_rows(chunk: "DynamoDBClient") -> None:
    finished_batch.put_marker(chunk, ChunkKey("b", 4), 2, replace(finished_batch.FAILED, row=0))
    old = {"batch": "b", "chunk": 4, "generation": 1, "rows": [0]}
    assert became(chunk, COPIES, old, "tally-x-work-dlq") == (
        "its rows have ended: 1 failed",
        "tally redrive b --rows 4:0",
    )


def test_a_copy_whose_rows_are_redriven_says_so_until_they_have_an_outcome(chunk: "DynamoDBClient") -> None:
    old = {"batch": "b", "chunk": 4, "generation": 1, "rows": [2]}
    assert became(chunk, COPIES, old, "tally-x-work-dlq") == (
        "a redrive runs its rows again: 1 of them has no outcome yet",
        "",
    )
    finished_batch.change(chunk, ChunkKey("b", 4).pk, "chunk", "done", bits(RowBits.first(3)))
    finished_batch.put_marker(chunk, ChunkKey("b", 4), 6, replace(finished_batch.SUCCEEDED, row=2))
    assert became(chunk, COPIES, old, "tally-x-work-dlq") == (
        "its rows have ended: 1 succeeded, so it is of no use any more",
        "tally dead dead-letters --discard letter",
    )


def test_a_letter_that_waits_and_that_a_redrive_has_overtaken_changes_nothing(chunk: "DynamoDBClient") -> None:
    old = {"batch": "b", "chunk": 4, "generation": 1}
    assert became(chunk, WORK, old)[0] == "a redrive has sent its rows again, so it changes nothing any more"


def test_a_letter_of_a_batch_that_is_gone_can_be_discarded(chunk: "DynamoDBClient") -> None:
    for body in ({"batch": "gone", "chunk": 0, "generation": 1}, {"batch": "gone", "attempt": 1}):
        assert became(chunk, EXPORT, body) == (
            "its batch is gone, so it is of no use any more",
            "tally dead export-dlq --discard letter",
        )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (WORK, ("waits: the function dead_letters takes it again within six minutes", "")),
        (EXPORT, ("waits until it is sent again", "tally dead export-dlq --redrive")),
        (STREAM, ("waits: see the page", "")),
    ],
)
def test_a_letter_that_waits_says_for_what(
    chunk: "DynamoDBClient", where: DeadQueue, expected: tuple[str, str]
) -> None:
    assert became(chunk, where, {"batch": "b", "chunk": 4, "generation": 2}) == expected


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"batch": 1}', '{"batch": "b", "chunk": 4, "rows": ["x", -1]}'])
def test_a_letter_that_is_no_message_of_tally_is_listed_too(chunk: "DynamoDBClient", body: str) -> None:
    for where in (WORK, EXPORT, STREAM, COPIES):
        assert became(chunk, where, body)[0]


class Logs:
    """Has the log of ``dead_letters``, or none."""

    def __init__(self, messages: list[str] | None) -> None:
        self.messages = messages

    def get_paginator(self, _operation: str) -> Any:
        """Return itself, as what pages."""
        return self

    def paginate(self, **_request: Any) -> Any:
        """Answer as CloudWatch Logs does."""
        if self.messages is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        yield {"events": [{"message": text, "timestamp": 1000 * at} for at, text in enumerate(self.messages)]}


def test_the_log_says_which_were_sent_again_and_whose_rows_failed() -> None:
    def line(message: str, queue: str, **fields: int) -> str:
        return json.dumps({"message": message, "queue": f"tally-x-{queue}", "message_id": "m", **fields})

    logs = Logs(
        [
            line("dead_letter.handled", "work-dlq", rows=3, counted=1),
            "Traceback: dead_letter",
            line("dead_letter.handled", "finished-dlq", rows=2, counted=2),
            line("dead_letter.handled", "plan-failures", rows=0, counted=0),
            line("message.failed", "work-dlq"),
            line("dead_letter.returned", "work-dlq", rows=2),
        ]
    )
    assert [each.became for each in taken(logs, "x", NOW)] == [
        "sent again: it killed no worker (2 rows)",
        "its upload was planned again, or its batch was rejected",
        "2 rows counted",
        "1 row failed, 2 had an outcome before",
    ]


def test_a_function_that_never_ran_has_taken_nothing() -> None:
    assert taken(Logs(None), "x", NOW) == []
