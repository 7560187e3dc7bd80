"""Exports: how far the results of an attempt are written, and what each piece of them is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from chalicelib.errors import NotFoundError
from chalicelib.files.form import Form
from chalicelib.store.items import (
    Counts,
    Item,
    Outcome,
    batch_pk,
    key,
    number,
    number_of,
    number_or_none_of,
    text,
    text_of,
    texts,
    texts_of,
)
from chalicelib.store.table import Put, Update

if TYPE_CHECKING:
    from chalicelib.store.table import Table

EXPORT_PREFIX = "export#"
FAILED_PIECE = 0
"""failed.csv; the parts are numbered from 1."""
EXPORTING = "exporting"
"""The list of the sparse index with the exports that have no manifest yet, beside the lists of batches."""

IS_NEW = "attribute_not_exists(pk)"
"""The export was not begun before, or the piece not marked: what stands is never written over."""
IS_BEGUN = "attribute_exists(pk)"
"""Pieces are counted on the item that says how many there are."""


def export_sk(attempt: int, piece: int | None = None) -> str:
    """Return the sort key of the export of an attempt, or of one piece of it."""
    return f"{EXPORT_PREFIX}{attempt:06d}" + ("" if piece is None else f"#{piece:06d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The export of one attempt: how the batch ended, and how it is cut.

    ``inputs`` and ``fields`` are the columns of CSV: those of the file, and of the results by the job as it was then.
    ``written`` counts the pieces that are there. ``exported_at`` and ``manifest_sha256`` are set once the manifest was
    announced. ``results_expire_at`` is when the files are deleted, empty for never.
    """

    batch_id: str
    attempt: int
    prefix: str
    form: Form
    status: str
    completed_at: str
    counts: Counts
    chunks: int
    chunks_per_part: int
    inputs: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    results_expire_at: str = ""
    written: int = 0
    exported_at: str = ""
    manifest_sha256: str = ""

    @property
    def parts(self) -> int:
        """The number of parts of the results."""
        return -(-self.chunks // self.chunks_per_part)

    @property
    def pieces(self) -> range:
        """The numbers of all pieces: the parts, and failed.csv."""
        return range(FAILED_PIECE, self.parts + 1)

    @property
    def complete(self) -> bool:
        """Tell whether every piece is there."""
        return self.written == len(self.pieces)

    @property
    def manifest_key(self) -> str:
        """The key of the manifest, also before it is written."""
        return f"{self.prefix}manifest.json"

    def chunks_of(self, piece: int) -> range:
        """Return the numbers of the chunks whose rows are in a part."""
        first = (piece - 1) * self.chunks_per_part
        return range(first, min(first + self.chunks_per_part, self.chunks))

    def piece_of(self, chunk: int) -> int:
        """Return the number of the part that has the rows of a chunk."""
        return 1 + chunk // self.chunks_per_part

    def to_item(self) -> dict[str, Any]:
        """Return the item of an export that begins."""
        return {
            **key(batch_pk(self.batch_id), export_sk(self.attempt)),
            "attempt": number(self.attempt),
            "prefix": text(self.prefix),
            "form": text(self.form),
            "status": text(self.status),
            "completed_at": text(self.completed_at),
            "chunks": number(self.chunks),
            "chunks_per_part": number(self.chunks_per_part),
            "inputs": texts(self.inputs),
            "fields": texts(self.fields),
            "results_expire_at": text(self.results_expire_at),
            "written": number(self.written),
            **{outcome.value: number(getattr(self.counts, outcome.value)) for outcome in Outcome},
            "listing": text(EXPORTING),
            "created_at": text(self.completed_at),  # by which the index sorts
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item of an export."""
        return cls(
            batch_id=text_of(item, "pk").removeprefix("batch#"),
            attempt=number_of(item, "attempt"),
            prefix=text_of(item, "prefix"),
            form=Form(text_of(item, "form")),
            status=text_of(item, "status"),
            completed_at=text_of(item, "completed_at"),
            counts=Counts.from_item(item),
            chunks=number_of(item, "chunks"),
            chunks_per_part=number_of(item, "chunks_per_part"),
            inputs=texts_of(item, "inputs"),
            fields=texts_of(item, "fields"),
            results_expire_at=text_of(item, "results_expire_at"),
            written=number_of(item, "written"),
            exported_at=text_of(item, "exported_at"),
            manifest_sha256=text_of(item, "manifest_sha256"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of an export as it was written: ``size`` in bytes, ``sha256`` in hexadecimal, of the object.

    ``version_id`` is empty in a bucket that keeps no versions. ``formula_rows`` and ``without_bytes`` are 0 for JSON
    lines, see the manifest.
    """

    number: int
    name: str
    size: int
    sha256: str
    version_id: str
    first_line: int | None = None
    last_line: int | None = None
    counts: Counts = field(default_factory=Counts)
    formula_rows: int = 0
    without_bytes: int = 0

    @property
    def rows(self) -> int:
        """The number of rows in it."""
        return self.counts.total

    def to_item(self, export: Export, *, expires_at: int) -> dict[str, Any]:
        """Return the item that proves that the piece is there; ``expires_at`` is in seconds since 1970."""
        lines = {"first_line": self.first_line, "last_line": self.last_line}
        return {
            **key(batch_pk(export.batch_id), export_sk(export.attempt, self.number)),
            "name": text(self.name),
            "size": number(self.size),
            "sha256": text(self.sha256),
            "version_id": text(self.version_id),
            **{name: number(line) for name, line in lines.items() if line is not None},
            **{outcome.value: number(getattr(self.counts, outcome.value)) for outcome in Outcome},
            "formula_rows": number(self.formula_rows),
            "without_bytes": number(self.without_bytes),
            "expires_at": number(expires_at),
        }

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Read the item of a piece."""
        return cls(
            number=int(text_of(item, "sk").rpartition("#")[2]),
            name=text_of(item, "name"),
            size=number_of(item, "size"),
            sha256=text_of(item, "sha256"),
            version_id=text_of(item, "version_id"),
            first_line=number_or_none_of(item, "first_line"),
            last_line=number_or_none_of(item, "last_line"),
            counts=Counts.from_item(item),
            formula_rows=number_of(item, "formula_rows"),
            without_bytes=number_of(item, "without_bytes"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """Keeps how far exports are, in the partitions of their batches."""

    table: "Table"

    def begin(self, export: Export) -> None:
        """Put an export if it was not begun before; safe to repeat."""
        self.table.put(Put(item=export.to_item(), condition=IS_NEW))

    def find(self, batch_id: str, attempt: int) -> Export | None:
        """Return the export of an attempt, None if it was not begun."""
        item = self.table.get(batch_pk(batch_id), export_sk(attempt))
        return Export.from_item(item) if item else None

    def require(self, batch_id: str, attempt: int) -> Export:
        """Return the export of an attempt; raises NotFoundError."""
        export = self.find(batch_id, attempt)
        if export is None:
            raise NotFoundError(f"there is no export of attempt {attempt} of {batch_id}: was the batch deleted?")
        return export

    def is_marked(self, export: Export, piece: int) -> bool:
        """Tell whether a piece is there."""
        return self.table.get(batch_pk(export.batch_id), export_sk(export.attempt, piece)) is not None

    def mark(self, export: Export, piece: Piece, *, expires_at: int) -> bool:
        """Count a piece that is written, once; tells whether this call did, with the doubt of ``Table.put``."""
        failed = self.table.transact(
            [
                Put(item=piece.to_item(export, expires_at=expires_at), condition=IS_NEW),
                Update(
                    pk=batch_pk(export.batch_id),
                    sk=export_sk(export.attempt),
                    expression="ADD written :one",
                    condition=IS_BEGUN,
                    values={":one": number(1)},
                ),
            ]
        )
        if 1 in failed:
            raise NotFoundError(f"there is no export of attempt {export.attempt} of {export.batch_id}")
        return not failed

    def pieces(self, export: Export) -> Iterator[Piece]:
        """Return the pieces that are there, in order."""
        for item in self.table.query(batch_pk(export.batch_id), f"{export_sk(export.attempt)}#"):
            yield Piece.from_item(item)

    def unwritten(self) -> list[Export]:
        """Return the exports that were begun and have no manifest, the oldest first."""
        found = self.table.get_all(reversed(self.table.newest(EXPORTING)))
        return sorted(map(Export.from_item, found), key=lambda export: (export.completed_at, export.batch_id))

    def missing(self, export: Export) -> list[int]:
        """Return the numbers of the pieces that are not there."""
        there = {piece.number for piece in self.pieces(export)}
        return [piece for piece in export.pieces if piece not in there]

    def finish(self, export: Export, now: str, manifest_sha256: str) -> None:
        """Note that the manifest is there and was announced."""
        self._update(
            export,
            "SET exported_at = :now, manifest_sha256 = :sha256 REMOVE listing",
            {":now": text(now), ":sha256": text(manifest_sha256)},
        )

    def give_up(self, export: Export) -> None:
        """Note that an export will never have a manifest; safe to repeat."""
        self._update(export, "REMOVE listing")

    def _update(self, export: Export, expression: str, values: dict[str, Any] | None = None) -> None:
        self.table.update(
            Update(
                pk=batch_pk(export.batch_id),
                sk=export_sk(export.attempt),
                expression=expression,
                condition=IS_BEGUN,
                values=values or {},
            )
        )
