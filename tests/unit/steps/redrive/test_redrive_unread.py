"""A redrive of a chunk that was never read takes all of it back, to be read again."""

from chalicelib import services
from chalicelib.store.batch import Hold
from chalicelib.store.chunk import ChunkState
from chalicelib.store.hold import Holds
from chalicelib.store.items import ChunkKey, Counts, number, text
from chalicelib.transport.messages import ChunkMessage
from tally.testing.pipeline import Pipeline
from tests.support.builders import Requests, markers_of, plant_batch, plant_rows, table
from tests.support.redriving import check, deliver, redrive, redriver, repair_job, upload


def _unread(pipeline: Pipeline) -> tuple[str, dict[tuple[str, str], bytes]]:
    """Return a batch whose object was gone before its rows were read, and the object."""
    batch_id = upload(pipeline)
    deliver(pipeline, "upload", "dispatch")
    lost = dict(pipeline.s3.objects)
    pipeline.s3.objects.clear()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=10)
    return batch_id, lost


def test_a_chunk_that_was_never_read_is_read_again_as_a_whole(pipeline: Pipeline) -> None:
    """Whichever of its rows was asked for: ingest reads them all. Here somebody has put the object back."""
    batch_id, lost = _unread(pipeline)
    pipeline.s3.objects.update(lost)
    repair_job()
    assert redrive(pipeline, batch_id, rows=[(0, 1)]) == 4
    chunk = pipeline.chunks(batch_id)[0]
    assert (chunk.state, chunk.rows, chunk.generation) == (ChunkState.PLANNED, None, 2)
    assert (chunk.remaining, chunk.counts, list(chunk.done)) == (0, Counts(), [])
    assert markers_of(pipeline.dynamodb, chunk.key) == []
    check(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=6)


def test_a_large_chunk_that_was_never_read_is_taken_back_whole_in_one_transaction(pipeline: Pipeline) -> None:
    """Half of it would be a chunk without totals of which some rows have a marker."""
    key = ChunkKey("flaky-1", 0)
    rows = 6_000
    plant_batch(pipeline.dynamodb, key.batch_id)
    plant_rows(pipeline.dynamodb, key, ["kind"], [["fine"]] * rows)
    chunk = pipeline.dynamodb.items[key.pk, "chunk"]
    chunk |= {"state": text(ChunkState.PLANNED), "version": number(0)}
    for name in ("rows", "pages", "done", "heavy", "remaining", "succeeded", "failed", "rejected"):
        del chunk[name]
    pipeline.s3.objects.clear()
    services.Services.of(None).ingester.ingest(ChunkMessage(key.batch_id, 0))
    assert len(markers_of(pipeline.dynamodb, key)) > 1
    requests = Requests(pipeline.dynamodb)
    assert redriver(requests).redrive(key.batch_id, on_chunk=lambda: None).rows == rows
    assert len(requests.of("transact_write_items")) == 1
    check(pipeline, key.batch_id)


def test_rows_that_still_cannot_be_read_fail_again(pipeline: Pipeline) -> None:
    """With the reason once more, and the batch ends."""
    batch_id, _ = _unread(pipeline)
    redrive(pipeline, batch_id)
    pipeline.drain()
    check(pipeline, batch_id)
    assert (pipeline.batch(batch_id).attempt, pipeline.batch(batch_id).counts) == (2, Counts(failed=10))


def test_rows_that_are_to_be_read_again_fail_if_their_batch_is_cancelled_meanwhile(pipeline: Pipeline) -> None:
    """Nobody else would give them an outcome."""
    batch_id, lost = _unread(pipeline)
    pipeline.s3.objects.update(lost)
    redrive(pipeline, batch_id)
    assert Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(failed=10)
