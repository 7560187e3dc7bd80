"""The state of results, and of those that are not there: their progress, the reason, and what to do."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import Export, Exports
from tally.batch.failures import Top
from tally.batch.reader import Progress, Reader
from tally.batch.watch import show
from tally.errors import ExitCode, OperatorError
from tally.exported.fetch import require_export
from tally.exported.state import Results, State
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.exports import ENDED, EXPORT, NOW, WRITTEN, Found, silent_output


@pytest.mark.parametrize(
    ("batch", "export", "now", "state", "said"),
    [
        (
            ENDED,
            EXPORT,
            NOW,
            State.WRITING,
            ["writing, 3 of 7 files", "rows until 2026-12-26, results until 2027-02-24"],
        ),
        (
            ENDED,
            WRITTEN,
            NOW,
            State.WRITTEN,
            [
                "s3://inbox/results/transactions/b/attempt-1/, written 2026-11-26 08:12 UTC",
                "rows until 2026-12-26, results until 2027-02-24",
            ],
        ),
        (
            ENDED,
            WRITTEN,
            NOW + timedelta(days=60),
            State.WRITTEN,
            [
                "s3://inbox/results/transactions/b/attempt-1/, written 2026-11-26 08:12 UTC",
                "rows expired 2026-12-26, results until 2027-02-24",
            ],
        ),
        (
            ENDED,
            WRITTEN,
            NOW + timedelta(days=90),
            State.EXPIRED,
            ["expired", "rows expired 2026-12-26, results expired 2027-02-24"],
        ),
        (
            ENDED,
            replace(EXPORT, results_expire_at=""),
            NOW,
            State.WRITING,
            ["writing, 3 of 7 files", "rows until 2026-12-26, results until somebody deletes them"],
        ),
        (
            ENDED,
            None,
            NOW,
            State.NONE,
            ["none: the job says EXPORT = False, or the stage has export = false", "rows until 2026-12-26"],
        ),
        (replace(ENDED, published_attempt=0), None, NOW, State.LATER, ["rows until 2026-12-26"]),
        (replace(ENDED, status=BatchStatus.RUNNING), None, NOW, State.LATER, ["rows until 2026-12-26"]),
        (replace(ENDED, status=BatchStatus.REJECTED), None, NOW, State.NONE, ["rows until 2026-12-26"]),
    ],
)
def test_how_far_results_are_and_until_when_they_stay_is_what_the_ledger_says(
    batch: Batch, export: Export | None, now: datetime, state: State, said: list[str]
) -> None:
    results = Results(batch, export, now)
    assert results.state is state
    assert [line for _, line in results.table_rows()] == said
    assert bool(results.next_step()) is (state in {State.WRITING, State.WRITTEN})


def test_the_summary_of_a_batch_says_where_its_results_are() -> None:
    output = silent_output()
    show(output, Progress(batch=ENDED, chunks={}, export=WRITTEN), Top(), NOW)
    said = output.console.file.getvalue()  # type: ignore[attr-defined]
    assert "s3://inbox/results/transactions/b/attempt-1/" in said
    assert "results until 2027-02-24" in said
    assert "`tally results b` fetches the results" in said


def test_the_reader_finds_the_export_of_the_last_attempt(pipeline: Pipeline) -> None:
    batch_id = pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\no1,1,2\n")
    reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test")  # type: ignore[arg-type]
    pipeline.drain()
    progress = reader.progress(batch_id)
    assert progress is not None
    shown = progress.as_json(clock=lambda: NOW)["results"]
    assert (shown["state"], shown["files"], shown["files_written"]) == ("written", 2, 2)
    assert shown["place"] == f"s3://inbox/results/offices/{batch_id}/attempt-1/"


def require(exports: Any, batch: Batch = ENDED, attempt: int | None = None) -> Export:
    """Ask for an export, and do not wait for it."""
    return require_export(exports, batch, attempt, timeout=0)


@pytest.mark.parametrize(
    ("batch", "attempt", "export", "code", "said"),
    [
        (ENDED, None, EXPORT, ExitCode.TIMED_OUT, "3 of 7 files so far: `tally results b --timeout 600` waits"),
        (replace(ENDED, published_attempt=0), None, None, ExitCode.TIMED_OUT, "still being written, nothing so far"),
        (ENDED, None, None, ExitCode.USAGE, r"not exported: the job says EXPORT = False.*`tally rows b` shows"),
        (
            replace(ENDED, status=BatchStatus.RUNNING),
            None,
            None,
            ExitCode.USAGE,
            "has not ended: `tally status b --wat",
        ),
        (replace(ENDED, status=BatchStatus.REJECTED), None, None, ExitCode.USAGE, "was rejected as a file"),
        (ENDED, 2, None, ExitCode.USAGE, "b has had 1 attempt: without --attempt"),
        (replace(ENDED, attempt=3), 5, None, ExitCode.USAGE, "b has had 3 attempts"),
        (replace(ENDED, attempt=2), 1, EXPORT, ExitCode.USAGE, "attempt 1 of b was redriven before its results"),
        (
            replace(ENDED, attempt=2, status=BatchStatus.RUNNING),
            1,
            EXPORT,
            ExitCode.USAGE,
            "attempt 1 of b was redriven before its results",
        ),
    ],
)
def test_results_that_are_not_there_are_explained(
    batch: Batch, attempt: int | None, export: Export | None, code: ExitCode, said: str
) -> None:
    with pytest.raises(OperatorError, match=said) as raised:
        require(Found(export), batch, attempt)
    assert raised.value.code is code


def test_an_earlier_attempt_is_there_while_the_next_one_runs() -> None:
    batch = replace(ENDED, attempt=2, status=BatchStatus.RUNNING)
    assert require(Found(WRITTEN), batch, 1) is WRITTEN


def test_results_are_waited_for_until_they_are_written(pipeline: Pipeline) -> None:
    """The batch is read again each time: one without an export is told from one whose end is not announced yet."""
    batch_id = pipeline.upload("inbox/offices/day.csv", b"office_id,user_count,contract_count\no1,1,2\n")
    while (pipeline.has_batch(batch_id) and pipeline.batch(batch_id).status.final) is False:
        for what in pipeline.work():
            pipeline.deliver(what)
    exports = Exports(table=table(pipeline.dynamodb))
    batch = pipeline.batch(batch_id)
    found = require_export(exports, batch, None, timeout=9, clock=lambda: 0, sleep=lambda _: pipeline.drain())
    assert found.exported_at
