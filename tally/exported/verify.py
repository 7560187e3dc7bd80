"""Verify an export offline: every row once, in order, with the counts of the manifest, and nothing changed."""

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import marked
from chalicelib.files.ranges import ranges
from chalicelib.results.failed import source_rows
from chalicelib.results.lines import ResultLine
from chalicelib.results.manifest import SCHEMA_VERSION, Manifest, ManifestCorrections, ManifestPart, ManifestSource
from chalicelib.store.items import Outcome
from tally.errors import ExitCode, OperatorError
from tally.exported.corrections import against_corrections
from tally.exported.fetch import MANIFEST, digest
from tally.exported.parts import UNREADABLE, rows_of

_BLOCK_BYTES = 2 * 1_048_576
_GZIP_MAGIC = b"\x1f\x8b"
_NO_ROW = 0
"""Lines are counted from 1."""


@dataclass(slots=True, kw_only=True)
class Verified:
    """The result: every problem is a sentence that names its file."""

    manifest: Manifest
    rows: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Tell whether there is no problem."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` shows."""
        return {
            "id": self.manifest.batch_id,
            "attempt": self.manifest.attempt,
            "rows": self.rows,
            "whole": self.whole,
            "problems": self.problems,
        }


@dataclass(slots=True)
class _Rows:
    """Follows the rows over all parts: each chunk begins at row 0, no row is missing, and none comes twice."""

    problems: list[str]
    lines: list[int | None] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)
    last: tuple[int, int] = (-1, 0)
    corrected: dict[str, list[int | None]] = field(default_factory=dict)

    def add(self, name: str, row: ResultLine) -> None:
        place = (row.chunk, row.row)
        chunk, before = self.last
        following = {(chunk, before + 1), (chunk + 1, 0)} if chunk >= 0 else {(0, 0)}
        where = f"row {row.chunk}:{row.row}" + (f", line {row.line}" if row.line else "")
        if place <= self.last:
            self.problems.append(f"{name}: {where} comes twice or out of order")
        elif place not in following:
            self.problems.append(f"{name}: rows are missing before {where}")
        self.last = max(self.last, place)
        self.lines.append(row.line)
        if row.corrected:
            self.corrected.setdefault(row.corrected, []).append(row.line)
        self.counts[row.outcome] += 1


def verify(folder: Path, source: Path | None = None) -> Verified:
    """Return the problems of an export in a folder, also against the uploaded file.

    Raises OperatorError if the folder has no readable manifest.
    """
    manifest = _manifest(folder)
    found = Verified(manifest=manifest)
    rows = _Rows(found.problems)
    for part in [*manifest.parts, manifest.failed]:
        if not _is_as_written(folder, part, found.problems):
            continue
        if part is not manifest.failed:
            _follow(folder, part, manifest.columns, rows)
    are_there = [_is_as_written(folder, file, found.problems) for file in manifest.corrections]
    if all(are_there):
        found.problems += against_corrections(folder, manifest, rows.corrected)
    found.rows = sum(rows.counts.values())
    counted = {outcome: rows.counts[outcome] for outcome in Outcome}
    said = {outcome: getattr(manifest.counts, outcome) for outcome in Outcome}
    if counted != said:
        found.problems.append(f"the parts have {_said(counted)}, {MANIFEST} says {_said(said)}")
    known = {part.name for part in manifest.parts}
    found.problems += [
        f"{path.name}: is not in {MANIFEST}" for path in sorted(folder.glob("results-*")) if path.name not in known
    ]
    if source and found.whole:
        found.problems += _against(source, manifest, rows.lines)
    return found


def _manifest(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise OperatorError(
            f"{folder} has no {MANIFEST}", hint=f"`tally results ID -o {folder}` fetches it.", code=ExitCode.USAGE
        ) from error
    except msgspec.DecodeError as error:
        raise OperatorError(
            f"{folder / MANIFEST} is not a manifest: {error}",
            hint="remove it and run `tally results ID -o` with this folder, which fetches it again.",
            code=ExitCode.NOT_AS_HOPED,
        ) from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise OperatorError(
            f"{MANIFEST} has schema version {manifest.schema_version}: use the version of Tally that wrote it"
        )
    return manifest


def _is_as_written(folder: Path, part: ManifestPart | ManifestCorrections, problems: list[str]) -> bool:
    path = folder / part.name
    if not path.is_file():
        problems.append(f"{part.name}: is missing")
    elif path.stat().st_size != part.bytes:
        problems.append(f"{part.name}: has {path.stat().st_size:,} bytes, {MANIFEST} says {part.bytes:,}")
    elif digest(path) != part.sha256:
        problems.append(f"{part.name}: was changed, its SHA-256 is not that of {MANIFEST}")
    return path.is_file()


def _follow(folder: Path, part: ManifestPart, columns: Sequence[str], rows: _Rows) -> None:
    """Read a part, even a changed one, to name the rows that are wrong in it."""
    before = len(rows.lines)
    try:
        for row in rows_of(folder / part.name, columns):
            rows.add(part.name, row)
    except UNREADABLE as error:
        rows.problems.append(f"{part.name}: row {len(rows.lines) - before + 1} cannot be read: {error}")
        return
    lines = rows.lines[before:]
    if len(lines) != part.rows:
        rows.problems.append(f"{part.name}: has {len(lines):,} rows, {MANIFEST} says {part.rows:,}")
    elif lines and (lines[0], lines[-1]) != (part.first_line, part.last_line):
        rows.problems.append(f"{part.name}: has lines {lines[0]} to {lines[-1]}, {MANIFEST} says others")


def _against(source: Path, manifest: Manifest, lines: list[int | None]) -> list[str]:
    """Return the differences from the rows of the file, whose beginnings Tally's own reader finds."""
    size = source.stat().st_size
    if size != manifest.source.size:
        return [f"{source.name}: has {size:,} bytes, and {manifest.source.size:,} were uploaded: it is another file"]
    first = next((line for line in lines if line is not None), None)
    if first is None:
        return [] if not lines else [f"{source.name}: the results do not say where rows begin, its object was deleted"]
    of_file = (line for line in _source_lines(source, manifest.source) if line >= first)
    for found, expected in zip_longest(lines, of_file, fillvalue=_NO_ROW):
        if _NO_ROW in (found, expected):
            where = f"at line {expected} is not in the results" if found == _NO_ROW else f"{found} is not in the file"
            return [f"{source.name}: the row {where}"]
        if found is not None and found != expected:
            return [f"{source.name}: a row begins at line {expected}, and in the results at line {found}"]
    return []


def _source_lines(source: Path, said: ManifestSource) -> Iterator[int]:
    """Return the lines at which the rows of a file begin, its header among them."""
    layout = Layout(format=Format(said.format), delimiter=said.delimiter, encoding=said.encoding)
    with _plain(source) as content:
        mark = marked(content.read(3))[1]
    blocks = _blocks(source, mark)
    with _plain(source) as content:
        place = 0
        for each in ranges(blocks, layout, max_rows=1_000, max_bytes=262_144, offset=mark):
            content.read(each.start - place)
            data = content.read(each.end - each.start)
            place = each.end
            if each.unreadable:
                yield each.first_line
            else:
                yield from (row.line for row in source_rows(data, each.first_line, layout))


def _blocks(source: Path, begin: int) -> Iterator[bytes]:
    with _plain(source) as content:
        content.read(begin)
        while block := content.read(_BLOCK_BYTES):
            yield block


def _plain(source: Path) -> Any:
    with source.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return gzip.open(source, "rb") if packed else source.open("rb")


def _said(counts: dict[Outcome, int]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
