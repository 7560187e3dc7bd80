"""Where a file may be cut, whatever its layout."""

from collections.abc import Iterable, Iterator

from chalicelib.files.boundaries import Range, split
from chalicelib.files.dialect import Layout
from chalicelib.files.encodings import cut_wide, is_wide


def ranges(
    blocks: Iterable[bytes], layout: Layout, *, max_rows: int, max_bytes: int, offset: int = 0, first_line: int = 1
) -> Iterator[Range]:
    """Cut a file, given as blocks of any size, into ranges as ``split`` does; of UTF-16 sizes are those in UTF-8."""

    def cut(text: Iterable[bytes]) -> Iterator[Range]:
        return split(
            text,
            max_rows=max_rows,
            max_bytes=max_bytes,
            offset=offset,
            first_line=first_line,
            delimiter=layout.delimiter,
        )

    return cut_wide(blocks, layout.encoding, cut, offset=offset) if is_wide(layout.encoding) else cut(blocks)
