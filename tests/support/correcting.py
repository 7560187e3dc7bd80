"""Correcting rows of a batch: `tally redrive --from` over AWS in memory, and what has to hold after it."""

import csv
import gzip
import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from chalicelib import jobs, services
from chalicelib.steps.redrive import Redriver
from chalicelib.store.items import Counts, Outcome
from chalicelib.store.marker import ReasonCode
from chalicelib.transport.messages import ChunkMessage, decode
from tally import results
from tally.batch.reader import Reader
from tally.corrections.run import Corrected, Corrector
from tally.errors import OperatorError
from tally.output import Output
from tally.testing.faults import Fault, FaultyClient
from tally.testing.pipeline import Pipeline
from tests.support.builders import faulty, table
from tests.support.redriving import deliver

JOB = """
from chalicelib import rows
from chalicelib.errors import PermanentError

class Row(rows.Row):
    kind: str
    size: int

class Loose(rows.Row):
    kind: str
    size: int | str

ran = []
broken = {"broken"}

def heavy(row):
    return row.kind == "heavy"

def process(row):
    ran.append((row.kind, row.size))
    if row.kind in broken:
        raise PermanentError(row.kind)
    return row.size
"""
HEADER = "kind,size\n"


def output(said: io.StringIO | None = None) -> Output:
    """Return an output without a terminal."""
    return Output(console=Console(file=said or io.StringIO(), width=200), as_json=False)


def corrector(pipeline: Pipeline, faults: Callable[[str], Fault] = lambda _: Fault.NONE, **options: Any) -> Corrector:
    """Return what corrects, with faults at any call of the table's."""
    dynamodb = faulty(pipeline.dynamodb, faults)
    reader = Reader(dynamodb=pipeline.dynamodb, table="tally-test", sleep=lambda _: None)  # type: ignore[arg-type]
    s3: Any = FaultyClient(pipeline.s3, faults)
    return Corrector(**{"output": output(), "reader": reader, "table": table(dynamodb), "s3": s3} | options)


def corrected(pipeline: Pipeline, batch_id: str, path: Path, **options: Any) -> Corrected:
    """Run `tally redrive --from`; its result fits its schema."""
    done = corrector(pipeline, **options).run(batch_id, path)
    results.check("redrive", done.as_json())
    return done


def redriver(dynamodb: Any) -> Redriver:
    """Return what redrives, by the clock of the handlers."""
    return Redriver(table=table(dynamodb))


def written(folder: Path, *rows: str, header: str = "tally_line,tally_reason," + HEADER) -> Path:
    """Write a corrected file."""
    path = folder / "corrected.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def outcomes(pipeline: Pipeline, batch_id: str) -> dict[tuple[int, int], tuple[str, str]]:
    """Return outcome and result, or reason, of every row by its name."""
    return {
        (chunk, each.row): (
            each.outcome.value,
            bytes(each.result).decode() if each.outcome is Outcome.SUCCEEDED else each.reason,
        )
        for chunk, each in pipeline.outcomes(batch_id)
    }


def exported(pipeline: Pipeline, batch_id: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[str]]]:
    """Return manifest, rows and failed.csv of the export of the attempt that has ended."""
    batch = pipeline.batch(batch_id)
    prefix = f"results/{batch.job}/{batch_id}/attempt-{batch.attempt}/"
    found = {key.removeprefix(prefix): body for (key, _), body in pipeline.s3.objects.items() if key.startswith(prefix)}
    manifest = json.loads(found["manifest.json"])
    rows = [
        json.loads(line) for part in manifest["parts"] for line in gzip.decompress(found[part["name"]]).splitlines()
    ]
    failed = list(csv.reader(io.StringIO(found[manifest["failed"]["name"]].decode(), newline="")))
    return manifest, rows, failed


ROWS = ["a,1", "b,x", "broken,3", "d,4", "broken,5", "f,y", "g,7", "h,8", "i,z"]
"""Lines 2 to 10, in chunks of four: lines 3, 7 and 10 are rejected, 4 and 6 fail."""
BEFORE = Counts(succeeded=4, failed=2, rejected=3)
FIXED = ["3,,b,20", "4,why,c,30", "6,,e,50", "7,,f,60", "10,,i,90"]
RESULTS = ["1", "20", "30", "4", "50", "60", "7", "8", "90"]


def module() -> Any:
    """Return the job's module."""
    return importlib.import_module(jobs.require("sizes").process.__module__)


def loosen() -> None:
    """Deploy the job with a type that takes every row."""
    module().Row = module().Loose
    module().ran.clear()
    jobs.find.cache_clear()


def uploaded(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file; returns the id of its batch."""
    return pipeline.upload("inbox/sizes/day.csv", (HEADER + "\n".join(rows or ROWS)).encode())


def ended(pipeline: Pipeline, *rows: str) -> str:
    """Upload a file and deliver everything; returns the id of its batch."""
    batch_id = uploaded(pipeline, *rows)
    pipeline.drain()
    module().ran.clear()
    return batch_id


def results_of(pipeline: Pipeline, batch_id: str) -> list[str]:
    """Return the results of rows in their order, the reasons of those that have none."""
    return [said for _, (_, said) in sorted(outcomes(pipeline, batch_id).items())]


def no_such_job(_: str) -> Any:
    """Raise as for a job that this machine does not have."""
    raise OperatorError("there is no such job here")


def given_up(pipeline: Pipeline) -> str:
    """Return a batch whose first chunk was given up before its rows were read."""
    batch_id = uploaded(pipeline, "a,1", "b,2", "c,3")
    for step in ("upload", "dispatch"):
        deliver(pipeline, step)
    (body,) = pipeline.waiting("ingest")
    give_up(pipeline, batch_id, body)
    return batch_id


def give_up(pipeline: Pipeline, batch_id: str, body: str) -> None:
    pipeline.waiting("ingest").clear()
    found = services.Services.of(None)
    found.ingester.give_up(decode(body, ChunkMessage), ReasonCode.DEAD_LETTERED, "its worker died")
    pipeline.drain()
    module().ran.clear()
    assert pipeline.batch(batch_id).counts == Counts(failed=3)
