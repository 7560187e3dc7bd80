"""The work of before a correction never counts for the corrected row."""

from pathlib import Path

import msgspec

from chalicelib.store.items import ChunkKey, Counts, Outcome
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, FinishedMessage, WorkMessage, decode, encode
from tally.testing.faults import Fault
from tally.testing.pipeline import Pipeline
from tests.support.correcting import (
    FIXED,
    RESULTS,
    corrected,
    ended,
    give_up,
    given_up,
    module,
    outcomes,
    redriver,
    results_of,
    uploaded,
    written,
)
from tests.support.redriving import check, deliver


def test_a_success_that_came_of_the_uploaded_row_is_not_counted_for_the_corrected_one(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Its worker slept while the row became a dead letter and was corrected: it had other bytes."""
    batch_id, late = _with_a_sleeper(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "2,,a,100"))
    pipeline.waiting("finished").append(late)
    deliver(pipeline, "finished")
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id)[0] == "100"


def test_an_old_success_that_arrives_with_a_new_outcome_is_not_counted_for_a_corrected_row(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """Both are of one chunk, in one delivery: the new one must not speak for the old one."""
    batch_id, late = _with_a_sleeper(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "2,,a,100", "3,,b,200"))
    for step in ("dispatch", "ingest", "dispatch", "work"):
        deliver(pipeline, step)
    (new,) = pipeline.waiting("finished")
    message = decode(new, FinishedMessage)
    only = [each for each in message.outcomes if each.row == 1]
    pipeline.waiting("finished")[:] = [
        late,
        encode(
            FinishedMessage(**{name: getattr(message, name) for name in message.__struct_fields__} | {"outcomes": only})
        ),
    ]
    deliver(pipeline, "finished")
    check(pipeline, batch_id)
    assert (0, 0) not in outcomes(pipeline, batch_id)
    pipeline.waiting("finished").append(new)
    pipeline.drain()
    assert results_of(pipeline, batch_id)[:2] == ["100", "200"]


def _with_a_sleeper(pipeline: Pipeline) -> tuple[str, str]:
    """Return a batch whose first chunk has failed as dead letters, and what a worker says of it that slept."""
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch", "ingest", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("work")
    deliver(pipeline, "work")
    (late,) = pipeline.waiting("finished")
    pipeline.waiting("finished").clear()
    message = decode(late, FinishedMessage)
    failed = [
        type(each)(row=each.row, outcome=Outcome.FAILED, code=ReasonCode.DEAD_LETTERED, reason="dead")
        for each in message.outcomes
    ]
    pipeline.waiting("finished").append(encode(msgspec.structs.replace(message, outcomes=failed)))
    pipeline.drain()
    assert decode(body, WorkMessage).generation == 1
    assert pipeline.batch(batch_id).counts == Counts(failed=3)
    return batch_id, late


def test_old_messages_of_before_the_correction_run_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    """Neither one that asked to read the chunk, nor one that asked to run its rows."""
    batch_id = ended(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, *FIXED))
    pipeline.waiting("work").append(encode(WorkMessage(batch=batch_id, chunk=0, generation=1)))
    assert pipeline.deliver("work")
    assert module().ran == []
    pipeline.waiting("ingest").append(encode(ChunkMessage(batch_id, 0, 1)))
    pipeline.drain()
    check(pipeline, batch_id)
    assert results_of(pipeline, batch_id) == RESULTS


def test_a_first_reading_that_slept_does_not_write_over_corrected_rows(pipeline: Pipeline, tmp_path: Path) -> None:
    """Its pages are written without a guard; those with corrected rows are behind them."""
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("ingest")
    deliver(pipeline, "ingest")
    pages = {place: item for place, item in pipeline.dynamodb.items.items() if place[1].startswith("rows#")}
    chunk = (ChunkKey(batch_id, 0).pk, "chunk")
    for place in pages:
        del pipeline.dynamodb.items[place]
    pipeline.dynamodb.items[chunk] = next(  # as it was planned: the reader slept before it wrote anything
        record["dynamodb"]["NewImage"]
        for record in pipeline.dynamodb.stream
        if record["dynamodb"]["Keys"]["sk"]["S"] == "chunk"
    )
    pipeline.dynamodb.stream[:] = pipeline.dynamodb.stream[: pipeline.positions["dispatch"]]
    give_up(pipeline, batch_id, body)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,20"))
    for step in ("dispatch", "ingest"):
        deliver(pipeline, step)
    pipeline.dynamodb.items.update(pages)
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", 20)]


def test_a_reading_that_slept_through_another_correction_does_not_write_over_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """It read the whole chunk with the correction of before; by then the chunk was given up and corrected again."""
    batch_id = given_up(pipeline)
    corrected(pipeline, batch_id, written(tmp_path, "3,,b,21"))
    redriver(pipeline.dynamodb).redrive(batch_id, on_chunk=lambda: None)
    deliver(pipeline, "dispatch")
    (body,) = pipeline.waiting("ingest")

    def sleep(operation: str) -> Fault:
        if operation in {"batch_write_item", "transact_write_items"}:
            pipeline.faults = lambda _: Fault.NONE
            give_up(pipeline, batch_id, body)
            corrected(pipeline, batch_id, written(tmp_path, "3,,b,22"))
            for step in ("dispatch", "ingest"):
                deliver(pipeline, step)
        return Fault.NONE

    pipeline.faults = sleep
    pipeline.deliver("ingest")
    pipeline.drain()
    check(pipeline, batch_id)
    assert module().ran == [("b", 22)]
