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

from chalicelib.results.manifest import Manifest, ManifestPart
from chalicelib.store.batch import Batch, BatchStatus
from chalicelib.store.exports import Export, Exports
from tally.errors import ExitCode, OperatorError
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1_048_576
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The files of an export, and where they are: in a folder, or in ``one_file`` without failed.csv."""

    manifest: Manifest
    place: Path
    files: int
    one_file: bool = False

    @property
    def formula_rows(self) -> int:
        """Rows with a cell that a spreadsheet takes for a formula: of CSV all, of JSON lines those of failed.csv."""
        parts = sum(part.formula_rows for part in self.manifest.parts)
        return max(parts, 0 if self.one_file else self.manifest.failed.formula_rows)

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


def fetch(output: Output, s3: "S3Client", bucket: str, export: Export, folder: Path, *, failed: bool = True) -> Fetched:
    """Fetch the files of an export into a folder, the manifest last; safe to repeat and to interrupt.

    A file that is there and has the right SHA-256 stays; one that arrives with another one raises OperatorError.
    """
    manifest, body = read_manifest(s3, bucket, export)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [*manifest.parts, *([manifest.failed] if failed else [])]
    with output.progress("results", sum(part.bytes for part in parts), in_bytes=True) as advance:
        for part in parts:
            place = folder / part.name
            if place.is_file() and place.stat().st_size == part.bytes and digest(place) == part.sha256:
                advance(part.bytes)
                continue
            fetch_part(s3, bucket, export.prefix, part, place, advance)
    _replace(folder / MANIFEST, [body])
    return Fetched(manifest=manifest, place=folder, files=len(parts) + 1)


def read_manifest(s3: "S3Client", bucket: str, export: Export) -> tuple[Manifest, bytes]:
    """Return the manifest of an export, and its bytes; raises OperatorError if it has expired."""
    body = _read(s3, bucket, export.manifest_key)
    return msgspec.json.decode(body, type=Manifest), body


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_part(  # noqa: PLR0917  what, from where, to where
    s3: "S3Client", bucket: str, prefix: str, part: ManifestPart, place: Path, advance: Callable[[int], None]
) -> None:
    """Fetch one file; raises OperatorError if it has expired, or is not what the manifest says."""
    which: dict[str, Any] = {"VersionId": part.version} if part.version else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=prefix + part.name, **which)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "NoSuchVersion", "404"}:
            raise OperatorError(
                f"s3://{bucket}/{prefix}{part.name} is gone: results expire", code=ExitCode.USAGE
            ) from error
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
