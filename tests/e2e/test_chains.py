"""A chain on a local stage: the results of one job become a file of the next, by real functions and events."""

import pytest

from chalicelib.store.batch import BatchStatus
from tests.e2e.conftest import Tally, wait_for

pytestmark = pytest.mark.e2e

COUNTED = """
from chalicelib import rows
from chalicelib.errors import PermanentError

THEN = "figures"

class Row(rows.Row):
    office_id: str
    user_count: int

def process(row):
    if row.user_count < 0:
        raise PermanentError("no office has fewer than no users")
    return {"office_id": row.office_id, "users": row.user_count}
"""
FIGURES = """
from chalicelib import rows

FORMAT = "jsonl"

class Row(rows.Row):
    office_id: str
    users: int

def process(row):
    return row.users * 2
"""
HEADER = b"office_id,user_count\n"
ROWS = 2_500


@pytest.fixture(scope="module", autouse=True)
def deployed(tally: Tally) -> None:
    tally.deploy_job("figures", FIGURES)
    tally.deploy_job("counted", COUNTED)


def test_the_results_of_a_job_are_processed_by_the_next_one_in_order(tally: Tally) -> None:
    """Several chunks, so that their order is seen."""
    parent = tally.submit("counted.csv", HEADER + b"".join(b"O%d,%d\n" % (n, n) for n in range(ROWS)), job="counted")
    tally.ended(parent)
    child = wait_for(lambda: tally.json("status", parent, "--no-cost")["child"], what="the child")
    ended = tally.ended(child)
    assert (ended.job, ended.status, ended.rows) == ("figures", BatchStatus.COMPLETED, ROWS)
    assert tally.json("status", child, "--no-cost")["parent"] == parent
    rows = tally.json("rows", child, "--limit", str(ROWS))
    assert [row["result"] for row in rows] == [2 * n for n in range(ROWS)]
    assert tally.json("audit", child)["exact"]
    listed = {row["id"]: row for row in tally.json("list")}
    assert (listed[child]["parent"], listed[parent]["child"]) == (parent, child)


def test_failures_hold_the_results_back(tally: Tally) -> None:
    parent = tally.submit("some.csv", HEADER + b"O1,1\nO2,-1\n", job="counted")
    tally.ended(parent)
    reason = wait_for(lambda: tally.json("status", parent, "--no-cost")["not_chained"], what="the decision")
    assert reason == "failures"
    assert parent not in {row["parent"] for row in tally.json("list")}
