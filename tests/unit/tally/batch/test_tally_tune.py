"""Tuning: what durations are read, what is made of them, and when there is too little to say anything."""

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.items import Chunk, ChunkKey, Counts, Marker, Outcome, Record, number
from tally.batch.reader import Reader
from tally.batch.tune import (
    HEADROOM,
    LEAST_ROWS,
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
from tests.unit.tally.finished_batch import AT, BATCH, counters, put

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


BATCH_OF_ONE = replace(BATCH, chunks=1)


def write(dynamodb: "DynamoDBClient", markers: list[Marker], heavy: range = range(0)) -> None:
    """Write a batch of one chunk with these markers, of whose rows some are heavy."""
    put(dynamodb, BATCH.to_item() | {"chunks": number(1)})
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=1, first_line=2, expected_rows=len(markers))
    put(dynamodb, chunk.to_item() | counters(1) | {"rows": number(len(markers))})
    for marker in markers:
        put(dynamodb, marker.to_item(at=AT, expires_at=1))
        record = Record(chunk=chunk.key, row=marker.row, line=2, data="{}", heavy=marker.row in heavy)
        put(dynamodb, record.to_item(expires_at=1))


def took(*durations: int) -> list[Marker]:
    chunk = ChunkKey("b", 0)
    return [
        Marker(chunk=chunk, row=row, outcome=Outcome.SUCCEEDED, ms=duration) for row, duration in enumerate(durations)
    ]


def advised(light: list[int], heavy: list[int] | None = None, *, pack_rows: int = 10) -> Advice:
    return advise(Sample(chunks=1, light=light, heavy=heavy or []), pack_rows=pack_rows)


def test_rows_are_told_apart_by_the_function_they_went_to(
    dynamodb: "DynamoDBClient", reader: Reader, output: Output
) -> None:
    write(dynamodb, took(10, 20, 3000), heavy=range(2, 3))
    sample = take_sample(output, reader, BATCH_OF_ONE, 20)
    assert (sample.light, sample.heavy, sample.chunks) == ([10, 20], [3000], 1)


def test_a_row_that_never_ran_is_not_measured(dynamodb: "DynamoDBClient", reader: Reader, output: Output) -> None:
    """Rejected, stopped or dead-lettered rows took no time; a failure that ran did, and a success may take none."""
    chunk = ChunkKey("b", 0)
    others = [
        Marker(chunk=chunk, row=1, outcome=Outcome.REJECTED, error="line 2: no"),
        Marker(chunk=chunk, row=2, outcome=Outcome.FAILED, error="cancelled: the batch was stopped"),
        Marker(chunk=chunk, row=3, outcome=Outcome.FAILED, error="dead-lettered: its worker died"),
        Marker(chunk=chunk, row=4, outcome=Outcome.FAILED, error="ValueError: no", ms=7),
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


def test_a_process_gets_time_for_a_pack_of_usual_rows_with_headroom() -> None:
    """250 rows of a second each: 250 s, half as much again, and a reserve."""
    found = setting(Statistics.of([1000] * 200), 250)
    assert (found.timeout_seconds, found.visibility_seconds, found.pack_rows) == (380, 2280, 250)


def test_a_row_that_was_seen_to_take_long_is_never_cut_off() -> None:
    found = setting(Statistics.of([10] * 199 + [100_000]), 1)
    assert found.timeout_seconds == 155


def test_quick_rows_keep_a_timeout_that_bears_a_slow_answer_of_aws() -> None:
    assert setting(Statistics.of([1] * 200), 10).timeout_seconds == 30
    assert setting(Statistics.of([0] * 200), 10).pack_rows == 10


def test_a_pack_that_lambda_has_no_time_for_gets_fewer_rows() -> None:
    found = setting(Statistics.of([20_000] * 200), 250)
    assert (found.pack_rows, found.enough) == (29, True)
    assert found.timeout_seconds <= 900


def test_a_row_that_lambda_has_no_time_for_is_said_to_be_so() -> None:
    found = setting(Statistics.of([800_000] * 200), 250)
    assert (found.pack_rows, found.timeout_seconds, found.enough) == (1, 900, False)


@given(st.lists(st.integers(0, 900_000), min_size=1, max_size=50), st.integers(1, 1000))
def test_whatever_the_rows_a_setting_is_one_that_terraform_takes(durations: list[int], pack_rows: int) -> None:
    measured = Statistics.of(durations)
    found = setting(measured, pack_rows)
    assert 1 <= found.pack_rows <= pack_rows
    assert 30 <= found.timeout_seconds <= 900
    if found.enough:
        assert found.timeout_seconds * 1000 >= max(measured.p99, measured.longest) * HEADROOM
        assert found.timeout_seconds * 1000 >= found.pack_rows * measured.usual


def test_too_few_rows_give_figures_and_no_advice() -> None:
    few = advised([5] * (LEAST_ROWS - 1))
    assert few.light is not None
    assert few.process is None
    assert snippet(few, 10) == []


def test_few_heavy_rows_do_not_keep_the_others_from_advice() -> None:
    found = advised([5] * LEAST_ROWS, [60_000] * 3)
    assert found.process is not None
    assert found.process_heavy is None


def test_routing_pays_when_few_slow_rows_cost_all_others_their_time() -> None:
    mixed = advised([100] * 990 + [200_000] * 10, pack_rows=100)
    assert mixed.routing_pays
    assert mixed.shares["threshold"] == pytest.approx(0.01)
    assert not advised([100] * 1000, pack_rows=100).routing_pays


def test_shares_are_of_all_rows_above_the_threshold() -> None:
    assert share_above([1, 2, 3, 4], 2) == 0.5
    assert share_above([], 2) == 0.0
    found = advise(Sample(light=[1000] * 150, heavy=[9000] * 50), pack_rows=1, heavy_above=5.0)
    assert found.shares["threshold"] == 0.25


def test_the_snippet_is_what_terraform_reads() -> None:
    assert snippet(advised([20_000] * LEAST_ROWS, [100_000] * LEAST_ROWS, pack_rows=250), 250) == [
        "function_overrides = {",
        "  process       = { timeout_seconds = 875 } # its queue's visibility timeout becomes 5250 s (6x)",
        "  process_heavy = { timeout_seconds = 155 } # its queue's visibility timeout becomes 930 s (6x)",
        "}",
        "pack_rows = 29 # was 250",
    ]


def test_what_is_not_known_is_said(dynamodb: "DynamoDBClient", reader: Reader, output: Output, said: StringIO) -> None:
    dead_lettered = Marker(
        chunk=ChunkKey("b", 0), row=2, outcome=Outcome.FAILED, error="dead-lettered: its worker died"
    )
    write(dynamodb, [*took(10, 20), dead_lettered])
    run(output, reader, "b", chunks=20, pack_rows=250, heavy_above=None)
    shown = said.getvalue()
    assert "2 rows measured, in 1 chunks" in shown
    assert "1 of the rows were dead-lettered" in shown
    assert "process: too little data, 2 rows; a p99 needs 100: keep its timeout." in shown
    assert "function_overrides" not in shown


def test_a_batch_without_durations_is_said_to_have_none(
    dynamodb: "DynamoDBClient", reader: Reader, output: Output, said: StringIO
) -> None:
    write(dynamodb, took(0, 0))
    run(output, reader, "b", chunks=20, pack_rows=250, heavy_above=None)
    assert "No durations" in said.getvalue()


def test_the_command_shows_what_to_paste(
    dynamodb: "DynamoDBClient", stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    vars(stage)["dynamodb"] = dynamodb
    write(dynamodb, took(*[100] * LEAST_ROWS))
    assert run_command(["tune", "b", "--pack-rows", "250"]) is ExitCode.OK
    shown = capsys.readouterr().out
    assert "  process = { timeout_seconds = 43 }" in shown
    assert "  pack_rows = 250 # as it is" in shown
