"""A terminal, and the text that it shows."""

import re

import pyte

_HIGH = 2_000
_NUMBER_OR_ID = re.compile(r"[\w:./+-]*\d[\w:./,+-]*")


def lines_on(width: int, written: str, *, height: int = _HIGH) -> list[str]:
    """Return the lines of a terminal of some width, after all of it was written; full ones are as wide as it is."""
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(written.replace("\r\n", "\n").replace("\n", "\r\n"))
    shown = [line.rstrip() for line in screen.display]
    while shown and not shown[-1]:
        shown.pop()
    return shown


def broken(piped: str, shown: list[str], width: int) -> set[str]:
    """Return the numbers and ids in what a pipe gets that a terminal shows nowhere in one line.

    One that does not fit into a line is whole if the terminal alone has wrapped it, as is one in a command: that is one
    line, to be copied.
    """
    wrapped = "".join(line if len(line) == width else f"{line}\n" for line in shown)
    commands = {word for line in piped.splitlines() if "tally " in line for word in _words(line)}
    return {
        word
        for word in _words(piped)
        if not any(word in line for line in shown)
        and not (word in wrapped and (word in commands or len(word) > width - 10))
    }


def _words(text: str) -> set[str]:
    return {word.strip(".,:+-") for word in _NUMBER_OR_ID.findall(text)}
