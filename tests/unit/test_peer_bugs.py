"""Bugs of Tally's peers, and two of its own first version, as they would show here; each is named with its issue."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from chalicelib import services
from chalicelib.store.batch import BatchStatus
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Counts, bits, number_of
from chalicelib.store.pacing import item_size
from tally.testing.faults import Fault
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import (
    changed_since,
    chunk_of,
    count_rows,
    deployed_job,
    faulty,
    outcomes_of,
    plant_ready,
    succeeded,
    table,
)
from tests.support.redriving import JOB, check, deliver, events, job_module, redrive, repair_job, upload

READY = ("upload", "dispatch", "ingest", "dispatch")
"""The deliveries until each chunk waits to be processed."""
KEY = ChunkKey("offices-1", 0)


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose failures can be repaired."""
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def _ends(pipeline: Pipeline) -> int:
    """Return how often a batch has ended."""
    changes = [change for change in changed_since(pipeline.dynamodb) if change.sk == "batch"]
    return sum(change.new.get("completed_at") != change.old.get("completed_at", None) for change in changes)


def _settle(pipeline: Pipeline, *, most: int = 1000) -> None:
    while "settle" in pipeline.work():
        assert pipeline.deliver("settle", most=most)


def test_callback_twice_sidekiq_5068(pipeline: Pipeline) -> None:
    """Sidekiq #5068: the callback of a batch ran twice.

    Two deliveries of the same images check for the end at the same time, and the stream comes once more from its
    beginning: the batch ends once, and every event that goes out has the same id, by which a subscriber tells.
    """
    batch_id = upload(pipeline, *["fine"] * 8)
    deliver(pipeline, *READY, "work", "work", "finished")
    woken: list[str] = []

    def the_other_settles_first(operation: str) -> Fault:
        if not woken:
            woken.append(operation)
            _settle(pipeline)
        return Fault.NONE

    pipeline.faults = the_other_settles_first
    pipeline.deliver("settle", most=1000)
    assert woken
    pipeline.drain()
    pipeline.positions["settle"] = 0
    pipeline.drain()
    assert _ends(pipeline) == 1
    assert [event_id for event_id, _ in events(pipeline, batch_id)] == [f"{batch_id}#1"]


def test_once_per_job_good_job_832(pipeline: Pipeline) -> None:
    """good_job #832: each job of a batch that found all the others finished enqueued the callback.

    Every chunk is counted and looked at by an invocation of its own: one of them ends the batch.
    """
    batch_id = upload(pipeline, *["fine"] * 24)
    deliver(pipeline, *READY, *["work"] * 6, "finished")
    _settle(pipeline, most=1)
    assert _ends(pipeline) == 1
    assert events(pipeline, batch_id) == [(f"{batch_id}#1", 1)]
    assert pipeline.batch(batch_id).counts == Counts(succeeded=24)


def test_pending_below_zero_after_retry_laravel_38139(pipeline: Pipeline) -> None:
    """Laravel #38139: a retried job was taken from the pending ones a second time, and they went below zero.

    Failed rows are redriven, their old outcomes come again, and their new ones twice: what remains is never less than
    nothing, of any chunk and of the batch, at any moment.
    """
    batch_id = upload(pipeline, "a", "fine", "b", "fine", "a")
    deliver(pipeline, *READY, "work", "work")
    old = list(pipeline.waiting("finished"))
    pipeline.drain()
    repair_job()
    assert redrive(pipeline, batch_id) == 3
    deliver(pipeline, "dispatch", "work", "work")
    pipeline.waiting("finished")[:] = [*old, *pipeline.waiting("finished") * 2, *old]
    pipeline.drain()
    images = [change.new for change in changed_since(pipeline.dynamodb) if change.sk in {"chunk", "batch"}]
    planned = [image for image in images if "rows" in image and ("chunks" in image or image["sk"]["S"] == "chunk")]
    assert min(number_of(image, "remaining") for image in planned) == 0
    check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=5)


@pytest.mark.parametrize("counted", [[0], [3], [0, 2], [1, 2, 3]])
def test_partial_acknowledgement_lost_on_recovery_pulsar_26498(pipeline: Pipeline, counted: list[int]) -> None:
    """Pulsar #26498: entries of a batch that were acknowledged one by one came again after a recovery.

    A worker dies when some rows of its message are counted, and the message comes again as it was, for all rows: those
    that are done are not run again.
    """
    batch_id = upload(pipeline, *["fine"] * 4)
    deliver(pipeline, *READY)
    key = ChunkKey(batch_id, 0)
    count_rows(pipeline.dynamodb, key, *map(succeeded, counted))
    deliver(pipeline, "work")
    assert len(job_module().ran) == 4 - len(counted)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)
    assert outcomes_of(pipeline.dynamodb, key).keys() == {0, 1, 2, 3}


def test_state_that_outgrows_its_item_parallel_consumer_35_and_647() -> None:
    """parallel-consumer #35 and #647: the encoding of what was done outgrew its place, and progress stood still.

    The largest chunk, every row of it heavy, is counted in the order that compresses worst, in 40 transactions: its
    item never is larger than a write unit, and every row gets its place.
    """
    dynamodb = MemoryDynamoDB()
    most = 2_000
    plant_ready(dynamodb, KEY, most, heavy=bits(RowBits.first(most)))
    for start in range(40):
        count_rows(dynamodb, KEY, *[succeeded(row) for row in range(start, most, 40)])
        assert item_size(dynamodb.items[KEY.pk, "chunk"]) <= 1_024
    chunk = chunk_of(dynamodb, KEY)
    assert (chunk.complete, chunk.counts) == (True, Counts(succeeded=most))


@pytest.mark.parametrize("ran_again", [False, True], ids=["before it runs again", "after it has succeeded"])
def test_failure_after_redrive_tally_version_1(pipeline: Pipeline, ran_again: bool) -> None:
    """Tally, version 1: an old outcome that was delivered once more failed the redriven row again, for good."""
    batch_id = upload(pipeline, "a")
    deliver(pipeline, *READY, "work")
    old = list(pipeline.waiting("finished"))
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=1)
    repair_job()
    redrive(pipeline, batch_id)
    if ran_again:
        deliver(pipeline, "dispatch", "work", "finished")
    pipeline.waiting("finished").extend(old)
    deliver(pipeline, "finished")
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).status) == (
        Counts(succeeded=1),
        BatchStatus.COMPLETED,
    )


def _counted(pipeline: Pipeline) -> None:
    """Let the failure be counted."""
    deliver(pipeline, "finished")


def _ended(pipeline: Pipeline) -> None:
    """Let the failure be counted, and the batch end with it."""
    deliver(pipeline, "finished")
    _settle(pipeline)


def _woken(
    positions: tuple[int, int], acts: tuple[Callable[[], object], Callable[[], object]]
) -> Callable[[str], Fault]:
    """Let a command sleep before two of its calls, while something happens each time."""
    calls: list[str] = []

    def fault(operation: str) -> Fault:
        calls.append(operation)
        for position, act in zip(positions, acts, strict=True):
            if len(calls) == position + 1:
                act()
        return Fault.NONE

    return fault


def _repair(pipeline: Pipeline, batch_id: str, faults: Callable[[str], Fault]) -> None:
    made, slept = services.Services.of(None).reconciler, table(faulty(pipeline.dynamodb, faults))
    reconciler = replace(made, table=slept, settler=replace(made.settler, table=slept))
    reconciler.repair(batch_id, thorough=True)


CALLS = 14
"""More than a repair of one chunk makes."""


@pytest.mark.parametrize("fail", [_counted, _ended])
def test_counters_that_come_back_tally_version_1(fail: Callable[[Pipeline], None]) -> None:
    """Tally, version 1: redrive and repair were frozen and woken, and two rows stayed failed without a marker.

    A repair reads the counters; a failure is counted, and perhaps the batch ends; the repair reads the markers; a
    redrive takes the failure back, and every counter is what the repair had read. It sleeps before any two of its
    calls.
    """
    for positions in combinations(range(CALLS), 2):
        with pytest.MonkeyPatch.context() as patch:
            pipeline = Pipeline(patch)
            batch_id = upload(pipeline, "a")
            deliver(pipeline, *READY, "work")
            acts = (lambda: fail(pipeline), lambda: redrive(pipeline, batch_id))  # noqa: B023  called in this round
            _repair(pipeline, batch_id, _woken(positions, acts))
            check(pipeline, batch_id)
            repair_job()
            redrive(pipeline, batch_id)
            pipeline.drain()
            redrive(pipeline, batch_id)
            pipeline.drain()
            check(pipeline, batch_id)
            assert pipeline.batch(batch_id).counts == Counts(succeeded=1), positions
            assert Counter(event_id for event_id, _ in events(pipeline, batch_id)).most_common(1)[0][1] == 1
        job_module().broken.add("a")
