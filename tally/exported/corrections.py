"""Files of corrected rows beside an export: every corrected row of the results is in the file that they name."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chalicelib.errors import FatalError
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.ranges import ranges
from chalicelib.results.corrections import rows_by_line
from chalicelib.results.manifest import Manifest

_BLOCK_BYTES = 1_048_576
_END = 1 << 62


def against_corrections(folder: Path, manifest: Manifest, corrected: Mapping[str, Sequence[int | None]]) -> list[str]:
    """Return the problems of the corrected rows, whose lines come by the file that the results name."""
    known = {file.name for file in manifest.corrections}
    unknown = sorted(corrected.keys() - known)
    problems = [f"{name}: is not in the manifest, and the results have rows of it" for name in unknown]
    source = manifest.source
    layout = Layout(format=Format(source.format), delimiter=source.delimiter, encoding=source.encoding)
    for name in sorted(known & corrected.keys()):
        problems += _missing(folder / name, corrected[name], layout)
    return problems


def _missing(path: Path, wanted: Sequence[int | None], layout: Layout) -> list[str]:
    """Return the first line that a file lacks; both are in the order of the upload."""
    try:
        there = corrected_lines(path, layout)
        found = 0
        for line in wanted:
            while line is not None and found < line:
                found = next(there, _END)
            if found != line:
                return [f"{path.name}: has no row for line {line}, and the results have one of it"]
    except (FatalError, UnicodeDecodeError) as error:
        return [f"{path.name}: cannot be read: {error}"]
    return []


def corrected_lines(path: Path, layout: Layout) -> Iterator[int]:
    """Return the lines of the upload that a file has rows for, in their order."""
    with path.open("rb") as cut, path.open("rb") as read:
        blocks = iter(lambda: cut.read(_BLOCK_BYTES), b"")
        begin = 0
        if layout.format is Format.CSV:
            first = next(ranges(blocks, layout, max_rows=1, max_bytes=_BLOCK_BYTES), None)
            begin = first.end if first else 0
            cut.seek(begin)
            blocks = iter(lambda: cut.read(_BLOCK_BYTES), b"")
        for each in ranges(blocks, layout, max_rows=1_000, max_bytes=262_144, offset=begin):
            read.seek(each.start)
            yield from rows_by_line(read.read(each.end - each.start), layout)
