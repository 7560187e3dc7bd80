"""The rows of a chunk as items of the results table, from the last row to the first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.keys import KeySource, UnsavedError
from chalicelib.results.chunk import ChunkResults
from chalicelib.store import rows
from chalicelib.store.attributes import json_value
from chalicelib.store.batch import Batch
from chalicelib.store.items import ROWS_PREFIX, Item, text_of
from chalicelib.store.marker import RowOutcome
from chalicelib.store.pacing import item_size, write_units
from chalicelib.store.results_table import KeyedResult
from chalicelib.store.saves import Save, UnsavedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRow:
    """A row that succeeded: its ``item``, or why it has none; neither if a row below it in the chunk has its key."""

    chunk: int
    row: int
    line: int
    item: Mapping[str, Any] | None = None
    refused: UnsavedError | None = None

    @property
    def units(self) -> int:
        """The write units that a put of the item costs, also if a newer one is there."""
        return write_units(item_size(self.item)) if self.item else 0

    def unsaved(self, error: UnsavedError) -> UnsavedRow:
        """Return what is kept of a row that is not saved."""
        return UnsavedRow(chunk=self.chunk, row=self.row, line=self.line, code=error.code, reason=str(error))


def keyed_rows(batch: Batch, save: Save, items: Sequence[Item], *, expires_at: int | None) -> Iterator[KeyedRow]:
    """Return the rows of a chunk that are left of a save, by the items of its partition; raises IncompleteError.

    ``expires_at`` is in seconds since 1970.
    """
    found = ChunkResults.of(items)
    left = save.place.rows_left if save.place.chunks_left == found.chunk.key.number + 1 else None
    wanted = [row for row in found.succeeded if left is None or row < left]
    columns = _columns(items, save.key.name) if save.key.source is KeySource.ROW else {}

    def item(outcome: RowOutcome, line: int) -> dict[str, Any] | None:
        result = json_value(bytes(outcome.result))
        key = save.key.found(result, {save.key.name: columns.get(outcome.row)})
        if key in seen:
            return None
        made = KeyedResult(
            key=key,
            job=batch.job,
            batch_id=batch.id,
            batch_created_at=batch.created_at,
            attempt=save.attempt,
            line=line,
            result=result,
            expires_at=expires_at,
        ).to_item()
        seen.add(key)
        return made

    seen: set[str] = set()
    for outcome in found.outcomes(reversed(wanted)):
        # A row that succeeded was stored, so its line is known until the ledger has expired.
        row = KeyedRow(chunk=found.chunk.key.number, row=outcome.row, line=found.line(outcome) or 0)
        try:
            yield replace(row, item=item(outcome, row.line))
        except UnsavedError as error:
            yield replace(row, refused=error)


def _columns(items: Sequence[Item], name: str) -> dict[int, Any]:
    """Return the values of a column by row, as they were stored."""
    pages = (item for item in items if text_of(item, "sk").startswith(ROWS_PREFIX))
    return {row.row: row.values[columns.index(name)] for columns, row in rows.from_items(pages) if name in columns}
