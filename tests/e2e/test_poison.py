"""Rows that hang, kill their worker or raise: they fail alone, or come again, and the batch ends by itself."""

import random
from pathlib import Path

import pytest

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
BROKEN = "MENDED" not in os.environ


class Row(rows.Row, kw_only=True):
    number: int
    kind: str
    folder: str = ""


def heavy(row: Row) -> bool:
    return row.kind == "dies once"


def process(row: Row) -> int:
    if BROKEN and row.kind == "hangs":
        time.sleep(3600)
    if BROKEN and row.kind == "crashes":
        os._exit(1)
    if BROKEN and row.kind == "raises":
        raise ValueError("broken")
    if row.kind == "dies once":
        tries = pathlib.Path(row.folder) / f"{row.number}-{time.time_ns()}"
        tries.touch()
        if len(list(tries.parent.glob(f"{row.number}-*"))) == 1:
            os._exit(1)
    return row.number
"""


@pytest.fixture(scope="module", autouse=True)
def _deployed(tally: Tally) -> None:
    tally.deploy_job("poison", _JOB)


def test_poison_rows_fail_alone_and_a_redrive_mends_them(tally: Tally) -> None:
    """Of 1,000 rows 3 hang, 2 crash the process and 5 raise: these 10 fail, and succeed once the cause is mended."""
    kinds = ["fine"] * 990 + ["hangs"] * 3 + ["crashes"] * 2 + ["raises"] * 5
    random.Random(1).shuffle(kinds)
    content = "number,kind\n" + "".join(f"{number},{kind}\n" for number, kind in enumerate(kinds))
    batch_id = tally.submit("poison.csv", content.encode(), job="poison")
    batch = tally.ended(batch_id, seconds=420)
    assert batch.status is BatchStatus.COMPLETED_WITH_FAILURES
    assert batch.counts == Counts(succeeded=990, failed=10)
    reasons = [row["why"].split(":")[0] for row in tally.json("rows", batch_id, "--outcome", "failed")]
    assert sorted(reasons) == ["ValueError"] * 5 + ["dead-lettered"] * 5
    assert tally.json("audit", batch_id)["exact"] is True

    _mend(tally)
    tally.json("redrive", batch_id)
    batch = tally.ended(batch_id, attempt=2)
    assert batch.status is BatchStatus.COMPLETED
    assert batch.counts == Counts(succeeded=1000)
    assert tally.json("audit", batch_id)["exact"] is True


def _mend(tally: Tally) -> None:
    """Mend the cause as quickly as a deployment would: the job looks at its environment."""
    functions, name = tally.stage.functions, f"tally-{STAGE}-process"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables | {"MENDED": "yes"}})


def test_heavy_rows_whose_workers_die_come_again_within_a_lease(tally: Tally, tmp_path: Path) -> None:
    """Their queue hides a message for six times the longest row; the heartbeat's end gives it back in a minute."""
    rows = "".join(f"{number},{'dies once' if number < 3 else 'fine'},{tmp_path}\n" for number in range(20))
    batch = tally.ended(tally.submit("heavy.csv", f"number,kind,folder\n{rows}".encode(), job="poison"))
    assert batch.counts == Counts(succeeded=20)
    tries = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir() if path.name[0].isdigit())
    assert tries == ["0", "0", "1", "1", "2", "2"]
    assert tally.json("audit", batch.id)["exact"] is True
