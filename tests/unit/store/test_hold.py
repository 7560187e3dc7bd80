"""Holds: one batch paused, resumed or stopped, by an operator or by its failures; what is counted stays counted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.steps.redrive import Redriver
from chalicelib.store.batch import Batch, BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import BATCH_SK, Counts, batch_pk, text
from chalicelib.store.marker import ReasonCode
from tally.testing.faults import Fault
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tally.testing.pipeline import Pipeline
from tests.support.builders import at_call, deployed_job, faulty, plant_batch, table

BATCH = "strict-1"
JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

broken = True
ATTEMPTS = 1
FAILURE_LIMIT = None

def heavy(row):
    return row.kind == "heavy"

def process(row):
    if broken and row.kind == "raises":
        raise ValueError("not now")
    if row.kind == "never":
        raise ValueError("not ever")
    return row.kind
"""
STOPS = [Hold.CANCELLED, Hold.THRESHOLD]


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job that a test may change."""
    with deployed_job(monkeypatch, tmp_path, "strict", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def _limit(monkeypatch: pytest.MonkeyPatch, limit: int | str) -> None:
    jobs.require("strict")
    monkeypatch.setattr("chalicelib.jobs.strict.FAILURE_LIMIT", limit)
    jobs.find.cache_clear()


def _upload(pipeline: Pipeline, *kinds: str) -> str:
    return pipeline.upload("inbox/strict/day.csv", ("kind\n" + "\n".join(kinds)).encode())


def _holds(dynamodb: Any) -> Holds:
    return Holds(table=table(dynamodb))


def _held(dynamodb: MemoryDynamoDB) -> Hold | None:
    return Batch.from_item(dynamodb.items[batch_pk(BATCH), BATCH_SK]).hold


def _until(pipeline: Pipeline, *steps: str) -> None:
    for step in steps:
        assert pipeline.deliver(step, most=1000)


def _in_state(status: BatchStatus = BatchStatus.RUNNING, hold: Hold | None = None) -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    held = {"hold": text(hold)} if hold else {}
    plant_batch(made, BATCH, chunks=1, **{"status": text(status), **held})
    return made


@pytest.mark.parametrize("hold", list(Hold))
@pytest.mark.parametrize("status", list(BatchStatus))
def test_a_batch_is_held_while_it_is_under_way_and_not_after(status: BatchStatus, hold: Hold) -> None:
    """One that has ended has nothing left to hold."""
    dynamodb = _in_state(status=status)
    assert _holds(dynamodb).hold(BATCH, hold) is not status.final
    assert _held(dynamodb) is (None if status.final else hold)


@pytest.mark.parametrize("stop", STOPS)
def test_a_paused_batch_may_be_stopped(stop: Hold) -> None:
    """Its rows, which come back every minute, fail then."""
    dynamodb = _in_state(hold=Hold.PAUSED)
    assert _holds(dynamodb).hold(BATCH, stop) is True
    assert _held(dynamodb) is stop


@pytest.mark.parametrize("stopped", STOPS)
@pytest.mark.parametrize("hold", list(Hold))
def test_a_batch_that_was_stopped_stays_so_for_the_same_reason(stopped: Hold, hold: Hold) -> None:
    """Some of its rows have failed of it already; a pause would let the others off."""
    dynamodb = _in_state(hold=stopped)
    assert _holds(dynamodb).hold(BATCH, hold) is False
    assert _holds(dynamodb).resume(BATCH) is False
    assert _held(dynamodb) is stopped


def test_pausing_a_paused_batch_changes_nothing_and_says_so() -> None:
    """The operator gets the true answer."""
    dynamodb = _in_state()
    assert [_holds(dynamodb).hold(BATCH, Hold.PAUSED) for _ in range(2)] == [True, False]
    assert _held(dynamodb) is Hold.PAUSED


def test_a_paused_batch_is_resumed_once() -> None:
    """The second time there is nothing to resume."""
    dynamodb = _in_state(hold=Hold.PAUSED)
    assert [_holds(dynamodb).resume(BATCH) for _ in range(2)] == [True, False]
    assert _held(dynamodb) is None


@pytest.mark.parametrize("what", ["hold", "resume"])
def test_a_batch_that_does_not_exist_is_not_made(what: str) -> None:
    """A typing error in an id leaves no half batch in the table."""
    dynamodb = MemoryDynamoDB()
    holds = _holds(dynamodb)
    calls: dict[str, Callable[[], bool]] = {
        "hold": lambda: holds.hold(BATCH, Hold.PAUSED),
        "resume": lambda: holds.resume(BATCH),
    }
    assert calls[what]() is False
    assert not dynamodb.items


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.THROTTLED])
def test_a_hold_that_was_not_heard_of_holds(fault: Fault) -> None:
    """The second try meets the first; what it says of it may be wrong, what it does is not."""
    dynamodb = _in_state()
    _holds(faulty(dynamodb, at_call(0, fault))).hold(BATCH, Hold.CANCELLED)
    assert _held(dynamodb) is Hold.CANCELLED


STATES: dict[str, list[str]] = {
    "planned": ["upload"],
    "chunks sent": ["upload", "dispatch"],
    "read": ["upload", "dispatch", "ingest"],
    "rows sent": ["upload", "dispatch", "ingest", "dispatch"],
    "partly processed": ["upload", "dispatch", "ingest", "dispatch", "work"],
    "partly counted": ["upload", "dispatch", "ingest", "dispatch", "work", "finished"],
}
KINDS = ["fine"] * 5 + ["heavy", "raises"]


@pytest.mark.parametrize("state", list(STATES))
def test_a_cancelled_batch_ends_with_every_other_row_failed_for_it(pipeline: Pipeline, state: str) -> None:
    """Whenever it is cancelled: outcomes that rows have by then are kept, none is processed after."""
    batch_id = _upload(pipeline, *KINDS)
    _until(pipeline, *STATES[state])
    done = 4 if state.startswith("partly") else 0  # a chunk
    _holds(pipeline.dynamodb).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    batch = pipeline.batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert (batch.rows, batch.counts) == (7, Counts(succeeded=done, failed=7 - done))
    failed = [outcome for _, outcome in pipeline.outcomes(batch_id) if outcome.code]
    assert len(failed) == 7 - done
    assert {outcome.code for outcome in failed} == {ReasonCode.CANCELLED}
    verb = "read" if state in {"planned", "chunks sent"} else "processed"
    assert all(f"the batch was stopped (cancelled) before this row was {verb}" in each.reason for each in failed)
    assert [detail["event_id"] for detail in pipeline.events.details] == [f"{batch_id}#1"]


@pytest.mark.parametrize("state", list(STATES))
def test_a_paused_batch_processes_no_row_until_it_is_resumed(pipeline: Pipeline, state: str) -> None:
    """Whenever it is paused; then it ends as if nothing had been."""
    batch_id = _upload(pipeline, *KINDS)
    _until(pipeline, *STATES[state])
    _holds(pipeline.dynamodb).hold(batch_id, Hold.PAUSED)
    for _ in range(20):
        for what in pipeline.work():
            pipeline.deliver(what, most=1000)
    done = 4 if state.startswith("partly") else 0
    assert len(pipeline.outcomes(batch_id)) == done
    assert pipeline.batch(batch_id).status is BatchStatus.RUNNING
    assert _holds(pipeline.dynamodb).resume(batch_id) is True
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=6, failed=1)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES


def test_a_paused_batch_that_is_cancelled_ends(pipeline: Pipeline) -> None:
    """Its waiting rows come back and fail."""
    batch_id = _upload(pipeline, *KINDS)
    _until(pipeline, *STATES["rows sent"])
    holds = _holds(pipeline.dynamodb)
    holds.hold(batch_id, Hold.PAUSED)
    _until(pipeline, "work", "work")
    holds.hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=7)


def test_one_batch_is_held_and_no_other(pipeline: Pipeline) -> None:
    """Of the same job, at the same time."""
    held = _upload(pipeline, *KINDS)
    other = pipeline.upload("inbox/strict/other.csv", b"kind\nfine\nfine\n")
    _until(pipeline, "upload", "upload")
    _holds(pipeline.dynamodb).hold(held, Hold.CANCELLED)
    pipeline.drain()
    assert pipeline.batch(held).counts == Counts(failed=7)
    assert pipeline.batch(other).status is BatchStatus.COMPLETED


LIMITS = [(0, 1), (1, 2), (3, 4), ("0%", 1), ("10%", 3), ("25%", 7), (27, 28), ("100%", 28)]
"""A limit, and the fewest failures of 28 rows that are more than it."""


@pytest.mark.parametrize(("limit", "enough"), [case for case in LIMITS if case[1] < 28])
def test_more_failures_than_the_limit_stop_a_batch(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, limit: int | str, enough: int
) -> None:
    """Rows that were not processed by then fail for it, and the batch ends, all of it counted."""
    _limit(monkeypatch, limit)
    failing = -(-enough // 4) * 4  # whole chunks of four, for failures are added up as chunks close
    batch_id = _upload(pipeline, *["raises"] * failing, *["fine"] * (28 - failing))
    _one_chunk_after_the_other(pipeline)
    batch = pipeline.batch(batch_id)
    assert batch.hold is Hold.THRESHOLD
    assert (batch.status, batch.rows) == (BatchStatus.COMPLETED_WITH_FAILURES, 28)
    stopped = [outcome for _, outcome in pipeline.outcomes(batch_id) if outcome.code is ReasonCode.THRESHOLD]
    assert batch.counts == Counts(succeeded=28 - failing - len(stopped), failed=failing + len(stopped))
    assert len(stopped) > 0


@pytest.mark.parametrize(("limit", "enough"), LIMITS)
def test_as_many_failures_as_the_limit_do_not_stop_a_batch(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, limit: int | str, enough: int
) -> None:
    """The limit is what is allowed."""
    _limit(monkeypatch, limit)
    allowed = enough - 1
    batch_id = _upload(pipeline, *["raises"] * allowed, *["fine"] * (28 - allowed))
    _one_chunk_after_the_other(pipeline)
    batch = pipeline.batch(batch_id)
    assert (batch.hold, batch.counts) == (None, Counts(succeeded=28 - allowed, failed=allowed))


def test_a_job_without_a_limit_may_fail_every_row(pipeline: Pipeline) -> None:
    """Each of them with its own reason."""
    batch_id = _upload(pipeline, *["raises"] * 28)
    _one_chunk_after_the_other(pipeline)
    assert pipeline.batch(batch_id).hold is None
    assert {outcome.reason for _, outcome in pipeline.outcomes(batch_id)} == {"ValueError: not now"}


@pytest.mark.parametrize("percent", ["0.57%", "0.29%", "1.1%", "7%", "29%", "58%"])
def test_a_share_of_the_rows_is_what_it_says(monkeypatch: pytest.MonkeyPatch, percent: str) -> None:
    """Not one row less, for want of a binary fraction."""
    _limit(monkeypatch, percent)
    job = jobs.require("strict")
    assert job.most_failures(10_000) == round(float(percent.removesuffix("%")) * 100)
    assert replace(job, failure_limit="50%").most_failures(3) == 1


def test_an_old_image_does_not_stop_the_next_attempt(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream may deliver again what was before the redrive: the failures that it shows were taken back."""
    _limit(monkeypatch, 1)
    batch_id = _upload(pipeline, *["raises"] * 4)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=4)
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: None)
    monkeypatch.setattr("chalicelib.jobs.strict.broken", False)
    pipeline.positions["settle"] = 0
    while "settle" in pipeline.work():
        assert pipeline.deliver("settle", most=1)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)


def test_a_stopped_batch_whose_cause_is_gone_is_redriven_to_the_end(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failures of before, not yet all taken back, must not stop the attempt that takes them back."""
    _limit(monkeypatch, 1)
    batch_id = _upload(pipeline, *["raises"] * 12)
    pipeline.drain()
    assert (pipeline.batch(batch_id).hold, pipeline.batch(batch_id).counts) == (Hold.THRESHOLD, Counts(failed=12))
    monkeypatch.setattr("chalicelib.jobs.strict.broken", False)
    # Settle is as quick as redrive: it sees each chunk's reopening as it comes.
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=lambda: _settle(pipeline))
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=12)


def test_a_redriven_row_that_fails_again_does_not_stop_the_others(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures that nobody has taken back yet, or wants to, are no reason: somebody has decided to run these."""
    _limit(monkeypatch, 1)
    batch_id = _upload(pipeline, *["raises", "never"] * 6)
    pipeline.drain()
    monkeypatch.setattr("chalicelib.jobs.strict.broken", False)
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, on_chunk=pipeline.drain)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=6, failed=6)
    assert {outcome.reason for _, outcome in pipeline.outcomes(batch_id)} == {"", "ValueError: not ever"}


def _settle(pipeline: Pipeline) -> None:
    while "settle" in pipeline.work():
        assert pipeline.deliver("settle", most=1000)


def _one_chunk_after_the_other(pipeline: Pipeline) -> None:
    """Deliver as if workers were few: one message at a time, and all that follows from it."""
    pipeline.drain_uploads()
    while pipeline.work():
        for what in ("settle", "finished", "work", "heavy", "dispatch", "ingest"):
            if what in pipeline.work():
                assert pipeline.deliver(what, most=1 if what in {"ingest", "work"} else 1000)
                break
