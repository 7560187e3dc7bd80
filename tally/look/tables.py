"""A table for every width: if its columns do not fit side by side, each row becomes a paragraph."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from tally.look.flow import flow
from tally.look.meanings import Meaning, meaning_of
from tally.look.words import longest_word, printable, shorten, wrap

_GAP = "  "
_INDENT = "  "
_MIN_TEXT = 24
"""A column of prose narrower than this is hard to read."""
_LONG_WORD = 40
"""Words of a text with at most so many cells, such as an id, are not broken."""
_MIN_NAME = 16
_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?( ?(%|s|ms|kB|MB|GB))?|-|")


class Kind(Enum):
    """The way to shorten a cell where room is short."""

    WORDS = "words"  # wrapped between words: a number, an id and a status are always whole
    NAME = "name"  # shortened in the middle: a key, a file, a job
    TEXT = "text"  # wrapped, and broken where a word is too long: a reason, a result


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    kind: Kind = Kind.WORDS


@dataclass(frozen=True, slots=True)
class _Laid:
    """A column with its cells as text, and its smallest and largest widths."""

    column: Column
    cells: list[str]
    right: bool

    @property
    def natural(self) -> int:
        lines = [line for cell in self.cells for line in cell.splitlines()]
        return max(map(cell_len, [self.column.title, *lines]))

    @property
    def least(self) -> int:
        natural, title = self.natural, cell_len(self.column.title)
        match self.column.kind:
            case Kind.NAME:
                return min(natural, max(title, _MIN_NAME))
            case Kind.TEXT:
                return min(natural, max(title, min(self._longest_word, _LONG_WORD), _MIN_TEXT))
            case Kind.WORDS:
                return natural if self.right else min(natural, max(title, self._longest_word, _MIN_TEXT))

    @property
    def _longest_word(self) -> int:
        return max(map(longest_word, self.cells), default=0)


def lay_out(columns: Sequence[Column | str], rows: Sequence[Sequence[Any]], width: int) -> Iterator[Text]:
    """Yield the lines of a table; none is wider than ``width`` unless a single word is."""
    laid = [
        _lay(column if isinstance(column, Column) else Column(column), [row[position] for row in rows])
        for position, column in enumerate(columns)
    ]
    widths = _fit(laid, width)
    if widths is not None:
        yield from _table(laid, widths, len(rows))
    elif not any(column.title for column in (each.column for each in laid)):
        yield from _named_values(laid, width)
    else:
        yield from _paragraphs(laid, width, len(rows))


def _lay(column: Column, cells: list[Any]) -> _Laid:
    shown = [f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in cells]
    right = bool(cells) and bool(column.title) and all(_NUMBER.fullmatch(cell) for cell in shown) and any(shown)
    return _Laid(column, shown, right)


def _fit(laid: list[_Laid], width: int) -> list[int] | None:
    """Return the width of each column, None if they do not fit beside each other."""
    room = width - len(_GAP) * (len(laid) - 1)
    widths = [each.least for each in laid]
    spare = room - sum(widths)
    if spare < 0:
        return None
    # Spare cells go to names first: a wrapped reason is still whole.
    for kind in (Kind.NAME, Kind.WORDS, Kind.TEXT):
        for position, each in enumerate(laid):
            if each.column.kind is kind:
                more = min(spare, each.natural - widths[position])
                widths[position] += more
                spare -= more
    return widths


def _table(laid: list[_Laid], widths: list[int], rows: int) -> Iterator[Text]:
    if any(each.column.title for each in laid):
        yield _line([[each.column.title] for each in laid], ["bold"] * len(laid), laid, widths)
    for row in range(rows):
        cells = [_in_column(each, each.cells[row], width) for each, width in zip(laid, widths, strict=True)]
        styles = [_style(each, each.cells[row]) for each in laid]
        for position in range(max(map(len, cells))):
            yield _line([cell[position : position + 1] or [""] for cell in cells], styles, laid, widths)


def _in_column(laid: _Laid, cell: str, width: int) -> list[str]:
    if laid.column.kind is Kind.NAME:
        return [shorten(cell, width)]
    return wrap(cell, width, break_words=laid.column.kind is Kind.TEXT)


def _line(cells: list[list[str]], styles: list[str], laid: list[_Laid], widths: list[int]) -> Text:
    line = Text()
    for (cell,), style, each, width in zip(cells, styles, laid, widths, strict=True):
        padding = " " * (width - cell_len(cell))
        line.append(_GAP if each is not laid[0] else "")
        line.append(padding if each.right else "").append(cell, style).append("" if each.right else padding)
    line.rstrip()
    return line


def _named_values(laid: list[_Laid], width: int) -> Iterator[Text]:
    """Yield the lines of a table without heads: a name, and beside it, or below it, its value."""
    names, values = laid
    beside = names.natural + len(_GAP)
    for name, value in zip(names.cells, values.cells, strict=True):
        style = _style(values, value)
        if longest_word(value) > width - beside:
            yield Text(name)
            yield from (Text(line, style) for line in wrap(value, width, break_words=False))
            continue
        for position, line in enumerate(wrap(value, width - beside, break_words=False)):
            yield Text(("" if position else name).ljust(beside)).append(line, style)


def _paragraphs(laid: list[_Laid], width: int, rows: int) -> Iterator[Text]:
    head, *others = laid
    for row in range(rows):
        # Not broken even if it is too long: it is to be copied into a command.
        yield from (Text(line, "bold") for line in wrap(head.cells[row], width, break_words=False))
        short: list[Text] = []
        for each in others:
            cell = each.cells[row]
            if not cell:
                continue
            label, style = f"{each.column.title} ", _style(each, cell)
            room = width - len(_INDENT) - cell_len(label)
            if each.column.kind is Kind.NAME:
                cell = shorten(cell, room)
            if cell_len(cell) <= room and "\n" not in cell:
                short.append(Text(label, Meaning.ASIDE.value).append(cell, style))
                continue
            yield from _indented(flow(short, width - len(_INDENT)))
            short = []
            yield from _indented(_labelled(label, cell, style, width - len(_INDENT), each.column.kind))
        yield from _indented(flow(short, width - len(_INDENT)))


def _labelled(label: str, cell: str, style: str, width: int, kind: Kind) -> Iterator[Text]:
    """Yield a long cell: its label, then its lines."""
    yield Text(label.rstrip(), Meaning.ASIDE.value)
    yield from (Text(line, style) for line in wrap(cell, width, break_words=kind is Kind.TEXT))


def _indented(lines: Iterator[Text]) -> Iterator[Text]:
    return (Text(_INDENT).append_text(line) for line in lines)


def _style(laid: _Laid, cell: str) -> str:
    """Return the style of a cell: by the meaning of its text, or that of its column if it is a number above 0."""
    counted = meaning_of(laid.column.title)
    if laid.right and counted:
        return counted.value if cell not in {"", "0", "-"} else ""
    return meaning_of(cell).value
