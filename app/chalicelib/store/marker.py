"""The marker item: the proof that a set of rows was counted, with their outcomes, results and reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import msgspec

from chalicelib.bounds import grouped
from chalicelib.store.bits import RowBits
from chalicelib.store.items import (
    MARKER_PREFIX,
    MAX_ITEM_BYTES,
    ChunkKey,
    Counts,
    Item,
    Outcome,
    bits,
    bits_of,
    key,
    marker_sk,
    number,
    number_of,
    text,
    text_of,
)
from chalicelib.store.packing import packed, unpacked

MAX_REASON_CHARACTERS = 1_000
"""The characters that are kept of a reason; the row itself, and the log, have the rest."""
MAX_TRACEBACK_CHARACTERS = 2_000

ABSENT = msgspec.Raw(b"")
"""No JSON at all; a field that has it does not travel."""
_NULL = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode


class ReasonCode(StrEnum):
    """The reason why a row did not succeed, for programs; the sentence beside it is for people: nothing parses it."""

    INVALID = "invalid"  # the row does not fit the job's schema, or is no row at all
    TOO_LARGE = "too_large"  # the row, or the job's result, is larger than an item holds
    RAISED = "raised"  # the job raised at the last of its tries
    PERMANENT = "permanent"  # the job raised PermanentError
    DEAD_LETTERED = "dead_lettered"  # its worker died, timed out or failed each time
    NEVER_RAN = "never_ran"  # its message was delivered again and again, and no worker began it
    CANCELLED = "cancelled"  # an operator cancelled the batch before the row was processed
    THRESHOLD = "threshold"  # too many rows had failed before the row was processed
    SOURCE_GONE = "source_gone"  # the object was deleted before its rows were read
    ROW_GONE = "row_gone"  # the row is not in the table any more


class RowOutcome(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The outcome of a row, as it travels in a message and is kept in a marker.

    ``result`` is the JSON that the job returned. ``duration_ms`` is how many milliseconds its last try took,
    ``tries`` how often the job ran on it. ``line`` is where a row that did not succeed begins in the file;
    ``traceback`` has the job's own frames of what it raised.
    """

    row: int
    outcome: Outcome
    result: msgspec.Raw = ABSENT
    code: ReasonCode | None = None
    reason: str = ""
    line: int = 0
    tries: int = 1
    duration_ms: int = 0
    traceback: str = ""


def unsuccessful(
    row: int, outcome: Outcome, code: ReasonCode, reason: str, *, line: int = 0, tries: int = 0
) -> RowOutcome:
    """Return the outcome of a row that failed or was rejected; ``tries`` is 0 if the job never ran on it."""
    return RowOutcome(
        row=row, outcome=outcome, code=code, reason=reason[:MAX_REASON_CHARACTERS], line=line, tries=tries
    )


class _Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """The compressed contents: of rows that succeeded, in their order, results and durations; the others whole.

    ``tries`` has those of successful rows that needed more than one.
    """

    results: list[msgspec.Raw]
    durations_ms: list[int]
    others: list[RowOutcome] = []
    tries: dict[int, int] = {}


_decode = msgspec.json.Decoder(_Page).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """One item of a transaction that counted: it raised the chunk to ``version``, and ``page`` numbers its items.

    ``rows`` says which rows have which outcome; ``expires_at`` is in seconds since 1970.
    """

    chunk: ChunkKey
    version: int
    page: int
    rows: Mapping[Outcome, RowBits]
    counted_at: str
    expires_at: int
    outcomes: Sequence[RowOutcome] = ()

    @property
    def every_row(self) -> RowBits:
        """The rows that this marker counted."""
        return RowBits.of(row for found in self.rows.values() for row in found)

    @property
    def counts(self) -> Counts:
        """The numbers of rows that it counted, by outcome."""
        return Counts(**{outcome.value: len(found) for outcome, found in self.rows.items()})

    def with_outcomes(self, outcomes: Sequence[RowOutcome]) -> Self:
        """Return the same marker with other rows."""
        return replace(self, rows=rows_by_outcome(outcomes), outcomes=outcomes)

    def to_item(self) -> dict[str, Any]:
        """Return the item that is put once."""
        # Read again by the order of the bits; they come in any, for messages about one chunk are counted together.
        in_order = sorted(self.outcomes, key=lambda outcome: outcome.row)
        succeeded = [found for found in in_order if found.outcome is Outcome.SUCCEEDED]
        page = _Page(
            # A success that says nothing keeps its place: without it no row of the marker could be read again.
            results=[_NULL if found.result == ABSENT else found.result for found in succeeded],
            durations_ms=[found.duration_ms for found in succeeded],
            others=[found for found in in_order if found.outcome is not Outcome.SUCCEEDED],
            tries={found.row: found.tries for found in succeeded if found.tries != 1},
        )
        return {
            **key(self.chunk.pk, marker_sk(self.version, self.page)),
            **{outcome.value: bits(rows) for outcome, rows in self.rows.items() if rows},
            **packed(_encode(page)),
            "counted_at": text(self.counted_at),
            "expires_at": number(self.expires_at),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read a marker item; one read without its ``data`` says which rows have which outcome, and no more."""
        version, _, page = text_of(item, "sk").removeprefix(MARKER_PREFIX).partition("#")
        rows = {outcome: bits_of(item, outcome) for outcome in Outcome}
        return cls(
            chunk=ChunkKey.from_pk(text_of(item, "pk")),
            version=int(version),
            page=int(page or 0),
            rows=rows,
            counted_at=text_of(item, "counted_at"),
            expires_at=number_of(item, "expires_at"),
            outcomes=_outcomes(rows[Outcome.SUCCEEDED], _decode(unpacked(item))) if "data" in item else (),
        )


def markers(
    chunk: ChunkKey, version: int, outcomes: Iterable[RowOutcome], *, counted_at: str, expires_at: int
) -> list[Marker]:
    """Return the markers of one transaction: one, or as many as hold outcomes that are too large for an item."""
    return [
        Marker(
            chunk=chunk,
            version=version,
            page=page,
            rows=rows_by_outcome(group),
            counted_at=counted_at,
            expires_at=expires_at,
            outcomes=group,
        )
        for page, group in enumerate(_pages(outcomes))
    ]


def rows_by_outcome(outcomes: Iterable[RowOutcome]) -> dict[Outcome, RowBits]:
    """Return which rows have which outcome."""
    found = list(outcomes)
    return {outcome: RowBits.of(each.row for each in found if each.outcome is outcome) for outcome in Outcome}


def encoded_size(outcome: RowOutcome) -> int:
    """Return how many bytes an outcome takes as JSON, its comma included."""
    return len(_encode(outcome)) + 1


def _pages(outcomes: Iterable[RowOutcome]) -> Iterator[list[RowOutcome]]:
    """Fill items by their size before compression: what compresses may take more of them, none is ever too large."""
    return grouped(outcomes, size=encoded_size, max_bytes=MAX_ITEM_BYTES)


def _outcomes(succeeded: RowBits, page: _Page) -> list[RowOutcome]:
    found = [
        RowOutcome(row=row, outcome=Outcome.SUCCEEDED, result=result, duration_ms=took, tries=page.tries.get(row, 1))
        for row, result, took in zip(succeeded, page.results, page.durations_ms, strict=True)
    ]
    return sorted([*found, *page.others], key=lambda outcome: outcome.row)
