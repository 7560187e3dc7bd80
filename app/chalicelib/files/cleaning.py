"""Cleaning of a cell: what people and exports leave in it that no schema should have to know about."""

import re
import unicodedata

_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f\x80-\x84\x86-\x9f"  # C0 and C1 controls that are not white space
    r"\u200b\u2060\ufeff"  # zero-width space, word joiner, byte order mark
    r"\ufffe\uffff]"  # noncharacters, which SQS refuses
)


def clean(cell: str) -> str:
    """Return a cell in Unicode NFC, without control characters, trimmed, each inner run of white space one space."""
    if cell.isascii() and cell.isprintable() and "  " not in cell and cell[:1] != " " and cell[-1:] != " ":
        return cell  # by far the most cells: nothing to do
    return " ".join(unicodedata.normalize("NFC", _CONTROLS.sub("", cell)).split())
