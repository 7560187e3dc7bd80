"""Results by key: a single one for the operator, and the progress of a batch's save."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from chalicelib.retry import Retry
from chalicelib.store.batch import Batch
from chalicelib.store.results_table import KeyedResult, ResultsTable
from chalicelib.store.saves import MAX_KEPT_UNSAVED, Save, Saves, UnsavedRow
from chalicelib.store.table import Table
from tally.batch.reader import Reader
from tally.batch.row_names import row_name
from tally.errors import ExitCode, OperatorError
from tally.look import Column, Kind, duration
from tally.output import Output
from tally.stages.stage import Stage

_SHOWN = 3
"""How many unsaved rows a summary names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The progress of the last attempt's save into the results table, and the rows that could not be saved."""

    save: Save
    unsaved: tuple[UnsavedRow, ...] = ()

    @property
    def line(self) -> str:
        """The progress in one line."""
        save, done = self.save, self.save.done
        state = "saved" if save.saved_at else "saving"
        more = [f"{done.superseded:,} superseded by a newer row"] if done.superseded else []
        more += [f"{done.unsaved_rows:,} not saved"] if done.unsaved_rows else []
        return ", ".join([f"{state} {done.saved:,} of {save.rows:,} by {save.key.name}", *more])

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        save, done = self.save, self.save.done
        return {
            "key": save.key.name,
            "rows": save.rows,
            "saved": done.saved,
            "superseded": done.superseded,
            "unsaved": done.unsaved_rows,
            "write_units": done.units,
            "begun_at": save.begun_at,
            "saved_at": save.saved_at,
            "unsaved_rows": [
                {
                    "id": row_name(row.chunk, row.row),
                    "line": row.line or None,
                    "code": row.code.value,
                    "reason": row.reason,
                }
                for row in self.unsaved
            ],
        }


def saving_of(reader: Reader, batch: Batch) -> Saving | None:
    """Return the progress of a batch's save by key; None if none was asked for yet."""
    saves = Saves(table=reader.repository.table)
    save = saves.find(batch.id, batch.attempt) if batch.status.final else None
    if save is None:
        return None
    return Saving(save=save, unsaved=tuple(saves.unsaved(save)) if save.done.unsaved_rows else ())


def show_saving(output: Output, saving: Saving | None) -> None:
    """Write the progress of a batch's save by key; nothing if there is no save."""
    if saving is None:
        return
    output.say(f"Results by key: {saving.line}")
    for row in saving.unsaved[:_SHOWN]:
        output.say(f"   line {row.line:,}: {row.code}: {row.reason}")
    more = saving.save.done.unsaved_rows - _SHOWN
    if more > 0:
        output.say(f"   and {more:,} more; --json has the first {MAX_KEPT_UNSAVED:,}")


def require_result(stage: Stage, table: str, job: str, key: str) -> KeyedResult:
    """Return the present result of a job's key; raises OperatorError if there is none, or no results table."""
    name = table or stage.resources.results_table
    if not name:
        raise OperatorError(
            f"Stage {stage.name} has no results table",
            hint="deploy it with --var 'results_table={}', or name the table with --results-table.",
            code=ExitCode.USAGE,
        )
    found = ResultsTable(table=Table(dynamodb=stage.dynamodb, name=name, retry=Retry())).find(job, key)
    if found is None:
        raise OperatorError(
            f"No result of {job} has the key {key!r} in {name}",
            hint="`tally status ID` says how far the results of a batch are saved.",
            code=ExitCode.USAGE,
        )
    return found


def show_result(output: Output, found: KeyedResult, now: datetime) -> None:
    """Write a result by key: its fields, then its source and its age."""
    fields = found.result if isinstance(found.result, dict) else {"result": found.result}
    columns = (Column("field", Kind.NAME), Column("value", Kind.TEXT))
    output.table("", columns, [(name, _shown(value)) for name, value in fields.items()])
    output.say(f"From line {found.line:,} of batch {found.batch_id}, attempt {found.attempt}")
    age = (now - datetime.fromisoformat(found.batch_created_at)).total_seconds()
    output.say(f"The file is {duration(max(0.0, age))} old ({found.batch_created_at})")


def result_as_json(found: KeyedResult, now: datetime) -> dict[str, Any]:
    """Return a result by key for ``--json``."""
    created = datetime.fromisoformat(found.batch_created_at)
    return {
        "job": found.job,
        "key": found.key,
        "result": found.result,
        "batch": found.batch_id,
        "attempt": found.attempt,
        "line": found.line or None,
        "created_at": found.batch_created_at,
        "age_seconds": round(max(0.0, (now - created).total_seconds()), 1),
        "expires_at": found.expires_at,
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
