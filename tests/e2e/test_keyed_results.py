"""Results by key on a stage that has a table for them: real Terraform, a real deployment, a table with a capacity."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bench.recording import functions_of, variables
from chalicelib.store.results_table import KeyedResult
from tests.e2e.conftest import VARIABLES, Tally, wait_for

pytestmark = pytest.mark.e2e
REPORTS = 1_000
WRITE_UNITS, WRITE_SHARE = 100, 0.95
JOB = """
from chalicelib import rows

KEY = "office_id"

class Row(rows.Row):
    office_id: str
    users: int

def process(row):
    return {"users": row.users, "mean": row.users / 8, "text": "x" * 350}
"""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tally]:
    """Bring up a stage with a results table of some capacity, and a job that says KEY."""
    made = Tally(home=tmp_path_factory.mktemp("keyed"), repo=Path(__file__).resolve().parents[2], name="keyed")
    try:
        up = made.run("up", *VARIABLES, "--var", "results_table={}")
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
        made.deploy_job("reports", JOB)
        yield made
    finally:
        made.run("down")


def _rows(first: int, *keys: str) -> bytes:
    lines = (f"{key},{users}\n" for users, key in enumerate(keys, start=first))
    return f"office_id,users\n{''.join(lines)}".encode()


def _saved(tally: Tally, batch: str) -> dict[str, object]:
    """Wait until the results of a batch are saved; returns what status says of it."""

    def saving() -> dict[str, object] | None:
        found = tally.json("status", batch, "--no-cost")["saving"]
        return found if found and found["saved_at"] else None

    tally.ended(batch)
    return wait_for(saving, what=f"the results of {batch} in the results table")


def test_a_thousand_reports_are_saved_by_key_at_the_pace_of_their_table(keyed: Tally) -> None:
    stage = keyed.stage
    table = stage.resources.results_table
    stage.dynamodb.update_table(
        TableName=table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": WRITE_UNITS, "WriteCapacityUnits": WRITE_UNITS},
    )
    paced = json.dumps({"name": table, "write_share": WRITE_SHARE})
    keys = [f"office-{number}" for number in range(REPORTS)]
    with variables(stage.functions, functions_of(stage), {"TALLY_RESULTS_TABLE": paced}):
        batch = keyed.submit("day.csv", _rows(1, *keys), job="reports")
        saving = _saved(keyed, batch)
    assert (saving["saved"], saving["rows"], saving["write_units"]) == (REPORTS, REPORTS, REPORTS)
    # A slow machine only makes it longer.
    took = datetime.fromisoformat(str(saving["saved_at"])) - datetime.fromisoformat(str(saving["begun_at"]))
    assert took.total_seconds() >= REPORTS / (WRITE_UNITS * WRITE_SHARE)
    stage.dynamodb.update_table(TableName=table, BillingMode="PAY_PER_REQUEST")
    pages = stage.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    found = {item.key: item for page in pages for item in map(KeyedResult.from_item, page["Items"])}
    assert {key: each.line for key, each in found.items()} == {key: line for line, key in enumerate(keys, start=2)}
    assert {each.batch_id for each in found.values()} == {batch}


def test_a_newer_file_takes_the_place_of_an_older_one_and_its_last_row_of_a_key_wins(keyed: Tally) -> None:
    older = keyed.submit("first.csv", _rows(1, "a", "b", "b"), job="reports")
    assert _saved(keyed, older)["superseded"] == 1
    newer = keyed.submit("second.csv", _rows(11, "b", "c"), job="reports")
    assert _saved(keyed, newer)["saved"] == 2
    shown = {key: keyed.json("result", "reports", key) for key in "abc"}
    assert {key: (each["batch"], each["line"]) for key, each in shown.items()} == {
        "a": (older, 2),
        "b": (newer, 2),
        "c": (newer, 3),
    }
    assert shown["b"]["result"] == {"users": 11, "mean": 1.375, "text": "x" * 350}
    missing = keyed.run("result", "reports", "z")
    assert missing.returncode == 2
    assert "No result of reports has the key 'z'" in missing.stderr
