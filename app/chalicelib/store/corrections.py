"""Corrections: which rows of a chunk an operator has replaced, and the object that has them instead."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self

import msgspec

from chalicelib.store.batch import Source
from chalicelib.store.bits import RowBits
from chalicelib.store.items import ChunkKey, Item, batch_pk, key, number, number_of, text, text_of
from chalicelib.store.packing import packed, unpacked
from chalicelib.store.table import Put

if TYPE_CHECKING:
    from chalicelib.store.table import Table

CORRECTION_PREFIX = "correction#"
"""In the partition of a chunk."""
CORRECTIONS_PREFIX = "corrections#"
"""In the partition of a batch."""
_SHOWN_DIGITS = 12

IS_NEW = "attribute_not_exists(pk)"
"""A file of corrections is named once, with the attempt that it was used in first; a second redrive with the same file
reads that it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionsFile:
    """An object with corrected rows, in the order of the lines that they replace: its key has its SHA-256.

    ``size`` is in bytes, ``rows`` is how many it has. ``created_at`` is the moment before which it was uploaded.
    """

    source: Source
    sha256: str
    size: int
    rows: int
    created_at: str

    @property
    def name(self) -> str:
        """Its name beside the files of an export."""
        suffix = self.source.key.rpartition(".")[2]
        return f"corrections-{self.sha256[:_SHOWN_DIGITS]}.{suffix}"

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of an item that keep it."""
        return {
            "bucket": text(self.source.bucket),
            "key": text(self.source.key),
            "version_id": text(self.source.version_id),
            "etag": text(self.source.etag),
            "sha256": text(self.sha256),
            "file_size": number(self.size),
            "file_rows": number(self.rows),
            "created_at": text(self.created_at),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read it from an item of a batch or of a chunk."""
        source = Source(
            bucket=text_of(item, "bucket"),
            key=text_of(item, "key"),
            version_id=text_of(item, "version_id"),
            etag=text_of(item, "etag"),
        )
        return cls(
            source=source,
            sha256=text_of(item, "sha256"),
            size=number_of(item, "file_size"),
            rows=number_of(item, "file_rows"),
            created_at=text_of(item, "created_at"),
        )

    def to_item(self, batch_id: str, *, attempt: int, expires_at: int) -> dict[str, Any]:
        """Return the item by which a batch names it; ``attempt`` is the first that has rows of it."""
        return {
            **key(batch_pk(batch_id), f"{CORRECTIONS_PREFIX}{self.sha256}"),
            **self.to_attributes(),
            "attempt": number(attempt),
            "expires_at": number(expires_at),
        }


class _Lines(msgspec.Struct, frozen=True):
    """The compressed contents: rows and lines, each as the distance from the one before."""

    rows: list[int]
    lines: list[int]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Lines).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The rows of one chunk that a redrive replaced: ``lines`` has the line in the upload that each began at.

    They are in the bytes from ``start`` to before ``end`` of the file, perhaps among others. ``generation`` is the one
    that the redrive gave the chunk; of several corrections of a row the newest holds.
    """

    file: CorrectionsFile
    generation: int
    start: int
    end: int
    lines: Mapping[int, int]

    @property
    def rows(self) -> RowBits:
        """The rows that were replaced."""
        return RowBits.of(self.lines)

    def to_item(self, chunk: ChunkKey, *, expires_at: int) -> dict[str, Any]:
        """Return the item that is put once, in the transaction that takes the rows back."""
        in_order = sorted(self.lines.items())
        lines = _Lines(rows=_distances(row for row, _ in in_order), lines=_distances(line for _, line in in_order))
        return {
            **key(chunk.pk, f"{CORRECTION_PREFIX}{self.generation:06d}"),
            **self.file.to_attributes(),
            **packed(_encode(lines)),
            "start": number(self.start),
            "end": number(self.end),
            "expires_at": number(expires_at),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item of a correction."""
        found = _decode(unpacked(item))
        return cls(
            file=CorrectionsFile.from_item(item),
            generation=int(text_of(item, "sk").removeprefix(CORRECTION_PREFIX)),
            start=number_of(item, "start"),
            end=number_of(item, "end"),
            lines=dict(zip(accumulate(found.rows), accumulate(found.lines), strict=True)),
        )


def newest(corrections: Iterable[Correction], wanted: RowBits) -> list[Correction]:
    """Return corrections with those of the wanted rows alone that no newer one has, oldest first."""
    left = wanted
    found: list[Correction] = []
    for each in sorted(corrections, key=lambda each: each.generation, reverse=True):
        lines = {row: line for row, line in each.lines.items() if row in left}
        if lines:
            left -= RowBits.of(lines)
            found.append(
                Correction(file=each.file, generation=each.generation, start=each.start, end=each.end, lines=lines)
            )
    return found[::-1]


def corrections_of(table: "Table", chunk: ChunkKey) -> list[Correction]:
    """Return all corrections of a chunk."""
    return list(map(Correction.from_item, table.query(chunk.pk, CORRECTION_PREFIX)))


def files_of(table: "Table", batch_id: str, attempt: int) -> Iterator[CorrectionsFile]:
    """Return the files that an attempt of a batch has rows of, or may have: those that it or an earlier one used."""
    for item in table.query(batch_pk(batch_id), CORRECTIONS_PREFIX):
        if number_of(item, "attempt") <= attempt:
            yield CorrectionsFile.from_item(item)


def name_file(table: "Table", batch_id: str, file: CorrectionsFile, *, attempt: int, expires_at: int) -> list[Put]:
    """Return the write by which a batch names a file, none if it does so already."""
    if table.get(batch_pk(batch_id), f"{CORRECTIONS_PREFIX}{file.sha256}"):
        return []
    return [Put(item=file.to_item(batch_id, attempt=attempt, expires_at=expires_at), condition=IS_NEW)]


def _distances(numbers: Iterable[int]) -> list[int]:
    found = list(numbers)
    return [each - before for before, each in zip([0, *found], found, strict=False)]
