"""Results in one file or on stdout: the parts one after the other, with one header."""

import gzip
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec

from chalicelib.files.form import Form
from chalicelib.results.lines import ResultLine
from chalicelib.results.manifest import Manifest
from chalicelib.results.table import Columns, Place, record, row_cells
from chalicelib.store.exports import Export
from chalicelib.store.marker import RowOutcome
from tally.errors import ExitCode, OperatorError
from tally.exported.fetch import Fetched, fetch, fetch_result, read_manifest
from tally.output import Output

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIPE = Path("-")
"""Stands for stdout."""
_GZIP = ".gz"
_BLOCK_BYTES = 1_048_576
_LEVEL = 6
_decode = msgspec.json.Decoder(ResultLine).decode
_decode_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Unpacked = Callable[[], Iterator[Path]]
"""Returns the parts in order; each may be removed when the next one is asked for."""


class Target(NamedTuple):
    """The content of an output file: results in this form, compressed or not."""

    form: Form
    packed: bool


def target_of(place: Path) -> Target | None:
    """Return the content that a file's name asks for; None for a folder."""
    if place.is_dir():
        return None
    name = place.name.lower()
    packed = name.endswith(_GZIP)
    found = next((form for form in Form if name.removesuffix(_GZIP).endswith(f".{form}")), None)
    return Target(found, packed) if found else None


def require_free(place: Path, *, force: bool) -> None:
    """Raise OperatorError if a file exists and must not be replaced, or is in the place of a folder."""
    if place == PIPE or place.is_dir() or not place.exists():
        return
    if target_of(place) is None:
        raise OperatorError(
            f"{place} is a file",
            hint="name a folder, or a file that ends in .csv, .jsonl, .csv.gz or .jsonl.gz.",
            code=ExitCode.USAGE,
        )
    if not force:
        raise OperatorError(f"{place} exists already", hint="--force replaces it.", code=ExitCode.USAGE)


def fetch_file(output: Output, s3: "S3Client", bucket: str, export: Export, place: Path) -> Fetched:
    """Fetch results into one file, which appears once it is complete; safe to repeat and to interrupt.

    Until then its parts are in a hidden folder beside it; those that are already there are not fetched again.
    """
    target = target_of(place) or Target(export.form, packed=False)
    _require_form(export, target.form)
    folder = place.with_name(f".{place.name}.parts")
    manifest = fetch(output, s3, bucket, export, folder, failed=False).manifest
    beside = place.with_name(f".{place.name}.part")
    with beside.open("wb") as file, _packed(file) if target.packed else nullcontext(file) as out:
        for block in _joined(manifest, target.form, lambda: (folder / part.name for part in manifest.parts)):
            out.write(block)
    os.replace(beside, place)  # noqa: PTH105  the same on every system
    shutil.rmtree(folder)
    return Fetched(manifest=manifest, place=place, files=1, one_file=True)


def pipe(output: Output, s3: "S3Client", bucket: str, export: Export, out: IO[bytes] | None = None) -> None:
    """Write results to stdout, each part once it has the right SHA-256; the reader may stop at any row."""
    to = out or sys.stdout.buffer
    try:
        for block in blocks_of(output, s3, bucket, export):
            to.write(block)
        to.flush()
    except BrokenPipeError:
        # The rest of the buffer would be written when Python ends, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), to.fileno())


def blocks_of(output: Output, s3: "S3Client", bucket: str, export: Export) -> Iterator[bytes]:
    """Yield the bytes of results as one file, each part once it has the right SHA-256; one part is on disk at a time.

    Raises OperatorError for results that have expired, or that differ from the manifest.
    """
    manifest = read_manifest(s3, bucket, export)[0]
    total = sum(part.bytes for part in manifest.parts)
    with tempfile.TemporaryDirectory() as name, output.progress("results", total, in_bytes=True) as advance:

        def parts() -> Iterator[Path]:
            for part in manifest.parts:
                place = Path(name) / part.name
                fetch_result(s3, bucket, export, part, place, advance)
                yield place
                place.unlink()

        yield from _joined(manifest, export.form, parts)


def _require_form(export: Export, wanted: Form) -> None:
    if export.form is Form.CSV and wanted is Form.JSONL:
        raise OperatorError(
            f"the results of {export.batch_id} are CSV, which does not tell a number from a text",
            hint='name a file that ends in .csv, or set EXPORT = "jsonl" in the job.',
            code=ExitCode.USAGE,
        )


def _joined(manifest: Manifest, form: Form, parts: Unpacked) -> Iterable[bytes]:
    """Yield the bytes of one file; JSON lines become CSV after all parts were read once for the names in results."""
    if manifest.format == form:
        header = record(manifest.columns) if manifest.columns else b""
        yield header
        for part in parts():
            yield from _without(header, _blocks(part))
        return
    columns = Columns(fields=tuple(_names(parts)))
    yield columns.header()
    for row in _rows(parts):
        outcome = RowOutcome(
            row=row.row, outcome=row.outcome, result=row.result, code=row.code, reason=row.reason, tries=row.tries
        )
        yield record(row_cells(columns, (), outcome, Place(row.line, row.chunk, row.row, row.corrected)))


def _rows(parts: Unpacked) -> Iterator[ResultLine]:
    for part in parts():
        with gzip.open(part, "rb") as file:
            yield from map(_decode, file)


def _names(parts: Unpacked) -> Iterable[str]:
    """Return every name in results, in the order of first use."""
    found: dict[str, None] = {}
    for row in _rows(parts):
        if bytes(row.result)[:1] == b"{":
            found |= dict.fromkeys(_decode_names(row.result))
    return found


def _without(header: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a part without its header, which every part has."""
    begin = b""
    while len(begin) < len(header):
        begin += next(blocks)
    if not begin.startswith(header):
        raise OperatorError(
            "a file of results does not begin with the columns in its manifest: use the version of Tally that wrote it"
        )
    yield begin[len(header) :]
    yield from blocks


def _blocks(part: Path) -> Iterator[bytes]:
    with gzip.open(part, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _packed(file: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=_LEVEL, mtime=0)
