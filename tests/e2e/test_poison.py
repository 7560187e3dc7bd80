"""Rows that hang, kill their worker or raise: they fail alone, or come again, and the batch ends by itself."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from bench.recording import variables
from chalicelib.store.batch import BatchStatus
from chalicelib.store.items import Counts
from tests.e2e.conftest import STAGE, Tally

pytestmark = pytest.mark.e2e

_JOB = """
import os
import pathlib
import time

from chalicelib import rows

ATTEMPTS = 2
BROKEN = "REPAIRED" not in os.environ


class Row(rows.Row, kw_only=True):
    number: int
    kind: str
    folder: str = ""


def heavy(row: Row) -> bool:
    return row.kind == "dies once"


def process(row: Row) -> int:
    if row.folder:
        (pathlib.Path(row.folder) / f"{row.number}-{time.time_ns()}").touch()
    if BROKEN and row.kind == "hangs":
        time.sleep(3600)
    if BROKEN and row.kind == "crashes":
        os._exit(1)
    if BROKEN and row.kind == "raises":
        raise ValueError("broken")
    if row.kind == "dies once" and len(list(pathlib.Path(row.folder).glob(f"{row.number}-*"))) == 1:
        os._exit(1)
    return row.number
"""


@pytest.fixture(scope="module", autouse=True)
def _deployed(tally: Tally) -> None:
    tally.deploy_job("poison", _JOB)


def _runs(folder: Path) -> Counter[str]:
    """Return how often the job ran for each row."""
    return Counter(path.name.partition("-")[0] for path in folder.iterdir() if path.name[0].isdigit())


def test_a_poison_row_costs_few_messages_and_its_neighbours_few_runs(tally: Tally, tmp_path: Path) -> None:
    """Its message is split into about the square root of its rows, and the part that dies again into single rows."""
    rows, poison = 400, 234
    kinds = {poison: "crashes"}
    content = "".join(f"{number},{kinds.get(number, 'fine')},{tmp_path}\n" for number in range(rows))
    batch_id = tally.submit("one.csv", f"number,kind,folder\n{content}".encode(), job="poison")
    assert tally.ended(batch_id, seconds=900).counts == Counts(succeeded=rows - 1, failed=1)
    (failed,) = tally.json("rows", batch_id, "--outcome", "failed")
    assert (failed["code"], failed["id"]) == ("dead_lettered", f"0:{poison}")
    runs = _runs(tmp_path)
    healthy = [runs[str(number)] for number in range(rows) if number != poison]
    assert (min(healthy), max(healthy)) <= (1, 3)
    # The message itself, its parts, and the rows of one part; what died has written no line to be counted.
    messages = tally.json("status", batch_id)["cost"]["work_messages"]
    assert messages["estimated"] is False
    assert math.isqrt(rows) <= messages["count"] <= 2 * math.isqrt(rows) + 5


def test_poison_rows_fail_alone_and_succeed_once_they_are_redriven(tally: Tally) -> None:
    """Of 1,000 rows 3 hang, 2 crash the process and 5 raise: these 10 fail until the cause is repaired."""
    kinds = ["fine"] * 990 + ["hangs"] * 3 + ["crashes"] * 2 + ["raises"] * 5
    random.Random(1).shuffle(kinds)
    content = "number,kind\n" + "".join(f"{number},{kind}\n" for number, kind in enumerate(kinds))
    batch_id = tally.submit("poison.csv", content.encode(), job="poison")
    batch = tally.ended(batch_id, seconds=900)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.counts == Counts(succeeded=990, failed=10)
    failed = {row["id"]: row for row in tally.json("rows", batch_id, "--outcome", "failed")}
    assert Counter(row["code"] for row in failed.values()) == {"raised": 5, "dead_lettered": 5}
    raised = next(row for row in failed.values() if row["code"] == "raised")
    assert (raised["reason"], raised["tries"]) == ("ValueError: broken", 2)
    assert raised["traceback"].startswith("jobs/poison.py:")
    assert tally.json("audit", batch_id)["exact"] is True

    # As quickly as a deployment would: the job looks at its environment.
    with variables(tally.stage.functions, [f"tally-{STAGE}-process"], {"REPAIRED": "yes"}):
        tally.json("redrive", batch_id)
        batch = tally.ended(batch_id, attempt=2)
    assert batch.status is BatchStatus.COMPLETED
    assert batch.counts == Counts(succeeded=1000)
    assert tally.json("audit", batch_id)["exact"] is True


def test_heavy_rows_whose_workers_die_come_again_within_a_lease(tally: Tally, tmp_path: Path) -> None:
    """Their queue hides a message for six times the longest row; the heartbeat's end gives it back in a minute."""
    rows = "".join(f"{number},{'dies once' if number < 3 else 'fine'},{tmp_path}\n" for number in range(20))
    batch = tally.ended(tally.submit("heavy.csv", f"number,kind,folder\n{rows}".encode(), job="poison"))
    assert batch.counts == Counts(succeeded=20)
    assert {row: runs for row, runs in _runs(tmp_path).items() if runs > 1} == {"0": 2, "1": 2, "2": 2}
    assert tally.json("audit", batch.id)["exact"] is True
