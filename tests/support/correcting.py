"""Correcting rows of a batch: `tally redrive --from` over AWS in memory, and what has to hold after it."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from chalicelib.steps.redrive import Redriver
from chalicelib.store.items import Outcome
from tally import results
from tally.batch.reader import Reader
from tally.corrections.run import Corrected, Corrector
from tally.output import Output
from tally.testing.faults import Fault, FaultyClient
from tally.testing.pipeline import Pipeline
from tests.support.builders import faulty, table

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
