"""Redrive: failures are taken back, with exactly what they had counted, and run again."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs, services
from chalicelib.steps.redrive import NotRedrivableError, Redriver
from chalicelib.store.batch import BatchStatus, Hold
from chalicelib.store.hold import Holds
from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, number, text
from tests.support.builders import (
    NOW,
    Requests,
    at_call,
    calls_of,
    changed_since,
    deployed_job,
    faulty,
    killed,
    plant,
    plant_batch,
    table,
)
from tests.support.faults import Fault
from tests.support.pipeline import Pipeline

JOB = """
from chalicelib import rows

class Row(rows.Row):
    kind: str

ran = []
broken = {"a", "b", "heavy"}
ATTEMPTS = 1

def heavy(row):
    return row.kind == "heavy"

def process(row):
    ran.append(row.kind)
    if row.kind in broken:
        raise ValueError(f"{row.kind} is broken")
    return row.kind
"""
KINDS = ["a", "fine", "b", "fine", "a", "b", "too,many", "fine", "fine", "fine"]
"""Chunks of four rows: two with two failures each, and one without."""
BEFORE = Counts(succeeded=5, failed=4, rejected=1)


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose failures can be mended."""
    with deployed_job(monkeypatch, tmp_path, "flaky", JOB):
        yield


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """All handlers over AWS in memory."""
    return Pipeline(monkeypatch)


def _upload(pipeline: Pipeline, *kinds: str) -> str:
    return pipeline.upload("inbox/flaky/day.csv", ("kind\n" + "\n".join(kinds or KINDS)).encode())


def _ended(pipeline: Pipeline, *kinds: str) -> str:
    batch_id = _upload(pipeline, *kinds)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES
    return batch_id


def _module() -> Any:
    return importlib.import_module(jobs.require("flaky").process.__module__)


def _mend(*kinds: str) -> None:
    _module().broken -= set(kinds or ("a", "b", "heavy"))
    _module().ran.clear()


def _redrive(
    pipeline: Pipeline, batch_id: str, *, faults: Callable[[str], Fault] = lambda _: Fault.NONE, **which: Any
) -> int:
    redriver = Redriver(table=table(faulty(pipeline.dynamodb, faults)))
    return redriver.redrive(batch_id, on_chunk=lambda: None, **which)


def _check(pipeline: Pipeline, batch_id: str) -> None:
    """Hold all counters to the markers, also in the middle of something: a batch has the counts of closed chunks."""
    chunks = pipeline.chunks(batch_id)
    closed = [chunk for chunk in chunks if chunk.closed]
    for chunk in chunks:
        found = Counter(m.outcome for m in pipeline.markers(batch_id) if m.chunk == chunk.key)
        assert chunk.counts == Counts(**{outcome.value: found[outcome] for outcome in Outcome})
        assert chunk.rows is None or chunk.remaining == chunk.rows - chunk.counts.total
    batch = pipeline.batch(batch_id)
    assert batch.counts == sum((chunk.counts for chunk in closed), Counts())
    assert batch.rows == sum(chunk.rows or 0 for chunk in closed)
    assert batch.chunks is None or batch.remaining == len(chunks) - len(closed)
    assert batch.status.final <= (len(closed) == len(chunks))


def _events(pipeline: Pipeline, batch_id: str) -> list[tuple[str, int]]:
    ids = [detail["event_id"] for detail in pipeline.events.details]
    return sorted(Counter(ids).items())


def test_the_failed_rows_of_a_batch_run_again_and_no_others(pipeline: Pipeline) -> None:
    """The batch runs again as the next attempt, and ends again with an event of its own."""
    batch_id = _ended(pipeline)
    assert pipeline.batch(batch_id).counts == BEFORE
    _mend()
    assert _redrive(pipeline, batch_id) == 4
    batch = pipeline.batch(batch_id)
    assert (batch.status, batch.attempt, batch.completed_at) == (BatchStatus.RUNNING, 2, "")
    _check(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)
    assert sorted(_module().ran) == ["a", "a", "b", "b"]
    batch = pipeline.batch(batch_id)
    assert batch.counts == Counts(succeeded=9, rejected=1)
    assert (batch.attempt, batch.published_attempt) == (2, 2)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES, "one row was rejected"
    assert _events(pipeline, batch_id) == [(f"{batch_id}#1", 1), (f"{batch_id}#2", 1)]


def test_a_batch_of_which_every_row_succeeds_at_last_is_completed(pipeline: Pipeline) -> None:
    """Nothing of its first attempt sticks."""
    batch_id = _ended(pipeline, "a", "b", "fine")
    _mend()
    _redrive(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


def test_chunks_without_failures_stay_closed(pipeline: Pipeline) -> None:
    """What is not taken back is not touched."""
    batch_id = _ended(pipeline)
    _redrive(pipeline, batch_id)
    assert [chunk.closed for chunk in pipeline.chunks(batch_id)] == [False, False, True]
    assert pipeline.batch(batch_id).remaining == 2


def test_rows_that_fail_again_are_counted_again(pipeline: Pipeline) -> None:
    """Any number of times: the totals are the file's each time."""
    batch_id = _ended(pipeline)
    for attempt in (2, 3, 4):
        assert _redrive(pipeline, batch_id) == 4
        pipeline.drain()
        _check(pipeline, batch_id)
        assert (pipeline.batch(batch_id).attempt, pipeline.batch(batch_id).counts) == (attempt, BEFORE)
    assert _events(pipeline, batch_id) == [(f"{batch_id}#{attempt}", 1) for attempt in (1, 2, 3, 4)]


def test_a_second_redrive_of_the_same_failures_takes_nothing_back(pipeline: Pipeline) -> None:
    """It joins the attempt that the first has begun."""
    batch_id = _ended(pipeline)
    assert [_redrive(pipeline, batch_id) for _ in range(2)] == [4, 0]
    assert pipeline.batch(batch_id).attempt == 2
    _check(pipeline, batch_id)


def test_a_batch_without_failures_is_not_reopened(pipeline: Pipeline) -> None:
    """There is nothing to run again, so there is no attempt that would end."""
    batch_id = _upload(pipeline, "fine", "too,many")
    pipeline.drain()
    before = pipeline.batch(batch_id)
    length = len(pipeline.dynamodb.stream)
    assert _redrive(pipeline, batch_id) == 0
    assert (pipeline.batch(batch_id), len(pipeline.dynamodb.stream)) == (before, length)


def test_of_two_redrives_at_the_same_time_one_begins_the_attempt(pipeline: Pipeline) -> None:
    """The other comes between its read and its write, at every call, and joins it."""
    operations = calls_of(lambda faults: _redrive(pipeline, _ended(pipeline), faults=faults))
    for position in range(len(operations)):
        with pytest.MonkeyPatch.context() as patch:
            crowded = Pipeline(patch)
            batch_id = _ended(crowded)
            _redrive(crowded, batch_id, faults=_meanwhile(position, partial(_redrive, crowded, batch_id)))
            assert crowded.batch(batch_id).attempt == 2
            _check(crowded, batch_id)
            crowded.drain()
            assert crowded.batch(batch_id).counts == BEFORE
            assert _events(crowded, batch_id) == [(f"{batch_id}#{attempt}", 1) for attempt in (1, 2)]


def test_a_redrive_may_run_while_everything_else_does(pipeline: Pipeline) -> None:
    """Between any two of its calls the pipeline may count, close, and end the next attempt."""
    operations = calls_of(lambda faults: _redrive(pipeline, _ended(pipeline), faults=faults))
    for position in range(len(operations)):
        with pytest.MonkeyPatch.context() as patch:
            busy = Pipeline(patch)
            batch_id = _ended(busy)
            _redrive(busy, batch_id, faults=_meanwhile(position, busy.drain))
            _check(busy, batch_id)
            busy.drain()
            _check(busy, batch_id)
            batch = busy.batch(batch_id)
            assert batch.counts == BEFORE
            assert _events(busy, batch_id) == [(f"{batch_id}#{attempt + 1}", 1) for attempt in range(batch.attempt)]


def _meanwhile(position: int, act: Callable[[], object]) -> Callable[[str], Fault]:
    calls: list[str] = []

    def fault(operation: str) -> Fault:
        calls.append(operation)
        if len(calls) == position + 1:
            act()
        return Fault.NONE

    return fault


STEPS = ["upload", "dispatch", "ingest", "dispatch", "work", "work", "work", "finished", "settle"]


@pytest.mark.parametrize("steps", range(1, len(STEPS) + 1))
def test_a_batch_may_be_redriven_while_it_runs(pipeline: Pipeline, steps: int) -> None:
    """Failures that were counted run again in the same attempt; there is one event for all of it."""
    batch_id = _upload(pipeline)
    for step in STEPS[:steps]:
        assert pipeline.deliver(step, most=1000)
    running = not pipeline.batch(batch_id).status.final
    failed = sum(marker.outcome is Outcome.FAILED for marker in pipeline.markers(batch_id))
    assert _redrive(pipeline, batch_id) == failed
    _check(pipeline, batch_id)
    _mend()
    pipeline.drain()
    _check(pipeline, batch_id)
    attempt = 1 if running else 2
    assert pipeline.batch(batch_id).attempt == attempt
    assert _events(pipeline, batch_id) == [(f"{batch_id}#{number}", 1) for number in range(1, attempt + 1)]


def test_an_image_from_before_the_redrive_does_not_say_how_the_batch_ends(pipeline: Pipeline) -> None:
    """All chunks were closed, the end was about to be written; then a redrive took the failures back."""
    batch_id = _upload(pipeline, "a", "fine")
    while not (pipeline.has_batch(batch_id) and pipeline.chunks(batch_id)[0].closed):
        for what in pipeline.work():
            assert pipeline.deliver(what, most=1000)
    late = [change for change in changed_since(pipeline.dynamodb) if change.sk == "batch"][-1:]
    position = len(pipeline.dynamodb.stream)
    assert pipeline.batch(batch_id).status is BatchStatus.RUNNING
    _mend()
    _redrive(pipeline, batch_id)
    settler = services.Services.of(None).settler
    pipeline.positions["settle"] = len(pipeline.dynamodb.stream)
    for what in ("dispatch", "work", "finished"):
        assert pipeline.deliver(what, most=1000)
    chunks = [change for change in changed_since(pipeline.dynamodb, position) if change.sk == "chunk"]
    settler.settle(chunks)  # the chunk's partition is another shard, and this one is ahead
    settler.settle(late)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=2)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED


@pytest.mark.parametrize("position", range(13))
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_a_redrive_that_is_cut_anywhere_and_repeated_is_exact(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """What it took back by then runs again all the same; the rest is taken back by the next."""
    batch_id = _ended(pipeline)
    _mend()
    died = killed(lambda: _redrive(pipeline, batch_id, faults=at_call(position, fault)))
    _check(pipeline, batch_id)
    assert died is (position < 13), "a redrive of this batch makes 13 calls"
    pipeline.drain()
    _check(pipeline, batch_id)
    _redrive(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)
    batch = pipeline.batch(batch_id)
    assert batch.counts == Counts(succeeded=9, rejected=1)
    assert _events(pipeline, batch_id) == [(f"{batch_id}#{attempt + 1}", 1) for attempt in range(batch.attempt)]


@pytest.mark.parametrize("position", range(13))
@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.CONFLICT])
def test_a_fault_at_any_call_takes_each_failure_back_once(pipeline: Pipeline, fault: Fault, position: int) -> None:
    """The retry of a transaction that was applied unheard meets markers that are gone."""
    batch_id = _ended(pipeline)
    _redrive(pipeline, batch_id, faults=at_call(position, fault))
    _check(pipeline, batch_id)
    assert Counter(marker.outcome for marker in pipeline.markers(batch_id))[Outcome.FAILED] == 0
    assert pipeline.batch(batch_id).attempt == 2


def test_failures_are_chosen_by_their_reason(pipeline: Pipeline) -> None:
    """A regular expression, found anywhere in it."""
    batch_id = _ended(pipeline)
    assert _redrive(pipeline, batch_id, error="nowhere") == 0
    assert _redrive(pipeline, batch_id, error="^ValueError: a .*en$") == 2
    pipeline.drain()
    assert sorted(_module().ran[-2:]) == ["a", "a"]
    _check(pipeline, batch_id)


def test_failures_are_chosen_by_chunk_and_row(pipeline: Pipeline) -> None:
    """Those of them that have failed; other rows, chunks and batches are left alone."""
    batch_id = _ended(pipeline)
    wanted = [(0, 2), (0, 1), (1, 2), (2, 0), (7, 0)]
    assert _redrive(pipeline, batch_id, rows=wanted) == 1
    left = {(m.chunk.number, m.row) for m in pipeline.markers(batch_id) if m.outcome is Outcome.FAILED}
    assert left == {(0, 0), (1, 0), (1, 1)}
    assert _redrive(pipeline, batch_id, rows=[(0, 0), (1, 1)], error="b is") == 1
    _check(pipeline, batch_id)


def test_each_chunk_is_told_of(pipeline: Pipeline) -> None:
    """Also those that have nothing to take back: somebody watches a bar."""
    told: list[None] = []
    batch_id = _ended(pipeline)
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, rows=[(1, 0)], on_chunk=lambda: told.append(None))
    assert len(told) == 3


def test_a_rejected_file_is_refused_with_its_reason(pipeline: Pipeline) -> None:
    """It never had rows."""
    batch_id = pipeline.upload("inbox/flaky/day.csv", b"wrong\na\n")
    pipeline.drain()
    with pytest.raises(NotRedrivableError, match="was rejected as a file, it has no rows: line 1: the header lacks"):
        _redrive(pipeline, batch_id)


def test_a_batch_that_does_not_exist_is_refused(pipeline: Pipeline) -> None:
    """A typing error is not a redrive of nothing."""
    with pytest.raises(NotRedrivableError, match="there is no batch nowhere-1"):
        _redrive(pipeline, "nowhere-1")


def test_a_transaction_has_98_failures_their_chunk_and_their_batch(pipeline: Pipeline) -> None:
    """The most that DynamoDB takes; only the first of a chunk has to reopen it."""
    key = ChunkKey("flaky-1", 0)
    totals: dict[str, Any] = {"rows": number(250), "failed": number(250), "remaining": number(0)}
    plant_batch(pipeline.dynamodb, key.batch_id, chunks=1, **totals, status=text("completed_with_failures"))
    chunk = Chunk(key=key, start=0, end=1, first_line=2, expected_rows=250)
    plant(pipeline.dynamodb, chunk, **totals, closed={"BOOL": True})
    markers = [Marker(chunk=key, row=row, outcome=Outcome.FAILED) for row in range(250)]
    table(pipeline.dynamodb).write_all(marker.to_item(at=NOW, expires_at=1) for marker in markers)
    requests = Requests(pipeline.dynamodb)
    assert Redriver(table=table(requests)).redrive(key.batch_id, on_chunk=lambda: None) == 250
    assert [len(request["TransactItems"]) for request in requests.of("transact_write_items")] == [100, 99, 55]
    _check(pipeline, key.batch_id)
    assert pipeline.batch(key.batch_id).counts == Counts()


def test_rows_that_could_not_be_read_are_read_again(pipeline: Pipeline) -> None:
    """They have no record: ingest is asked for their chunk. Here somebody has put the object back."""
    batch_id = _upload(pipeline)
    for step in ("upload", "dispatch"):
        pipeline.deliver(step, most=1000)
    lost = dict(pipeline.s3.objects)
    pipeline.s3.objects.clear()
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(failed=10)
    pipeline.s3.objects.update(lost)
    _mend()
    assert _redrive(pipeline, batch_id, rows=[(0, 0), (0, 1), (0, 2), (0, 3)]) == 4
    pipeline.drain()
    _check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4, failed=6)


def test_rows_that_still_cannot_be_read_fail_again(pipeline: Pipeline) -> None:
    """With the reason once more, and the batch ends."""
    batch_id = _upload(pipeline)
    for step in ("upload", "dispatch"):
        pipeline.deliver(step, most=1000)
    pipeline.s3.objects.clear()
    pipeline.drain()
    _redrive(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)
    assert (pipeline.batch(batch_id).attempt, pipeline.batch(batch_id).counts) == (2, Counts(failed=10))


def _expire(pipeline: Pipeline, which: Callable[[str, str], bool]) -> None:
    """Delete items as TTL does, by its own service."""
    for pk, sk in [place for place in pipeline.dynamodb.items if which(*place)]:
        pipeline.dynamodb.delete_item(Key={"pk": {"S": pk}, "sk": {"S": sk}})
        pipeline.dynamodb.stream[-1]["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    pipeline.drain()


def test_what_time_deletes_is_not_run_again(pipeline: Pipeline) -> None:
    """Weeks later TTL takes records and markers: the batch stays as it ended."""
    batch_id = _ended(pipeline)
    before = pipeline.batch(batch_id)
    _mend()
    _expire(pipeline, lambda _, sk: sk.startswith(("row#", "mark#")))
    assert pipeline.batch(batch_id) == before
    assert _module().ran == []


def test_a_chunk_whose_markers_expire_is_refused(pipeline: Pipeline) -> None:
    """Read again, the rows whose markers are gone would be counted again; nothing is touched."""
    batch_id = _ended(pipeline, "a", "fine", "fine", "fine")
    _expire(pipeline, lambda _, sk: sk.startswith("row#") or sk in {"mark#000001", "mark#000002", "mark#000003"})
    before = pipeline.batch(batch_id)
    _mend()
    with pytest.raises(NotRedrivableError, match="3 of its rows have expired"):
        _redrive(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id) == before


def test_a_failure_whose_record_alone_has_expired_runs_again(pipeline: Pipeline) -> None:
    """Its chunk is read again, and those of its rows that have a marker are not counted again."""
    batch_id = _ended(pipeline, "a", "fine", "fine", "fine")
    _expire(pipeline, lambda _, sk: sk.startswith("row#"))
    _mend()
    _redrive(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(succeeded=4)


@pytest.mark.parametrize("position", range(8))
def test_a_chunk_that_closes_while_it_is_redriven_is_not_taken_for_an_expired_one(
    pipeline: Pipeline, position: int
) -> None:
    """Some of its rows had no marker yet when its markers were read; all of them had when it was."""
    batch_id = _upload(pipeline, "a", "heavy", "fine")
    for step in ("upload", "dispatch", "ingest", "dispatch", "work", "finished"):
        assert pipeline.deliver(step, most=1000)
    _redrive(pipeline, batch_id, faults=_meanwhile(position, pipeline.drain))
    _check(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)
    assert pipeline.batch(batch_id).status is BatchStatus.COMPLETED_WITH_FAILURES


def test_rows_that_are_read_again_fail_if_their_batch_is_cancelled_meanwhile(pipeline: Pipeline) -> None:
    """The total of their chunk is known, but they have no record: nobody else would give them an outcome."""
    batch_id = _upload(pipeline)
    for step in ("upload", "dispatch"):
        pipeline.deliver(step, most=1000)
    pipeline.s3.objects.clear()
    pipeline.drain()
    _redrive(pipeline, batch_id)
    assert Holds(table=table(pipeline.dynamodb)).hold(batch_id, Hold.CANCELLED)
    pipeline.drain()
    _check(pipeline, batch_id)
    assert pipeline.batch(batch_id).counts == Counts(failed=10)


def test_a_heavy_row_that_failed_is_redriven_at_once(pipeline: Pipeline) -> None:
    """Its first attempt keeps no lease that its redrive would have to wait for."""
    batch_id = _upload(pipeline, "heavy")
    for step in ("upload", "dispatch", "ingest", "dispatch", "heavy", "finished"):
        assert pipeline.deliver(step, most=1000)
    assert pipeline.markers(batch_id)[0].outcome is Outcome.FAILED
    _mend()
    assert _redrive(pipeline, batch_id) == 1
    assert pipeline.deliver("dispatch", most=1000)
    assert pipeline.deliver("heavy"), "put back"
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=1)


@pytest.mark.parametrize("position", range(10))
def test_a_row_that_has_succeeded_meanwhile_is_not_taken_back(pipeline: Pipeline, position: int) -> None:
    """Another redrive, the cause mended, and all of it counted, between any two calls of this one."""
    batch_id = _ended(pipeline)

    def another() -> None:
        _mend()
        _redrive(pipeline, batch_id)
        pipeline.drain()

    _redrive(pipeline, batch_id, faults=_meanwhile(position, another))
    _check(pipeline, batch_id)
    pipeline.drain()
    assert pipeline.batch(batch_id).counts == Counts(succeeded=9, rejected=1)


@pytest.mark.parametrize("position", range(6))
def test_a_chunk_that_has_closed_with_other_counts_meanwhile_gives_those_back(
    pipeline: Pipeline, position: int
) -> None:
    """The batch runs on in the same attempt; another row of the chunk was redriven, and has succeeded."""
    batch_id = _upload(pipeline, "a", "fine", "b", "fine", "heavy")
    for what in ("upload", "dispatch", "ingest", "dispatch", "work", "work", "finished", "settle"):
        if what in pipeline.work():
            assert pipeline.deliver(what, most=1000)
    assert [chunk.closed for chunk in pipeline.chunks(batch_id)] == [True, False]

    def another() -> None:
        _mend("a")
        _redrive(pipeline, batch_id, rows=[(0, 0)])
        for what in ("dispatch", "work", "finished", "settle"):
            assert pipeline.deliver(what, most=1000)

    assert _redrive(pipeline, batch_id, rows=[(0, 2)], faults=_meanwhile(position, another)) == 1
    _check(pipeline, batch_id)
    pipeline.drain()
    _check(pipeline, batch_id)


@pytest.mark.parametrize("position", range(6))
def test_two_redrives_of_different_rows_of_a_chunk_both_take_theirs_back(pipeline: Pipeline, position: int) -> None:
    """The markers that one finds missing are those that the other has just deleted, not ones that time took."""
    batch_id = _ended(pipeline)
    other = partial(_redrive, pipeline, batch_id, rows=[(0, 0)])
    assert _redrive(pipeline, batch_id, rows=[(0, 2)], faults=_meanwhile(position, other)) == 1
    _check(pipeline, batch_id)
    pipeline.drain()
    assert (pipeline.batch(batch_id).counts, pipeline.batch(batch_id).attempt) == (BEFORE, 2)
