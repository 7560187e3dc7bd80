"""Cutting a file of any layout into ranges."""

from collections.abc import Iterable, Iterator
from functools import partial

from chalicelib.files.boundaries import split
from chalicelib.files.cutting import Range
from chalicelib.files.dialect import Format, Layout
from chalicelib.files.encodings import cut_wide, is_wide
from chalicelib.files.json_lines import split_lines


def ranges(
    blocks: Iterable[bytes], layout: Layout, *, max_rows: int, max_bytes: int, offset: int = 0, first_line: int = 1
) -> Iterator[Range]:
    """Cut a file, given as blocks of any size, into ranges as ``split`` does; of UTF-16 sizes are those in UTF-8."""

    def cut(text: Iterable[bytes]) -> Iterator[Range]:
        cut_text = split_lines if layout.format is Format.JSONL else partial(split, delimiter=layout.delimiter)
        return cut_text(text, max_rows=max_rows, max_bytes=max_bytes, offset=offset, first_line=first_line)

    return cut_wide(blocks, layout.encoding, cut, offset=offset) if is_wide(layout.encoding) else cut(blocks)
