"""Watching: when it ends, what it says, when it gives up."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from chalicelib.store.batch import Batch, BatchStatus, Hold, Source, Unpacking
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Counts
from chalicelib.store.starts import Lost
from chalicelib.store.waiting import Waiting
from tally.batch.failures import Top
from tally.batch.reader import Progress
from tally.batch.watch import Meter, Watch, verdict
from tally.errors import ExitCode, OperatorError
from tally.look import duration
from tally.output import Output

NOW = datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC)


def at(status: BatchStatus, succeeded: int = 0) -> Progress:
    batch = Batch(
        id="b",
        job="transactions",
        source=Source(bucket="inbox", key="k", version_id="v", etag="e"),
        size=1,
        status=status,
        created_at="2026-03-01T00:00:00.000000+00:00",
        expires_at=1,
        chunk_rows=500,
        chunk_bytes=1000,
        chunks=1,
        expected_rows=100,
    )
    counts = Counts(succeeded=succeeded)
    if status.final:
        return Progress(batch=replace(batch, counts=counts), chunks={})
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=1, first_line=2, expected_rows=100, counts=counts)
    return Progress(batch=batch, chunks={0: chunk})


@dataclass
class Scripted:
    """A reader that returns what it was given, the last of it for ever."""

    answers: list[Progress | None]

    def progress(self, _batch_id: str, _before: Progress | None) -> Progress | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def lost_runs(self, _chunk: ChunkKey) -> list[Lost]:
        return []


def watch(output: Output, *answers: Progress | None, **options: Any) -> Watch:
    seconds = iter(range(0, 100_000, 10))
    reader: Any = Scripted(list(answers))
    return Watch(
        reader=reader,
        output=output,
        where_to_look="THE LOGS",
        come_back=lambda batch: f"tally status {batch} --watch --stage dev",
        clock=lambda: float(next(seconds)),
        now=lambda: NOW,
        sleep=lambda _seconds: None,
        **options,
    )


def test_it_waits_for_the_batch_to_appear_and_then_to_end(output: Output, said: StringIO) -> None:
    end = at(BatchStatus.COMPLETED, 100)
    found = watch(output, None, at(BatchStatus.RUNNING, 40), at(BatchStatus.RUNNING, 80), end).until_final("b")
    assert found is end
    assert "running: 40 of 100 rows: 40 succeeded, 0 failed, 0 rejected; chunks 0 of 1" in said.getvalue()


def test_a_gzip_upload_is_watched_while_it_is_unpacked(output: Output, said: StringIO) -> None:
    """It shows how much of the file was read; no rows are known yet."""
    begun = at(BatchStatus.UNPACKING)
    batch = replace(begun.batch, size=5_000, chunks=None, expected_rows=0, unpacking=Unpacking(read=1_234))
    watch(output, None, Progress(batch=batch, chunks={}), at(BatchStatus.COMPLETED, 100)).until_final("b")
    assert "unpacking, 1,234 of 5,000 bytes read; elapsed 30.0 s" in said.getvalue()


def test_a_standstill_is_hinted_at_once_with_where_to_look(output: Output, said: StringIO) -> None:
    with pytest.raises(OperatorError):
        watch(output, at(BatchStatus.RUNNING), timeout=500).until_final("b")
    assert said.getvalue().count("no progress for 60 s: look at THE LOGS") == 1


@pytest.mark.parametrize("options", [{"timeout": 100}, {"stall_timeout": 100}])
def test_watching_stops_with_a_status_of_its_own_after_the_timeout(output: Output, options: dict[str, float]) -> None:
    with pytest.raises(OperatorError) as gave_up:
        watch(output, at(BatchStatus.RUNNING), **options).until_final("b")
    assert gave_up.value.code is ExitCode.TIMED_OUT


def test_a_batch_that_never_appears_is_a_wrong_id(output: Output) -> None:
    with pytest.raises(OperatorError, match="No batch b after") as gave_up:
        watch(output, None).until_final("b")
    assert gave_up.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (BatchStatus.COMPLETED, ExitCode.OK),
        (BatchStatus.COMPLETED_WITH_FAILURES, ExitCode.NOT_AS_HOPED),
        (BatchStatus.REJECTED, ExitCode.NOT_AS_HOPED),
    ],
)
def test_only_a_batch_without_failures_is_as_hoped(status: BatchStatus, code: ExitCode) -> None:
    assert verdict(at(status)) is code


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter()
    for second in range(100):
        meter.add(float(second), second * 5 if second < 50 else 250 + (second - 50) * 20)
    assert meter.rate == pytest.approx(20)
    assert meter.eta_seconds(100) == pytest.approx(5)


def test_without_progress_there_is_no_estimate() -> None:
    meter = Meter()
    meter.add(0.0, 5)
    assert meter.rate == 0
    assert meter.eta_seconds(10) is None
    assert duration(None) == "unknown"


def test_durations_read_well() -> None:
    found = [duration(seconds) for seconds in (2.34, 61, 3700, 47 * 3600, 48 * 3600, 2_000_000)]
    assert found == ["2.3 s", "1 min 1 s", "1 h 1 min", "47 h 0 min", "2 d 0 h", "23 d 3 h"]


def test_elapsed_ends_with_the_batch(output: Output, said: StringIO) -> None:
    from tally.batch.watch import show  # noqa: PLC0415

    ended = at(BatchStatus.COMPLETED, 100)
    ended = Progress(batch=replace(ended.batch, completed_at="2026-03-01T00:00:10.000000+00:00"), chunks=ended.chunks)
    show(output, ended, Top(), NOW)
    assert "10.0 s" in said.getvalue()
    assert "10 rows/s on average" in said.getvalue()


def test_a_paused_batch_is_said_to_be_paused_when_nothing_moves(output: Output, said: StringIO) -> None:
    running = at(BatchStatus.RUNNING)
    paused = replace(running, batch=replace(running.batch, hold=Hold.PAUSED))
    watch(output, *[paused] * 9, at(BatchStatus.COMPLETED)).until_final("b")
    assert "running, paused: 0 of 100 rows" in said.getvalue()
    assert "no progress for 60 s: the batch is paused (tally resume b)." in said.getvalue()
    assert "THE LOGS" not in said.getvalue()


def waiting(rows: int) -> Progress:
    """Return a batch some of whose rows raised and are to be tried again."""
    noted = Waiting(rows=RowBits.first(rows), attempt=2, due_at=0, reason="TimeoutError: the bank is down")
    return replace(at(BatchStatus.RUNNING, 60), waiting={0: noted})


def test_each_line_says_how_many_rows_wait_and_why(output: Output, said: StringIO) -> None:
    """Otherwise a batch whose last rows are tried again looks as if it hung."""
    watch(output, waiting(40), at(BatchStatus.COMPLETED, 100)).until_final("b")
    expected = "elapsed 30.0 s; 40 rows raised, to be tried again, for example: TimeoutError: the bank is down"
    assert expected in said.getvalue()


def test_rows_that_wait_are_why_nothing_moves(output: Output, said: StringIO) -> None:
    watch(output, *[waiting(1)] * 9, at(BatchStatus.COMPLETED, 100)).until_final("b")
    assert "no progress for 60 s: 1 row raised, to be tried again, for example: TimeoutError" in said.getvalue()
    assert "THE LOGS" not in said.getvalue()
