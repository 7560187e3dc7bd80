"""One row of a file: its cells, its parsed fields, and its outcome."""

import traceback
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import msgspec

from chalicelib.files.cells import read_cells
from chalicelib.files.dialect import Format
from chalicelib.files.json_lines import read_objects
from chalicelib.files.source import ObjectReader
from chalicelib.retry import Retry
from chalicelib.store.batch import Batch
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import row_id
from chalicelib.transport.messages import WorkMessage, encode
from tally.batch.rows import FoundRow, Partition, in_chunk, read_partition
from tally.errors import ExitCode, OperatorError
from tally.output import Output
from tally.trial.planning import Planning, Record
from tally.trial.stage import MAX_TOGETHER
from tally.trial.trial import Trial
from tally.trial.watch import WATCHED_CODE

_KEY = "idempotency_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """A row that was tried alone; ``cells`` are pairs of header and cell, ``fields`` the values by field.

    ``raised`` is the traceback of the last try, from the job on.
    """

    found: FoundRow
    cells: list[tuple[str, str]]
    fields: dict[str, str]
    raised: str

    def as_json(self, *, job: str, file: str) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        found = self.found.as_json()
        return {
            "job": job,
            "file": file,
            "line": found["line"],
            "cells": [{"column": name, "cell": cell} for name, cell in self.cells],
            "fields": self.fields,
            "outcome": found["outcome"],
            "code": found["code"],
            "reason": found["reason"],
            "result": found["result"],
            "tries": found["tries"],
            "heavy": found["heavy"],
            "traceback": self.raised,
        }


def try_line(trial: Trial, line: int) -> TriedRow:
    """Try the row that begins at a line of the file, or spans it; raises OperatorError if there is none."""
    with trial.planning() as planning:
        record = _chunk_at(trial, planning, line)
        batch = trial.reader.batch(planning.batch_id)
        if record is None or batch is None or batch.reason:
            why = (
                f"a stage would reject the file: {batch.reason}"
                if batch and batch.reason
                else "no row begins before it"
            )
            raise OperatorError(f"There is no row at line {line:,}: {why}.", code=ExitCode.USAGE)
        key = Chunk.from_item(record["dynamodb"]["NewImage"]).key
        trial.stage.stream([record])
        trial.stage.read_chunks()
        file = ObjectReader(s3=trial.s3, source=batch.content, retry=Retry())  # type: ignore[arg-type]
        partition = _partition(trial, key)
        row = in_chunk(partition, batch, line, file)
        if row.outcome is None:
            message = WorkMessage(
                batch=batch.id, chunk=key.number, generation=partition.chunk.generation, rows=[row.row]
            )
            queue = "heavy" if row.row in partition.chunk.heavy else "work"
            trial.stage.sqs.waiting[queue].append((encode(message), 0.0))
            for _ in trial.stage.deliver():
                pass
            partition = _partition(trial, key)
            row = in_chunk(partition, batch, line, file)
        data = file.read(partition.chunk.start, partition.chunk.end)
        return TriedRow(
            found=row,
            cells=[] if partition.chunk.unreadable else _cells(batch, partition.chunk, data, row.row),
            fields=_fields(trial, partition, row),
            raised=_raised(trial),
        )


def show(output: Output, tried: TriedRow) -> None:
    """Write a row for people."""
    found, outcome = tried.found, tried.found.outcome
    shown = [("line", f"{found.line:,}" if found.line else ""), ("outcome", outcome.outcome.value if outcome else "")]
    if outcome:
        shown += [("code", outcome.code.value)] if outcome.code else []
        shown += [("reason", outcome.reason)] if outcome.reason else []
        shown += [("result", bytes(outcome.result).decode())] if bytes(outcome.result) else []
        shown += [("tries", str(outcome.tries))] if outcome.tries else []
        shown += [("heavy", "yes")] if found.row in found.chunk.heavy else []
    output.table("", ("", ""), shown)
    if tried.cells:
        output.table("", ("column", "header", "cell"), [(str(at), *pair) for at, pair in enumerate(tried.cells, 1)])
    if tried.fields:
        output.table("", ("field", "value"), list(tried.fields.items()))
    if tried.raised:
        output.say(tried.raised)


def _chunk_at(trial: Trial, planning: Planning, line: int) -> Record | None:
    """Return the last chunk that begins at a line or before it; the others are forgotten."""
    last: Record | None = None
    while records := planning.planned(MAX_TOGETHER):
        for record in records:
            chunk = Chunk.from_item(record["dynamodb"]["NewImage"])
            if chunk.first_line > line:
                return last
            if last is not None:
                trial.stage.forget(Chunk.from_item(last["dynamodb"]["NewImage"]).key)
            last = record
    return last


def _partition(trial: Trial, key: Any) -> Partition:
    found = read_partition(trial.reader, key)
    if found is None:
        raise AssertionError(f"{key} was read")
    return found


def _cells(batch: Batch, chunk: Chunk, data: bytes, row: int) -> list[tuple[str, str]]:
    """Return the cells of a row, each with its header, or the JSON of its values, each with its name."""
    if batch.layout.format is Format.JSONL:
        objects = read_objects(data, chunk.first_line, batch.layout.encoding)
        values = next((found.values for number, found in enumerate(objects) if number == row), {})
        return [(name, bytes(value).decode(errors="replace")) for name, value in values.items()]
    read = read_cells(data, chunk.first_line, batch.layout)
    cells = next((cells for number, (_, cells, _) in enumerate(read) if number == row), [])
    return list(zip_longest(batch.header[: len(cells)], cells, fillvalue=""))


def _fields(trial: Trial, partition: Partition, row: FoundRow) -> dict[str, str]:
    """Return the row's parsed fields as Python shows them; none for a rejected row."""
    if row.row not in partition.stored:
        return {}
    _, stored = partition.stored[row.row]
    key = row_id(partition.chunk.key, row.row)
    schema = trial.watch.of.schema
    extra = {name: value for name, value in stored.items() if name not in schema.columns}
    parsed = schema.row_of(schema.columns, [stored[name] for name in schema.columns], key, extra)
    return {
        field.name: repr(getattr(parsed, field.name)) for field in msgspec.structs.fields(parsed) if field.name != _KEY
    }


def _raised(trial: Trial) -> str:
    """Return the traceback of the job's exception, from its ``process`` on."""
    error = trial.watch.raised
    if error is None:
        return ""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code is not WATCHED_CODE:
        trace = trace.tb_next
    own = trace.tb_next if trace else error.__traceback__
    return "".join(traceback.format_exception(type(error), error, own)).rstrip()
