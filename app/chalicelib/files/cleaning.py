"""Cleaning of a cell: what people and exports leave in it that no schema should have to know about."""

import re
import unicodedata
from itertools import groupby

_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f\x80-\x84\x86-\x9f"  # C0 and C1 controls that are not white space
    r"\u200b\u2060\ufeff"  # zero-width space, word joiner, byte order mark
    r"\ufffe\uffff]"  # noncharacters, which SQS refuses
)
_MAX_MARKS = 1_000
"""Normalising sorts the marks of a character one by one, in the square of their number: minutes for a cell of 1 MiB.
Unicode's own limit for text in streams is 30."""


def clean(cell: str) -> str:
    """Return a cell in Unicode NFC, without control characters, trimmed, each inner run of white space one space.

    One that has a character with over ``_MAX_MARKS`` combining marks is no text, and is not normalised.
    """
    if cell.isascii() and cell.isprintable() and "  " not in cell and cell[:1] != " " and cell[-1:] != " ":
        return cell  # by far the most cells: nothing to do
    kept = _CONTROLS.sub("", cell)
    if len(kept) <= _MAX_MARKS or _most_marks(kept) <= _MAX_MARKS:
        kept = unicodedata.normalize("NFC", kept)
    return " ".join(kept.split())


def _most_marks(text: str) -> int:
    """Return how many combining marks follow each other at the most."""
    runs = groupby(map(unicodedata.combining, text), key=bool)
    return max((sum(1 for _ in run) for marks, run in runs if marks), default=0)
