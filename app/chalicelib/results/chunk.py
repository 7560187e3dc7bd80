"""The outcomes of one chunk in the order of its rows, proven complete by its markers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from chalicelib.errors import FatalError
from chalicelib.store import rows
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.corrections import CORRECTION_PREFIX, Correction, newest
from chalicelib.store.items import CHUNK_SK, MARKER_PREFIX, ROWS_PREFIX, Item, Outcome, text_of
from chalicelib.store.marker import Marker, RowOutcome

_MAX_DECODED = 64
"""Markers of a chunk that are kept decoded at once: there are a few mostly, thousands where results are very large."""


class IncompleteError(FatalError):
    """A chunk is not closed, or a row of it is in no marker or in several: nothing of it may be exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResults:
    """A closed chunk: its markers, the lines where its stored rows begin, and the corrections of its rows."""

    chunk: Chunk
    markers: Sequence[Item]
    stored_lines: Mapping[int, int]
    corrections: Sequence[Correction] = ()

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Read the items of a chunk's partition; raises IncompleteError."""
        chunk: Chunk | None = None
        markers: list[Item] = []
        pages: list[Item] = []
        corrections: list[Correction] = []
        for item in items:
            sk = text_of(item, "sk")
            if sk == CHUNK_SK:
                chunk = Chunk.from_item(item)
            elif sk.startswith(MARKER_PREFIX):
                markers.append(item)
            elif sk.startswith(ROWS_PREFIX):
                pages.append(item)
            elif sk.startswith(CORRECTION_PREFIX):
                corrections.append(Correction.from_item(item))
        if chunk is None:
            raise IncompleteError("a chunk of the batch is not in the table: was it deleted?")
        if not chunk.closed:
            raise IncompleteError(f"{chunk.key.pk} is not closed")
        found = cls(
            chunk=chunk,
            markers=markers,
            stored_lines={row.row: row.line for _, row in rows.from_items(pages)},
            corrections=newest(corrections, chunk.corrected),
        )
        found._require_complete()
        return found

    @property
    def unsuccessful(self) -> RowBits:
        """The rows that failed or were rejected."""
        return self._with(Outcome.FAILED, Outcome.REJECTED)

    @property
    def succeeded(self) -> RowBits:
        """The rows that succeeded."""
        return self._with(Outcome.SUCCEEDED)

    def outcomes(self, wanted: Iterable[int] | None = None) -> Iterator[RowOutcome]:
        """Return the outcomes of all rows, or of those ``wanted``, in their order; some markers are in memory."""
        place = {row: position for position, item in enumerate(self.markers) for row in _summary(item).every_row}

        @lru_cache(maxsize=_MAX_DECODED)
        def decoded(position: int) -> dict[int, RowOutcome]:
            return {outcome.row: outcome for outcome in Marker.from_item(self.markers[position]).outcomes}

        for row in sorted(place) if wanted is None else wanted:
            yield decoded(place[row])[row]

    def line(self, outcome: RowOutcome) -> int | None:
        """Return the line where a row begins; None if neither the row nor its outcome says it."""
        known = self.stored_lines.get(outcome.row) or outcome.line or self._corrected_line(outcome.row)
        if not known and self.chunk.expected_rows == 1:
            return self.chunk.first_line
        return known or None

    def corrected_by(self, row: int) -> str:
        """Return the name of the file that a row was corrected by, empty if it is as it was uploaded."""
        return next((each.file.name for each in self.corrections if row in each.lines), "")

    def _corrected_line(self, row: int) -> int:
        return next((each.lines[row] for each in self.corrections if row in each.lines), 0)

    def _with(self, *outcomes: Outcome) -> RowBits:
        bits = [_summary(item).rows for item in self.markers]
        return RowBits.of(row for found in bits for outcome in outcomes for row in found[outcome])

    def _require_complete(self) -> None:
        total, every = 0, RowBits()
        for item in self.markers:
            found = _summary(item).every_row
            total += len(found)
            every |= found
        rows_of_chunk = self.chunk.rows or 0
        missing = RowBits.first(rows_of_chunk) - every
        if missing or total != rows_of_chunk:
            what = f"rows {list(missing)[:10]} are in no marker" if missing else "rows are in several markers"
            raise IncompleteError(
                f"{self.chunk.key.pk}: {what}, of {rows_of_chunk}: they have expired, or `tally audit` says what is"
                " wrong"
            )


def _summary(item: Item) -> Marker:
    """Read which rows have which outcome, and no more."""
    return Marker.from_item({name: value for name, value in item.items() if name != "data"})
