"""A batch with a history for tests of its page: run by the real handlers in memory, then copied to the local AWS."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from chalicelib import jobs, pacers, services
from chalicelib.settings import ResultsTable
from chalicelib.steps.redrive import Redriver
from chalicelib.store.items import BATCH_SK, Outcome, batch_pk, text
from tally.testing import environment
from tally.testing.pipeline import Pipeline
from tests.support.builders import table
from tests.support.correcting import corrector
from tests.ui.conftest import BUCKET, Local

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

KEY = "name"
failing = set()

class Row(rows.Row):
    name: str
    users: int

def process(row):
    if row.name in failing:
        raise PermanentError(f"no such office: '{row.name * 9}'")
    return {"mean": row.users / 8}
"""
FILE = b"name,users\na,1\nb,2\nc,3\nd,4\ne,many\n"


def run(monkeypatch: Any, local: Local, folder: Path, name: str = "day.csv", *, corrects: bool = True) -> str:
    """Run a batch of the job ``reports`` twice, again with a row corrected, and copy it; returns its id."""
    failing = sys.modules[jobs.require("reports").process.__module__].failing
    failing.update("bc")
    environment.handlers()
    as_set = msgspec.structs.replace(
        services.settings(), export=True, results_table=ResultsTable(name="tally-test-results")
    )
    monkeypatch.setattr(services, "settings", lambda: as_set)
    monkeypatch.setattr(pacers, "_made", {})
    pipeline = Pipeline(monkeypatch)
    batch_id = pipeline.upload(f"inbox/reports/{name}", FILE)
    pipeline.drain()
    failing.discard("b")
    Redriver(table=table(pipeline.dynamodb)).redrive(batch_id, outcome=Outcome.FAILED, on_chunk=lambda: None)
    pipeline.drain()
    if corrects:
        corrected = folder / "corrected.csv"
        corrected.write_text("tally_line,tally_reason,name,users\n6,,e,5\n", encoding="utf-8")
        corrector(pipeline).run(batch_id, corrected)
        pipeline.drain()
    copied(pipeline, local, batch_id)
    return batch_id


def copied(pipeline: Pipeline, local: Local, batch_id: str) -> None:
    """Write everything of a batch to the local AWS, whose bucket keeps no versions: so nothing names one any more."""
    s3 = local.client("s3")
    for (key, _), body in pipeline.s3.objects.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=_unversioned(body) if key.endswith("manifest.json") else body)
    items = [dict(item) for (pk, _), item in pipeline.dynamodb.items.items() if pk.startswith(batch_pk(batch_id))]
    for item in items:
        if item["sk"]["S"] == BATCH_SK:
            etag = s3.head_object(Bucket=BUCKET, Key=item["key"]["S"])["ETag"].strip('"')
            item |= {"version_id": text(""), "etag": text(etag)}
    local.write(items)


def _unversioned(manifest: bytes) -> bytes:
    found = json.loads(manifest)
    for part in (*found["parts"], found["failed"], *found["corrections"]):
        part["version"] = ""
    return json.dumps(found).encode()
