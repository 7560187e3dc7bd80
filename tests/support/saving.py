"""A job with a key, and a pipeline that saves its results."""

import msgspec
import pytest

from chalicelib import pacers, services
from chalicelib.settings import ResultsTable as Setting
from chalicelib.store.results_table import KeyedResult
from chalicelib.store.saves import Save, Saves
from tally.testing import environment
from tally.testing.pipeline import Pipeline
from tests.support.builders import table

HEADER = b"office_id,users\n"
PLACE = "inbox/reports/day.csv"
JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

KEY = "office_id"

class Row(rows.Row):
    office_id: str
    users: int

failing = set()
texts = {}

def process(row):
    if row.office_id in failing:
        raise PermanentError("not today")
    return texts.get(row.office_id, {"users": row.users, "mean": row.users / 8})
"""


def saving(monkeypatch: pytest.MonkeyPatch, results_table: Setting | None) -> Pipeline:
    """Return a pipeline that exports and saves."""
    environment.handlers()
    settings = msgspec.structs.replace(services.settings(), export=True, results_table=results_table)
    monkeypatch.setattr(services, "settings", lambda: settings)
    monkeypatch.setattr(pacers, "_made", {})
    return Pipeline(monkeypatch)


def rows(*keys: str, first: int = 1) -> bytes:
    """Return a file with a row for each key; the users count the rows."""
    return HEADER + b"".join(b"%s,%d\n" % (key.encode(), users) for users, key in enumerate(keys, start=first))


def found(pipeline: Pipeline) -> dict[str, KeyedResult]:
    """Return what the results table has, by key."""
    return {item["key"]["S"]: KeyedResult.from_item(item) for item in pipeline.dynamodb.results.values()}


def save_of(pipeline: Pipeline, batch_id: str, attempt: int = 1) -> Save:
    """Return how far a save is."""
    return Saves(table=table(pipeline.dynamodb)).require(batch_id, attempt)


def until(pipeline: Pipeline, queue: str) -> None:
    """Deliver everything but the messages of a queue."""
    while work := [what for what in pipeline.work() if what != queue]:
        for what in work:
            assert pipeline.deliver(what, most=1000)
