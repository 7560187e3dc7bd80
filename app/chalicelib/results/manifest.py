"""manifest.json: the files of an export, written when all of them are there."""

from collections.abc import Iterable, Sequence

import msgspec

from chalicelib.errors import FatalError
from chalicelib.files.form import Form
from chalicelib.results.table import Columns
from chalicelib.store.batch import Batch
from chalicelib.store.corrections import CorrectionsFile
from chalicelib.store.exports import FAILED_PIECE, Export, Piece
from chalicelib.store.items import Counts

SCHEMA_VERSION = 1


class ManifestSource(msgspec.Struct, frozen=True, kw_only=True):
    """The object version that was processed; ``version`` is its etag in a bucket that keeps no versions.

    ``format``, ``encoding`` and ``delimiter`` say how its bytes become records.
    """

    bucket: str
    key: str
    version: str
    etag: str
    size: int
    format: str
    encoding: str
    delimiter: str


class ManifestCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by outcome."""

    rows: int
    succeeded: int
    failed: int
    rejected: int


class ManifestPart(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the export, by its name beside the manifest.

    ``bytes`` and ``sha256`` are of the object, ``version`` is the version to read, empty where the bucket keeps none.
    ``first_line`` and ``last_line`` are where its first and last row begin in the source, null if that is unknown.
    ``formula_rows`` have a cell that a spreadsheet would take for a formula, ``without_bytes`` are rows whose bytes
    could not be read any more: of CSV, where cells are those of the uploader. JSON lines have none of either.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    version: str
    first_line: int | None
    last_line: int | None
    formula_rows: int = 0
    without_bytes: int = 0


class ManifestCorrections(msgspec.Struct, frozen=True, kw_only=True):
    """An object with corrected rows, which are in place of those of the source at the same lines.

    ``name`` is what `tally results` calls it, and what the results say of each row that was read from it. Of several
    corrections of a row the last one holds, so that not each of its ``rows`` need be in the results.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    bucket: str
    key: str
    version: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of manifest.json; ``expires_at`` is when the files are deleted, null for never.

    ``columns`` is the header of each part that is CSV, empty for JSON lines. ``corrections`` are in the order of their
    names.
    """

    schema_version: int
    batch_id: str
    job: str
    attempt: int
    status: str
    created_at: str
    completed_at: str
    expires_at: str | None
    source: ManifestSource
    format: str
    columns: list[str] = []
    counts: ManifestCounts
    parts: list[ManifestPart]
    failed: ManifestPart
    corrections: list[ManifestCorrections] = []


def manifest(
    batch: Batch, export: Export, pieces: Sequence[Piece], corrections: Iterable[CorrectionsFile] = ()
) -> Manifest:
    """Return the manifest of an export whose pieces are all there; raises FatalError if they do not add up.

    ``corrections`` are all files that the attempt may have rows of.
    """
    parts = [piece for piece in pieces if piece.number != FAILED_PIECE]
    failed = next(piece for piece in pieces if piece.number == FAILED_PIECE)
    counted = sum((piece.counts for piece in parts), Counts())
    if counted != export.counts or failed.rows != counted.failed + counted.rejected:
        raise FatalError(
            f"{batch.id}: the results of attempt {export.attempt} have {counted}, failed.csv {failed.rows:,} rows, the "
            f"batch ended with {export.counts}: `tally audit` says what is wrong"
        )
    source = batch.source
    return Manifest(
        schema_version=SCHEMA_VERSION,
        batch_id=batch.id,
        job=batch.job,
        attempt=export.attempt,
        status=export.status,
        created_at=batch.created_at,
        completed_at=export.completed_at,
        expires_at=export.results_expire_at or None,
        source=ManifestSource(
            bucket=source.bucket,
            key=source.key,
            version=source.version,
            etag=source.etag,
            size=batch.size,
            format=batch.layout.format,
            encoding=batch.layout.encoding,
            delimiter=batch.layout.delimiter,
        ),
        format=export.form,
        columns=Columns(export.inputs, export.fields).names if export.form is Form.CSV else [],
        counts=ManifestCounts(
            rows=counted.total, succeeded=counted.succeeded, failed=counted.failed, rejected=counted.rejected
        ),
        parts=list(map(_part, parts)),
        failed=_part(failed),
        corrections=sorted(map(_corrections, corrections), key=lambda each: each.name),
    )


def _corrections(file: CorrectionsFile) -> ManifestCorrections:
    return ManifestCorrections(
        name=file.name,
        rows=file.rows,
        bytes=file.size,
        sha256=file.sha256,
        bucket=file.source.bucket,
        key=file.source.key,
        version=file.source.version_id,
    )


def _part(piece: Piece) -> ManifestPart:
    return ManifestPart(
        name=piece.name,
        rows=piece.rows,
        bytes=piece.size,
        sha256=piece.sha256,
        version=piece.version_id,
        first_line=piece.first_line,
        last_line=piece.last_line,
        formula_rows=piece.formula_rows,
        without_bytes=piece.without_bytes,
    )
