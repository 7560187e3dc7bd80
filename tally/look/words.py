"""Text for a terminal: measured in cells, shortened, wrapped, and without control characters."""

import re

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

ELLIPSIS = "..."
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WORD = re.compile(r"\s*\S+\s*")
_COMMAND = re.compile("`[^`\n]*`")
_HELD = "\ue000"
"""A space where no line may end; of a private range, so that no file contains it."""
_CONSOLE = Console()
"""The console that rich needs to wrap text; nothing is written to it."""


def printable(text: str) -> str:
    r"""Return text with its control characters as escapes such as ``\x1b``; line ends and tabs stay.

    What a file holds, and a reason repeats, must not steer the operator's terminal.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def shorten(text: str, width: int) -> str:
    """Return text in one line of at most ``width`` cells; one that is longer loses its middle."""
    line = " ".join(printable(text).splitlines())
    if cell_len(line) <= width:
        return line
    room = width - len(ELLIPSIS)
    if room < 2:  # noqa: PLR2004  # a cell on either side
        return _head(line, width)
    tail = room // 2
    return f"{_head(line, room - tail)}{ELLIPSIS}{_head(line[::-1], tail)[::-1]}"


def several(number: float, noun: str) -> str:
    """Return a number with its noun: ``1 chunk``, ``2 chunks``."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def wrap(text: str, width: int, *, break_words: bool) -> list[str]:
    """Return text in lines of at most ``width`` cells, broken between words.

    A word that is longer is broken too, or, without ``break_words``, a line of its own that is too long: a terminal
    wraps it, and it can still be copied as one word.
    """
    whole = Text(printable(text))
    if break_words:
        lines = list(whole.wrap(_CONSOLE, max(1, width), overflow="fold"))
    else:
        lines = [line for paragraph in whole.split("\n", allow_blank=True) for line in _between_words(paragraph, width)]
    return [line.plain.rstrip() for line in lines] or [""]


def hang(text: Text, width: int, indent: int) -> list[Text]:
    """Return text in lines broken between words, those after the first indented; no word is broken.

    What is between backticks is a command, and counts as one word.
    """
    whole = text.copy()
    whole.plain = _COMMAND.sub(lambda found: found[0].replace(" ", _HELD), text.plain)
    if indent >= width // 2:
        indent = 0
    lines: list[Text] = []
    for paragraph in whole.split("\n", allow_blank=True):
        lead = paragraph.plain[:indent] if not paragraph.plain[:indent].strip() or not lines else ""
        wrapped = _between_words(paragraph[len(lead) :], width - indent)
        for line in wrapped:
            line.rstrip()
            lines.append(paragraph[: len(lead)].append_text(line) if line is wrapped[0] else Text(" " * indent) + line)
    for line in lines:
        line.plain = line.plain.replace(_HELD, " ")
    return lines


def _between_words(text: Text, width: int) -> list[Text]:
    offsets, taken = [], 0
    for word in _WORD.finditer(text.plain):
        if taken and taken + cell_len(word[0].rstrip()) > width:
            offsets.append(word.start())
            taken = 0
        taken += cell_len(word[0])
    return list(text.divide(offsets))


def longest_word(text: str) -> int:
    """Return the cells of the longest word."""
    return max(map(cell_len, printable(text).split()), default=0)


def _head(text: str, width: int) -> str:
    """Return the longest beginning that fits."""
    taken = 0
    for position, character in enumerate(text):
        taken += cell_len(character)
        if taken > width:
            return text[:position]
    return text
