"""A dead letter that killed no worker is sent again, and counts no row twice."""

import pytest

from chalicelib.steps.dead_letters import MAX_RETURNS, HandledDeadLetter
from chalicelib.store.items import ChunkKey
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, WorkMessage, decode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, killed, plant_deaths
from tests.support.dead_letters import HEAVY_DLQ, INGEST_DLQ, WORK_DLQ, failed_rows, handle, handling
from tests.support.plain import AFTER, READ, redrive, upload

RETURNED: dict[str, tuple[list[str], str]] = {
    "ingest": (["upload", "dispatch"], INGEST_DLQ),
    "work": (READ, WORK_DLQ),
    "heavy": (READ, HEAVY_DLQ),
}


def _returns(queue: str, body: str) -> int:
    return decode(body, ChunkMessage).returns if queue == "ingest" else decode(body, WorkMessage).returns


@pytest.mark.parametrize("deaths", [0, 1])
@pytest.mark.parametrize("queue", list(RETURNED))
def test_a_dead_letter_that_no_two_workers_died_of_is_sent_again(pipeline: Pipeline, queue: str, deaths: int) -> None:
    """Lambda throttled it; its rows are healthy, and one worker may die of anything."""
    steps, dlq = RETURNED[queue]
    batch_id = upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    plant_deaths(pipeline.dynamodb, body, deaths=deaths)
    handled = handle(body, dlq)
    assert (handled.counted, handled.returned) == (0, handled.rows)
    assert handled.rows > 0
    assert not pipeline.waiting("dead-letters")
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


@pytest.mark.parametrize("queue", list(RETURNED))
def test_a_dead_letter_that_nobody_ever_begins_ends_with_that_reason(pipeline: Pipeline, queue: str) -> None:
    """It is sent again so many times, then its batch ends; a redrive asks for its rows again."""
    steps, dlq = RETURNED[queue]
    batch_id = upload(pipeline, *steps)
    rounds = 0
    body = pipeline.waiting(queue).pop(0)
    while (handled := handle(body, dlq)).returned:
        body = pipeline.waiting(queue).pop()
        rounds += 1
        assert _returns(queue, body) == rounds
    assert rounds == MAX_RETURNS
    assert pipeline.waiting("dead-letters") == [body]
    pipeline.drain()
    failed = failed_rows(pipeline, batch_id)
    assert len(failed) == handled.counted > 0
    assert {found.code for found in failed.values()} == {ReasonCode.NEVER_RAN}
    assert all("no worker began it" in found.reason for found in failed.values())
    assert redrive(pipeline, batch_id) == handled.counted
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


def test_a_dead_letter_of_many_rows_whose_worker_died_is_split_and_kills_no_healthy_row(pipeline: Pipeline) -> None:
    """Throttled four times and then killed: nobody has split it, and it died of one of its rows at most."""
    batch_id = upload(pipeline, *READ)
    body = pipeline.waiting("work").pop(0)
    plant_deaths(pipeline.dynamodb, body, deaths=1)
    assert handle(body, WORK_DLQ) == HandledDeadLetter(rows=2, counted=0, returned=2)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER


@pytest.mark.parametrize("queue", list(RETURNED))
def test_a_throttled_dead_letter_that_a_redrive_has_overtaken_is_not_sent_again(pipeline: Pipeline, queue: str) -> None:
    """The redrive has asked for its rows itself."""
    steps, dlq = RETURNED[queue]
    batch_id = upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    pipeline.dynamodb.items[ChunkKey(batch_id, 0).pk, "chunk"]["generation"] = {"N": "2"}
    before = list(pipeline.waiting(queue))
    assert handle(body, dlq).counted == 0
    assert pipeline.waiting(queue) == before


@pytest.mark.parametrize("queue", list(RETURNED))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ERROR_AFTER])
def test_dying_anywhere_while_a_dead_letter_is_sent_again_counts_no_row_twice(
    pipeline: Pipeline, queue: str, fault: Fault
) -> None:
    """It comes again, and is sent twice at most for each time that its handler died."""
    steps, dlq = RETURNED[queue]
    batch_id = upload(pipeline, *steps)
    body = pipeline.waiting(queue).pop(0)
    for position in range(50):
        pipeline.faults = at_call(position, fault)
        if not killed(handling(body, dlq)) and position > 4:
            break
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == AFTER
