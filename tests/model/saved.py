"""What must hold of saves: read from nothing but the table and the file."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from chalicelib.keys import MAX_KEY_BYTES
from chalicelib.store.batch import Batch
from chalicelib.store.exports import export_sk
from chalicelib.store.items import BATCH_SK, batch_pk
from chalicelib.store.results_table import KeyedResult
from chalicelib.store.saves import Save, UnsavedRow, save_sk, unsaved_sk
from tests.model.protocol import BATCH, CREATED_AT
from tests.model.table import Item, Place

RESULT_SK = "result"
"""The sort key of what is in the results table; its partition key is the item's key."""
LEASE: Place = ("stage", "saver")
TOO_LONG = "x" * (MAX_KEY_BYTES + 1)
"""The office of a row that cannot be saved."""
CHUNK_ROWS = 2


def wrong(content: bytes, before: Mapping[Place, Item], after: Mapping[Place, Item], now: datetime) -> Iterator[str]:
    """Say what is wrong with the saves of a table, or with the step that led to it, at a time."""
    yield from _stolen_lease(before, after, now)
    yield from _older_items(before, after)
    for attempt in (1, 2):
        save = _save(after, attempt)
        if save:
            yield from _wrong_save(content, _save(before, attempt) or save, save, after)


def unsaved(content: bytes, table: Mapping[Place, Item]) -> Iterator[str]:
    """Say what is not saved when nothing is on its way."""
    attempt = Batch.from_item(table[batch_pk(BATCH), BATCH_SK]).attempt
    save = _save(table, attempt)
    if save is None:
        yield f"saves: attempt {attempt} has ended, and its save was not begun"
        return
    if not (save.saved_at and _is_noted(table, attempt)):
        yield f"saves: attempt {attempt} is at {save.place}, and nothing is on its way"
        return
    rows = _rows(content, attempt)
    newest = {office: line for line, office in rows if office != TOO_LONG}
    results = _results(table)
    mine = {office for office, item in results.items() if item.batch_id == BATCH}
    for office in sorted(mine):
        if (results[office].attempt, results[office].line) != (attempt, newest[office]):
            yield f"saves: {office} has {results[office]}, and its newest row is in line {newest[office]}"
    refused = sum(office == TOO_LONG for _, office in rows)
    counted = (save.done.saved, save.done.superseded, save.done.unsaved_rows)
    if counted != (len(mine), len(rows) - len(mine) - refused, refused):
        yield f"saves: {save.done} of {len(rows)} rows, with {len(mine)} keys and {refused} that cannot be saved"


def _rows(content: bytes, attempt: int) -> list[tuple[int, str]]:
    """Return the line and the office of each row that succeeded, in the order of the file; the first fails at first."""
    lines = content.decode().splitlines()[1:]
    rows = [(number, line.partition(",")[0]) for number, line in enumerate(lines, start=2)]
    return rows[1:] if attempt == 1 else rows


def _wrong_save(content: bytes, then: Save, save: Save, table: Mapping[Place, Item]) -> Iterator[str]:
    name = f"saves: attempt {save.attempt}"
    if _rows_left(save) > _rows_left(then):
        yield f"{name} goes from {then.place} back to {save.place}"
    passed = [(line, office) for line, office in _rows(content, save.attempt) if line - 2 >= _rows_left(save)]
    if save.done.rows != len(passed):
        yield f"{name} counts {save.done.rows} rows, and has dealt with {len(passed)}"
    if save.saved_at and (save.place.chunks_left or save.done.rows != save.rows):
        yield f"{name} is saved with {save.done} of {save.rows} rows"
    if _is_noted(table, save.attempt) and not save.saved_at:
        yield f"{name} is noted as saved, and is not"
    kept = {
        UnsavedRow.from_item(item).line for (_, sk), item in table.items() if sk.startswith(unsaved_sk(save.attempt))
    }
    if missing := {line for line, office in passed if office == TOO_LONG} - kept:
        yield f"{name} has not kept the lines {sorted(missing)}, which cannot be saved"
    results = _results(table)
    for line, office in passed:
        if office != TOO_LONG and (
            office not in results or _order(results[office]) < (CREATED_AT, BATCH, save.attempt, line)
        ):
            yield f"{name} has dealt with line {line}, and {office} has {results.get(office)}"


def _rows_left(save: Save) -> int:
    chunks, rows = save.place.chunks_left, save.place.rows_left
    return chunks * CHUNK_ROWS - (0 if rows is None else CHUNK_ROWS - rows)


def _older_items(before: Mapping[Place, Item], after: Mapping[Place, Item]) -> Iterator[str]:
    now = _results(after)
    for office, then in _results(before).items():
        if office not in now:
            yield f"saves: {office} has no item any more"
        elif _order(now[office]) < _order(then):
            yield f"saves: {office} has {now[office]} after {then}"
        elif now[office].batch_id == then.batch_id and now[office].line < then.line:
            yield f"saves: {office} has line {now[office].line} of the file after line {then.line}"


def _stolen_lease(before: Mapping[Place, Item], after: Mapping[Place, Item], now: datetime) -> Iterator[str]:
    then, lease = before.get(LEASE), after.get(LEASE)
    if then and lease and then["owner"] != lease["owner"] and int(then["until"]["N"]) >= now.timestamp() * 1000:
        yield f"saves: {lease['owner']['S']} takes the lease of {then['owner']['S']}, which has not ended"


def _order(item: KeyedResult) -> tuple[str, str, int, int]:
    return item.batch_created_at, item.batch_id, item.attempt, item.line


def _results(table: Mapping[Place, Item]) -> dict[str, KeyedResult]:
    return {pk: KeyedResult.from_item(item) for (pk, sk), item in table.items() if sk == RESULT_SK}


def _is_noted(table: Mapping[Place, Item], attempt: int) -> bool:
    return "saved_at" in table.get((batch_pk(BATCH), export_sk(attempt)), {})


def _save(table: Mapping[Place, Item], attempt: int) -> Save | None:
    item = table.get((batch_pk(BATCH), save_sk(attempt)))
    return Save.from_item(item) if item else None
