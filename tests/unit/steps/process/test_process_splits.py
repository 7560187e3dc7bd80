"""Process adapts: slow rows spread over the workers there are, fast ones stay together, and poison dies alone."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import jobs
from chalicelib.steps.run import SPLIT_SECONDS
from chalicelib.store.items import ChunkKey, Outcome
from chalicelib.transport.messages import WorkMessage
from tally.testing.faults import Killed
from tally.testing.memory_dynamodb import MemoryDynamoDB
from tests.support.builders import chunk_of, deployed_job, outcomes_of, plant_batch, plant_rows
from tests.support.workers import WORK, Workers

KEY = ChunkKey("paced-1", 0)
JOB = """
from chalicelib import rows

ran = []
meet = lambda row: None

class Row(rows.Row):
    row: int

def process(row):
    ran.append(row.row)
    meet(row.row)
    return row.row
"""


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Deploy a job whose rows take time, and kill."""
    with deployed_job(monkeypatch, tmp_path, "paced", JOB):
        yield


def _module() -> Any:
    return sys.modules[jobs.require("paced").process.__module__]


def _work(rows: int, meet: Callable[[Workers, int], None], *, open_chunks: int = 1, **given: Any) -> Workers:
    """Let workers come to the end of a chunk; ``meet`` says what happens to the one that runs a row."""
    dynamodb = MemoryDynamoDB()
    plant_batch(dynamodb, KEY.batch_id, chunks=open_chunks)
    plant_rows(dynamodb, KEY, ["row"], [[row] for row in range(rows)])
    made = Workers(dynamodb, **given)
    module = _module()
    module.ran.clear()
    module.meet = lambda row: meet(made, row)
    made.run(WorkMessage(batch=KEY.batch_id, chunk=KEY.number, generation=1))
    return made


def _takes(seconds: float) -> Callable[[Workers, int], None]:
    return lambda workers, _: workers.spend(seconds)


ROWS, SECONDS = 400, 0.25


@pytest.mark.parametrize("workers", range(1, 51))
def test_slow_rows_take_at_most_half_as_long_again_as_the_workers_need(workers: int) -> None:
    """Nobody has set anything: neither how slow they are nor how many workers there are."""
    done = _work(ROWS, _takes(SECONDS), workers=workers)
    assert Counter(_module().ran) == dict.fromkeys(range(ROWS), 1)
    assert chunk_of(done.dynamodb, KEY).counts.succeeded == ROWS
    assert done.ended <= 1.5 * ROWS * SECONDS / workers


def test_rows_that_are_slow_in_a_batch_of_many_chunks_make_no_more_pieces_than_keep_the_workers_busy() -> None:
    """Its other chunks keep them busy too: a piece is worth what a message is for any chunk."""
    alone = _work(ROWS, _takes(SECONDS), workers=50)
    crowded = _work(ROWS, _takes(SECONDS), workers=50, open_chunks=2_000)
    assert alone.sent[WORK] <= 201
    assert crowded.sent[WORK] <= 1 + math.ceil(ROWS * SECONDS / SPLIT_SECONDS)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.019])
def test_rows_that_are_not_slow_stay_in_one_message(seconds: float) -> None:
    """Five hundred of them are done within the target."""
    done = _work(500, _takes(seconds))
    assert done.sent[WORK] == 1
    assert chunk_of(done.dynamodb, KEY).complete


@pytest.mark.parametrize("cold", [0.5, 3.0, 9.0])
def test_the_first_row_of_a_cold_worker_does_not_split_the_others(cold: float) -> None:
    """It pays for the imports and connections of all of them."""
    done = _work(500, lambda workers, row: workers.spend(cold if row == 0 else 0.001))
    assert done.sent[WORK] == 1


def test_a_first_row_that_takes_longer_than_the_target_splits_the_others() -> None:
    """There is no time to find out whether it was cold: they all might take as long."""
    done = _work(40, _takes(SPLIT_SECONDS), workers=39)
    assert done.ended == 2 * SPLIT_SECONDS
    assert Counter(_module().ran) == dict.fromkeys(range(40), 1)


def test_a_row_that_is_slow_among_fast_ones_splits_nothing() -> None:
    """It is not the pace of the others."""
    done = _work(500, lambda workers, row: workers.spend(20.0 if row == 250 else 0.01))
    assert done.sent[WORK] == 1


def test_rows_too_slow_for_one_invocation_all_run_once() -> None:
    """Rows that do not fit before the deadline go back."""
    done = _work(30, _takes(25.0))
    assert Counter(_module().ran) == dict.fromkeys(range(30), 1)
    assert chunk_of(done.dynamodb, KEY).complete


# Poison.


def _poisoned(rows: int, *poison: int) -> Workers:
    """Let workers come to the end of a chunk in which some rows kill the worker that runs them."""

    def meet(_: Workers, row: int) -> None:
        if row in poison:
            raise Killed

    return _work(rows, meet)


def _check_poisoned(done: Workers, rows: int, *poison: int) -> None:
    assert sorted(row for message in done.dead for row in message.rows or range(rows)) == sorted(poison)
    assert all(message.rows is None or len(message.rows) == 1 for message in done.dead)
    outcomes = outcomes_of(done.dynamodb, KEY)
    assert sorted(outcomes) == sorted(set(range(rows)) - set(poison))
    assert {found.outcome for found in outcomes.values()} <= {Outcome.SUCCEEDED}
    runs = Counter(_module().ran)
    assert all(1 <= runs[row] <= 3 for row in outcomes)
    assert done.sent[WORK] <= (1 + len(poison)) * math.sqrt(rows) + 2 * len(poison) + 1


@pytest.mark.parametrize("rows", [1, 2, 10, 100, 500])
def test_a_poison_row_dies_alone(rows: int) -> None:
    """About two times the square root of messages, not one for each row; the others run three times at most."""
    for poison in {0, rows // 2, rows - 1}:
        _check_poisoned(_poisoned(rows, poison), rows, poison)


@pytest.mark.parametrize("rows", [2, 500])
def test_a_poison_row_is_given_up_after_as_many_deliveries_as_its_queue_allows(rows: int) -> None:
    """Alone, after it has killed one worker with all the others and one with those of its piece."""
    done = _poisoned(rows, 1)
    assert done.deaths == 1 + 1 + done.max_receive_count


@pytest.mark.parametrize("rows", range(1, 14))
def test_a_poison_row_dies_alone_wherever_it_stands(rows: int) -> None:
    """At the first place, the last one and at the seams of the pieces."""
    for poison in range(rows):
        _check_poisoned(_poisoned(rows, poison), rows, poison)


@pytest.mark.parametrize(
    ("rows", "poison"),
    [
        (2, [0, 1]),
        (10, [0, 9]),
        (100, [3, 4]),
        (100, [0, 25, 50, 75, 99]),
        (500, [0, 499]),
        (500, [100, 101, 102, 300, 499]),
    ],
)
def test_poison_rows_die_alone_each(rows: int, poison: list[int]) -> None:
    """Two in one piece, or in pieces of their own."""
    _check_poisoned(_poisoned(rows, *poison), rows, *poison)


def test_a_chunk_of_nothing_but_poison_is_given_up_row_by_row() -> None:
    """A job that kills its worker for every row: each of them gets an outcome of its own."""
    _check_poisoned(_poisoned(25, *range(25)), 25, *range(25))


def test_slow_rows_with_a_poison_row_among_them_all_succeed_but_that_one() -> None:
    """The pieces of a slow chunk are taken apart like any other message."""

    def meet(workers: Workers, row: int) -> None:
        workers.spend(SECONDS)
        if row == 217:
            raise Killed

    done = _work(ROWS, meet, workers=10)
    assert [message.rows for message in done.dead] == [[217]]
    assert chunk_of(done.dynamodb, KEY).counts.succeeded == ROWS - 1
    assert max(runs for row, runs in Counter(_module().ran).items() if row != 217) <= 3
