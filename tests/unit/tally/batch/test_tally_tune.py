"""Tuning: what durations are read, what is made of them, and when there is too little to say anything."""

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Counts, Outcome, bits, number
from chalicelib.store.marker import ReasonCode, RowOutcome, unsuccessful
from tally.batch.reader import Reader
from tally.batch.tune import (
    HEADROOM,
    LEAST_ROWS,
    MESSAGE_SECONDS,
    Advice,
    Sample,
    Statistics,
    advise,
    run,
    setting,
    share_above,
    snippet,
    spread,
    take_sample,
)
from tally.cli import run as run_command
from tally.errors import ExitCode
from tally.output import Output
from tally.stages.stage import Stage
from tests.support.builders import failed
from tests.unit.tally.finished_batch import BATCH, counters, put, put_marker

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


BATCH_OF_ONE = replace(BATCH, chunks=1)


def write(dynamodb: "DynamoDBClient", outcomes: list[RowOutcome], heavy: range = range(0)) -> None:
    """Write a batch of one chunk with these outcomes, of whose rows some are heavy."""
    put(dynamodb, BATCH.to_item() | {"chunks": number(1)})
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=1, first_line=2, expected_rows=len(outcomes))
    read = {"rows": number(len(outcomes)), "heavy": bits(RowBits.of(heavy))}
    put(dynamodb, chunk.to_item() | counters(1) | read)
    put_marker(dynamodb, chunk.key, 1, *outcomes)


def took(*durations: int) -> list[RowOutcome]:
    return [
        RowOutcome(row=row, outcome=Outcome.SUCCEEDED, duration_ms=duration) for row, duration in enumerate(durations)
    ]


DEAD_LETTERED = unsuccessful(3, Outcome.FAILED, ReasonCode.DEAD_LETTERED, "its worker died")


def advised(light: list[int], heavy: list[int] | None = None) -> Advice:
    return advise(Sample(chunks=1, light=light, heavy=heavy or []))


def test_rows_are_told_apart_by_the_function_they_went_to(
    dynamodb: "DynamoDBClient", reader: Reader, output: Output
) -> None:
    write(dynamodb, took(10, 20, 3000), heavy=range(2, 3))
    sample = take_sample(output, reader, BATCH_OF_ONE, 20)
    assert (sample.light, sample.heavy, sample.chunks) == ([10, 20], [3000], 1)


def test_a_row_that_never_ran_is_not_measured(dynamodb: "DynamoDBClient", reader: Reader, output: Output) -> None:
    """Rejected, stopped or dead-lettered rows took no time; a failure that ran did, and a success may take none."""
    others = [
        unsuccessful(1, Outcome.REJECTED, ReasonCode.INVALID, "line 2: no"),
        unsuccessful(2, Outcome.FAILED, ReasonCode.CANCELLED, "the batch was stopped"),
        DEAD_LETTERED,
        msgspec.structs.replace(failed(4), duration_ms=7),
    ]
    write(dynamodb, [*took(0), *others])
    sample = take_sample(output, reader, BATCH_OF_ONE, 20)
    assert (sample.light, sample.heavy, sample.dead_lettered) == ([0, 7], [], 1)


def test_the_chunks_of_a_sample_are_spread_over_the_file() -> None:
    chunks = [
        Chunk(key=ChunkKey("b", position), start=0, end=1, first_line=2, expected_rows=1, counts=Counts(succeeded=1))
        for position in range(10)
    ]
    assert [chunk.key.number for chunk in spread(chunks, 3)] == [0, 3, 6]
    assert spread(chunks, 100) == chunks
    assert spread([], 3) == []


def test_the_figures_are_those_of_the_textbook() -> None:
    found = Statistics.of([*range(1, 101)])
    assert (found.rows, found.mean, found.longest) == (100, 50.5, 100)
    assert found.sigma == pytest.approx(29.011, abs=0.001)
    assert found.usual == pytest.approx(108.523, abs=0.001)
    assert found.p99 == pytest.approx(99.01)
    assert Statistics.of([7]).usual == Statistics.of([7]).p99 == 7


def test_a_process_gets_time_for_a_message_and_a_slow_row_with_headroom() -> None:
    """A message is split at ten seconds, however many rows a chunk has; a row of a minute more may be its last."""
    found = setting(Statistics.of([1000] * 199 + [60_000]), 10)
    assert (found.timeout_seconds, found.visibility_seconds) == (110, 660)


def test_a_row_that_was_seen_to_take_long_is_never_cut_off() -> None:
    found = setting(Statistics.of([10] * 199 + [100_000]), 0)
    assert found.timeout_seconds == 155


def test_quick_rows_keep_a_timeout_that_bears_a_slow_answer_of_aws() -> None:
    assert setting(Statistics.of([1] * 200), MESSAGE_SECONDS).timeout_seconds == 30


def test_a_row_that_lambda_has_no_time_for_is_said_to_be_so() -> None:
    found = setting(Statistics.of([800_000] * 200), 0)
    assert (found.timeout_seconds, found.enough) == (900, False)


@given(st.lists(st.integers(0, 900_000), min_size=1, max_size=50), st.sampled_from([0, MESSAGE_SECONDS]))
def test_whatever_the_rows_a_setting_is_one_that_terraform_takes(durations: list[int], others: float) -> None:
    measured = Statistics.of(durations)
    found = setting(measured, others)
    assert 30 <= found.timeout_seconds <= 900
    if found.enough:
        assert found.timeout_seconds >= (measured.longest / 1000 + others) * HEADROOM


def test_too_few_rows_give_figures_and_no_advice() -> None:
    few = advised([5] * (LEAST_ROWS - 1))
    assert few.light is not None
    assert few.process is None
    assert snippet(few) == []


def test_few_heavy_rows_do_not_keep_the_others_from_advice() -> None:
    found = advised([5] * LEAST_ROWS, [60_000] * 3)
    assert found.process is not None
    assert found.process_heavy is None


def test_routing_pays_when_few_slow_rows_cost_all_others_their_time() -> None:
    mixed = advised([100] * 990 + [200_000] * 10)
    assert mixed.routing_pays
    assert mixed.shares["threshold"] == pytest.approx(0.01)
    assert not advised([100] * 1000).routing_pays


def test_shares_are_of_all_rows_above_the_threshold() -> None:
    assert share_above([1, 2, 3, 4], 2) == 0.5
    assert share_above([], 2) == 0.0
    found = advise(Sample(light=[1000] * 150, heavy=[9000] * 50), heavy_above=5.0)
    assert found.shares["threshold"] == 0.25


def test_the_snippet_is_what_terraform_reads() -> None:
    assert snippet(advised([20_000] * LEAST_ROWS, [100_000] * LEAST_ROWS)) == [
        "function_overrides = {",
        "  process       = { timeout_seconds = 50 } # its queue's visibility timeout becomes 300 s (6x)",
        "  process_heavy = { timeout_seconds = 155 } # its queue's visibility timeout becomes 930 s (6x)",
        "}",
    ]


def test_what_is_not_known_is_said(dynamodb: "DynamoDBClient", reader: Reader, output: Output, said: StringIO) -> None:
    write(dynamodb, [*took(10, 20), DEAD_LETTERED])
    run(output, reader, "b", chunks=20, heavy_above=None)
    shown = said.getvalue()
    assert "2 rows measured, in 1 chunks" in shown
    assert "1 of the rows were dead-lettered" in shown
    assert "process: too little data, 2 rows; a p99 needs 100: keep its timeout." in shown
    assert "function_overrides" not in shown


def test_a_batch_without_durations_is_said_to_have_none(
    dynamodb: "DynamoDBClient", reader: Reader, output: Output, said: StringIO
) -> None:
    write(dynamodb, took(0, 0))
    run(output, reader, "b", chunks=20, heavy_above=None)
    assert "No durations" in said.getvalue()


def test_the_command_shows_what_to_paste(
    dynamodb: "DynamoDBClient", stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["dynamodb"] = dynamodb
    write(dynamodb, took(*[100] * LEAST_ROWS))
    assert run_command(["tune", "b"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "  process = { timeout_seconds = 30 }" in shown
