"""Short pieces side by side, as many per line as fit, each whole."""

from collections.abc import Iterable, Iterator

from rich.text import Text

_GAP = "   "


def flow(pieces: Iterable[Text], width: int) -> Iterator[Text]:
    """Yield the lines of pieces; a piece wider than ``width`` is a line of its own."""
    line: Text | None = None
    for piece in pieces:
        if line is not None and line.cell_len + len(_GAP) + piece.cell_len <= width:
            line.append(_GAP).append_text(piece)
            continue
        if line is not None:
            yield line
        line = piece.copy()
    if line is not None:
        yield line
