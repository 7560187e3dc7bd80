"""The rows item: the valid rows of a chunk, cleaned, a page an item, compressed and self-describing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import msgspec

from chalicelib.errors import described, job_errors
from chalicelib.store.items import MAX_ITEM_BYTES, ChunkKey, Item, key, number, rows_sk
from chalicelib.store.packing import compressed, packed, unpacked

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A valid row as it is kept: ``row`` counts from 0 in its chunk, ``line`` is where it begins in the file.

    ``values`` stand for the columns of the page, in their order, as JSON knows them. ``extra`` are those by name that
    no field of the job matches, if it keeps them.
    """

    row: int
    line: int
    values: Sequence[Any]
    extra: Mapping[str, Any] | None = None


class _Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """The compressed contents. Rows and lines are distances from the one before: small, and mostly the same."""

    columns: Sequence[str]
    rows: list[int]
    lines: list[int]
    values: list[Any]
    extra: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Page).decode


def to_items(
    chunk: ChunkKey, columns: Sequence[str], rows: Sequence[StoredRow], *, expires_at: int, first_page: int = 0
) -> list[Item]:
    """Return the items of rows of a chunk, one page mostly; ``expires_at`` comes from the batch, not from the clock.

    A pure function of the object and the job: written again they are the same. A row's JSON may have at most
    ``MAX_ITEM_BYTES`` bytes.
    """
    return [
        {**key(chunk.pk, rows_sk(page)), **packed(data), "expires_at": number(expires_at)}
        for page, data in enumerate(_pages(columns, rows), start=first_page)
    ]


def from_items(items: Iterable[Item]) -> Iterator[tuple[Sequence[str], StoredRow]]:
    """Read the rows of pages, each with the names of its columns."""
    for item in items:
        page = _decode(unpacked(item))
        extra = page.extra or repeat(None, len(page.rows))
        lines = zip(accumulate(page.rows), accumulate(page.lines), strict=True)
        for (row, line), values, more in zip(lines, page.values, extra, strict=True):
            yield page.columns, StoredRow(row, line, values, more)


def encoded_size(row: StoredRow) -> int:
    """Return how many bytes a row takes as JSON; 0 if it has none."""
    try:
        return len(_encode(row.values)) + (len(_encode(row.extra)) if row.extra else 0)
    except job_errors():
        return 0


def why_unkept(row: StoredRow) -> str:
    """Say why JSON has not all values of a row; empty if it has."""
    try:
        _encode(row.values)
        _encode(row.extra)
    except job_errors() as error:
        return described(error)
    return ""


def _pages(columns: Sequence[str], rows: Sequence[StoredRow]) -> Iterator[bytes]:
    """Halve what does not fit into an item after compression, until it does."""
    if not rows:
        return
    data = _encode(
        _Page(
            columns=columns,
            rows=_distances([row.row for row in rows]),
            lines=_distances([row.line for row in rows]),
            values=[row.values for row in rows],
            extra=[dict(row.extra or {}) for row in rows] if any(row.extra for row in rows) else [],
        )
    )
    if len(rows) == 1 or len(data) <= MAX_ITEM_BYTES or len(compressed(data)) <= MAX_ITEM_BYTES:
        yield data
        return
    middle = len(rows) // 2
    yield from _pages(columns, rows[:middle])
    yield from _pages(columns, rows[middle:])


def _distances(numbers: list[int]) -> list[int]:
    return [number - before for before, number in zip([0, *numbers], numbers, strict=False)]
