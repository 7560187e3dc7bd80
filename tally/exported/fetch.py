"""Fetch the files of an export; those that are already there, with the right checksum, are kept."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from chalicelib.files.dialect import Format
from chalicelib.results.manifest import Manifest, ManifestCorrections, ManifestPart
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import Export, Exports
from chalicelib.store.repository import Repository
from tally.errors import ExitCode, OperatorError
from tally.exported.to_correct import TO_CORRECT, write_to_correct
from tally.look import several
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1_048_576
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The files of an export and their place: a folder, or ``one_file`` without failed.csv."""

    manifest: Manifest
    place: Path
    files: int
    one_file: bool = False

    @property
    def formula_rows(self) -> int:
        """Rows with a cell that a spreadsheet takes for a formula: of CSV all, of JSON lines those of failed.csv."""
        parts = sum(part.formula_rows for part in self.manifest.parts)
        return max(parts, 0 if self.one_file else self.manifest.failed.formula_rows)

    @property
    def to_correct(self) -> Path:
        """The file whose rows are to be corrected, if any did not succeed."""
        is_json = self.manifest.source.format == Format.JSONL
        return self.place / (TO_CORRECT if is_json else self.manifest.failed.name)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        counts = self.manifest.counts
        return {
            "id": self.manifest.batch_id,
            "attempt": self.manifest.attempt,
            "folder": None if self.one_file else str(self.place),
            "file": str(self.place) if self.one_file else None,
            "files": self.files,
            "rows": counts.rows,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "rejected": counts.rejected,
            "formula_rows": self.formula_rows,
            "expires_at": self.manifest.expires_at,
        }


def require_export(
    exports: Exports,
    batch: Batch,
    attempt: int | None,
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Export:
    """Return an export that is complete; waits for it at most ``timeout`` seconds, raises OperatorError."""
    until = clock() + timeout
    wanted = attempt or batch.attempt
    while True:
        export = exports.find(batch.id, wanted)
        if export and export.exported_at:
            return export
        why, hint = why_missing(batch, wanted, export)
        if why:
            raise OperatorError(why, hint=hint, code=ExitCode.USAGE)
        if clock() >= until:
            progress = f"{export.written:,} of {len(export.pieces):,} files" if export else "nothing"
            raise OperatorError(
                f"the results of {batch.id} are still being written, {progress} so far",
                hint=f"`tally results {batch.id} --timeout 600` waits for them, `tally logs export` says why not.",
                code=ExitCode.TIMED_OUT,
            )
        sleep(_POLL_SECONDS)
        batch = Repository(table=exports.table).require_batch(batch.id)  # its end may be announced only now


def why_missing(batch: Batch, wanted: int, export: Export | None) -> tuple[str, str]:
    """Return the reason why the results of an attempt will not come, or not soon, and a hint; empty if they may."""
    if batch.status is BatchStatus.REJECTED:
        return f"{batch.id} was rejected as a file, it has no results", "`tally status` says why."
    if wanted > batch.attempt:
        return f"{batch.id} has had {several(batch.attempt, 'attempt')}", "without --attempt the last one is fetched."
    if wanted == batch.attempt and not batch.status.final:
        return f"{batch.id} has not ended", f"`tally status {batch.id} --watch` waits for it."
    if export is None and batch.published_attempt >= wanted:
        hint = f"the job says EXPORT = False, or the stage has export = false; `tally rows {batch.id}` shows rows."
        return f"the results of attempt {wanted} of {batch.id} were not exported", hint
    if wanted < batch.attempt and not (export and export.complete):
        why = f"attempt {wanted} of {batch.id} was redriven before its results were written"
        return why, "a later attempt has results of its own."
    return "", ""


def fetch(output: Output, s3: "S3Client", bucket: str, export: Export, folder: Path, *, failed: bool = True) -> Fetched:
    """Fetch the files of an export into a folder, the manifest last; safe to repeat and to interrupt.

    A file with the right SHA-256 is kept; one that arrives with another SHA-256 raises OperatorError. The corrected
    rows of the export come too, if they still exist, and for JSON lines a file to correct, which is made here.
    """
    manifest, body = read_manifest(s3, bucket, export)
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[ManifestPart | ManifestCorrections] = list(manifest.parts)
    if failed:
        parts += [manifest.failed, *manifest.corrections]
    gone = []
    with output.progress("results", sum(part.bytes for part in parts), in_bytes=True) as advance:
        for part in parts:
            place = folder / part.name
            if place.is_file() and place.stat().st_size == part.bytes and digest(place) == part.sha256:
                advance(part.bytes)
                continue
            if not isinstance(part, ManifestCorrections):
                fetch_result(s3, bucket, export, part, place, advance)
                continue
            try:
                fetch_part(s3, bucket, part.key, part, place, advance)
            except ClientError as error:
                if not _is_gone(error):
                    raise
                gone.append(part.key)
    for key in gone:
        what = f"s3://{bucket}/{key} is gone: uploads expire"
        output.warn(f"{what}. The results have its rows; `tally verify` misses the file.")
    if failed:
        write_to_correct(folder, manifest)
    _replace(folder / MANIFEST, [body])
    return Fetched(manifest=manifest, place=folder, files=len(parts) - len(gone) + 1)


def read_manifest(s3: "S3Client", bucket: str, export: Export) -> tuple[Manifest, bytes]:
    """Return the manifest of an export, and its bytes; raises OperatorError if it has expired."""
    try:
        body = s3.get_object(Bucket=bucket, Key=export.manifest_key)["Body"].read()
    except ClientError as error:
        raise _gone(error, bucket, export, export.manifest_key) from error
    return msgspec.json.decode(body, type=Manifest), body


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_result(  # noqa: PLR0917  what, from where, to where
    s3: "S3Client", bucket: str, export: Export, part: ManifestPart, place: Path, advance: Callable[[int], None]
) -> None:
    """Fetch a file of results; raises OperatorError if it has expired or differs from the manifest."""
    key = export.prefix + part.name
    try:
        fetch_part(s3, bucket, key, part, place, advance)
    except ClientError as error:
        raise _gone(error, bucket, export, key) from error


def fetch_part(  # noqa: PLR0917  what, from where, to where
    s3: "S3Client",
    bucket: str,
    key: str,
    part: ManifestPart | ManifestCorrections,
    place: Path,
    advance: Callable[[int], None],
) -> None:
    """Fetch one file; raises OperatorError if it differs from the manifest, and AWS's errors."""
    which: dict[str, Any] = {"VersionId": part.version} if part.version else {}
    answer = s3.get_object(Bucket=bucket, Key=key, **which)
    found = hashlib.sha256()

    def blocks() -> Any:
        for block in answer["Body"].iter_chunks(_BLOCK_BYTES):
            found.update(block)
            advance(len(block))
            yield block

    _replace(place, blocks(), right=lambda: found.hexdigest() == part.sha256)


def _replace(place: Path, blocks: Any, right: Callable[[], bool] = lambda: True) -> None:
    """Write a file beside its place, and move it there once it is complete and has the right checksum."""
    beside = place.with_name(f".{place.name}.part")
    with beside.open("wb") as file:
        for block in blocks:
            file.write(block)
    if not right():
        beside.unlink()
        raise OperatorError(f"{place.name} has another SHA-256 than the manifest says", hint="run this again.")
    os.replace(beside, place)  # noqa: PTH105  the same on every system


def _is_gone(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in {"NoSuchKey", "NoSuchVersion", "404"}


def _gone(error: ClientError, bucket: str, export: Export, key: str) -> Exception:
    """Return the error to raise for a file that cannot be read: OperatorError if it no longer exists."""
    if not _is_gone(error):
        return error
    until = f"results were kept until {export.results_expire_at[:10]}" if export.results_expire_at else "it was deleted"
    return OperatorError(
        f"s3://{bucket}/{key} is gone: {until}",
        hint=f"`tally rows {export.batch_id}` shows rows as long as the table has them.",
        code=ExitCode.USAGE,
    )
