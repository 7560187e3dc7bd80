"""One look for all output: tables, bars, counters, and the meaning of colours."""

from tally.look.bar import ECHO, MAX_BAR, Lines, bar, duration, milliseconds, share
from tally.look.flow import flow
from tally.look.live import Redrawn
from tally.look.meanings import Meaning, meaning_of
from tally.look.tables import Column, Kind, lay_out
from tally.look.words import hang, longest_word, printable, several, shorten, wrap

__all__ = [
    "ECHO", "MAX_BAR", "Column", "Kind", "Lines", "Meaning", "Redrawn", "bar", "duration", "flow", "hang", "lay_out",
    "longest_word", "meaning_of", "milliseconds", "printable", "several", "share", "shorten", "wrap",
]  # fmt: skip
