"""Fetching the files of an export: those that are there already and right are not fetched again."""

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
from tally.errors import ExitCode, OperatorError
from tally.exported.to_correct import TO_CORRECT, write_to_correct
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1_048_576
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The files of an export, and where they are."""

    manifest: Manifest
    folder: Path
    files: int

    @property
    def to_correct(self) -> Path:
        """The file whose rows are to be corrected, if any did not succeed."""
        is_json = self.manifest.source.format == Format.JSONL
        return self.folder / (TO_CORRECT if is_json else self.manifest.failed.name)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        counts = self.manifest.counts
        return {
            "id": self.manifest.batch_id,
            "attempt": self.manifest.attempt,
            "folder": str(self.folder),
            "files": self.files,
            "rows": counts.rows,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "rejected": counts.rejected,
            "formula_rows": self.manifest.failed.formula_rows,
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
    """Return an export that is complete, waiting for it so many seconds; raises OperatorError."""
    if batch.status is BatchStatus.REJECTED:
        raise OperatorError(f"{batch.id} was rejected as a file, it has no results", code=ExitCode.USAGE)
    wanted = attempt or batch.attempt
    if wanted == batch.attempt and not batch.status.final:
        raise OperatorError(
            f"{batch.id} has not ended", hint=f"`tally status {batch.id} --watch` waits for it.", code=ExitCode.USAGE
        )
    until = clock() + timeout
    while True:
        export = exports.find(batch.id, wanted)
        if export and export.exported_at:
            return export
        if export is None and batch.published_attempt >= wanted:
            raise OperatorError(
                f"the results of attempt {wanted} of {batch.id} were not exported",
                hint="the job says EXPORT = False, or the stage is deployed with export = false.",
                code=ExitCode.USAGE,
            )
        if clock() >= until:
            progress = f"{export.written:,} of {len(export.pieces):,} files" if export else "nothing"
            raise OperatorError(
                f"the results of {batch.id} are still being written, {progress} so far",
                hint="run it again; `tally logs export` says what is wrong.",
                code=ExitCode.TIMED_OUT,
            )
        sleep(_POLL_SECONDS)


def fetch(output: Output, s3: "S3Client", bucket: str, export: Export, folder: Path) -> Fetched:
    """Fetch the files of an export into a folder, the manifest last; safe to repeat and to interrupt.

    A file that is there and has the right SHA-256 stays; one that arrives with another one raises OperatorError. With
    them come the corrected rows that the export was made of, if they are there still, and a file to correct of JSON
    lines, which is made here.
    """
    body = _read(s3, bucket, export.manifest_key)
    manifest = msgspec.json.decode(body, type=Manifest)
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[ManifestPart | ManifestCorrections] = [*manifest.parts, manifest.failed, *manifest.corrections]
    gone = []
    with output.progress("results", sum(part.bytes for part in parts), in_bytes=True) as advance:
        for part in parts:
            place = folder / part.name
            if place.is_file() and place.stat().st_size == part.bytes and digest(place) == part.sha256:
                advance(part.bytes)
                continue
            key = part.key if isinstance(part, ManifestCorrections) else export.prefix + part.name
            try:
                _fetch_part(s3, bucket, key, part, place, advance)
            except _GoneError as error:
                if not isinstance(part, ManifestCorrections):
                    raise
                gone.append(str(error))
    for said in gone:
        output.warn(f"{said}. The results have its rows; `tally verify` misses the file.")
    write_to_correct(folder, manifest)
    _replace(folder / MANIFEST, [body])
    return Fetched(manifest=manifest, folder=folder, files=len(parts) - len(gone) + 1)


class _GoneError(OperatorError):
    """An object is not there any more."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_part(  # noqa: PLR0917  what, from where, to where
    s3: "S3Client",
    bucket: str,
    key: str,
    part: ManifestPart | ManifestCorrections,
    place: Path,
    advance: Callable[[int], None],
) -> None:
    which: dict[str, Any] = {"VersionId": part.version} if part.version else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=key, **which)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "NoSuchVersion", "404"}:
            what = "uploads" if isinstance(part, ManifestCorrections) else "results"
            raise _GoneError(f"s3://{bucket}/{key} is gone: {what} expire", code=ExitCode.USAGE) from error
        raise
    found = hashlib.sha256()

    def blocks() -> Any:
        for block in answer["Body"].iter_chunks(_BLOCK_BYTES):
            found.update(block)
            advance(len(block))
            yield block

    _replace(place, blocks(), right=lambda: found.hexdigest() == part.sha256)


def _replace(place: Path, blocks: Any, right: Callable[[], bool] = lambda: True) -> None:
    """Write a file beside its place and put it there when it is whole and right."""
    beside = place.with_name(f".{place.name}.part")
    with beside.open("wb") as file:
        for block in blocks:
            file.write(block)
    if not right():
        beside.unlink()
        raise OperatorError(f"{place.name} has another SHA-256 than the manifest says", hint="run it again.")
    os.replace(beside, place)  # noqa: PTH105  the same on every system


def _read(s3: "S3Client", bucket: str, key: str) -> bytes:
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
            raise OperatorError(f"s3://{bucket}/{key} is gone: results expire", code=ExitCode.USAGE) from error
        raise
